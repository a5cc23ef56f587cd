//! Telling others how many are under way.

use std::sync::Arc;

use http::request::Parts;

use crate::key::KeyClass;

/// What a [`Concurrency`](crate::Concurrency) limit said to a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConcurrencyDecision {
    /// The limit's name.
    pub policy: Arc<str>,
    /// What kind of key it counted; nothing where the key cannot be read.
    pub key_class: Option<KeyClass>,
    /// How many requests of the key there may be at once.
    pub max: u32,
    /// How many are under way, this one included where it was granted.
    pub under_way: u32,
    /// What follows.
    pub outcome: ConcurrencyOutcome,
}

/// What follows from a [`ConcurrencyDecision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConcurrencyOutcome {
    /// It counts, and is passed on.
    Granted,
    /// As many as may be are under way: it is refused.
    Refused,
    /// Its key cannot be read: it is refused.
    Unidentified,
}

impl ConcurrencyOutcome {
    /// One word for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Unidentified => "unidentified",
        }
    }
}

/// Is told of every decision of a [`ConcurrencyLayer`](crate::ConcurrencyLayer), before the request
/// is passed on or refused, and of the end of each that was granted.
///
/// Implemented for closures, which are told of decisions, for `()`, which does nothing, and for
/// pairs. It runs on the request's way: it must neither block nor panic.
pub trait OnConcurrency: Send + Sync + 'static {
    /// `decision` was taken on `parts`.
    fn on_concurrency(&self, parts: &Parts, decision: &ConcurrencyDecision);

    /// A request that was granted under the limit of that name is over: its body has ended or was
    /// dropped, or nobody waits for its response any more.
    fn on_end(&self, policy: &Arc<str>) {
        let _ = policy;
    }
}

impl OnConcurrency for () {
    fn on_concurrency(&self, _: &Parts, _: &ConcurrencyDecision) {}
}

impl<F> OnConcurrency for F
where
    F: Fn(&Parts, &ConcurrencyDecision) + Send + Sync + 'static,
{
    fn on_concurrency(&self, parts: &Parts, decision: &ConcurrencyDecision) {
        self(parts, decision);
    }
}

impl<A: OnConcurrency, B: OnConcurrency> OnConcurrency for (A, B) {
    fn on_concurrency(&self, parts: &Parts, decision: &ConcurrencyDecision) {
        self.0.on_concurrency(parts, decision);
        self.1.on_concurrency(parts, decision);
    }

    fn on_end(&self, policy: &Arc<str>) {
        self.0.on_end(policy);
        self.1.on_end(policy);
    }
}
