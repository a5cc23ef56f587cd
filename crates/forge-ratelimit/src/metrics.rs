//! Decisions as metrics.

use std::sync::Arc;

use http::request::Parts;

use crate::decision::{Decision, PolicyVerdict};
use crate::on_decision::OnDecision;

/// Counts decisions through the `metrics` facade.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `forge_ratelimit_decisions_total` | counter | `outcome`: `admitted`, `refused`, `unidentified`, `undecided` |
/// | `forge_ratelimit_violations_total` | counter | `policy`, `key_class`, `enforced`: `false` for a policy in shadow |
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMetrics;

impl OnDecision for RecordMetrics {
    fn on_decision(&self, _: &Parts, decision: &Decision) {
        let outcome = decision.outcome();
        metrics::counter!("forge_ratelimit_decisions_total", "outcome" => outcome).increment(1);
        let violations = |of: &PolicyVerdict, enforced: &'static str| {
            metrics::counter!(
                "forge_ratelimit_violations_total",
                "policy" => metrics::SharedString::from(Arc::clone(&of.policy)),
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
