//! One request and its response, until its event is handed over.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::Map;

use crate::context::AuditContext;
use crate::event::{Actor, Event, Source};
use crate::kind::{Kind, Outcome, Severity};
use crate::log::AuditLog;
use crate::refusal::{is_grpc, request_id};

/// A request under way. If it is dropped before its end, it was cut short, and that is recorded.
pub(crate) struct Exchange {
    log: AuditLog,
    context: AuditContext,
    started: Duration,
    grpc: bool,
    method: String,
    path: String,
    request_id: Option<String>,
    actor: Actor,
    source: Source,
    ended: bool,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// With a response, whole; for gRPC with this status, if there was one.
    Response(StatusCode, Option<u16>),
    /// With a response of which the beginning is known, and not the end.
    Begun(StatusCode, Option<u16>),
    /// With a response whose body was not delivered to its end.
    Partial(StatusCode),
    /// With an error of the service instead of a response.
    Failed,
    /// Without a response: the client went away, or the handler panicked.
    Cancelled,
}

impl Exchange {
    pub(crate) fn begin(log: AuditLog, parts: &Parts, actor: Actor, source: Source) -> Self {
        Self {
            context: AuditContext::default(),
            started: log.clock().monotonic(),
            grpc: is_grpc(parts),
            method: parts.method.to_string(),
            path: crate::escape::bounded(parts.uri.path(), crate::event::MAX_TEXT),
            request_id: request_id(parts).map(str::to_owned),
            actor,
            source,
            ended: false,
            log,
        }
    }

    pub(crate) fn context(&self) -> AuditContext {
        self.context.clone()
    }

    pub(crate) fn log(&self) -> &AuditLog {
        &self.log
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// Ends the exchange, and queues its event unless the handler has suppressed it.
    pub(crate) fn end(mut self, end: End) {
        self.enqueue(end);
    }

    /// Ends the exchange with the event that the caller records.
    pub(crate) fn into_event(mut self, end: End) -> Event {
        self.event(end)
    }

    fn enqueue(&mut self, end: End) {
        let suppressed = self.context.is_suppressed();
        let event = self.event(end);
        if !suppressed {
            // A loss is counted where it happens.
            let _ = self.log.enqueue(event);
        }
    }

    fn event(&mut self, end: End) -> Event {
        self.ended = true;
        let took = self.log.clock().monotonic().saturating_sub(self.started);
        let mut details = Map::new();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        details.insert("duration_us".into(), micros.into());
        details.insert("method".into(), self.method.as_str().into());
        details.insert("path".into(), self.path.as_str().into());
        if let End::Response(status, _) | End::Begun(status, _) | End::Partial(status) = end {
            details.insert("status".into(), status.as_u16().into());
        }
        if let End::Response(_, Some(code)) | End::Begun(_, Some(code)) = end {
            details.insert("grpc_status".into(), code.into());
        }
        let ended = match end {
            End::Response(..) => "complete",
            End::Begun(..) => "begun",
            End::Partial(_) => "partial",
            End::Failed => "failed",
            End::Cancelled => "cancelled",
        };
        details.insert("response".into(), ended.into());
        let outcome = self.outcome(end);
        let severity = match outcome {
            Outcome::Success | Outcome::Failure => Severity::Low,
            Outcome::Denied | Outcome::Error => Severity::Medium,
        };
        let (action, resource) = if self.grpc {
            ("grpc.call", self.path.clone())
        } else {
            ("http.request", format!("{} {}", self.method, self.path))
        };
        let mut event = Event::new(Kind::DataAccess, action)
            .outcome(outcome)
            .severity(severity)
            .actor(std::mem::take(&mut self.actor))
            .source(std::mem::take(&mut self.source))
            .resource(resource);
        event.request_id = self.request_id.take();
        self.context.apply(event, details)
    }

    fn outcome(&self, end: End) -> Outcome {
        match end {
            End::Response(_, Some(code)) | End::Begun(_, Some(code)) if self.grpc => of_grpc(code),
            // A call whose status never came did not succeed, whatever HTTP says.
            End::Response(StatusCode::OK, None) | End::Partial(StatusCode::OK) if self.grpc => {
                Outcome::Error
            }
            End::Response(status, _) | End::Begun(status, _) | End::Partial(status) => {
                of_http(status)
            }
            // What the handler had done by then, nobody can say: not that it failed.
            End::Failed | End::Cancelled => Outcome::Error,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended {
            self.enqueue(End::Cancelled);
        }
    }
}

/// The `grpc-status` in headers or trailers.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    // A status that is no number is unknown (2), as clients read it.
    let value = headers.get("grpc-status")?.to_str().ok();
    Some(value.and_then(|text| text.parse().ok()).unwrap_or(2))
}

fn of_http(status: StatusCode) -> Outcome {
    match status.as_u16() {
        401 | 403 | 429 => Outcome::Denied,
        400..=499 => Outcome::Failure,
        500.. => Outcome::Error,
        _ => Outcome::Success,
    }
}

fn of_grpc(code: u16) -> Outcome {
    match code {
        0 => Outcome::Success,
        // PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAUTHENTICATED.
        7 | 8 | 16 => Outcome::Denied,
        // CANCELLED, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED,
        // OUT_OF_RANGE.
        1 | 3 | 5 | 6 | 9 | 10 | 11 => Outcome::Failure,
        _ => Outcome::Error,
    }
}
