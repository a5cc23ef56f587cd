//! The service: resolves a request's connection, then passes it on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use crate::authority::Scheme;
use crate::connection::Connection;
use crate::connection::peer::{FromExtensions, PeerAddr};
use crate::connection::trusted_proxies::TrustedProxies;
use crate::future::ResponseFuture;
use crate::host::request_host;
use crate::on_refusal::OnRefusal;
use crate::refusal::{Problem, RefusalKind, Respond};
use crate::refuser::Refuser;

/// A service that knows who calls. Made by [`ConnectionLayer`](crate::ConnectionLayer).
pub struct ConnectionService<S, P = FromExtensions, O = (), R = Problem> {
    pub(crate) inner: S,
    pub(crate) resolver: Resolver<P>,
    pub(crate) refuser: Refuser<O, R>,
    /// Whether a request without a known peer ends here, or goes on without a `Connection` to a
    /// layer further in that refuses it.
    pub(crate) refuses: bool,
}

pub(crate) struct Resolver<P> {
    pub(crate) proxies: TrustedProxies,
    pub(crate) scheme: Scheme,
    peer: Arc<P>,
    /// Whether the missing peer was logged: it misses in every request, one line is enough.
    logged: Arc<AtomicBool>,
}

impl Resolver<FromExtensions> {
    pub(crate) fn new(proxies: TrustedProxies) -> Self {
        Self {
            proxies,
            scheme: Scheme::Http,
            peer: Arc::new(FromExtensions),
            logged: Arc::new(AtomicBool::new(false)),
        }
    }
}

impl<P> Resolver<P> {
    pub(crate) fn with_peer<T>(self, peer: T) -> Resolver<T> {
        Resolver {
            proxies: self.proxies,
            scheme: self.scheme,
            peer: Arc::new(peer),
            logged: self.logged,
        }
    }
}

impl<P> Clone for Resolver<P> {
    fn clone(&self) -> Self {
        Self {
            proxies: self.proxies.clone(),
            scheme: self.scheme,
            peer: Arc::clone(&self.peer),
            logged: Arc::clone(&self.logged),
        }
    }
}

impl<P: PeerAddr> Resolver<P> {
    fn resolve(&self, parts: &Parts) -> Option<Connection> {
        let Some(peer) = self.peer.peer_addr(parts) else {
            if !self.logged.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    "the peer's address is unknown and every request is refused: serve with \
                     `into_make_service_with_connect_info::<SocketAddr>()` (Axum), or set \
                     `ConnectionLayer::peer_addr`"
                );
            }
            return None;
        };
        let resolved = if self.peer.is_unix_socket(parts) {
            self.proxies.resolve_unix_socket(peer.ip(), &parts.headers)
        } else {
            self.proxies.resolve(peer.ip(), &parts.headers)
        };
        let host = resolved.host.unwrap_or_else(|| request_host(parts).ok());
        Some(Connection {
            client_ip: resolved.client_ip,
            scheme: resolved.scheme.unwrap_or(self.scheme),
            host,
            peer,
        })
    }
}

impl<S, P, O, R, ReqBody, ResBody> Service<Request<ReqBody>> for ConnectionService<S, P, O, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    P: PeerAddr,
    O: OnRefusal,
    R: Respond<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.resolver.resolve(&parts) {
            Some(connection) => {
                parts.extensions.insert(connection);
            }
            None if self.refuses => {
                let response = self.refuser.refuse(&parts, RefusalKind::PeerUnknown);
                return ResponseFuture::ready(response);
            }
            // Nobody's word is taken for it, not even one that came along.
            None => {
                parts.extensions.remove::<Connection>();
            }
        }
        ResponseFuture::inner(self.inner.call(Request::from_parts(parts, body)))
    }
}

impl<S: Clone, P, O, R> Clone for ConnectionService<S, P, O, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            resolver: self.resolver.clone(),
            refuser: self.refuser.clone(),
            refuses: self.refuses,
        }
    }
}

impl<S: fmt::Debug, P, O, R> fmt::Debug for ConnectionService<S, P, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionService")
            .field("inner", &self.inner)
            .field("trusted_proxies", &self.resolver.proxies)
            .finish_non_exhaustive()
    }
}
