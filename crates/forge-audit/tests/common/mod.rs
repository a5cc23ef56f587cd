//! A store that fails as told.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use forge_audit::{
    AuditStore, Count, Hash, Head, MemoryAuditStore, Record, Rules, Selection, SignedNote, Span,
    StoreError, StoreFuture, Stored, Timestamp,
};
use tokio::sync::watch;

/// What the store does with the next batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// Takes them.
    Works,
    /// Refuses them.
    Fails,
    /// Takes them, and loses the answer.
    LosesTheAnswer,
    /// Does not answer until the mode is another.
    Hangs,
}

pub(crate) struct Faulty {
    pub(crate) inner: MemoryAuditStore,
    mode: watch::Sender<Mode>,
    /// How many batches it was given, and how many are under way.
    pub(crate) given: watch::Sender<usize>,
    pub(crate) largest: AtomicUsize,
    tail_fails: Mutex<bool>,
    depth: usize,
}

impl Faulty {
    pub(crate) fn new(mode: Mode) -> Arc<Self> {
        Self::deep(mode, 1)
    }

    /// One that takes `depth` batches at once.
    pub(crate) fn deep(mode: Mode, depth: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryAuditStore::new(),
            mode: watch::Sender::new(mode),
            given: watch::Sender::new(0),
            largest: AtomicUsize::new(0),
            tail_fails: Mutex::new(false),
            depth,
        })
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.tail_fails.lock().unwrap() = mode == Mode::Fails;
        self.mode.send_replace(mode);
    }

    /// Waits until it has been given so many batches.
    pub(crate) async fn given(&self, batches: usize) {
        self.given
            .subscribe()
            .wait_for(|given| *given >= batches)
            .await
            .unwrap();
    }
}

impl AuditStore for Faulty {
    fn append(&self, records: Arc<[Record]>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.largest.fetch_max(records.len(), SeqCst);
            self.given.send_modify(|given| *given += 1);
            let mode = *self
                .mode
                .subscribe()
                .wait_for(|mode| *mode != Mode::Hangs)
                .await
                .unwrap();
            if mode != Mode::Fails {
                self.inner.append(records).await?;
            }
            match mode {
                Mode::Works => Ok(()),
                _ => Err(StoreError::unavailable("broken on purpose")),
            }
        })
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn tail(&self) -> StoreFuture<'_, Head> {
        if *self.tail_fails.lock().unwrap() {
            return Box::pin(async { Err(StoreError::unavailable("broken on purpose")) });
        }
        self.inner.tail()
    }

    fn query<'a>(&'a self, selection: &'a Selection) -> StoreFuture<'a, Vec<Stored>> {
        self.inner.query(selection)
    }

    fn scan(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        self.inner.scan(after, limit)
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
