//! Decisions as metrics.

use std::sync::Arc;

use http::request::Parts;

use crate::decision::{Decision, PolicyVerdict};
use crate::on_concurrency::{ConcurrencyDecision, ConcurrencyOutcome, OnConcurrency};
use crate::on_decision::OnDecision;

/// Counts decisions through the `metrics` facade: an [`OnDecision`] and an [`OnConcurrency`].
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `forge_ratelimit_decisions_total` | counter | `outcome`: `admitted`, `refused`, `unidentified`, `undecided` |
/// | `forge_ratelimit_violations_total` | counter | `policy`, `key_class`, `enforced`: `false` for a policy in shadow |
/// | `forge_ratelimit_concurrency_decisions_total` | counter | `policy`, `outcome`: `granted`, `refused`, `unidentified` |
/// | `forge_ratelimit_concurrency_under_way` | gauge | `policy` |
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMetrics;

impl OnDecision for RecordMetrics {
    fn on_decision(&self, _: &Parts, decision: &Decision) {
        let outcome = decision.outcome();
        metrics::counter!("forge_ratelimit_decisions_total", "outcome" => outcome).increment(1);
        let violations = |of: &PolicyVerdict, enforced: &'static str| {
            metrics::counter!(
                "forge_ratelimit_violations_total",
                "policy" => of.policy.to_string(),
                "key_class" => of.key_class.as_str(),
                "enforced" => enforced,
            )
            .increment(1);
        };
        decision.violated().for_each(|of| violations(of, "true"));
        decision
            .would_refuse()
            .for_each(|of| violations(of, "false"));
    }
}

impl OnConcurrency for RecordMetrics {
    fn on_concurrency(&self, _: &Parts, decision: &ConcurrencyDecision) {
        let policy = metrics::SharedString::from(Arc::clone(&decision.policy));
        metrics::counter!(
            "forge_ratelimit_concurrency_decisions_total",
            "policy" => policy.clone(),
            "outcome" => decision.outcome.as_str(),
        )
        .increment(1);
        if decision.outcome == ConcurrencyOutcome::Granted {
            metrics::gauge!("forge_ratelimit_concurrency_under_way", "policy" => policy)
                .increment(1.0);
        }
    }

    fn on_end(&self, policy: &Arc<str>) {
        let policy = metrics::SharedString::from(Arc::clone(policy));
        metrics::gauge!("forge_ratelimit_concurrency_under_way", "policy" => policy).decrement(1.0);
    }
}
