//! The layer: what is limited, who is told, how a refusal looks.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::limiter::RateLimiter;
use crate::refusal::Problem;
use crate::service::RateLimit;
use crate::store::memory::MemoryStore;

/// Limits the requests to a service. See the [crate's documentation](crate).
#[must_use]
pub struct RateLimitLayer<S = MemoryStore, O = (), R = Problem> {
    limiter: RateLimiter<S>,
    on_decision: Arc<O>,
    responder: Arc<R>,
}

impl<S> RateLimitLayer<S> {
    /// A layer that applies the policies of `limiter`.
    pub fn new(limiter: RateLimiter<S>) -> Self {
        Self {
            limiter,
            on_decision: Arc::new(()),
            responder: Arc::new(Problem),
        }
    }
}

impl<S, O, R> RateLimitLayer<S, O, R> {
    /// Who is told of every decision, an [`OnDecision`](crate::OnDecision). Default: nobody.
    pub fn on_decision<T>(self, on_decision: T) -> RateLimitLayer<S, T, R> {
        RateLimitLayer {
            limiter: self.limiter,
            on_decision: Arc::new(on_decision),
            responder: self.responder,
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> RateLimitLayer<S, O, T> {
        RateLimitLayer {
            limiter: self.limiter,
            on_decision: self.on_decision,
            responder: Arc::new(responder),
        }
    }
}

impl<I, S, O, R> Layer<I> for RateLimitLayer<S, O, R> {
    type Service = RateLimit<I, S, O, R>;

    fn layer(&self, inner: I) -> Self::Service {
        RateLimit {
            inner,
            limiter: self.limiter.clone(),
            on_decision: Arc::clone(&self.on_decision),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<S, O, R> Clone for RateLimitLayer<S, O, R> {
    fn clone(&self) -> Self {
        Self {
            limiter: self.limiter.clone(),
            on_decision: Arc::clone(&self.on_decision),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<S, O, R> fmt::Debug for RateLimitLayer<S, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}
