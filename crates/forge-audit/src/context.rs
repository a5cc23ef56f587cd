//! What a handler says about the event of its request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use crate::event::{Actor, Event};
use crate::kind::{Kind, Outcome, Severity};

/// The event of the current request, as far as the handler knows better than the layer.
///
/// The layer puts one into the extensions of each request that it records. Clones speak of the
/// same event. What is said after the response has ended is not heard.
///
/// ```
/// use forge_audit::{AuditContext, Kind, Severity};
///
/// fn revoke(audit: &AuditContext, session: &str) {
///     audit.kind(Kind::Session);
///     audit.action("session.revoke");
///     audit.resource(&format!("session/{session}"));
///     audit.severity(Severity::Medium);
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct AuditContext(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    kind: Option<Kind>,
    action: Option<String>,
    outcome: Option<Outcome>,
    severity: Option<Severity>,
    actor: Option<Actor>,
    resource: Option<String>,
    details: Map<String, Value>,
    suppressed: bool,
}

impl AuditContext {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What kind of thing happened. Without it, data access.
    pub fn kind(&self, kind: Kind) {
        self.said().kind = Some(kind);
    }

    /// What was done. Without it, `http.request` or `grpc.call`.
    pub fn action(&self, action: impl Into<String>) {
        self.said().action = Some(action.into());
    }

    /// How it ended. Without it, as the status says.
    pub fn outcome(&self, outcome: Outcome) {
        self.said().outcome = Some(outcome);
    }

    /// How much it matters. Without it, low, or medium for what was denied or broke.
    pub fn severity(&self, severity: Severity) {
        self.said().severity = Some(severity);
    }

    /// Who did it, when only the handler finds out. Without it, whom the layer was told.
    pub fn actor(&self, actor: Actor) {
        self.said().actor = Some(actor);
    }

    /// What it was done to. Without it, method and path.
    pub fn resource(&self, resource: impl Into<String>) {
        self.said().resource = Some(resource.into());
    }

    /// Something else there is to know, beside what the layer says itself.
    pub fn detail(&self, key: impl Into<String>, value: impl Into<Value>) {
        self.said().details.insert(key.into(), value.into());
    }

    /// Records nothing, unless the policy requires it.
    pub fn suppress(&self) {
        self.said().suppressed = true;
    }

    pub(crate) fn is_suppressed(&self) -> bool {
        self.said().suppressed
    }

    /// The event, with what the handler said over what the layer knows. The layer's own details
    /// win, so that a handler does not rewrite the status by mistake.
    pub(crate) fn apply(&self, mut event: Event, own: Map<String, Value>) -> Event {
        let said = std::mem::take(&mut *self.said());
        if let Some(action) = said.action {
            event.action = crate::event::action_name(action.into());
        }
        if let Some(resource) = said.resource {
            event = event.resource(resource);
        }
        event.kind = said.kind.unwrap_or(event.kind);
        event.outcome = said.outcome.unwrap_or(event.outcome);
        event.severity = said.severity.unwrap_or(event.severity);
        event.actor = said.actor.unwrap_or(event.actor);
        let mut details = said.details;
        details.extend(own);
        event.details(&Value::Object(details))
    }
}

/// The request has no [`AuditContext`]: no [`AuditLayer`](crate::AuditLayer) records it.
#[cfg(feature = "axum")]
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request is not recorded by an audit layer")]
pub struct NotRecorded;

#[cfg(feature = "axum")]
impl axum::response::IntoResponse for NotRecorded {
    fn into_response(self) -> axum::response::Response {
        http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// Refuses with 500 where no layer records the request, so that a forgotten layer is not silent.
#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::FromRequestParts<S> for AuditContext {
    type Rejection = NotRecorded;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _: &S,
    ) -> Result<Self, NotRecorded> {
        parts.extensions.get::<Self>().cloned().ok_or(NotRecorded)
    }
}
