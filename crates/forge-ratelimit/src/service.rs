//! The service: charges a request, then passes it on or refuses it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::Guard;
use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use crate::charged::Charged;
use crate::decision::Decision;
use crate::fields::Fields;
use crate::future::{Pending, ResponseFuture};
use crate::limiter::{RateLimiter, Rules};
use crate::on_decision::OnDecision;
use crate::refusal::{Problem, Refusal, Respond};
use crate::store::memory::MemoryStore;
use crate::store::{Charge, Charges, Store, Verdicts};

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
        let (mut parts, body) = request.into_parts();
        let rules = self.limiter.rules();
        let mut charges = Charges::new();
        let mut verdicts = Verdicts::new();
        let settled = match rules.charges(&parts, &mut charges) {
            Err(policy) => {
                let decision = Decision::Unidentified { policy };
                Some(self.settle(&rules, &charges, &decision, &mut parts))
            }
            Ok(()) if self.limiter.store().charge_now(&charges, &mut verdicts) => {
                // Large, and made where it stays.
                let decision = rules.decision(&charges, Ok(&verdicts));
                Some(self.settle(&rules, &charges, &decision, &mut parts))
            }
            Ok(()) => None,
        };
        match settled {
            Some(Settled::Refused(response)) => return ResponseFuture::refused(response),
            Some(Settled::Admitted(fields)) => {
                let request = Request::from_parts(parts, body);
                return ResponseFuture::calling(self.inner.call(request), fields);
            }
            None => {}
        }
        // The service that was polled ready must be the one that is called.
        let unready = self.inner.clone();
        let service = RateLimit {
            inner: std::mem::replace(&mut self.inner, unready),
            limiter: self.limiter.clone(),
            on_decision: Arc::clone(&self.on_decision),
            responder: Arc::clone(&self.responder),
        };
        let charge = self.limiter.store().charge(&charges);
        ResponseFuture::deciding(
            charge,
            Pending {
                service,
                rules: Guard::into_inner(rules),
                parts,
                body,
                charges,
            },
        )
    }
}

/// What follows from a decision.
pub(crate) enum Settled<B> {
    Admitted(Option<Fields>),
    Refused(Response<B>),
}

impl<I, S, O, R> RateLimit<I, S, O, R>
where
    S: Store,
    O: OnDecision,
{
    /// Tells of the decision, and makes the response or marks the request.
    pub(crate) fn settle<B>(
        &self,
        rules: &Rules,
        charges: &[Charge],
        decision: &Decision,
        parts: &mut Parts,
    ) -> Settled<B>
    where
        R: Respond<B>,
    {
        self.on_decision.on_decision(parts, decision);
        let fields = Fields::of(rules, decision.verdicts());
        if !decision.is_admitted() {
            let refusal = Refusal::of(decision);
            let mut response = self.responder.respond(parts, &refusal);
            if let Some(fields) = fields {
                fields.append_to(response.headers_mut());
            }
            return Settled::Refused(response);
        }
        if rules.hands_on {
            let charged = Charged::new(charges, decision.verdicts(), self.limiter.adjuster());
            parts.extensions.insert(charged);
        }
        Settled::Admitted(fields)
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
