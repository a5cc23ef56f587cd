//! The layer: what is limited, and how a refusal looks.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::{Concurrency, ConcurrencyLimit};
use crate::refusal::Problem;

/// Limits how many requests are under way at once. The response's body becomes a
/// [`ConcurrencyBody`](crate::ConcurrencyBody), which Axum, Tonic and Hyper take.
#[derive(Clone)]
#[must_use]
pub struct ConcurrencyLayer<R = Problem> {
    limit: Concurrency,
    responder: Arc<R>,
}

impl ConcurrencyLayer {
    /// A layer that applies `limit`.
    pub fn new(limit: Concurrency) -> Self {
        Self {
            limit,
            responder: Arc::new(Problem),
        }
    }
}

impl<R> ConcurrencyLayer<R> {
    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> ConcurrencyLayer<T> {
        ConcurrencyLayer {
            limit: self.limit,
            responder: Arc::new(responder),
        }
    }
}

impl<I, R> Layer<I> for ConcurrencyLayer<R> {
    type Service = ConcurrencyLimit<I, R>;

    fn layer(&self, inner: I) -> Self::Service {
        ConcurrencyLimit {
            inner,
            limit: self.limit.clone(),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<R> fmt::Debug for ConcurrencyLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLayer")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
