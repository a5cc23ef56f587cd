//! The response to come.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use http::request::Parts;
use pin_project_lite::pin_project;

use crate::body::{AuditBody, Watch};
use crate::error::RecordError;
use crate::exchange::{End, Exchange, grpc_status};
use crate::log::Receipt;
use crate::refusal::{Refusal, Respond};

type Recording = Pin<Box<dyn Future<Output = Result<Receipt, RecordError>> + Send>>;

/// What a refusal after the fact is made of.
type Refuse<R> = (Box<Parts>, Arc<R>);

pin_project! {
    /// The future of [`Audit`](crate::Audit).
    pub struct ResponseFuture<F, B, R> {
        #[pin]
        state: State<F, B>,
        exchange: Option<Exchange>,
        // There if the event is required.
        refuse: Option<Refuse<R>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        Calling { #[pin] future: F },
        Recording { recording: Recording, response: Option<Response<B>> },
        Refused { response: Option<Response<B>> },
    }
}

impl<F, B, R> ResponseFuture<F, B, R> {
    pub(crate) fn unrecorded(future: F) -> Self {
        Self {
            state: State::Calling { future },
            exchange: None,
            refuse: None,
        }
    }

    pub(crate) fn metadata(future: F, exchange: Exchange) -> Self {
        Self {
            exchange: Some(exchange),
            ..Self::unrecorded(future)
        }
    }

    pub(crate) fn required(future: F, exchange: Exchange, refuse: Refuse<R>) -> Self {
        Self {
            refuse: Some(refuse),
            ..Self::metadata(future, exchange)
        }
    }

    pub(crate) fn refused(response: Response<B>, exchange: Exchange) -> Self {
        // The log does not work, but what is enqueued is kept until it does.
        exchange.end(End::Response(
            response.status(),
            grpc_status(response.headers()),
        ));
        let state = State::Refused {
            response: Some(response),
        };
        Self {
            state,
            exchange: None,
            refuse: None,
        }
    }
}

impl<F, B, E, R> Future for ResponseFuture<F, B, R>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: AuditBody,
    R: Respond<B>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (recording, response) = match this.state.as_mut().project() {
                StateProj::Calling { future } => {
                    let answer = ready!(future.poll(cx));
                    let Some(exchange) = this.exchange.take() else {
                        return Poll::Ready(answer);
                    };
                    let response = match answer {
                        Ok(response) => response,
                        Err(error) => {
                            exchange.end(End::Failed);
                            return Poll::Ready(Err(error));
                        }
                    };
                    let status = response.status();
                    let grpc_status = grpc_status(response.headers());
                    if this.refuse.is_none() {
                        let watch = Watch::new(exchange, status, grpc_status);
                        return Poll::Ready(Ok(response.map(|body| body.watch(watch))));
                    }
                    let log = exchange.log().clone();
                    let event = exchange.into_event(End::Begun(status, grpc_status));
                    let recording: Recording = Box::pin(async move { log.record(event).await });
                    (recording, response)
                }
                StateProj::Recording {
                    recording,
                    response,
                } => {
                    let recorded = ready!(recording.as_mut().poll(cx));
                    let response = response.take().expect("polled after completion");
                    let (Err(error), Some((parts, responder))) = (recorded, this.refuse.take())
                    else {
                        return Poll::Ready(Ok(response));
                    };
                    tracing::error!(
                        target: crate::trace::TARGET,
                        error = &error as &dyn std::error::Error,
                        "response withheld: its event cannot be recorded"
                    );
                    return Poll::Ready(Ok(responder.respond(&parts, &Refusal::unrecorded())));
                }
                StateProj::Refused { response } => {
                    let response = response.take().expect("polled after completion");
                    return Poll::Ready(Ok(response));
                }
            };
            this.state.set(State::Recording {
                recording,
                response: Some(response),
            });
        }
    }
}

impl<F, B, R> fmt::Debug for ResponseFuture<F, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
