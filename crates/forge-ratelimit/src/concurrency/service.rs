//! The service: takes a permit, then passes the request on or refuses it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{Admission, Concurrency, ConcurrencyBody, ConcurrencyFuture};
use crate::fields;
use crate::on_concurrency::{ConcurrencyDecision, ConcurrencyOutcome, OnConcurrency};
use crate::policy::PolicyName;
use crate::refusal::{Problem, Refusal, Respond};

/// A service of which so many calls may be under way. Made by
/// [`ConcurrencyLayer`](crate::ConcurrencyLayer).
pub struct ConcurrencyLimit<I, O = (), R = Problem> {
    pub(super) inner: I,
    pub(super) limit: Concurrency,
    pub(super) on_concurrency: Arc<O>,
    pub(super) responder: Arc<R>,
}

impl<I, O, R, ReqBody, ResBody> Service<Request<ReqBody>> for ConcurrencyLimit<I, O, R>
where
    I: Service<Request<ReqBody>, Response = Response<ResBody>>,
    O: OnConcurrency,
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
        let admission = self.limit.admit(&parts);
        let max = self.limit.max();
        let decision = |key_class, under_way, outcome| ConcurrencyDecision {
            policy: Arc::clone(&self.limit.name),
            key_class,
            max,
            under_way,
            outcome,
        };
        let (refusal, decision) = match admission {
            Admission::Uncounted => {
                let future = self.inner.call(Request::from_parts(parts, body));
                return ConcurrencyFuture::calling(future, None, None);
            }
            Admission::Granted {
                permit,
                class,
                under_way,
            } => {
                let decision = decision(Some(class), under_way, ConcurrencyOutcome::Granted);
                self.on_concurrency.on_concurrency(&parts, &decision);
                let permit = permit.tell(Arc::clone(&self.on_concurrency) as _, decision.policy);
                let free = max.saturating_sub(under_way);
                let fields = self.limit.announced;
                let fields = fields.then(|| fields::concurrency(&self.limit.name, max, free));
                let future = self.inner.call(Request::from_parts(parts, body));
                return ConcurrencyFuture::calling(future, Some(permit), fields);
            }
            Admission::Full { class, under_way } => (
                Refusal::too_many_at_once(PolicyName::of(&self.limit.name)),
                decision(Some(class), under_way, ConcurrencyOutcome::Refused),
            ),
            Admission::Unidentified => (
                Refusal::unidentified(),
                decision(None, 0, ConcurrencyOutcome::Unidentified),
            ),
        };
        self.on_concurrency.on_concurrency(&parts, &decision);
        let mut response = self.responder.respond(&parts, &refusal);
        let fields = fields::concurrency(&self.limit.name, max, 0);
        fields::append_concurrency(response.headers_mut(), fields);
        ConcurrencyFuture::refused(response)
    }
}

impl<I: Clone, O, R> Clone for ConcurrencyLimit<I, O, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limit: self.limit.clone(),
            on_concurrency: Arc::clone(&self.on_concurrency),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<I: fmt::Debug, O, R> fmt::Debug for ConcurrencyLimit<I, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("inner", &self.inner)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
