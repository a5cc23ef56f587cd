//! The service: gives the request a nonce where one is needed, and the response its headers.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::connection::Connection;
use crate::security::future::SecurityHeadersFuture;
use crate::security::nonce::CspNonce;
use crate::security::prebuilt::Prebuilt;

/// A service whose responses bear security headers. Made by
/// [`SecurityHeadersLayer`](crate::SecurityHeadersLayer).
#[derive(Clone, Debug)]
pub struct SecurityHeadersService<S> {
    pub(crate) inner: S,
    pub(crate) prebuilt: Arc<Prebuilt>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SecurityHeadersService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = SecurityHeadersFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let extensions = request.extensions_mut();
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
            inner: self.inner.call(request),
            prebuilt: Arc::clone(&self.prebuilt),
            https,
            nonce,
        }
    }
}
