//! A store in memory, for tests: nothing of it outlives the process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{AuditStore, StoreFuture};
use crate::chain::Head;
use crate::error::StoreError;
use crate::query::{Order, Selection};
use crate::record::{Record, Stored};

/// Keeps records in memory.
///
/// For tests and for trying things out: the log is gone with the process, and grows without bound.
#[derive(Debug, Default)]
pub struct MemoryAuditStore {
    records: Mutex<Vec<Record>>,
}

impl MemoryAuditStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        // Nothing panics while it holds the lock between two states.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn head(record: Option<&Record>) -> Head {
    record.map_or_else(Head::default, |r| Head {
        seq: r.seq,
        hash: r.hash,
        time: r.time,
    })
}

fn ready<'a, T: Send + 'a>(answer: Result<T, StoreError>) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl AuditStore for MemoryAuditStore {
    fn append(&self, records: Arc<[Record]>) -> StoreFuture<'_, ()> {
        let mut stored = self.records();
        let tail = head(stored.last());
        let follows = records
            .first()
            .is_none_or(|r| r.seq == tail.seq + 1 && r.prev == tail.hash);
        if follows {
            stored.extend_from_slice(&records);
        }
        ready(if follows {
            Ok(())
        } else {
            Err(StoreError::Conflict)
        })
    }

    fn tail(&self) -> StoreFuture<'_, Head> {
        ready(Ok(head(self.records().last())))
    }

    fn query<'a>(&'a self, selection: &'a Selection) -> StoreFuture<'a, Vec<Stored>> {
        let records = self.records();
        let found = |r: &&Record| selection.filter.matches(r.time, &r.event);
        ready(Ok(match selection.order {
            Order::NewestFirst => records
                .iter()
                .rev()
                .filter(|r| selection.beyond.is_none_or(|seq| r.seq < seq))
                .filter(found)
                .take(selection.limit)
                .map(Stored::from)
                .collect(),
            Order::OldestFirst => records
                .iter()
                .filter(|r| selection.beyond.is_none_or(|seq| r.seq > seq))
                .filter(found)
                .take(selection.limit)
                .map(Stored::from)
                .collect(),
        }))
    }

    fn scan(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        let records = self.records();
        let start = usize::try_from(after)
            .unwrap_or(usize::MAX)
            .min(records.len());
        ready(Ok(records[start..]
            .iter()
            .take(limit)
            .map(Stored::from)
            .collect()))
    }
}
