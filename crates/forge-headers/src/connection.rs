//! Who calls, over what, and to which host: decided once, for everything further in.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;

use crate::authority::{Host, Origin, Scheme};

pub(crate) mod forwarded;
pub(crate) mod layer;
pub(crate) mod peer;
pub(crate) mod service;
pub(crate) mod trusted_proxies;

/// The client's address, the scheme and the host of a request, as far as they can be trusted.
///
/// [`ConnectionLayer`](crate::ConnectionLayer) puts it into the request's extensions; with the
/// feature `axum` it is an extractor too, which answers 500 where the layer is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The client: the peer itself, or the address that the last trusted proxy saw. Never an
    /// IPv4-mapped IPv6 address.
    pub client_ip: IpAddr,
    /// What the trusted proxy wrote, else the listener's own. What the client claims is not read.
    pub scheme: Scheme,
    /// What the trusted proxy wrote, else the request's `Host` or `:authority`; `None` where it is
    /// missing, ambiguous or malformed.
    pub host: Option<Host>,
    /// The other end of the transport connection.
    pub peer: SocketAddr,
}

impl Connection {
    /// A connection without a proxy, over http and without a host: what tests start from.
    #[must_use]
    pub fn direct(peer: SocketAddr) -> Self {
        Self {
            client_ip: peer.ip().to_canonical(),
            scheme: Scheme::Http,
            host: None,
            peer,
        }
    }

    /// The same over `scheme`.
    #[must_use]
    pub fn with_scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// The same to `host`.
    #[must_use]
    pub fn with_host(mut self, host: Host) -> Self {
        self.host = Some(host);
        self
    }

    /// Whether the client speaks TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// The origin of the requested resource, where the host is known.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        let host = self.host.as_ref()?;
        Some(Origin::new(self.scheme, host))
    }
}

/// The client's address of the request's [`Connection`]: what a limit counts by, a guard bans and a
/// record names. `None` where no [`ConnectionLayer`](crate::ConnectionLayer) stands further out.
///
/// It is a function over the request's parts, and so goes wherever a layer asks for the address:
/// `Policy::new("web", Quota::WEB, ByAddress(client_ip))` of `forge-ratelimit`,
/// `GuardLayer::new(guard, client_ip)` of `forge-monitor`.
///
/// ```
/// use forge_headers::{Connection, client_ip};
/// use http::request::Parts;
///
/// // What another crate asks for.
/// let address: fn(&Parts) -> Option<std::net::IpAddr> = client_ip;
///
/// let connection = Connection::direct("192.0.2.7:443".parse()?);
/// let request = http::Request::builder().extension(connection).body(())?;
/// assert_eq!(address(&request.into_parts().0), Some("192.0.2.7".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn client_ip(parts: &Parts) -> Option<IpAddr> {
    let connection = parts.extensions.get::<Connection>()?;
    Some(connection.client_ip)
}

#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::FromRequestParts<S> for Connection {
    type Rejection = http::StatusCode;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or_else(|| {
            tracing::error!(
                "no Connection in the request: mount ConnectionLayer outside of the handler"
            );
            http::StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}
