//! The layer: what is limited, who is told, how a refusal looks.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::{Concurrency, ConcurrencyLimit};
use crate::refusal::Problem;

/// Limits how many requests are under way at once. The response's body becomes a
/// [`ConcurrencyBody`](crate::ConcurrencyBody), which Axum, Tonic and Hyper take.
#[must_use]
pub struct ConcurrencyLayer<O = (), R = Problem> {
    limit: Concurrency,
    on_concurrency: Arc<O>,
    responder: Arc<R>,
}

impl ConcurrencyLayer {
    /// A layer that applies `limit`.
    pub fn new(limit: Concurrency) -> Self {
        Self {
            limit,
            on_concurrency: Arc::new(()),
            responder: Arc::new(Problem),
        }
    }
}

impl<O, R> ConcurrencyLayer<O, R> {
    /// Who is told of every decision and of every end, an
    /// [`OnConcurrency`](crate::OnConcurrency). Default: nobody.
    pub fn on_concurrency<T>(self, on_concurrency: T) -> ConcurrencyLayer<T, R> {
        ConcurrencyLayer {
            limit: self.limit,
            on_concurrency: Arc::new(on_concurrency),
            responder: self.responder,
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> ConcurrencyLayer<O, T> {
        ConcurrencyLayer {
            limit: self.limit,
            on_concurrency: self.on_concurrency,
            responder: Arc::new(responder),
        }
    }
}

impl<I, O, R> Layer<I> for ConcurrencyLayer<O, R> {
    type Service = ConcurrencyLimit<I, O, R>;

    fn layer(&self, inner: I) -> Self::Service {
        ConcurrencyLimit {
            inner,
            limit: self.limit.clone(),
            on_concurrency: Arc::clone(&self.on_concurrency),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<O, R> Clone for ConcurrencyLayer<O, R> {
    fn clone(&self) -> Self {
        Self {
            limit: self.limit.clone(),
            on_concurrency: Arc::clone(&self.on_concurrency),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<O, R> fmt::Debug for ConcurrencyLayer<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLayer")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
