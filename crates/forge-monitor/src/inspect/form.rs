//! Form bodies: read up to a bound, looked at, and passed on as they came.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// Whether, and how, the body of a request is read. Implemented for [`NoForms`] and [`Forms`].
pub trait ReadForms<B>: Clone {
    /// The reading.
    type Read: Future<Output = Read<B>>;

    /// The bound of what is read of this request's body; `None` where nothing is.
    fn bound(&self, parts: &Parts) -> Option<usize>;

    /// Reads up to `bound` bytes.
    fn read(&self, body: B, bound: usize) -> Self::Read;
}

/// What was read of a body, and the body to pass on, which has it all.
#[derive(Debug)]
pub struct Read<B> {
    pub(super) form: Vec<u8>,
    pub(super) complete: bool,
    pub(super) body: B,
}

/// No body is read. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoForms;

impl<B> ReadForms<B> for NoForms {
    type Read = Ready<Read<B>>;

    fn bound(&self, _: &Parts) -> Option<usize> {
        None
    }

    fn read(&self, body: B, _: usize) -> Self::Read {
        ready(Read {
            form: Vec::new(),
            complete: false,
            body,
        })
    }
}

/// The bodies of requests of type `application/x-www-form-urlencoded` that a predicate picks are read.
pub struct Forms<P> {
    pick: Arc<P>,
    max_bytes: usize,
}

impl<P> Forms<P> {
    pub(super) fn new(pick: P, max_bytes: usize) -> Self {
        Self {
            pick: Arc::new(pick),
            max_bytes,
        }
    }
}

impl<P> Clone for Forms<P> {
    fn clone(&self) -> Self {
        Self {
            pick: Arc::clone(&self.pick),
            max_bytes: self.max_bytes,
        }
    }
}

impl<P> fmt::Debug for Forms<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forms")
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

impl<B, P> ReadForms<B> for Forms<P>
where
    B: ReplayBody,
    P: Fn(&Parts) -> bool,
{
    type Read = ReadForm<B>;

    fn bound(&self, parts: &Parts) -> Option<usize> {
        let form = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.as_bytes();
            let essence = kind.split(|byte| *byte == b';').next();
            essence.is_some_and(|essence| {
                essence
                    .trim_ascii()
                    .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
            })
        });
        (form && (self.pick)(parts)).then_some(self.max_bytes)
    }

    fn read(&self, body: B, bound: usize) -> Self::Read {
        ReadForm {
            body: Some(body),
            bound,
            read: 0,
            frames: VecDeque::new(),
        }
    }
}

/// A body that what was read of it can be put back into.
///
/// Implemented for the boxed bodies of `http-body-util`, and for those of Axum and Tonic behind the
/// features `axum` and `tonic`.
pub trait ReplayBody: Body<Data = Bytes> + Unpin + Sized {
    /// A body that yields what `replayed` does.
    fn replay(replayed: Replayed<Self>) -> Self;
}

impl<E: 'static> ReplayBody for http_body_util::combinators::UnsyncBoxBody<Bytes, E>
where
    E: Send,
{
    fn replay(replayed: Replayed<Self>) -> Self {
        Self::new(replayed)
    }
}

#[cfg(feature = "axum")]
impl ReplayBody for axum::body::Body {
    fn replay(replayed: Replayed<Self>) -> Self {
        Self::new(replayed)
    }
}

#[cfg(feature = "tonic")]
impl ReplayBody for tonic::body::Body {
    fn replay(replayed: Replayed<Self>) -> Self {
        Self::new(replayed)
    }
}

/// The future of [`Forms`]: reads frames until the end, the bound, or an error.
pub struct ReadForm<B: Body> {
    body: Option<B>,
    bound: usize,
    read: usize,
    frames: VecDeque<Result<Frame<Bytes>, B::Error>>,
}

// Nothing in it is pinned: the body is `Unpin`.
impl<B: Body + Unpin> Unpin for ReadForm<B> {}

impl<B: Body> fmt::Debug for ReadForm<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadForm")
            .field("bound", &self.bound)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl<B: ReplayBody> Future for ReadForm<B> {
    type Output = Read<B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let complete = loop {
            // Polled again after it is ready: a future may stay pending then.
            let Some(body) = &mut this.body else {
                return Poll::Pending;
            };
            if this.read > this.bound {
                break false;
            }
            match ready!(Pin::new(body).poll_frame(cx)) {
                None => break true,
                Some(Ok(frame)) => {
                    this.read += frame.data_ref().map_or(0, Bytes::len);
                    this.frames.push_back(Ok(frame));
                }
                Some(Err(error)) => {
                    this.frames.push_back(Err(error));
                    break false;
                }
            }
        };
        let Some(rest) = this.body.take() else {
            return Poll::Pending;
        };
        let frames = std::mem::take(&mut this.frames);
        let mut form = Vec::with_capacity(this.read);
        for data in frames.iter().flatten().filter_map(Frame::data_ref) {
            form.extend_from_slice(data);
        }
        let body = B::replay(Replayed { frames, rest });
        Poll::Ready(Read {
            form,
            complete,
            body,
        })
    }
}

pin_project! {
    /// A body of which some was read: what was read, then the rest.
    pub struct Replayed<B>
    where
        B: Body,
    {
        frames: VecDeque<Result<Frame<Bytes>, B::Error>>,
        #[pin]
        rest: B,
    }
}

impl<B: Body<Data = Bytes>> Body for Replayed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        match this.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => this.rest.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let frames = self.frames.iter().flatten().filter_map(Frame::data_ref);
        let read: u64 = frames.map(|data| data.len() as u64).sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

impl<B: Body> fmt::Debug for Replayed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replayed")
            .field("frames", &self.frames.len())
            .finish_non_exhaustive()
    }
}
