//! A body that holds its permit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Permit;
use crate::refusal::RefusalBody;

pin_project! {
    /// The body of a response under a [`Concurrency`](crate::Concurrency) limit. The request
    /// counts until this has ended, failed or been dropped.
    #[derive(Debug)]
    pub struct ConcurrencyBody<B> {
        #[pin]
        inner: B,
        permit: Option<Permit>,
    }
}

impl<B> ConcurrencyBody<B> {
    pub(super) fn new(inner: B, permit: Option<Permit>) -> Self {
        Self { inner, permit }
    }
}

/// A layer further out may refuse into it: such a response holds no permit.
impl<B: RefusalBody> RefusalBody for ConcurrencyBody<B> {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::new(B::from_bytes(bytes), None)
    }
}

impl<B: Body> Body for ConcurrencyBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            *this.permit = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
