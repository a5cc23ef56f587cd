//! The response to come.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::fields::Fields;
use crate::limiter::Rules;
use crate::on_decision::OnDecision;
use crate::refusal::Respond;
use crate::service::{RateLimit, Settled};
use crate::store::{Charges, Store};

pin_project! {
    /// The future of [`RateLimit`].
    pub struct ResponseFuture<I, S, O, R, ReqBody>
    where
        I: Service<Request<ReqBody>>,
        S: Store,
    {
        #[pin]
        state: State<S::Future, I::Future, I::Response, Pending<I, S, O, R, ReqBody>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<C, F, B, P> {
        Refused { response: Option<B> },
        // Boxed: a store that has to be waited for costs more than an allocation, and one in
        // memory is never waited for.
        Deciding { #[pin] charge: C, pending: Option<Box<P>> },
        Calling { #[pin] future: F, fields: Option<Fields> },
    }
}

/// What is needed until the decision is there.
pub(crate) struct Pending<I, S, O, R, ReqBody> {
    pub(crate) service: RateLimit<I, S, O, R>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) parts: Parts,
    pub(crate) body: ReqBody,
    pub(crate) charges: Charges,
}

impl<I, S, O, R, ReqBody> ResponseFuture<I, S, O, R, ReqBody>
where
    I: Service<Request<ReqBody>>,
    S: Store,
{
    pub(crate) fn refused(response: I::Response) -> Self {
        let response = Some(response);
        Self {
            state: State::Refused { response },
        }
    }

    pub(crate) fn calling(future: I::Future, fields: Option<Fields>) -> Self {
        Self {
            state: State::Calling { future, fields },
        }
    }

    pub(crate) fn deciding(charge: S::Future, pending: Pending<I, S, O, R, ReqBody>) -> Self {
        let pending = Some(Box::new(pending));
        Self {
            state: State::Deciding { charge, pending },
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
        let mut state = self.project().state;
        loop {
            let (verdicts, pending) = match state.as_mut().project() {
                StateProj::Refused { response } => {
                    let response = response.take().expect("polled after completion");
                    return Poll::Ready(Ok(response));
                }
                StateProj::Calling { future, fields } => {
                    let mut response = ready!(future.poll(cx))?;
                    if let Some(fields) = fields.take() {
                        fields.append_to(response.headers_mut());
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProj::Deciding { charge, pending } => (ready!(charge.poll(cx)), pending),
            };
            let pending = pending.take().expect("a decision is taken once");
            let Pending {
                mut service,
                rules,
                mut parts,
                body,
                charges,
            } = *pending;
            let decision = match verdicts {
                Ok(verdicts) => rules.decision(&charges, Ok(&verdicts)),
                Err(error) => rules.decision(&charges, Err(error)),
            };
            match service.settle(&rules, &charges, &decision, &mut parts) {
                Settled::Refused(response) => return Poll::Ready(Ok(response)),
                Settled::Admitted(fields) => {
                    let future = service.inner.call(Request::from_parts(parts, body));
                    state.set(State::Calling { future, fields });
                }
            }
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
