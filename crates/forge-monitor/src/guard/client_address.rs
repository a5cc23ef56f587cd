//! Who calls.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;

/// Reads the client's address out of a request. Implemented for [`PeerAddress`] and for closures.
///
/// Behind a proxy use the address that a layer further out has established from the connection and
/// the trusted proxies, such as the function `client_ip` of `forge-headers`, never a header alone: a
/// forged header would evade a block, or get others blocked.
pub trait ClientAddress {
    /// The address; `None` where it cannot be told.
    fn client_address(&self, parts: &Parts) -> Option<IpAddr>;
}

impl<F> ClientAddress for F
where
    F: Fn(&Parts) -> Option<IpAddr>,
{
    fn client_address(&self, parts: &Parts) -> Option<IpAddr> {
        self(parts)
    }
}

/// The address of the connection's other end. Behind a proxy that is the proxy's address.
///
/// It comes from Axum's `ConnectInfo<SocketAddr>` (feature `axum`), Tonic's `TcpConnectInfo`
/// (feature `tonic`), or a [`SocketAddr`] among the request's extensions; no header is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeerAddress;

impl ClientAddress for PeerAddress {
    fn client_address(&self, parts: &Parts) -> Option<IpAddr> {
        #[cfg(feature = "axum")]
        if let Some(info) = parts
            .extensions
            .get::<axum::extract::ConnectInfo<SocketAddr>>()
        {
            return Some(info.0.ip());
        }
        #[cfg(feature = "tonic")]
        if let Some(info) = parts
            .extensions
            .get::<tonic::transport::server::TcpConnectInfo>()
        {
            return info.remote_addr().map(|peer| peer.ip());
        }
        parts.extensions.get::<SocketAddr>().map(SocketAddr::ip)
    }
}
