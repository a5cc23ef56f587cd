//! Decisions as metrics.

use http::request::Parts;

use crate::decision::Decision;
use crate::on_decision::OnDecision;

/// Counts decisions through the `metrics` facade.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `forge_ratelimit_decisions_total` | counter | `outcome`: `admitted`, `refused`, `unidentified`, `undecided` |
/// | `forge_ratelimit_violations_total` | counter | `policy`, `key_class` |
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMetrics;

impl OnDecision for RecordMetrics {
    fn on_decision(&self, _: &Parts, decision: &Decision) {
        let outcome = match decision {
            Decision::Admitted(_) => "admitted",
            Decision::Refused(_) => "refused",
            Decision::Unidentified { .. } => "unidentified",
            Decision::Undecided { .. } => "undecided",
        };
        metrics::counter!("forge_ratelimit_decisions_total", "outcome" => outcome).increment(1);
        for of in decision.violated() {
            metrics::counter!(
                "forge_ratelimit_violations_total",
                "policy" => of.policy.to_string(),
                "key_class" => of.key_class.as_str(),
            )
            .increment(1);
        }
    }
}
