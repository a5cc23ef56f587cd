//! What the layers tell: that a request was refused, and for what.

use http::request::Parts;

use crate::refusal::Refusal;

/// Hears of every request that a layer refuses, before the response is made.
///
/// Implemented for closures, for `()` (hears nothing) and for pairs (both hear). Must not block
/// and must not panic.
pub trait OnRefusal {
    /// `parts` was refused as `refusal` says.
    fn on_refusal(&self, parts: &Parts, refusal: &Refusal);
}

impl OnRefusal for () {
    fn on_refusal(&self, _: &Parts, _: &Refusal) {}
}

impl<F> OnRefusal for F
where
    F: Fn(&Parts, &Refusal),
{
    fn on_refusal(&self, parts: &Parts, refusal: &Refusal) {
        self(parts, refusal);
    }
}

impl<A, B> OnRefusal for (A, B)
where
    A: OnRefusal,
    B: OnRefusal,
{
    fn on_refusal(&self, parts: &Parts, refusal: &Refusal) {
        self.0.on_refusal(parts, refusal);
        self.1.on_refusal(parts, refusal);
    }
}

/// Counts refusals through the `metrics` facade.
///
/// | Metric | Type | Labels |
/// |---|---|---|
/// | `forge_headers_refusals_total` | counter | `kind`: see [`RefusalKind::as_str`](crate::RefusalKind::as_str) |
#[cfg(feature = "metrics")]
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMetrics;

#[cfg(feature = "metrics")]
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
    use std::cell::Cell;

    #[test]
    fn a_pair_tells_both() {
        let count = Cell::new(0);
        let hear = |_: &Parts, _: &Refusal| count.set(count.get() + 1);
        let parts = http::Request::new(()).into_parts().0;
        (hear, ((), hear)).on_refusal(&parts, &Refusal::new(RefusalKind::CrossOrigin));
        assert_eq!(count.get(), 2);
    }

    #[cfg(feature = "metrics")]
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
