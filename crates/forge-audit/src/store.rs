//! The contract of a store.

pub(crate) mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;

use crate::chain::{Hash, Head};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::kind::{Kind, Outcome, Severity};
use crate::query::{Filter, Selection};
use crate::record::{Record, Stored};
use crate::tree::{LEVELS, Proof, Tree, consistency_ranges, inclusion_ranges};
use crate::verify::{PAGE, Verifier};

/// What a store answers, later.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps records. It changes or forgets one only when asked to [`prune`](Self::prune) or to
/// [`erase`](Self::erase), and then keeps what the rest is proved with.
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

    /// How many calls of [`append`](Self::append) may be under way at once, each beginning where the
    /// one before it ends. The default is 1.
    ///
    /// A store that says more takes them in the order in which their futures are first polled; of
    /// those that follow one that failed, none is written.
    fn depth(&self) -> usize {
        1
    }

    /// The end of the stored log; the default [`Head`] when it is empty.
    fn tail(&self) -> StoreFuture<'_, Head>;

    /// The records that `selection` asks for, without those that were pruned.
    fn query<'a>(&'a self, selection: &'a Selection) -> StoreFuture<'a, Vec<Stored>>;

    /// What is stored of the records after the sequence `after`, in order: at most `limit` parts,
    /// of which one can stand for a tile of 256 records that were pruned. Empty at the end.
    fn scan(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<Stored>>;

    /// Shows `verifier` what is stored after its [head](Verifier::head), in order: a page of it, and
    /// nothing at the end. A store need not go on behind what the verifier finds broken.
    ///
    /// The default pushes what [`scan`](Self::scan) returns.
    fn feed(&self, mut verifier: Verifier) -> StoreFuture<'_, Verifier> {
        Box::pin(async move {
            let page = self.scan(verifier.head().seq, PAGE).await?;
            // It keeps in mind what it found.
            let _ = page.iter().try_for_each(|stored| verifier.push(stored));
            Ok(verifier)
        })
    }

    /// Hashes of the [`Tree`]: at most `count` nodes at `level`, from the one with the index
    /// `first`. Kept are the levels 0 (the records, unless a whole tile was pruned), 8, 16 and 24.
    fn nodes(&self, level: u8, first: u64, count: usize) -> StoreFuture<'_, Vec<Hash>>;

    /// Keeps a signed checkpoint; one for each size, the first stays.
    fn add_checkpoint(&self, checkpoint: SignedNote) -> StoreFuture<'_, ()>;

    /// The first `limit` checkpoints of more than `after` records, in the order of their size.
    fn checkpoints(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<SignedNote>>;

    /// How many events there were in each minute that begins in the time, also of those pruned.
    fn counts(&self, during: Range<Timestamp>) -> StoreFuture<'_, Vec<Count>>;

    /// What [`prune`](Self::prune) would take away, as far as it is worth a run.
    fn prunable<'a>(&'a self, rules: &'a Rules) -> StoreFuture<'a, Option<Span>>;

    /// Takes away the records in `span` whose time is over and that are not held. Their hashes stay
    /// as far as others are proved with them. Returns how many.
    fn prune<'a>(&'a self, rules: &'a Rules, span: Span) -> StoreFuture<'a, u64>;

    /// Begins an empty store in the midst of a log, for an archive to be searched: after the record
    /// `end`, of those before it knowing the roots of their tiles of 256.
    ///
    /// A store need not be able to. The default is [`StoreError::Unavailable`].
    fn begin_after(&self, end: Head, tiles: Vec<Hash>) -> StoreFuture<'_, ()> {
        let _ = (end, tiles);
        let cannot = "the store cannot begin in the midst of a log";
        Box::pin(std::future::ready(Err(StoreError::unavailable(cannot))))
    }

    /// Takes away the personal part of the records with these sequences. Their commitments stay.
    /// Returns how many had one.
    fn erase<'a>(&'a self, sequences: &'a [u64]) -> StoreFuture<'a, u64>;
}

/// A checkpoint as it is kept: a signed note, as C2SP has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedNote {
    /// Of how many records.
    pub size: u64,
    /// The text of the note with its signatures.
    pub text: String,
}

/// How many events of a sort there were in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Count {
    /// The beginning of the minute.
    pub minute: Timestamp,
    /// Their kind.
    pub kind: Kind,
    /// How they ended.
    pub outcome: Outcome,
    /// How much they matter.
    pub severity: Severity,
    /// How many.
    pub events: u64,
}

const MINUTE: i64 = 60_000_000;

impl Count {
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            minute: Self::minute_of(record.time),
            kind: record.event.kind,
            outcome: record.event.outcome,
            severity: record.event.severity,
            events: 1,
        }
    }

    pub(crate) fn minute_of(time: Timestamp) -> Timestamp {
        let micros = time.as_micros();
        Timestamp::from_micros(micros.saturating_sub(micros.rem_euclid(MINUTE)))
    }

    /// What orders counts: two with the same key are one.
    pub(crate) fn key(&self) -> (Timestamp, u8, u8, u8) {
        let Self {
            minute,
            kind,
            outcome,
            severity,
            ..
        } = self;
        (*minute, kind.code(), outcome.code(), severity.code())
    }
}

/// Which records may be pruned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// For each severity, from low to critical: records before this time may go.
    pub before: [Option<Timestamp>; 4],
    /// Records that one of these finds are held.
    pub hold: Vec<Filter>,
}

impl Rules {
    /// Whether a record may go.
    #[must_use]
    pub fn allow(&self, stored: &Stored) -> bool {
        // What cannot be read is not taken away.
        let Some(event) = stored.event() else {
            return false;
        };
        self.before[usize::from(event.severity.code() - 1)]
            .is_some_and(|before| stored.time < before)
            && !self.holds(stored.time, &event)
    }

    /// Whether a record with this time and event is held, whatever its age.
    #[must_use]
    pub fn holds(&self, time: Timestamp, event: &crate::Event) -> bool {
        // What explains why others are gone stays as long as they are missed.
        crate::retention::explains(event) || self.hold.iter().any(|f| f.matches(time, event))
    }

    /// Everything before this time may go, but for what is held; `None` if some severity is kept
    /// for ever.
    #[must_use]
    pub fn all_before(&self) -> Option<Timestamp> {
        self.before.iter().copied().min().flatten()
    }

    /// Something before this time may go; `None` if everything is kept for ever.
    #[must_use]
    pub fn some_before(&self) -> Option<Timestamp> {
        self.before.iter().copied().max().flatten()
    }
}

/// Some consecutive records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Span {
    /// The sequence of the first.
    pub first: u64,
    /// The sequence of the last.
    pub last: u64,
}

impl Span {
    /// The records from `first` to `last`.
    #[must_use]
    pub fn new(first: u64, last: u64) -> Self {
        Self { first, last }
    }

    pub(crate) fn contains(self, seq: u64) -> bool {
        (self.first..=self.last).contains(&seq)
    }
}

/// The tree of the first `size` records of `store`, from the nodes it keeps.
///
/// # Errors
///
/// The store's error, and [`StoreError::Altered`] when it lacks a node.
pub async fn tree_of(store: &dyn AuditStore, size: u64) -> Result<Tree, StoreError> {
    let mut tree = Tree::new();
    for level in LEVELS.into_iter().rev() {
        let first = tree.size() >> level;
        let count = (size >> level) - first;
        let count = usize::try_from(count).map_err(StoreError::unavailable)?;
        if count == 0 {
            continue;
        }
        let nodes = store.nodes(level, first, count).await?;
        if nodes.len() != count {
            return Err(StoreError::Altered);
        }
        nodes
            .into_iter()
            .for_each(|node| tree.push_node(node, level));
    }
    Ok(tree)
}

/// The proof that the record `seq` is among the first `size` of `store`.
///
/// # Errors
///
/// The store's error, and [`StoreError::Altered`] when it lacks a hash of the proof.
pub async fn prove_inclusion(
    store: &dyn AuditStore,
    seq: u64,
    size: u64,
) -> Result<Option<Proof>, StoreError> {
    match seq.checked_sub(1).filter(|index| *index < size) {
        Some(index) => prove(store, inclusion_ranges(index, size)).await.map(Some),
        None => Ok(None),
    }
}

/// The proof that the first `new` records of `store` begin with the first `old`.
///
/// # Errors
///
/// The store's error, and [`StoreError::Altered`] when it lacks a hash of the proof.
pub async fn prove_consistency(
    store: &dyn AuditStore,
    old: u64,
    new: u64,
) -> Result<Proof, StoreError> {
    prove(store, consistency_ranges(old, new)).await
}

async fn prove(store: &dyn AuditStore, ranges: Vec<Range<u64>>) -> Result<Proof, StoreError> {
    let mut proof = Proof::default();
    for range in ranges {
        proof.hashes.push(root_of(store, range).await?);
    }
    Ok(proof)
}

/// The root of `range`, which begins at a multiple of the power of two it fits in.
async fn root_of(store: &dyn AuditStore, range: Range<u64>) -> Result<Hash, StoreError> {
    let mut tree = Tree::new();
    for level in LEVELS.into_iter().rev() {
        let from = range.start + tree.size();
        // A range that begins within a node is smaller than it.
        if !from.is_multiple_of(1 << level) {
            continue;
        }
        let count = (range.end - from) >> level;
        let count = usize::try_from(count).map_err(StoreError::unavailable)?;
        if count > 0 {
            let nodes = store.nodes(level, from >> level, count).await?;
            if nodes.len() != count {
                return Err(StoreError::Altered);
            }
            nodes
                .into_iter()
                .for_each(|node| tree.push_node(node, level));
        }
    }
    Ok(tree.root())
}
