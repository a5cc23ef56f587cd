//! Verifying a log without the store that keeps it: records and checkpoints in, the first bad
//! position out.

use std::collections::VecDeque;

use serde::Serialize;

use crate::canonical;
use crate::chain::{Broken, Fault, Hash, Head};
use crate::error::VerifyError;
use crate::record::Stored;
use crate::retention::{ERASE, PRUNE, explains};
use crate::store::{AuditStore, Span};
use crate::tree::{Node, TILE, Tree};
use crate::view::{self, Left, View};

/// What was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verified {
    /// The end of the log.
    pub head: Head,
    /// The root of the tree over all of it.
    pub root: Hash,
    /// Of how many records only a hash is left.
    pub pruned: u64,
    /// Of how many the personal part was erased.
    pub erased: u64,
    /// With how many checkpoints the log agrees.
    pub checkpoints: u64,
    /// The records up to this one are kept elsewhere, and were not looked at.
    pub left_out: u64,
}

/// Verifies a log from its first record on, part by part.
///
/// Checked are the hash of each record, that it points at the one before it, that time does not go
/// back, that the root agrees with the checkpoints, and that a record of the log tells of all that
/// was pruned or erased.
#[derive(Debug, Default)]
pub struct Verifier {
    head: Head,
    tree: Tree,
    expected: VecDeque<(u64, Hash)>,
    agreed: u64,
    pruned: Vec<Span>,
    erased: Vec<Span>,
    prunings: Vec<Span>,
    erasures: Vec<(Span, u64)>,
    nodes: Vec<Node>,
    left_out: u64,
    /// An end known from elsewhere.
    known: Head,
    broken: Option<Broken>,
}

impl Verifier {
    /// At the beginning of a log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects the first `size` records to have the root `root`. Call it before they are pushed.
    pub fn expect(&mut self, size: u64, root: Hash) {
        let at = self.expected.partition_point(|(other, _)| *other < size);
        self.expected.insert(at, (size, root));
    }

    /// The records up to this one are kept elsewhere: of them there may be only hashes, though no
    /// record says that they were pruned.
    pub fn leave_out(&mut self, until: u64) {
        self.left_out = until;
    }

    /// The end of what was pushed.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Verifies what comes next in the log.
    ///
    /// # Errors
    ///
    /// The first position that is wrong: after it, whatever comes next, always that.
    pub fn push(&mut self, stored: &Stored) -> Result<(), Broken> {
        self.look(&stored.link().view(), stored.is_readable)
    }

    /// As [`push`](Self::push), of what need not be copied.
    pub(crate) fn look(&mut self, view: &View<'_>, is_readable: bool) -> Result<(), Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let looked = self.check(view, is_readable);
        self.broken = looked.err();
        looked
    }

    fn check(&mut self, view: &View<'_>, is_readable: bool) -> Result<(), Broken> {
        let seq = self.head.seq + 1;
        let broken = |fault| Err(Broken { seq, fault });
        self.head = view::follow(self.head, view)?;
        match view.left {
            Left::Hash { .. } if !is_readable => return broken(Fault::Tile),
            Left::Hash { count } => {
                let level = match count {
                    1 => 0,
                    TILE if self.tree.size().is_multiple_of(TILE) => 8,
                    _ => return broken(Fault::Content),
                };
                extend(&mut self.pruned, seq, count);
                self.grow(view.hash, level);
            }
            Left::Event { open, personal, .. } => {
                if !is_readable {
                    return broken(Fault::Index);
                }
                if personal.is_none() {
                    extend(&mut self.erased, seq, 1);
                }
                // Few records are worth taking apart: what their hash covers is what was written.
                if may_explain(open) {
                    self.explain(open, personal);
                }
                self.grow(view.hash, 0);
            }
        }
        self.compare(seq)?;
        // Behind a tile that was pruned nobody can tell.
        let is_there = seq == self.known.seq && self.head.seq == seq;
        if is_there && view.hash != self.known.hash {
            return broken(Fault::Replaced);
        }
        Ok(())
    }

    /// Keeps in mind what a record tells of others.
    fn explain(&mut self, open: &[u8], personal: Option<&[u8]>) {
        let event = match personal {
            Some(personal) => canonical::decode(open, personal),
            None => canonical::decode_open(open),
        };
        let Some(event) = event.ok().filter(explains) else {
            return;
        };
        let details = event.details_value();
        let part = |name| details.as_ref()?.get(name)?.as_u64();
        if let Some((first, last)) = part("first").zip(part("last")) {
            let span = Span { first, last };
            match &*event.action {
                PRUNE => self.prunings.push(span),
                _ => self.erasures.push((span, part("records").unwrap_or(0))),
            }
        }
    }

    fn grow(&mut self, hash: Hash, level: u8) {
        let nodes = &mut self.nodes;
        if level == 0 {
            self.tree.push_and_tell(hash, |node| nodes.push(node));
        } else {
            self.tree.push_node(hash, level);
        }
    }

    /// Compares the tree with the checkpoints that end here.
    fn compare(&mut self, seq: u64) -> Result<(), Broken> {
        while let Some((size, root)) = self.expected.front().copied() {
            if size > self.tree.size() {
                break;
            }
            self.expected.pop_front();
            // A checkpoint within a tile of which nothing is left stands no longer for anything
            // that could be compared; one after it does.
            if size == self.tree.size() {
                if root != self.tree.root() {
                    return Err(Broken {
                        seq,
                        fault: Fault::Root,
                    });
                }
                self.agreed += 1;
            }
        }
        Ok(())
    }

    /// Verifies all that `store` holds, from the first record; `expected` is as for [`verify_store`].
    /// Of what is appended meanwhile not all need be verified.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Broken`] with the first position that is wrong, or the store's error.
    pub async fn run(
        mut self,
        store: &dyn AuditStore,
        expected: Head,
    ) -> Result<Verified, VerifyError> {
        self.known = expected;
        // It is only asked to stop earlier: what is wrong with it is found without it.
        let mut end = store.tail().await.map_or(u64::MAX, |tail| tail.seq);
        let mut missing = 0;
        loop {
            let seen = self.head.seq;
            self = store.feed(self).await?;
            // They lie before what is broken, if something is.
            compare_nodes(store, &self.take_nodes()).await?;
            if let Some(broken) = self.broken {
                return Err(broken.into());
            }
            if self.head.seq == seen {
                break;
            }
            if self.head.seq >= end && self.expected.is_empty() {
                let now = store.tail().await.map_or(end, |tail| tail.seq);
                // Of a log that grows nobody reaches the end: what was there at the beginning is
                // enough. One that does not grow is read to where it ends, whatever it says, and
                // what was missing on the way is told of by records that follow.
                if now > end && missing == self.missing() && self.head.seq >= expected.seq {
                    break;
                }
                (end, missing) = (now, self.missing());
            }
        }
        if self.head.seq < expected.seq {
            return Err(VerifyError::Broken(Broken {
                seq: self.head.seq + 1,
                fault: Fault::Missing,
            }));
        }
        Ok(self.finish()?)
    }

    /// Of how many records something was pruned or erased.
    fn missing(&self) -> u64 {
        let spans = self.pruned.iter().chain(&self.erased);
        spans.map(|span| span.last - span.first + 1).sum()
    }

    /// The nodes above level 0 that became known since the last call.
    pub(crate) fn take_nodes(&mut self) -> Vec<Node> {
        std::mem::take(&mut self.nodes)
    }

    /// The log has ended.
    ///
    /// # Errors
    ///
    /// What [`push`](Self::push) found; else the first position that is missing, though a
    /// checkpoint stands for it, or that was taken away though no record says so.
    pub fn finish(self) -> Result<Verified, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        if self.expected.front().is_some() {
            return Err(Broken {
                seq: self.head.seq + 1,
                fault: Fault::Missing,
            });
        }
        let unexplained = |seq| Broken {
            seq,
            fault: Fault::Unexplained,
        };
        let mut explained = self.prunings;
        explained.sort_by_key(|span| span.first);
        for span in &self.pruned {
            let mut next = span.first.max(self.left_out.saturating_add(1));
            for by in &explained {
                if by.contains(next) {
                    next = by.last.saturating_add(1);
                }
            }
            if next <= span.last {
                return Err(unexplained(next));
            }
        }
        let erased: u64 = self.erased.iter().map(|s| s.last - s.first + 1).sum();
        let told = self.erasures.iter().map(|(_, records)| *records);
        let told = told.fold(0, u64::saturating_add);
        for span in &self.erased {
            let is_told = |seq| self.erasures.iter().any(|(by, _)| by.contains(seq));
            if let Some(seq) = (span.first..=span.last).find(|seq| !is_told(*seq)) {
                return Err(unexplained(seq));
            }
        }
        if erased > told {
            return Err(unexplained(
                self.erased.first().map_or(0, |span| span.first),
            ));
        }
        Ok(Verified {
            head: self.head,
            root: self.tree.root(),
            pruned: self.pruned.iter().map(|s| s.last - s.first + 1).sum(),
            erased,
            checkpoints: self.agreed,
            left_out: self.left_out,
        })
    }
}

/// Whether the open part of a record may be one that tells of others.
fn may_explain(open: &[u8]) -> bool {
    let action = open.get(8..).unwrap_or_default();
    [PRUNE, ERASE].iter().any(|told| action == told.as_bytes())
}

fn extend(spans: &mut Vec<Span>, seq: u64, count: u64) {
    match spans.last_mut() {
        Some(last) if last.last + 1 == seq => last.last += count,
        _ => spans.push(Span {
            first: seq,
            last: seq + count - 1,
        }),
    }
}

pub(crate) const PAGE: usize = 4096;

/// Verifies all that `store` holds, from the first record, and returns its end: where the log grows
/// meanwhile, one that lies not before that of when it was called.
///
/// `expected` is an end of this log known from elsewhere: the stored log must contain it. Without
/// one (the default [`Head`]) a log whose end was cut off, or that was computed anew as a whole,
/// verifies; [`verify_with`] compares it with signed checkpoints.
///
/// What verifies are the records; in SQLite what queries find them by too (indexes, words, the times
/// at which segments begin and end), so that a query of a log that verifies passes over none. Not
/// the pages of the file, of which SQLite's own `PRAGMA integrity_check` knows, nor counts; nor the
/// indexes of PostgreSQL. An [`Export`](crate::Export), also with a filter, goes by the sequence and
/// what the records say, and by nothing else.
///
/// # Errors
///
/// [`VerifyError::Broken`] with the first position that is wrong, or the store's error.
pub async fn verify_store(store: &dyn AuditStore, expected: Head) -> Result<Head, VerifyError> {
    Ok(verify_with(store, expected, []).await?.head)
}

/// As [`verify_store`], and the first records must have the roots that `checkpoints` give: pairs of
/// a number of records and a root.
///
/// # Errors
///
/// [`VerifyError::Broken`] with the first position that is wrong, or the store's error.
pub async fn verify_with(
    store: &dyn AuditStore,
    expected: Head,
    checkpoints: impl IntoIterator<Item = (u64, Hash)>,
) -> Result<Verified, VerifyError> {
    let mut verifier = Verifier::new();
    for (size, root) in checkpoints {
        verifier.expect(size, root);
    }
    verifier.run(store, expected).await
}

/// Whether the store keeps the nodes that its records amount to.
async fn compare_nodes(store: &dyn AuditStore, nodes: &[Node]) -> Result<(), VerifyError> {
    for level in [8, 16, 24] {
        let own: Vec<_> = nodes.iter().filter(|node| node.level == level).collect();
        let Some((first, last)) = own.first().zip(own.last()) else {
            continue;
        };
        let count = usize::try_from(last.index - first.index + 1).unwrap_or(usize::MAX);
        let kept = store.nodes(level, first.index, count).await?;
        for node in &own {
            let place = usize::try_from(node.index - first.index).unwrap_or(usize::MAX);
            if kept.get(place) != Some(&node.hash) {
                return Err(Broken {
                    seq: (node.index << level) + 1,
                    fault: Fault::Tile,
                }
                .into());
            }
        }
    }
    Ok(())
}
