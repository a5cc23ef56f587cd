//! Telling others what was decided.

use http::request::Parts;

use crate::decision::Decision;

/// Is told of every decision, before the request is passed on or refused.
///
/// Implemented for closures, for `()`, which does nothing, and for pairs. It runs on the request's
/// way: it must neither block nor panic.
pub trait OnDecision: Send + Sync {
    /// `decision` was taken on `parts`.
    fn on_decision(&self, parts: &Parts, decision: &Decision);
}

impl OnDecision for () {
    fn on_decision(&self, _: &Parts, _: &Decision) {}
}

impl<F> OnDecision for F
where
    F: Fn(&Parts, &Decision) + Send + Sync,
{
    fn on_decision(&self, parts: &Parts, decision: &Decision) {
        self(parts, decision);
    }
}

impl<A: OnDecision, B: OnDecision> OnDecision for (A, B) {
    fn on_decision(&self, parts: &Parts, decision: &Decision) {
        self.0.on_decision(parts, decision);
        self.1.on_decision(parts, decision);
    }
}
