//! The response to come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::form::ReadForms;
use super::inspection::Inspection;
use super::layer::Shared;
use super::on_inspection::OnInspection;
use crate::refusal::Respond;

pin_project! {
    /// The future of [`Inspected`](crate::Inspected).
    pub struct InspectFuture<S, B, O, R, F>
    where
        S: Service<Request<B>>,
        F: ReadForms<B>,
    {
        #[pin]
        state: State<S, B, O, R, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, O, R, F>
    where
        S: Service<Request<B>>,
        F: ReadForms<B>,
    {
        Reading {
            #[pin]
            read: F::Read,
            waiting: Option<Waiting<S, O, R>>,
        },
        Passed { #[pin] future: S::Future },
        Refused { response: Option<S::Response> },
    }
}

/// What waits for the form.
struct Waiting<S, O, R> {
    ready: S,
    parts: Parts,
    inspection: Inspection,
    shared: Arc<Shared<O, R>>,
}

impl<S, B, O, R, F> InspectFuture<S, B, O, R, F>
where
    S: Service<Request<B>>,
    F: ReadForms<B>,
{
    pub(super) fn passed(future: S::Future) -> Self {
        Self {
            state: State::Passed { future },
        }
    }

    pub(super) fn refused(response: S::Response) -> Self {
        let response = Some(response);
        Self {
            state: State::Refused { response },
        }
    }

    pub(super) fn reading(
        read: F::Read,
        ready: S,
        parts: Parts,
        inspection: Inspection,
        shared: Arc<Shared<O, R>>,
    ) -> Self {
        let waiting = Some(Waiting {
            ready,
            parts,
            inspection,
            shared,
        });
        Self {
            state: State::Reading { read, waiting },
        }
    }
}

impl<S, B, O, R, F, ResBody> Future for InspectFuture<S, B, O, R, F>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    O: OnInspection,
    R: Respond<ResBody>,
    F: ReadForms<B>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Passed { future } => return future.poll(cx),
                // Polled again after it is ready: a future may stay pending then.
                StateProj::Refused { response } => {
                    return response
                        .take()
                        .map_or(Poll::Pending, |response| Poll::Ready(Ok(response)));
                }
                StateProj::Reading { read, waiting } => {
                    let read = ready!(read.poll(cx));
                    let Some(mut waiting) = waiting.take() else {
                        return Poll::Pending;
                    };
                    let shared = &waiting.shared;
                    let mut form = shared.inspector.inspect_form(&read.form);
                    form.truncated(!read.complete);
                    waiting.inspection.merge(form);
                    let next = match shared.settle(&waiting.parts, &waiting.inspection) {
                        Some(response) => State::Refused {
                            response: Some(response),
                        },
                        None => {
                            let request = Request::from_parts(waiting.parts, read.body);
                            State::Passed {
                                future: waiting.ready.call(request),
                            }
                        }
                    };
                    state.set(next);
                }
            }
        }
    }
}

impl<S, B, O, R, F> fmt::Debug for InspectFuture<S, B, O, R, F>
where
    S: Service<Request<B>>,
    F: ReadForms<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InspectFuture").finish_non_exhaustive()
    }
}
