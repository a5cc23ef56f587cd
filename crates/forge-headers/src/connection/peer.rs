//! Where the address of the other end of the connection comes from.

use std::net::SocketAddr;

use http::request::Parts;

/// Says who is at the other end of the connection.
///
/// Implemented for closures and for [`FromExtensions`], the default. For a Unix socket, answer
/// with an address that stands for it, and trust that address where a proxy is behind the socket.
pub trait PeerAddr {
    /// The peer's address; `None` where it is unknown, and then the request is refused.
    fn peer_addr(&self, parts: &Parts) -> Option<SocketAddr>;
}

impl<F> PeerAddr for F
where
    F: Fn(&Parts) -> Option<SocketAddr>,
{
    fn peer_addr(&self, parts: &Parts) -> Option<SocketAddr> {
        self(parts)
    }
}

/// The peer's address as a request extension, for servers that put none there themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The default: reads the address from the request's extensions.
///
/// In this order: [`Peer`]; Axum's `ConnectInfo<SocketAddr>` (feature `axum`), which
/// `into_make_service_with_connect_info::<SocketAddr>()` puts there; Tonic's `TcpConnectInfo`
/// (feature `tonic`), which its server puts there by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromExtensions;

impl PeerAddr for FromExtensions {
    fn peer_addr(&self, parts: &Parts) -> Option<SocketAddr> {
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
        #[cfg(feature = "axum")]
        let peer = peer.or_else(|| {
            use axum::extract::ConnectInfo;
            let info = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
            Some(info.0)
        });
        #[cfg(feature = "tonic")]
        let peer = peer.or_else(|| {
            use tonic::transport::server::TcpConnectInfo;
            parts.extensions.get::<TcpConnectInfo>()?.remote_addr()
        });
        peer
    }
}
