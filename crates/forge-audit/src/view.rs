//! What a verifier sees of a record, wherever its parts lie, and whether it is the next.

use std::fmt;

use crate::chain::{Broken, Fault, Hash, Head, record_hash};
use crate::clock::Timestamp;

/// A record as the chain sees it, wherever its parts lie: what a store reads need not be copied to
/// be verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) seq: u64,
    pub(crate) time: Timestamp,
    pub(crate) occurred: Timestamp,
    pub(crate) prev: Hash,
    pub(crate) hash: Hash,
    pub(crate) left: Left<'a>,
}

/// What is left of a record.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    Event {
        open: &'a [u8],
        /// `None` when it was erased.
        personal: Option<&'a [u8]>,
        commitment: Hash,
    },
    Hash {
        count: u64,
    },
}

impl fmt::Debug for Left<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Event { .. } => "Event",
            Self::Hash { .. } => "Hash",
        })
    }
}

impl View<'_> {
    /// The hash that the other parts amount to; that which is kept, when the record was pruned.
    pub(crate) fn expected_hash(&self) -> Hash {
        match self.left {
            Left::Event {
                open, commitment, ..
            } => record_hash(
                self.seq,
                [self.time, self.occurred],
                self.prev,
                open,
                commitment,
            ),
            Left::Hash { .. } => self.hash,
        }
    }
}

/// Checks that `view` is exactly what follows `head`, and returns the new end.
pub(crate) fn follow(head: Head, view: &View<'_>) -> Result<Head, Broken> {
    let broken = |fault| {
        Err(Broken {
            seq: head.seq + 1,
            fault,
        })
    };
    if view.seq != head.seq + 1 {
        return broken(Fault::Missing);
    }
    if let Left::Hash { count } = view.left {
        let Some(seq) = head.seq.checked_add(count).filter(|_| count > 0) else {
            return broken(Fault::Content);
        };
        // The hash of one record goes on; after a subtree the next record begins anew, and
        // only the tree shows that it belongs there.
        return Ok(Head {
            seq,
            hash: if count == 1 {
                view.hash
            } else {
                Hash::default()
            },
            time: head.time,
        });
    }
    let unknown = head.seq > 0 && head.hash == Hash::default();
    if view.hash != view.expected_hash() {
        return broken(Fault::Content);
    }
    if view.prev != head.hash && !unknown {
        return broken(Fault::Previous);
    }
    if head.seq > 0 && view.time < head.time {
        return broken(Fault::Time);
    }
    Ok(Head {
        seq: view.seq,
        hash: view.hash,
        time: view.time,
    })
}
