//! The service: charges a request, then passes it on or refuses it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::future::ResponseFuture;
use crate::limiter::RateLimiter;
use crate::on_decision::OnDecision;
use crate::refusal::{Problem, Respond};
use crate::store::Store;
use crate::store::memory::MemoryStore;

/// A service whose requests are limited. Made by [`RateLimitLayer`](crate::RateLimitLayer).
pub struct RateLimit<I, S = MemoryStore, O = (), R = Problem> {
    pub(crate) inner: I,
    pub(crate) limiter: RateLimiter<S>,
    pub(crate) on_decision: Arc<O>,
    pub(crate) responder: Arc<R>,
}

impl<I, S, O, R, ReqBody, ResBody> Service<Request<ReqBody>> for RateLimit<I, S, O, R>
where
    I: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    S: Store,
    O: OnDecision,
    R: Respond<ResBody>,
{
    type Response = I::Response;
    type Error = I::Error;
    type Future = ResponseFuture<I, S, O, R, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // The service that was polled ready must be the one that is called.
        let unready = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, unready);
        let (parts, body) = request.into_parts();
        let charges = self.limiter.charges(&parts);
        let service = RateLimit {
            inner,
            limiter: self.limiter.clone(),
            on_decision: Arc::clone(&self.on_decision),
            responder: Arc::clone(&self.responder),
        };
        ResponseFuture::new(service, parts, body, charges)
    }
}

impl<I: Clone, S, O, R> Clone for RateLimit<I, S, O, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limiter: self.limiter.clone(),
            on_decision: Arc::clone(&self.on_decision),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<I: fmt::Debug, S, O, R> fmt::Debug for RateLimit<I, S, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}
