//! A response body that does not outlive the session it is for.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body that ends when a session is revoked. Made by
    /// [`Authenticated::until_revoked`](crate::Authenticated::until_revoked).
    ///
    /// It ends as if it were complete: to a client of `text/event-stream` that is the moment to
    /// connect again, which is then refused.
    pub struct UntilRevoked<B> {
        #[pin]
        body: B,
        revoked: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
        ended: bool,
    }
}

impl<B> UntilRevoked<B> {
    pub(crate) fn new(body: B, revoked: Pin<Box<dyn Future<Output = ()> + Send>>) -> Self {
        Self {
            body,
            revoked: Some(revoked),
            ended: false,
        }
    }
}

impl<B: Body> Body for UntilRevoked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        if let Some(revoked) = this.revoked
            && revoked.as_mut().poll(cx).is_ready()
        {
            *this.revoked = None;
            *this.ended = true;
        }
        if *this.ended {
            return Poll::Ready(None);
        }
        this.body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    /// Whether all of the body will come is not known.
    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

impl<B> fmt::Debug for UntilRevoked<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilRevoked").finish_non_exhaustive()
    }
}
