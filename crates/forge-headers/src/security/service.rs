//! The service: gives the request a nonce where one is needed, and the response its headers.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::connection::Connection;
use crate::security::future::SecurityHeadersFuture;
use crate::security::has_session::HasSession;
use crate::security::nonce::CspNonce;
use crate::security::prebuilt::Prebuilt;

/// A service whose responses bear security headers. Made by
/// [`SecurityHeadersLayer`](crate::SecurityHeadersLayer).
pub struct SecurityHeadersService<S, N = ()> {
    pub(crate) inner: S,
    pub(crate) prebuilt: Arc<Prebuilt>,
    pub(crate) session: Arc<N>,
}

impl<S, N, ReqBody, ResBody> Service<Request<ReqBody>> for SecurityHeadersService<S, N>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    N: HasSession,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = SecurityHeadersFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let no_store = self.session.has_session(&parts);
        let extensions = &mut parts.extensions;
        let https = extensions
            .get::<Connection>()
            .is_some_and(Connection::is_https);
        // Of two such layers, the outer one's nonce holds for both.
        let mut nonce = extensions.get::<CspNonce>().copied();
        if nonce.is_none() && self.prebuilt.uses_nonce() {
            nonce = CspNonce::generate();
            nonce.map(|nonce| extensions.insert(nonce));
        }
        SecurityHeadersFuture {
            inner: self.inner.call(Request::from_parts(parts, body)),
            prebuilt: Arc::clone(&self.prebuilt),
            https,
            no_store,
            nonce,
        }
    }
}

impl<S: Clone, N> Clone for SecurityHeadersService<S, N> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            prebuilt: Arc::clone(&self.prebuilt),
            session: Arc::clone(&self.session),
        }
    }
}

impl<S: fmt::Debug, N> fmt::Debug for SecurityHeadersService<S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityHeadersService")
            .field("inner", &self.inner)
            .field("prebuilt", &self.prebuilt)
            .finish_non_exhaustive()
    }
}
