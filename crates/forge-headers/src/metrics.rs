//! Refusals as metrics.

use http::request::Parts;

use crate::on_refusal::OnRefusal;
use crate::refusal::Refusal;

/// Counts refusals through the `metrics` facade.
///
/// | Metric | Type | Labels |
/// |---|---|---|
/// | `forge_headers_refusals_total` | counter | `kind`: see [`RefusalKind::as_str`](crate::RefusalKind::as_str) |
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMetrics;

impl OnRefusal for RecordMetrics {
    fn on_refusal(&self, _: &Parts, refusal: &Refusal) {
        metrics::counter!("forge_headers_refusals_total", "kind" => refusal.kind().as_str())
            .increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::RefusalKind;

    #[test]
    fn counts_refusals_by_kind() {
        use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder};
        use metrics::{SharedString, Unit};
        use std::sync::{Arc, Mutex};

        #[derive(Default)]
        struct Seen(Arc<Mutex<Vec<String>>>);
        struct One(String, Arc<Mutex<Vec<String>>>);
        impl CounterFn for One {
            fn increment(&self, by: u64) {
                self.1.lock().unwrap().push(format!("{} +{by}", self.0));
            }
            fn absolute(&self, _: u64) {}
        }
        impl Recorder for Seen {
            fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
            fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
            fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
            fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
                let labels: Vec<_> = key
                    .labels()
                    .map(|label| format!("{}={}", label.key(), label.value()))
                    .collect();
                let text = format!("{}{{{}}}", key.name(), labels.join(","));
                Counter::from_arc(Arc::new(One(text, Arc::clone(&self.0))))
            }
            fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
                Gauge::noop()
            }
            fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
                Histogram::noop()
            }
        }

        let seen = Seen::default();
        let parts = http::Request::new(()).into_parts().0;
        metrics::with_local_recorder(&seen, || {
            RecordMetrics.on_refusal(&parts, &Refusal::new(RefusalKind::CrossOrigin));
        });
        assert_eq!(
            *seen.0.lock().unwrap(),
            ["forge_headers_refusals_total{kind=cross_origin} +1"]
        );
    }
}
