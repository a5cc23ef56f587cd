//! The layer: whom to believe, what the listener speaks, where the peer's address comes from.

use std::fmt;

use tower_layer::Layer;

use crate::authority::Scheme;
use crate::connection::peer::FromExtensions;
use crate::connection::service::{ConnectionService, Resolver};
use crate::connection::trusted_proxies::TrustedProxies;
use crate::refusal::Problem;
use crate::refuser::Refuser;

/// Resolves the client's address, the scheme and the host of every request, and puts them into
/// its extensions as a [`Connection`](crate::Connection). Belongs outside of all other layers.
///
/// A request whose peer is unknown is refused with 500, because nothing that counts, bans or
/// records by address would work: mount the layer where the server supplies the peer's address
/// (see [`FromExtensions`]), or supply it with [`ConnectionLayer::peer_addr`]. The first such
/// request is logged with the way to fix it.
#[must_use]
pub struct ConnectionLayer<P = FromExtensions, O = (), R = Problem> {
    resolver: Resolver<P>,
    refuser: Refuser<O, R>,
}

impl ConnectionLayer {
    /// A layer that believes `trusted_proxies`, behind a listener that speaks http.
    pub fn new(trusted_proxies: TrustedProxies) -> Self {
        Self {
            resolver: Resolver::new(trusted_proxies),
            refuser: Refuser::new(),
        }
    }
}

impl<P, O, R> ConnectionLayer<P, O, R> {
    /// What the listener itself speaks, where no proxy says otherwise. Default: http. A listener
    /// that terminates TLS says https.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.resolver.scheme = scheme;
        self
    }

    /// Where the peer's address comes from, a [`PeerAddr`](crate::PeerAddr). Default:
    /// [`FromExtensions`].
    pub fn peer_addr<T>(self, peer_addr: T) -> ConnectionLayer<T, O, R> {
        ConnectionLayer {
            resolver: self.resolver.with_peer(peer_addr),
            refuser: self.refuser,
        }
    }

    /// Who is told of every refusal, an [`OnRefusal`](crate::OnRefusal). Default: nobody.
    pub fn on_refusal<T>(self, on_refusal: T) -> ConnectionLayer<P, T, R> {
        ConnectionLayer {
            resolver: self.resolver,
            refuser: self.refuser.on_refusal(on_refusal),
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> ConnectionLayer<P, O, T> {
        ConnectionLayer {
            resolver: self.resolver,
            refuser: self.refuser.respond_with(responder),
        }
    }
}

impl<S, P, O, R> Layer<S> for ConnectionLayer<P, O, R> {
    type Service = ConnectionService<S, P, O, R>;

    fn layer(&self, inner: S) -> Self::Service {
        ConnectionService {
            inner,
            resolver: self.resolver.clone(),
            refuser: self.refuser.clone(),
            refuses: true,
        }
    }
}

impl<P, O, R> Clone for ConnectionLayer<P, O, R> {
    fn clone(&self) -> Self {
        Self {
            resolver: self.resolver.clone(),
            refuser: self.refuser.clone(),
        }
    }
}

impl<P, O, R> fmt::Debug for ConnectionLayer<P, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLayer")
            .field("trusted_proxies", &self.resolver.proxies)
            .field("scheme", &self.resolver.scheme)
            .finish_non_exhaustive()
    }
}
