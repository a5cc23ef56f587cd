//! Where the address of the other end of the connection comes from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::request::Parts;

/// Says who is at the other end of the connection.
///
/// Implemented for closures and for [`FromExtensions`], the default.
pub trait PeerAddr {
    /// The peer's address; `None` where it is unknown, and then the request is refused.
    fn peer_addr(&self, parts: &Parts) -> Option<SocketAddr>;

    /// Whether the connection came over a Unix socket. Then the address only stands for it, and
    /// whether the peer is believed depends on
    /// [`TrustedProxies::unix_socket`](crate::TrustedProxies::unix_socket) alone. Default: no.
    fn is_unix_socket(&self, parts: &Parts) -> bool {
        let _ = parts;
        false
    }
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

/// As a request extension: the connection came over a Unix socket.
///
/// Its other end is a process of this machine without an address of its own; `127.0.0.1` with
/// port 0 stands for it. With the feature `axum`,
/// `into_make_service_with_connect_info::<UnixPeer>()` serves a router on a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixPeer;

impl UnixPeer {
    const ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
}

#[cfg(all(feature = "axum", unix))]
impl
    axum::extract::connect_info::Connected<
        axum::serve::IncomingStream<'_, tokio::net::UnixListener>,
    > for UnixPeer
{
    fn connect_info(_: axum::serve::IncomingStream<'_, tokio::net::UnixListener>) -> Self {
        Self
    }
}

/// The default: reads the address from the request's extensions.
///
/// In this order: [`Peer`]; Axum's `ConnectInfo<SocketAddr>` (feature `axum`), which
/// `into_make_service_with_connect_info::<SocketAddr>()` puts there; Tonic's `TcpConnectInfo`
/// (feature `tonic`), which its server puts there by itself; and for Unix sockets [`UnixPeer`],
/// Axum's `ConnectInfo<UnixPeer>` and Tonic's `UdsConnectInfo`.
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
        peer.or_else(|| is_unix(parts).then_some(UnixPeer::ADDR))
    }

    fn is_unix_socket(&self, parts: &Parts) -> bool {
        is_unix(parts)
    }
}

fn is_unix(parts: &Parts) -> bool {
    let is_unix = parts.extensions.get::<UnixPeer>().is_some();
    #[cfg(feature = "axum")]
    let is_unix = is_unix || {
        use axum::extract::ConnectInfo;
        parts.extensions.get::<ConnectInfo<UnixPeer>>().is_some()
    };
    #[cfg(all(feature = "tonic", unix))]
    let is_unix = is_unix || {
        use tonic::transport::server::UdsConnectInfo;
        parts.extensions.get::<UdsConnectInfo>().is_some()
    };
    is_unix
}
