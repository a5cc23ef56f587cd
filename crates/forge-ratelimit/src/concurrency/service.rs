//! The service: takes a permit, then passes the request on or refuses it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{Admission, Concurrency, ConcurrencyBody, ConcurrencyFuture};
use crate::fields;
use crate::refusal::{Refusal, Respond};

/// A service of which so many calls may be under way. Made by
/// [`ConcurrencyLayer`](crate::ConcurrencyLayer).
pub struct ConcurrencyLimit<I, R> {
    pub(super) inner: I,
    pub(super) limit: Concurrency,
    pub(super) responder: Arc<R>,
}

impl<I, R, ReqBody, ResBody> Service<Request<ReqBody>> for ConcurrencyLimit<I, R>
where
    I: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Respond<ResBody>,
{
    type Response = Response<ConcurrencyBody<ResBody>>;
    type Error = I::Error;
    type Future = ConcurrencyFuture<I::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let refusal = match self.limit.admit(&parts) {
            Admission::Uncounted => {
                let future = self.inner.call(Request::from_parts(parts, body));
                return ConcurrencyFuture::calling(future, None, None);
            }
            Admission::Granted(permit) => {
                let fields = fields::concurrency(&self.limit.name, self.limit.max(), permit.free);
                let future = self.inner.call(Request::from_parts(parts, body));
                return ConcurrencyFuture::calling(future, Some(permit), Some(fields));
            }
            Admission::Full => Refusal::too_many_at_once(Arc::clone(&self.limit.name)),
            Admission::Unidentified => Refusal::unidentified(),
        };
        let mut response = self.responder.respond(&parts, &refusal);
        let fields = fields::concurrency(&self.limit.name, self.limit.max(), 0);
        fields::append_concurrency(response.headers_mut(), fields);
        ConcurrencyFuture::refused(response)
    }
}

impl<I: Clone, R> Clone for ConcurrencyLimit<I, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limit: self.limit.clone(),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<I: fmt::Debug, R> fmt::Debug for ConcurrencyLimit<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("inner", &self.inner)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
