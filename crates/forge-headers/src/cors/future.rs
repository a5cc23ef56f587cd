//! The response to come: the answer to a preflight, or the inner service's with the policy's word.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Response};
use pin_project_lite::pin_project;

use crate::cors::Cors;

pin_project! {
    /// The future of [`CorsService`](crate::CorsService).
    #[derive(Debug)]
    pub struct CorsFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProj]
    enum State<F, B> {
        Inner {
            #[pin]
            future: F,
            cors: Arc<Cors>,
            verdict: Option<HeaderValue>,
        },
        // `None` once the response has been handed out.
        Answered { response: Option<Response<B>> },
    }
}

impl<F, B> CorsFuture<F, B> {
    pub(crate) fn inner(future: F, cors: Arc<Cors>, verdict: Option<HeaderValue>) -> Self {
        Self {
            state: State::Inner {
                future,
                cors,
                verdict,
            },
        }
    }

    pub(crate) fn answered(response: Response<B>) -> Self {
        Self {
            state: State::Answered {
                response: Some(response),
            },
        }
    }
}

impl<F, B, E> Future for CorsFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Inner {
                future,
                cors,
                verdict,
            } => {
                let mut response = ready!(future.poll(cx))?;
                cors.apply(response.headers_mut(), verdict.take());
                Poll::Ready(Ok(response))
            }
            StateProj::Answered { response } => {
                Poll::Ready(Ok(response.take().expect("polled after completion")))
            }
        }
    }
}
