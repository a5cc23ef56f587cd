//! Where decisions outlive the process.

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::decision::Decision;
use crate::error::StoreError;

pub use memory::MemoryDecisionStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteDecisionStore;

/// What a store's methods return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps decisions. Object-safe; the monitor holds an `Arc<dyn DecisionStore>`.
pub trait DecisionStore: Send + Sync + 'static {
    /// Stores a new decision; [`StoreError::Duplicate`] where its id is stored already.
    fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()>;

    /// The decisions that were not lifted and end after `at`, at most `limit`, those that end last
    /// first. With the present this is what holds; with a time in the past also what has ended
    /// since, from which a monitor that starts knows the escalation.
    fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>>;

    /// Lifts the decision at `at`; `false` where there is none of this id, it is lifted already, or
    /// it has ended. Of several callers at once exactly one is told `true`.
    fn lift(&self, id: Uuid, at: Timestamp) -> StoreFuture<'_, bool>;

    /// Deletes the decisions that ended before `before`; how many those were.
    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64>;
}

impl<S: DecisionStore + ?Sized> DecisionStore for Arc<S> {
    fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()> {
        (**self).insert(decision)
    }

    fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>> {
        (**self).active(at, limit)
    }

    fn lift(&self, id: Uuid, at: Timestamp) -> StoreFuture<'_, bool> {
        (**self).lift(id, at)
    }

    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        (**self).prune(before)
    }
}
