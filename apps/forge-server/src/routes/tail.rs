//! `GET /api/admin/audit/tail`: the audit log as it grows, as server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use forge_audit::{AuditContext, Kind, Next, StoreError, Tail};
use http::{HeaderMap, header};
use hyper::body::Frame;
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::audit::AuditView;
use crate::app::App;
use crate::principal::Admin;
use crate::problem::Problem;

/// So often something is sent, so that nobody between takes the connection for dead.
const QUIET: Duration = Duration::from_secs(15);
/// After so long the stream ends and the browser connects anew: then its rights are checked again.
const LONGEST: Duration = Duration::from_secs(600);

/// Events after the one that `Last-Event-ID` names, or else from now on. A record is an event
/// `record`; what is not there any more is an event `gap` with its first and last sequence.
pub(super) async fn tail(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    context.kind(Kind::DataAccess);
    context.action("admin.audit.tail");
    let after = match headers.get("last-event-id") {
        None => app.audit.head().seq,
        Some(id) => id
            .to_str()
            .ok()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Problem::bad_request("`Last-Event-ID` is not one of this stream"))?,
    };
    let stream = Events {
        next: next(app.audit.tail(after)),
        quiet: Box::pin(sleep(QUIET)),
        end: Box::pin(sleep(LONGEST)),
        draining: Box::pin(app.draining.clone().cancelled_owned()),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::new(stream)).into_response())
}

type Following = Pin<Box<dyn Future<Output = (Tail, Result<Option<Next>, StoreError>)> + Send>>;

fn next(mut tail: Tail) -> Following {
    Box::pin(async move {
        let next = tail.next().await;
        (tail, next)
    })
}

struct Events {
    next: Following,
    quiet: Pin<Box<Sleep>>,
    end: Pin<Box<Sleep>>,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let is_over =
            self.draining.as_mut().poll(cx).is_ready() || self.end.as_mut().poll(cx).is_ready();
        if is_over {
            return Poll::Ready(None);
        }
        let text = match self.next.as_mut().poll(cx) {
            Poll::Ready((tail, Ok(Some(found)))) => {
                self.next = next(tail);
                frame(&found)
            }
            // The browser connects anew, and goes on where it was.
            Poll::Ready(_) => return Poll::Ready(None),
            Poll::Pending => match self.quiet.as_mut().poll(cx) {
                Poll::Ready(()) => ":\n\n".to_owned(),
                Poll::Pending => return Poll::Pending,
            },
        };
        self.quiet.as_mut().reset(Instant::now() + QUIET);
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

/// One event of the stream. JSON has no line breaks.
fn frame(next: &Next) -> String {
    let (name, data) = match next {
        Next::Record(record) => ("record", json!(AuditView::of(record))),
        Next::Gap(span) => ("gap", json!(span)),
        _ => return String::new(),
    };
    format!("id: {}\nevent: {name}\ndata: {data}\n\n", next.last())
}
