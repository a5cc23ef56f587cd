//! The response to come.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrayvec::ArrayVec;
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::MAX_POLICIES;
use crate::decision::{Decision, PolicyVerdict};
use crate::fields;
use crate::limiter::RateLimiter;
use crate::on_decision::OnDecision;
use crate::refusal::{Refusal, Respond};
use crate::service::RateLimit;
use crate::store::{Charges, Store};

pin_project! {
    /// The future of [`RateLimit`].
    pub struct ResponseFuture<I, S, O, R, ReqBody>
    where
        I: Service<Request<ReqBody>>,
        S: Store,
    {
        #[pin]
        state: State<S::Future, I::Future>,
        // What is needed until the decision is there.
        waiting: Option<Waiting<I, S, O, R, ReqBody>>,
        // What is needed to write the fields into the response.
        limiter: RateLimiter<S>,
        verdicts: ArrayVec<PolicyVerdict, MAX_POLICIES>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<C, F> {
        Unidentified { policy: Option<Arc<str>> },
        Deciding { #[pin] charge: C },
        Calling { #[pin] future: F },
    }
}

struct Waiting<I, S, O, R, ReqBody> {
    service: RateLimit<I, S, O, R>,
    parts: Parts,
    body: ReqBody,
    charges: Charges,
}

impl<I, S, O, R, ReqBody> ResponseFuture<I, S, O, R, ReqBody>
where
    I: Service<Request<ReqBody>>,
    S: Store,
{
    pub(crate) fn new(
        service: RateLimit<I, S, O, R>,
        parts: Parts,
        body: ReqBody,
        charges: Result<Charges, Arc<str>>,
    ) -> Self {
        let limiter = service.limiter.clone();
        let (state, charges) = match charges {
            Ok(charges) => {
                let charge = service.limiter.store().charge(charges.clone());
                (State::Deciding { charge }, charges)
            }
            Err(policy) => (
                State::Unidentified {
                    policy: Some(policy),
                },
                Charges::new(),
            ),
        };
        let waiting = Waiting {
            service,
            parts,
            body,
            charges,
        };
        Self {
            state,
            waiting: Some(waiting),
            limiter,
            verdicts: ArrayVec::new(),
        }
    }
}

impl<I, S, O, R, ReqBody, ResBody> Future for ResponseFuture<I, S, O, R, ReqBody>
where
    I: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S: Store,
    O: OnDecision,
    R: Respond<ResBody>,
{
    type Output = Result<I::Response, I::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let verdicts = match this.state.as_mut().project() {
                StateProj::Calling { future } => {
                    let mut response = ready!(future.poll(cx))?;
                    fields::append(response.headers_mut(), this.limiter, this.verdicts);
                    return Poll::Ready(Ok(response));
                }
                StateProj::Deciding { charge } => Ok(ready!(charge.poll(cx))),
                StateProj::Unidentified { policy } => {
                    Err(policy.take().expect("polled after completion"))
                }
            };
            let waiting = this.waiting.take().expect("a decision is taken once");
            let Waiting {
                mut service,
                parts,
                body,
                charges,
            } = waiting;
            let decision = match verdicts {
                Ok(verdicts) => this.limiter.decision(&charges, verdicts),
                Err(policy) => Decision::Unidentified { policy },
            };
            service.on_decision.on_decision(&parts, &decision);
            if !decision.is_admitted() {
                let refusal = refusal(&decision);
                let mut response = service.responder.respond(&parts, &refusal);
                fields::append(response.headers_mut(), this.limiter, decision.verdicts());
                return Poll::Ready(Ok(response));
            }
            if let Decision::Admitted(verdicts) = decision {
                *this.verdicts = verdicts;
            }
            let future = service.inner.call(Request::from_parts(parts, body));
            this.state.set(State::Calling { future });
        }
    }
}

fn refusal(decision: &Decision) -> Refusal {
    match decision {
        Decision::Unidentified { policy } => {
            tracing::warn!(%policy, "request refused: its rate limit key cannot be read");
            Refusal::unidentified()
        }
        Decision::Undecided { error, .. } => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "request refused: no verdict"
            );
            Refusal::undecided().with_header(RETRY_AFTER, HeaderValue::from_static("1"))
        }
        Decision::Admitted(_) | Decision::Refused(_) => {
            let violated = decision
                .violated()
                .map(|of| Arc::clone(&of.policy))
                .collect();
            let wait = decision.retry_after().unwrap_or_default().as_secs();
            Refusal::quota_exceeded(violated).with_header(RETRY_AFTER, HeaderValue::from(wait))
        }
    }
}

impl<I, S, O, R, ReqBody> fmt::Debug for ResponseFuture<I, S, O, R, ReqBody>
where
    I: Service<Request<ReqBody>>,
    S: Store,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
