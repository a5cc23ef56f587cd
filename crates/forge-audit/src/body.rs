//! The body of a response, watched until its end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};

use crate::exchange::{End, Exchange, grpc_status};
use crate::refusal::RefusalBody;

/// A response body whose end can be watched, so that an event tells when the response has ended
/// and which gRPC status its trailers bear.
///
/// Implemented for the bodies of `http-body-util`, and for those of Axum and Tonic behind the
/// features `axum` and `tonic`. For a body type of your own, wrap it with [`Watched::new`]; or end
/// the watch at once by dropping it where there is nothing to wait for.
pub trait AuditBody: RefusalBody {
    /// The same body, which tells `watch` of its end.
    fn watch(self, watch: Watch) -> Self;
}

/// Whole before it is sent, and without trailers: there is nothing to wait for.
impl AuditBody for http_body_util::Full<Bytes> {
    fn watch(self, watch: Watch) -> Self {
        watch.complete();
        self
    }
}

impl<E: 'static> AuditBody for BoxBody<Bytes, E> {
    fn watch(self, watch: Watch) -> Self {
        Self::new(Watched::new(self, watch))
    }
}

impl<E: 'static> AuditBody for UnsyncBoxBody<Bytes, E> {
    fn watch(self, watch: Watch) -> Self {
        Self::new(Watched::new(self, watch))
    }
}

#[cfg(feature = "axum")]
impl AuditBody for axum::body::Body {
    fn watch(self, watch: Watch) -> Self {
        Self::new(Watched::new(self, watch))
    }
}

#[cfg(feature = "tonic")]
impl AuditBody for tonic::body::Body {
    fn watch(self, watch: Watch) -> Self {
        Self::new(Watched::new(self, watch))
    }
}

/// Waits for the end of a response body, and then hands the event of its request over.
#[must_use = "dropping it ends the watch"]
pub struct Watch {
    exchange: Option<Exchange>,
    status: StatusCode,
    grpc_status: Option<u16>,
    /// Whether a part of the body was delivered, but not its end.
    midway: bool,
}

impl Watch {
    pub(crate) fn new(exchange: Exchange, status: StatusCode, grpc_status: Option<u16>) -> Self {
        Self {
            exchange: Some(exchange),
            status,
            grpc_status,
            midway: false,
        }
    }

    fn frame(&mut self, frame: &Frame<impl Sized>) {
        self.midway = true;
        if let Some(trailers) = frame.trailers_ref() {
            self.grpc_status = self.grpc_status.or_else(|| grpc_status(trailers));
            self.complete_in_place();
        }
    }

    /// The body has ended.
    pub fn complete(mut self) {
        self.complete_in_place();
    }

    fn complete_in_place(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(End::Response(self.status, self.grpc_status));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        // A body that was never asked for is none, as with HEAD and 304; a gRPC call without a
        // status is never whole.
        let whole = !self.midway && (!exchange.is_grpc() || self.grpc_status.is_some());
        exchange.end(if whole {
            End::Response(self.status, self.grpc_status)
        } else {
            End::Partial(self.status)
        });
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    /// A body that tells a [`Watch`] of its end.
    #[derive(Debug)]
    pub struct Watched<B> {
        #[pin]
        inner: B,
        watch: Watch,
    }
}

impl<B> Watched<B> {
    /// `inner`, watched.
    pub fn new(inner: B, watch: Watch) -> Self {
        Self { inner, watch }
    }
}

impl<B: Body> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let polled = ready!(this.inner.as_mut().poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => this.watch.frame(frame),
            Some(Err(_)) => this.watch.midway = true,
            None => this.watch.complete_in_place(),
        }
        if this.inner.is_end_stream() {
            this.watch.complete_in_place();
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
