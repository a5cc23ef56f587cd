//! The response to come, with the permit in its body.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Response};
use pin_project_lite::pin_project;

use super::{ConcurrencyBody, Permit};
use crate::fields;

type Fields = (HeaderValue, HeaderValue);

pin_project! {
    /// The future of [`ConcurrencyLimit`](crate::ConcurrencyLimit).
    pub struct ConcurrencyFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        Refused { response: Option<Response<B>> },
        Calling { #[pin] future: F, permit: Option<Permit>, fields: Option<Fields> },
    }
}

impl<F, B> ConcurrencyFuture<F, B> {
    pub(super) fn refused(response: Response<B>) -> Self {
        let response = Some(response);
        Self {
            state: State::Refused { response },
        }
    }

    pub(super) fn calling(future: F, permit: Option<Permit>, fields: Option<Fields>) -> Self {
        Self {
            state: State::Calling {
                future,
                permit,
                fields,
            },
        }
    }
}

impl<F, B, E> Future for ConcurrencyFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ConcurrencyBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Refused { response } => {
                let response = response.take().expect("polled after completion");
                Poll::Ready(Ok(response.map(|body| ConcurrencyBody::new(body, None))))
            }
            StateProj::Calling {
                future,
                permit,
                fields,
            } => {
                let mut response = ready!(future.poll(cx))?;
                if let Some(fields) = fields.take() {
                    fields::append_concurrency(response.headers_mut(), fields);
                }
                let permit = permit.take();
                Poll::Ready(Ok(response.map(|body| ConcurrencyBody::new(body, permit))))
            }
        }
    }
}

impl<F, B> fmt::Debug for ConcurrencyFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyFuture").finish_non_exhaustive()
    }
}
