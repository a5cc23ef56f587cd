//! From `tracing` into the log.

use std::fmt;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::event::{Actor, Event, Source};
use crate::kind::{Kind, Outcome, Severity};
use crate::log::AuditLog;
use crate::trace::TARGET;

/// A layer of `tracing-subscriber` that makes audit events of marked events.
///
/// Marked is an event with the field `audit`, whose value is the action. Its other fields `kind`,
/// `outcome`, `actor`, `login`, `address`, `resource` and `request_id` become the parts of that
/// name, the rest details, which are redacted as always. The severity follows the level: error is
/// high, warn is medium, the rest low. What this crate says itself is never recorded again.
///
/// ```
/// # fn f(log: forge_audit::AuditLog) {
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let subscriber = tracing_subscriber::registry().with(forge_audit::AuditTracing::new(log));
/// # let _ = subscriber;
/// # }
/// tracing::warn!(audit = "config.reload", kind = "configuration_change", file = "forge.toml");
/// ```
#[derive(Clone)]
pub struct AuditTracing {
    log: AuditLog,
}

impl AuditTracing {
    /// Enqueues marked events in `log`.
    #[must_use]
    pub fn new(log: AuditLog) -> Self {
        Self { log }
    }
}

impl fmt::Debug for AuditTracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditTracing").finish_non_exhaustive()
    }
}

impl<S: Subscriber> Layer<S> for AuditTracing {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let is_marked = metadata.fields().field("audit").is_some();
        if !is_marked || metadata.target().starts_with(TARGET) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let severity = match *metadata.level() {
            Level::ERROR => Severity::High,
            Level::WARN => Severity::Medium,
            _ => Severity::Low,
        };
        // A loss is counted, and recorded by the log itself.
        let _ = self.log.enqueue(fields.into_event(severity));
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.0.insert(field.name().to_owned(), json!(text));
    }
}

impl Fields {
    fn text(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    fn into_event(mut self, severity: Severity) -> Event {
        let action = self.text("audit").unwrap_or_default();
        let kind = self.text("kind").and_then(|kind| kind.parse().ok());
        let outcome = self
            .text("outcome")
            .and_then(|outcome| outcome.parse().ok());
        let mut event = Event::new(kind.unwrap_or(Kind::System), action)
            .outcome(outcome.unwrap_or(Outcome::Success))
            .severity(severity);
        let mut actor = self.text("actor").map_or_else(Actor::anonymous, Actor::new);
        if let Some(login) = self.text("login") {
            actor = actor.login(login);
        }
        event = event.actor(actor);
        if let Some(address) = self.text("address").and_then(|text| text.parse().ok()) {
            event = event.source(Source::new().address(address));
        }
        if let Some(resource) = self.text("resource") {
            event = event.resource(resource);
        }
        if let Some(id) = self.text("request_id") {
            event = event.request_id(id);
        }
        if self.0.is_empty() {
            event
        } else {
            event.details(&Value::Object(self.0))
        }
    }
}
