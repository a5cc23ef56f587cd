//! The log as metrics.

use crate::error::{Dropped, StoreError};
use crate::event::Event;
use crate::on_record::{Commit, OnRecord};
use crate::record::Record;

/// Tells the `metrics` recorder what the log does.
///
/// | name | type | labels | meaning |
/// |---|---|---|---|
/// | `forge_audit_events_total` | counter | `kind`, `outcome`, `severity` | records made durable |
/// | `forge_audit_dropped_total` | counter | `severity` | events lost because the queue was full or closed |
/// | `forge_audit_store_failures_total` | counter | | batches that the store refused |
/// | `forge_audit_commit_seconds` | histogram | | time the store took for a batch |
/// | `forge_audit_batch_records` | histogram | | records in a batch |
/// | `forge_audit_queue_depth` | gauge | | events waiting after a batch |
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMetrics;

impl OnRecord for RecordMetrics {
    fn on_record(&self, record: &Record) {
        let event = &record.event;
        metrics::counter!(
            "forge_audit_events_total",
            "kind" => event.kind().as_str(),
            "outcome" => event.result().as_str(),
            "severity" => event.level().as_str(),
        )
        .increment(1);
    }

    fn on_drop(&self, event: &Event, _: Dropped) {
        metrics::counter!("forge_audit_dropped_total", "severity" => event.level().as_str())
            .increment(1);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a batch and the queue are far below 2^52"
    )]
    fn on_commit(&self, commit: &Commit) {
        metrics::histogram!("forge_audit_commit_seconds").record(commit.took.as_secs_f64());
        metrics::histogram!("forge_audit_batch_records").record(commit.records as f64);
        metrics::gauge!("forge_audit_queue_depth").set(commit.queue_depth as f64);
    }

    fn on_failure(&self, _: &StoreError) {
        metrics::counter!("forge_audit_store_failures_total").increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;
    use crate::clock::Timestamp;
    use crate::kind::{Kind, Severity};
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    /// Remembers which metrics are told, with their labels.
    #[derive(Default)]
    struct Names(Mutex<BTreeSet<String>>);

    impl Names {
        fn told(&self, key: &Key) {
            let labels: Vec<_> = key
                .labels()
                .map(|l| format!("{}={}", l.key(), l.value()))
                .collect();
            self.0
                .lock()
                .unwrap()
                .insert(format!("{} {}", key.name(), labels.join(",")));
        }
    }

    impl metrics::Recorder for &Names {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            self.told(key);
            Counter::noop()
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            self.told(key);
            Gauge::noop()
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            self.told(key);
            Histogram::noop()
        }
    }

    #[test]
    fn tells_the_documented_metrics() {
        let names = Names::default();
        let event = Event::new(Kind::Session, "test").severity(Severity::High);
        metrics::with_local_recorder(&&names, || {
            RecordMetrics.on_drop(&event, Dropped::Closed);
            RecordMetrics.on_record(&Chain::new().append(event.clone(), Timestamp::default()));
            RecordMetrics.on_failure(&StoreError::Conflict);
            let took = std::time::Duration::from_millis(1);
            RecordMetrics.on_commit(&Commit {
                records: 1,
                took,
                queue_depth: 0,
            });
        });
        let told: Vec<_> = names.0.lock().unwrap().iter().cloned().collect();
        assert_eq!(
            told,
            [
                "forge_audit_batch_records ",
                "forge_audit_commit_seconds ",
                "forge_audit_dropped_total severity=high",
                "forge_audit_events_total kind=session,outcome=success,severity=high",
                "forge_audit_queue_depth ",
                "forge_audit_store_failures_total ",
            ]
        );
    }
}
