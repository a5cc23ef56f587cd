//! Decisions in the memory of the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::{DecisionStore, StoreFuture};
use crate::clock::Timestamp;
use crate::decision::Decision;
use crate::error::StoreError;

/// A store that ends with the process, for tests and for services that need no more. Clones share
/// what is stored.
#[derive(Clone, Debug, Default)]
pub struct MemoryDecisionStore {
    rows: Arc<Mutex<HashMap<Uuid, Row>>>,
}

#[derive(Debug)]
struct Row {
    decision: Decision,
    lifted: bool,
}

impl MemoryDecisionStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<Uuid, Row>> {
        // No code that can panic runs while the lock is held.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DecisionStore for MemoryDecisionStore {
    fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            match self.rows().entry(decision.id) {
                std::collections::hash_map::Entry::Occupied(_) => Err(StoreError::Duplicate),
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(Row {
                        decision: decision.clone(),
                        lifted: false,
                    });
                    Ok(())
                }
            }
        })
    }

    fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>> {
        Box::pin(async move {
            let mut active: Vec<_> = self
                .rows()
                .values()
                .filter(|row| !row.lifted && row.decision.until > at)
                .map(|row| row.decision.clone())
                .collect();
            active.sort_by_key(|decision| std::cmp::Reverse((decision.until, decision.id)));
            active.truncate(limit);
            Ok(active)
        })
    }

    fn lift(&self, id: Uuid, at: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            Ok(match self.rows().get_mut(&id) {
                Some(row) if !row.lifted && row.decision.until > at => {
                    row.lifted = true;
                    true
                }
                _ => false,
            })
        })
    }

    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let mut rows = self.rows();
            let held = rows.len();
            rows.retain(|_, row| row.decision.until >= before);
            Ok((held - rows.len()) as u64)
        })
    }
}
