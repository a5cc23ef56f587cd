//! How long a request takes through each layer, as a histogram, cheap enough to leave on.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::Request;
use metrics::Histogram;
use tower_layer::Layer;
use tower_service::Service;

/// Takes the time of the layers between this one and the next of its kind, on a request's way in,
/// as `forge_monitor_layer_seconds` with the label `layer`.
///
/// Put one with the name of a layer before it, and [`LapLayer::end`] after the last. A request that
/// a layer refuses is timed until it is dropped there. The cost is a reading of the clock, a small
/// allocation and a sample for each.
///
/// ```
/// use forge_monitor::LapLayer;
/// use tower::ServiceBuilder;
///
/// let layers = ServiceBuilder::new()
///     .layer(LapLayer::new("guard"))
///     // The guard.
///     .layer(LapLayer::new("limit"))
///     // The limit.
///     .layer(LapLayer::end());
/// # let _ = layers;
/// ```
#[derive(Clone)]
#[must_use]
pub struct LapLayer {
    histogram: Option<Histogram>,
}

impl LapLayer {
    /// Begins the lap of the layer of that name, and ends the one before. The recorder must be
    /// installed by now.
    pub fn new(layer: &'static str) -> Self {
        let histogram = metrics::histogram!("forge_monitor_layer_seconds", "layer" => layer);
        Self {
            histogram: Some(histogram),
        }
    }

    /// Ends the last lap.
    pub fn end() -> Self {
        Self { histogram: None }
    }
}

impl<S> Layer<S> for LapLayer {
    type Service = Lapped<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Lapped {
            inner,
            histogram: self.histogram.clone(),
        }
    }
}

impl fmt::Debug for LapLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LapLayer").finish_non_exhaustive()
    }
}

/// A service whose requests begin a lap. Made by [`LapLayer`].
#[derive(Clone)]
pub struct Lapped<S> {
    inner: S,
    histogram: Option<Histogram>,
}

impl<S, B> Service<Request<B>> for Lapped<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match &self.histogram {
            Some(histogram) => {
                let lap = Arc::new(Lap {
                    since: Instant::now(),
                    histogram: histogram.clone(),
                });
                // What is replaced is the lap before: it ends here.
                drop(request.extensions_mut().insert(lap));
            }
            None => drop(request.extensions_mut().remove::<Arc<Lap>>()),
        }
        self.inner.call(request)
    }
}

impl<S: fmt::Debug> fmt::Debug for Lapped<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lapped")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// A lap under way; it ends when the last clone of its `Arc` is dropped.
struct Lap {
    since: Instant,
    histogram: Histogram,
}

impl Drop for Lap {
    fn drop(&mut self) {
        self.histogram.record(self.since.elapsed());
    }
}
