//! The contract of a store, and the walk that verifies one.

pub(crate) mod memory;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::pin::Pin;
use std::sync::Arc;

use crate::chain::{self, Broken, Fault, Head};
use crate::error::{StoreError, VerifyError};
use crate::query::Selection;
use crate::record::{Record, Stored};

/// What a store answers, later.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps records, and never changes or forgets one.
///
/// Implementations must not block the threads of the async runtime.
pub trait AuditStore: Send + Sync + 'static {
    /// Appends `records`, consecutive and already chained, in one transaction; when it returns,
    /// they are durable.
    ///
    /// It is a compare-and-set: if the stored log does not end exactly where the first of them
    /// begins (its `seq - 1` and its `prev`), nothing is written and the error is
    /// [`StoreError::Conflict`]. After any other error the records may be there or not; [`tail`]
    /// tells.
    ///
    /// [`tail`]: Self::tail
    fn append(&self, records: Arc<[Record]>) -> StoreFuture<'_, ()>;

    /// The end of the stored log; the default [`Head`] when it is empty.
    fn tail(&self) -> StoreFuture<'_, Head>;

    /// The records that `selection` asks for.
    fn query<'a>(&'a self, selection: &'a Selection) -> StoreFuture<'a, Vec<Stored>>;

    /// The first `limit` records after the sequence `after`, as they are stored, in order.
    fn scan(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<Stored>>;
}

const PAGE: usize = 1000;

/// Verifies all that `store` holds, from the first record, and returns its end.
///
/// `expected` is an end of this log known from elsewhere: the stored log must contain it. Without
/// one (the default [`Head`]) a log whose end was cut off, or that was computed anew as a whole,
/// verifies.
///
/// # Errors
///
/// [`VerifyError::Broken`] with the first position that is wrong, or the store's error.
pub async fn verify_store(store: &dyn AuditStore, expected: Head) -> Result<Head, VerifyError> {
    let mut head = Head::default();
    loop {
        let page = store.scan(head.seq, PAGE).await?;
        for stored in &page {
            let seq = head.seq + 1;
            head = chain::verify(head, [stored.link()])?;
            if !stored.index_agrees || stored.event().is_none() {
                return Err(Broken {
                    seq,
                    fault: Fault::Index,
                }
                .into());
            }
            if seq == expected.seq && head != expected {
                return Err(Broken {
                    seq,
                    fault: Fault::Replaced,
                }
                .into());
            }
        }
        if page.len() < PAGE {
            break;
        }
    }
    if head.seq < expected.seq {
        return Err(Broken {
            seq: head.seq + 1,
            fault: Fault::Missing,
        }
        .into());
    }
    Ok(head)
}
