//! The answer to come: reads the body, tells of its reports.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{ALLOW, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;

use crate::report::on_report::OnReport;
use crate::report::parse::{Format, MAX_BYTES};

pin_project! {
    /// The future of [`ReportCollector`](crate::ReportCollector).
    pub struct ReportFuture<B, O> {
        #[pin]
        state: State<B, O>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B, O> {
        Refused { status: StatusCode },
        Reading {
            #[pin]
            body: B,
            read: Vec<u8>,
            parts: Parts,
            format: Format,
            on_report: Arc<O>,
        },
    }
}

impl<B, O> ReportFuture<B, O> {
    pub(crate) fn refused(status: StatusCode) -> Self {
        let state = State::Refused { status };
        Self { state }
    }

    pub(crate) fn reading(request: Request<B>, format: Format, on_report: Arc<O>) -> Self {
        let (parts, body) = request.into_parts();
        let state = State::Reading {
            body,
            read: Vec::new(),
            parts,
            format,
            on_report,
        };
        Self { state }
    }
}

impl<B, O> Future for ReportFuture<B, O>
where
    B: Body,
    O: OnReport,
{
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let status = match self.project().state.project() {
            StateProj::Refused { status } => *status,
            StateProj::Reading {
                body,
                read,
                parts,
                format,
                on_report,
            } => match ready!(poll_read(body, read, cx)) {
                Ok(()) => match format.read(read) {
                    Ok(reports) => {
                        if !reports.is_empty() {
                            on_report.on_report(parts, &reports);
                        }
                        StatusCode::NO_CONTENT
                    }
                    Err(_) => StatusCode::BAD_REQUEST,
                },
                Err(status) => status,
            },
        };
        Poll::Ready(Ok(respond(status)))
    }
}

/// Reads to the end, or to the first byte too many.
fn poll_read<B: Body>(
    mut body: Pin<&mut B>,
    read: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), StatusCode>> {
    while let Some(frame) = ready!(body.as_mut().poll_frame(cx)) {
        let Ok(frame) = frame else {
            return Poll::Ready(Err(StatusCode::BAD_REQUEST));
        };
        // Trailers say nothing here.
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if data.remaining() > MAX_BYTES - read.len() {
            return Poll::Ready(Err(StatusCode::PAYLOAD_TOO_LARGE));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Poll::Ready(Ok(()))
}

fn respond(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

impl<B, O> fmt::Debug for ReportFuture<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportFuture").finish_non_exhaustive()
    }
}
