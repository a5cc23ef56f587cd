//! Each record is also an event of `tracing`.

use crate::escape::escape;
use crate::kind::Severity;
use crate::record::Record;

/// The target of all that this crate says to `tracing`.
pub(crate) const TARGET: &str = "forge_audit";

/// Says `record` at a level by its severity: debug, info, warn, error.
pub(crate) fn record(record: &Record) {
    let event = &record.event;
    macro_rules! say {
        ($level:ident) => {
            tracing::$level!(
                target: TARGET,
                seq = record.seq,
                kind = event.kind.as_str(),
                action = &*event.action,
                outcome = event.outcome.as_str(),
                severity = event.severity.as_str(),
                actor = event.actor.id.as_deref().map(escape).as_deref(),
                login = event.actor.login.as_deref().map(escape).as_deref(),
                address = event.source.address.map(tracing::field::display),
                user_agent = event.source.user_agent.as_deref().map(escape).as_deref(),
                resource = event.resource.as_deref().map(escape).as_deref(),
                request_id = event.request_id.as_deref().map(escape).as_deref(),
                details = event.details_json().map(escape).as_deref(),
                "audit"
            )
        };
    }
    match event.severity {
        Severity::Low => say!(debug),
        Severity::Medium => say!(info),
        Severity::High => say!(warn),
        Severity::Critical => say!(error),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::chain::Chain;
    use crate::clock::Timestamp;
    use crate::event::{Actor, Event};
    use crate::kind::Kind;
    use std::fmt::Write;
    use std::sync::{Arc, Mutex};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record as Values};
    use tracing::{Level, Metadata, Subscriber};

    /// Writes down what it is told.
    struct Scribe(Arc<Mutex<Vec<(Level, String)>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0, "{field}={value:?} ").unwrap();
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            write!(self.0, "{field}={value} ").unwrap();
        }
    }

    impl Subscriber for Scribe {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == TARGET
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Values<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0
                .lock()
                .unwrap()
                .push((*event.metadata().level(), line.0));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// What is said to `tracing` during `what`, on this thread.
    pub(crate) fn said_during(what: impl FnOnce()) -> Vec<(Level, String)> {
        let said = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Scribe(Arc::clone(&said)), what);
        std::mem::take(&mut *said.lock().unwrap())
    }

    #[test]
    fn a_record_is_one_safe_line_at_the_level_of_its_severity() {
        let levels = [Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        let said = said_during(|| {
            let mut chain = Chain::new();
            for severity in Severity::ALL {
                let hostile = "x\n\u{1b}[31m\u{202e}";
                let event = Event::new(Kind::System, "test")
                    .severity(*severity)
                    .actor(Actor::new(hostile))
                    .resource(hostile)
                    .details(&serde_json::json!({ "text": hostile }));
                record(&chain.append(event, Timestamp::default()));
            }
        });
        assert_eq!(
            said.iter().map(|(level, _)| *level).collect::<Vec<_>>(),
            levels
        );
        for (_, line) in &said {
            assert!(!line.chars().any(crate::escape::deceives), "{line:?}");
            for part in [
                "action=test",
                r"actor=x\n\u{1b}[31m\u{202e}",
                r#"{"text":"x\n"#,
            ] {
                assert!(line.contains(part), "{line}");
            }
        }
    }
}
