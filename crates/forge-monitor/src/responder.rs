//! What else is done about a decision, beside the block.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::decision::Decision;
use crate::error::BoxError;

/// What a responder's `respond` returns.
pub type ResponderFuture<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

/// Acts on a decision: revokes the sessions of a blocked user, tells a firewall.
///
/// Implemented for async closures that take an `Arc<Decision>`. The block itself needs none: it is
/// enforced before any responder is called. Each responder is called from a task of its own, one
/// decision at a time, and is given ten seconds for each.
pub trait Responder: Send + Sync + 'static {
    /// Acts on one decision. An error is reported as
    /// [`MonitorEvent::ResponderFailed`](crate::MonitorEvent::ResponderFailed).
    fn respond(&self, decision: Arc<Decision>) -> ResponderFuture<'_>;
}

impl<F, Fut> Responder for F
where
    F: Fn(Arc<Decision>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    fn respond(&self, decision: Arc<Decision>) -> ResponderFuture<'_> {
        Box::pin(self(decision))
    }
}
