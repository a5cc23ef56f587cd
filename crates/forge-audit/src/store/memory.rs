//! A store in memory, for tests: nothing of it outlives the process.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{AuditStore, Count, Rules, SignedNote, Span, StoreFuture};
use crate::chain::{Content, Hash, Head};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::query::{Order, Selection};
use crate::record::{Record, Stored};
use crate::tree::Tree;

/// Keeps records in memory.
///
/// For tests and for trying things out: the log is gone with the process, and grows without bound.
#[derive(Debug, Default)]
pub struct MemoryAuditStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// At each index the record with the next sequence.
    records: Vec<Stored>,
    tree: Tree,
    /// The nodes at the levels 8, 16 and 24.
    nodes: [Vec<Hash>; 3],
    checkpoints: BTreeMap<u64, String>,
    counts: BTreeMap<(Timestamp, u8, u8, u8), Count>,
}

impl State {
    fn head(&self) -> Head {
        self.records.last().map_or_else(Head::default, |r| Head {
            seq: r.seq,
            hash: r.hash,
            time: r.time,
        })
    }

    fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let tail = self.head();
        let follows = |r: &Record| r.seq == tail.seq + 1 && r.prev == tail.hash;
        if !records.first().is_none_or(follows) {
            return Err(StoreError::Conflict);
        }
        for record in records {
            self.records.push(Stored::from(record));
            let nodes = &mut self.nodes;
            self.tree.push_and_tell(record.hash, |node| {
                nodes[usize::from(node.level / 8 - 1)].push(node.hash);
            });
            let count = Count::of(record);
            self.counts
                .entry(count.key())
                .and_modify(|c| c.events += 1)
                .or_insert(count);
        }
        Ok(())
    }

    fn nodes(&self, level: u8, first: u64, count: usize) -> Vec<Hash> {
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        match level {
            0 => self
                .records
                .iter()
                .skip(first)
                .take(count)
                .map(|r| r.hash)
                .collect(),
            8 | 16 | 24 => {
                let nodes = self.nodes[usize::from(level / 8 - 1)].iter();
                nodes.skip(first).take(count).copied().collect()
            }
            _ => Vec::new(),
        }
    }

    fn is_kept(stored: &Stored) -> bool {
        !matches!(stored.content, Content::Pruned { .. })
    }
}

impl MemoryAuditStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock between two states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ready<'a, T: Send + 'a>(answer: Result<T, StoreError>) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl AuditStore for MemoryAuditStore {
    fn append(&self, records: Arc<[Record]>) -> StoreFuture<'_, ()> {
        ready(self.state().append(&records))
    }

    fn tail(&self) -> StoreFuture<'_, Head> {
        ready(Ok(self.state().head()))
    }

    fn query<'a>(&'a self, selection: &'a Selection) -> StoreFuture<'a, Vec<Stored>> {
        let state = self.state();
        let beyond = |r: &&Stored| match (selection.beyond, selection.order) {
            (None, _) => true,
            (Some(seq), Order::NewestFirst) => r.seq < seq,
            (Some(seq), Order::OldestFirst) => r.seq > seq,
        };
        let found = |r: &&Stored| {
            let fits = |event| selection.filter.matches(r.time, &event);
            State::is_kept(r) && r.event().is_some_and(fits)
        };
        let (records, limit) = (state.records.iter(), selection.limit);
        ready(Ok(match selection.order {
            Order::NewestFirst => {
                let found = records.rev().filter(beyond).filter(found);
                found.take(limit).cloned().collect()
            }
            Order::OldestFirst => {
                let found = records.filter(beyond).filter(found);
                found.take(limit).cloned().collect()
            }
        }))
    }

    fn scan(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        let state = self.state();
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        let parts = state.records.iter().skip(after).take(limit);
        ready(Ok(parts.cloned().collect()))
    }

    fn nodes(&self, level: u8, first: u64, count: usize) -> StoreFuture<'_, Vec<Hash>> {
        ready(Ok(self.state().nodes(level, first, count)))
    }

    fn add_checkpoint(&self, checkpoint: SignedNote) -> StoreFuture<'_, ()> {
        self.state()
            .checkpoints
            .entry(checkpoint.size)
            .or_insert(checkpoint.text);
        ready(Ok(()))
    }

    fn checkpoints(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<SignedNote>> {
        let state = self.state();
        let found = state.checkpoints.range(after.saturating_add(1)..);
        let note = |(size, text): (&u64, &String)| SignedNote {
            size: *size,
            text: text.clone(),
        };
        ready(Ok(found.take(limit).map(note).collect()))
    }

    fn counts(&self, during: Range<Timestamp>) -> StoreFuture<'_, Vec<Count>> {
        let state = self.state();
        let counts = state.counts.values();
        ready(Ok(counts
            .filter(|count| during.contains(&count.minute))
            .copied()
            .collect()))
    }

    fn prunable<'a>(&'a self, rules: &'a Rules) -> StoreFuture<'a, Option<Span>> {
        let state = self.state();
        let mut due = state
            .records
            .iter()
            .filter(|r| State::is_kept(r) && rules.allow(r));
        let first = due.next().map(|r| r.seq);
        let last = due.next_back().map(|r| r.seq).or(first);
        ready(Ok(first
            .zip(last)
            .map(|(first, last)| Span { first, last })))
    }

    fn prune<'a>(&'a self, rules: &'a Rules, span: Span) -> StoreFuture<'a, u64> {
        let mut pruned = 0;
        for record in &mut self.state().records {
            if span.contains(record.seq) && State::is_kept(record) && rules.allow(record) {
                record.content = Content::Pruned { count: 1 };
                pruned += 1;
            }
        }
        ready(Ok(pruned))
    }

    fn erase<'a>(&'a self, sequences: &'a [u64]) -> StoreFuture<'a, u64> {
        let mut state = self.state();
        let mut erased = 0;
        for seq in sequences {
            let index = usize::try_from(*seq)
                .ok()
                .and_then(|seq| seq.checked_sub(1));
            let record = index.and_then(|index| state.records.get_mut(index));
            let Some(record) = record else { continue };
            let commitment = record.content.commitment();
            if let (Content::Whole { open, .. }, Some(commitment)) =
                (&mut record.content, commitment)
            {
                let open = std::mem::take(open);
                record.content = Content::Erased { open, commitment };
                erased += 1;
            }
        }
        ready(Ok(erased))
    }
}
