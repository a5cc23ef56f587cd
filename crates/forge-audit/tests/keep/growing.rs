//! Verifying a log that grows meanwhile.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use forge_audit::{Chain, Count, Hash, Head, Record, Rules, Selection, Span, Stored};

use crate::support::*;

/// A store to which somebody appends between any two pages that are read.
struct Growing {
    inner: MemoryAuditStore,
    chain: Mutex<Chain>,
    pages: AtomicU64,
    /// What is appended before the page of this number.
    before: fn(&mut Chain, u64) -> Option<Record>,
}

impl Growing {
    async fn new(events: u64, before: fn(&mut Chain, u64) -> Option<Record>) -> Self {
        let (inner, mut chain) = (MemoryAuditStore::new(), Chain::new());
        let records: Vec<_> = (0..events)
            .map(|n| chain.append(event(n), Timestamp::default()))
            .collect();
        inner.append(records.into()).await.unwrap();
        Self {
            inner,
            chain: Mutex::new(chain),
            pages: AtomicU64::new(0),
            before,
        }
    }
}

impl AuditStore for Growing {
    fn append(&self, records: Arc<[Record]>) -> StoreFuture<'_, ()> {
        self.inner.append(records)
    }

    fn tail(&self) -> StoreFuture<'_, Head> {
        self.inner.tail()
    }

    fn query<'a>(&'a self, selection: &'a Selection) -> StoreFuture<'a, Vec<Stored>> {
        self.inner.query(selection)
    }

    fn scan(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        Box::pin(async move {
            let page = self.pages.fetch_add(1, SeqCst);
            let record = (self.before)(&mut self.chain.lock().unwrap(), page);
            if let Some(record) = record {
                let told = record.event.action() == "audit.erase";
                self.inner.append([record].into()).await?;
                if told {
                    self.inner.erase(&[5000]).await?;
                }
            }
            self.inner.scan(after, limit).await
        })
    }

    fn nodes(&self, level: u8, first: u64, count: usize) -> StoreFuture<'_, Vec<Hash>> {
        self.inner.nodes(level, first, count)
    }

    fn add_checkpoint(&self, checkpoint: SignedNote) -> StoreFuture<'_, ()> {
        self.inner.add_checkpoint(checkpoint)
    }

    fn checkpoints(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<SignedNote>> {
        self.inner.checkpoints(after, limit)
    }

    fn counts(&self, during: Range<Timestamp>) -> StoreFuture<'_, Vec<Count>> {
        self.inner.counts(during)
    }

    fn prunable<'a>(&'a self, rules: &'a Rules) -> StoreFuture<'a, Option<Span>> {
        self.inner.prunable(rules)
    }

    fn prune<'a>(&'a self, rules: &'a Rules, span: Span) -> StoreFuture<'a, u64> {
        self.inner.prune(rules, span)
    }

    fn erase<'a>(&'a self, sequences: &'a [u64]) -> StoreFuture<'a, u64> {
        self.inner.erase(sequences)
    }
}

/// As often as any page is read; not for ever, so that who never ends is seen.
fn more(chain: &mut Chain, page: u64) -> Option<Record> {
    (page < 1000).then(|| chain.append(event(page), Timestamp::default()))
}

#[tokio::test]
async fn who_verifies_a_log_that_never_stops_growing_comes_to_an_end() {
    let store = Growing::new(10, more).await;
    let verified = verify_store(&store, Default::default()).await.unwrap();
    assert!((10..20).contains(&verified.seq), "{verified:?}");
}

#[tokio::test]
async fn what_is_erased_while_it_is_verified_is_told_of_behind_the_end_of_before() {
    // Two pages, to the record.
    let store = Growing::new(8192, |chain, page| match page {
        1 => {
            let told = json!({ "first": 5000, "last": 5000, "records": 1 });
            let told = Event::new(Kind::System, "audit.erase").details(&told);
            // Beyond the page that shows that it is gone.
            Some(chain.append(told, Timestamp::default()))
        }
        _ => more(chain, page),
    })
    .await;
    let verified = verify_store(&store, Default::default()).await.unwrap();
    assert!((8194..8220).contains(&verified.seq), "{verified:?}");
}
