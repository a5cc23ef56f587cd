//! `GET /api/admin/audit/tail`: the audit log as it grows, as server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use forge_audit::{AuditContext, Kind, Next, Query, StoreError, Tail};
use http::{HeaderMap, header};
use hyper::body::Frame;
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::audit::{AuditView, Wanted};
use crate::app::App;
use crate::principal::Admin;
use crate::problem::Problem;

/// So often something is sent, so that nobody between takes the connection for dead.
const QUIET: Duration = Duration::from_secs(15);
/// After so long the stream ends and the browser connects anew: then its rights are checked again.
const LONGEST: Duration = Duration::from_secs(600);

/// Events after the one that `Last-Event-ID` names, or else from now on, that fit the filter of
/// `GET /api/admin/audit`. A record is an event `record`; what is not there any more, and might
/// have fitted, is an event `gap` with its first and last sequence.
pub(super) async fn tail(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    context.kind(Kind::DataAccess);
    context.action("admin.audit.tail");
    let wanted = Wanted::of(query.as_deref())?.followed()?;
    let after = match headers.get("last-event-id") {
        None => app.audit.head().seq,
        Some(id) => id
            .to_str()
            .ok()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Problem::bad_request("`Last-Event-ID` is not one of this stream"))?,
    };
    let draining = app.draining.clone().cancelled_owned();
    let stream = Events::new(app.audit.tail(after), wanted, draining);
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
    wanted: Query,
    /// The last of those that did not fit, if nothing was sent since.
    passed: Option<u64>,
    quiet: Pin<Box<Sleep>>,
    end: Pin<Box<Sleep>>,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Events {
    fn new(tail: Tail, wanted: Query, draining: WaitForCancellationFutureOwned) -> Self {
        Self {
            next: next(tail),
            wanted,
            passed: None,
            quiet: Box::pin(sleep(QUIET)),
            end: Box::pin(sleep(LONGEST)),
            draining: Box::pin(draining),
        }
    }

    fn fits(&self, found: &Next) -> bool {
        match found {
            Next::Record(record) => self.wanted.finds(record),
            _ => true,
        }
    }
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
        let text = loop {
            match self.next.as_mut().poll(cx) {
                Poll::Ready((tail, Ok(Some(found)))) => {
                    self.next = next(tail);
                    if self.fits(&found) {
                        break frame(&found);
                    }
                    self.passed = Some(found.last());
                }
                // The browser connects anew, and goes on where it was.
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => match self.quiet.as_mut().poll(cx) {
                    Poll::Ready(()) => break pause(self.passed),
                    Poll::Pending => return Poll::Pending,
                },
            }
        };
        self.passed = None;
        self.quiet.as_mut().reset(Instant::now() + QUIET);
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

/// Nothing to tell. An id without data is no event, but where the browser goes on when it connects
/// anew (HTML, section 9.2.6).
fn pause(passed: Option<u64>) -> String {
    match passed {
        Some(seq) => format!("id: {seq}\n\n"),
        None => ":\n\n".to_owned(),
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use forge_audit::{AuditLog, Event, MemoryAuditStore, Severity};
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_passed_over_and_not_read_again() {
        let store = Arc::new(MemoryAuditStore::new());
        let log = AuditLog::open(store).await.unwrap();
        let record = async |severity| {
            let event = Event::new(Kind::System, "x").severity(severity);
            log.record(event).await.unwrap();
        };
        record(Severity::Low).await;
        record(Severity::Critical).await;
        let wanted = Query::new().at_least(Severity::High);
        let draining = CancellationToken::new().cancelled_owned();
        let mut stream = Events::new(log.tail(0), wanted, draining);
        let mut next = async || {
            let frame = poll_fn(|cx| Pin::new(&mut stream).poll_frame(cx)).await;
            let data = frame.unwrap().unwrap().into_data().unwrap();
            String::from_utf8(data.to_vec()).unwrap()
        };
        assert!(next().await.starts_with("id: 2\nevent: record\n"));
        assert_eq!(next().await, ":\n\n");
        record(Severity::Low).await;
        assert_eq!(next().await, "id: 3\n\n");
        assert_eq!(next().await, ":\n\n");
    }
}
