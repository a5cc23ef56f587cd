//! Events as metrics.

use http::request::Parts;

use crate::error::Rejection;
use crate::on_event::{OnEvent, OnRejection, SessionEvent};

/// Counts events and rejections through the `metrics` facade.
///
/// Give it to [`SessionsBuilder::on_event`](crate::SessionsBuilder::on_event), and to
/// [`SessionLayer::on_rejection`](crate::SessionLayer::on_rejection) as well.
///
/// | metric | type | labels |
/// |---|---|---|
/// | `forge_session_created_total` | counter | `kind` |
/// | `forge_session_evicted_total` | counter | `kind` |
/// | `forge_session_rotated_total` | counter | `kind` |
/// | `forge_session_revoked_total` | counter | `cause` |
/// | `forge_session_reuse_detected_total` | counter | `kind` |
/// | `forge_session_refresh_rejected_total` | counter | `reason` |
/// | `forge_session_swept_total` | counter | |
/// | `forge_session_reuse_tolerated_total` | counter | `kind` |
/// | `forge_session_threat_total` | counter | `signal`, `response` |
/// | `forge_session_validation_seconds` | histogram | `kind`, `cache`: `hit` or `miss` |
/// | `forge_session_live` | gauge | `kind` |
/// | `forge_session_rejected_total` | counter | `reason` |
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMetrics;

impl OnEvent for RecordMetrics {
    fn on_event(&self, event: &SessionEvent) {
        use metrics::counter;
        match event {
            SessionEvent::Created { session } => {
                counter!("forge_session_created_total", "kind" => session.kind.to_string())
                    .increment(1);
            }
            SessionEvent::Evicted { by, .. } => {
                counter!("forge_session_evicted_total", "kind" => by.kind.to_string()).increment(1);
            }
            SessionEvent::Rotated { session } => {
                counter!("forge_session_rotated_total", "kind" => session.kind.to_string())
                    .increment(1);
            }
            SessionEvent::Revoked {
                cause, sessions, ..
            } => {
                counter!("forge_session_revoked_total", "cause" => cause.as_str())
                    .increment(sessions.len() as u64);
            }
            SessionEvent::ReuseDetected { session, .. } => {
                counter!("forge_session_reuse_detected_total", "kind" => session.kind.to_string())
                    .increment(1);
            }
            SessionEvent::RefreshRejected { rejection, .. } => {
                counter!("forge_session_refresh_rejected_total", "reason" => rejection.as_str())
                    .increment(1);
            }
            SessionEvent::ReuseTolerated { session, .. } => {
                counter!("forge_session_reuse_tolerated_total", "kind" => session.kind.to_string())
                    .increment(1);
            }
            SessionEvent::Threat {
                assessment,
                response,
            } => {
                for signal in &assessment.signals {
                    let labels = [("signal", signal.as_str()), ("response", response.as_str())];
                    counter!("forge_session_threat_total", &labels).increment(1);
                }
            }
            SessionEvent::Validated { kind, cached, took } => {
                let cache = if *cached { "hit" } else { "miss" };
                let kind = kind.to_string();
                metrics::histogram!("forge_session_validation_seconds", "kind" => kind, "cache" => cache)
                    .record(took.as_secs_f64());
            }
            SessionEvent::Counted { live } => {
                for (kind, count) in live {
                    metrics::gauge!("forge_session_live", "kind" => kind.to_string())
                        .set(*count as f64);
                }
            }
            SessionEvent::Swept { count } => {
                counter!("forge_session_swept_total").increment(*count);
            }
        }
    }
}

impl OnRejection for RecordMetrics {
    fn on_rejection(&self, _: &Parts, rejection: Rejection) {
        metrics::counter!("forge_session_rejected_total", "reason" => rejection.as_str())
            .increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};

    use crate::kind::Kind;
    use crate::session::UserId;
    use crate::sessions::{NewSession, Sessions};
    use crate::store::memory::MemorySessionStore;

    /// Writes down which counters are asked for.
    #[derive(Default)]
    struct Names(Mutex<Vec<String>>);

    impl metrics::Recorder for Names {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels = key.labels().map(|l| format!("{}={}", l.key(), l.value()));
            let labels: Vec<_> = labels.collect();
            let text = format!("{}{{{}}}", key.name(), labels.join(","));
            self.0.lock().unwrap().push(text);
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn counts_by_kind_and_reason() {
        let names = Arc::new(Names::default());
        let guard = metrics::set_default_local_recorder(&*names);
        let sessions = Sessions::builder(MemorySessionStore::new()).on_event(RecordMetrics);
        let sessions = sessions.build().unwrap();
        for _ in 0..4 {
            let new = NewSession::new(UserId::new("a").unwrap(), Kind::WEB);
            sessions.create(new).await.unwrap();
        }
        let parts = http::Request::new(()).into_parts().0;
        RecordMetrics.on_rejection(&parts, Rejection::Expired);
        drop(guard);
        let names = names.0.lock().unwrap();
        assert_eq!(names[0], "forge_session_created_total{kind=web}");
        assert_eq!(names[4], "forge_session_evicted_total{kind=web}");
        assert_eq!(names[5], "forge_session_rejected_total{reason=expired}");
    }
}
