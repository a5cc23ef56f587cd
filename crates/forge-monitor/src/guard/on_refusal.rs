//! What the guard tells.

use std::sync::Arc;

use http::request::Parts;

use crate::decision::Decision;

/// Lies in the extensions of every response that the guard made.
///
/// Layers further out that turn responses into signals must leave such a response alone: a refusal
/// that counted as a new failure would keep a block alive for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedByGuard;

/// Why the guard refused a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The client's address is blocked.
    Blocked(Arc<Decision>),
    /// The client's address cannot be told.
    UnknownAddress,
}

/// Is told of every request that the guard refuses. Implemented for closures, `()` and pairs; must
/// not block.
pub trait OnRefusal {
    /// Takes note of one refusal. It must not become a signal.
    fn on_refusal(&self, parts: &Parts, reason: &RefusalReason);
}

impl OnRefusal for () {
    fn on_refusal(&self, _: &Parts, _: &RefusalReason) {}
}

impl<A: OnRefusal, B: OnRefusal> OnRefusal for (A, B) {
    fn on_refusal(&self, parts: &Parts, reason: &RefusalReason) {
        self.0.on_refusal(parts, reason);
        self.1.on_refusal(parts, reason);
    }
}

impl<F> OnRefusal for F
where
    F: Fn(&Parts, &RefusalReason),
{
    fn on_refusal(&self, parts: &Parts, reason: &RefusalReason) {
        self(parts, reason);
    }
}
