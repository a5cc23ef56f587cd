//! The Merkle tree over the records, as RFC 6962 section 2.1 has it.
//!
//! The hash of a record is that of its leaf. The root of the first `n` records stands for all of
//! them, in their order; two roots and a few hashes show that a log only grew, and a root and a few
//! hashes that a record is in it, without the rest of the log.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::chain::Hash;
use crate::short::sha256;

/// The levels whose nodes are kept: the roots of each 2^8, 2^16, … records, beside the records
/// themselves at level 0.
pub(crate) const LEVELS: [u8; 4] = [0, 8, 16, 24];

/// How many records a tile has.
pub(crate) const TILE: u64 = 256;

/// The parent of two nodes.
pub(crate) fn parent(left: &Hash, right: &Hash) -> Hash {
    sha256([&[1], &left.0, &right.0])
}

/// A tree that grows: of its nodes only those on its right edge. Plain state, without I/O.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// The roots of the perfect subtrees the size is made of, the largest first.
    edge: Vec<Hash>,
}

/// A node that became complete: the root of the 2^`level` records from `index`·2^`level` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) level: u8,
    pub(crate) index: u64,
    pub(crate) hash: Hash,
}

impl Tree {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the record with this hash.
    pub fn push(&mut self, leaf: Hash) {
        self.grow(leaf, 0, |_| ());
    }

    /// As [`push`](Self::push), and tells the nodes at kept levels that it completes.
    pub(crate) fn push_and_tell(&mut self, leaf: Hash, tell: impl FnMut(Node)) {
        self.grow(leaf, 0, tell);
    }

    /// Adds a subtree of 2^`level` records; the size is a multiple of that.
    pub(crate) fn push_node(&mut self, hash: Hash, level: u8) {
        self.grow(hash, level, |_| ());
    }

    /// As [`push_node`](Self::push_node), and tells the nodes at kept levels above that it completes.
    #[cfg(feature = "sqlite")]
    pub(crate) fn push_node_and_tell(&mut self, hash: Hash, level: u8, tell: impl FnMut(Node)) {
        self.grow(hash, level, tell);
    }

    fn grow(&mut self, hash: Hash, level: u8, mut tell: impl FnMut(Node)) {
        let (mut hash, mut at) = (hash, level);
        // As many right children end here as the size has trailing ones above the level.
        let mut above = self.size >> level;
        while above & 1 == 1 {
            let Some(left) = self.edge.pop() else { break };
            hash = parent(&left, &hash);
            above >>= 1;
            at += 1;
            if at.is_multiple_of(8) && at <= 24 {
                tell(Node {
                    level: at,
                    index: above,
                    hash,
                });
            }
        }
        self.edge.push(hash);
        self.size += 1 << level;
    }

    /// The root. Of the empty tree, the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut edge = self.edge.iter().rev();
        let Some(last) = edge.next() else {
            return Hash(Sha256::digest([]).into());
        };
        edge.fold(*last, |right, left| parent(left, &right))
    }
}

/// The largest power of two below `size`, which is more than 1.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The ranges of records whose roots prove that record `index` is among the first `size`: the
/// audit path, from the leaf to the root.
pub(crate) fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut from, mut until) = (0, size);
    let mut path = Vec::new();
    while until - from > 1 {
        let middle = from + split(until - from);
        if index < middle {
            path.push(middle..until);
            until = middle;
        } else {
            path.push(from..middle);
            from = middle;
        }
    }
    path.reverse();
    path
}

/// The ranges of records whose roots prove that the first `old` are those of the first `new`.
pub(crate) fn consistency_ranges(old: u64, new: u64) -> Vec<Range<u64>> {
    let (mut from, mut until, mut whole) = (0, new, true);
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return proof;
    }
    loop {
        if old == until {
            if !whole {
                proof.push(from..until);
            }
            break;
        }
        let middle = from + split(until - from);
        if old <= middle {
            proof.push(middle..until);
            until = middle;
        } else {
            proof.push(from..middle);
            from = middle;
            whole = false;
        }
    }
    proof.reverse();
    proof
}

/// That a record is in a log, or that a log only grew.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Proof {
    /// The hashes, in the order of RFC 6962.
    pub hashes: Vec<Hash>,
}

impl Proof {
    /// Whether this proves that the record with the hash `leaf` has the sequence `seq` in the log
    /// whose first `size` records have the root `root` (RFC 9162 section 2.1.3.2).
    #[must_use]
    pub fn includes(&self, seq: u64, leaf: Hash, size: u64, root: Hash) -> bool {
        let Some(index) = seq.checked_sub(1).filter(|index| *index < size) else {
            return false;
        };
        let (mut node, mut last, mut hash) = (index, size - 1, leaf);
        for next in &self.hashes {
            if last == 0 {
                return false;
            }
            if node & 1 == 1 || node == last {
                hash = parent(next, &hash);
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                hash = parent(&hash, next);
            }
            node >>= 1;
            last >>= 1;
        }
        last == 0 && hash == root
    }

    /// Whether this proves that a log of `old.0` records with the root `old.1` only grew to one of
    /// `new.0` with `new.1` (RFC 9162 section 2.1.4.2).
    #[must_use]
    pub fn extends(&self, old: (u64, Hash), new: (u64, Hash)) -> bool {
        if old.0 == new.0 {
            return self.hashes.is_empty() && old.1 == new.1;
        }
        if old.0 == 0 {
            return self.hashes.is_empty() && old.1 == Tree::new().root();
        }
        if old.0 > new.0 {
            return false;
        }
        let (mut node, mut last) = (old.0 - 1, new.0 - 1);
        while node & 1 == 1 {
            node >>= 1;
            last >>= 1;
        }
        let mut path = self.hashes.iter();
        let first = if node == 0 { Some(&old.1) } else { path.next() };
        let Some(first) = first else { return false };
        let (mut was, mut is) = (*first, *first);
        for next in path {
            if last == 0 {
                return false;
            }
            if node & 1 == 1 || node == last {
                was = parent(next, &was);
                is = parent(next, &is);
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                is = parent(&is, next);
            }
            node >>= 1;
            last >>= 1;
        }
        last == 0 && was == old.1 && is == new.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf(i: u64) -> Hash {
        Hash(Sha256::digest(i.to_be_bytes()).into())
    }

    /// The definition of RFC 6962 section 2.1, word for word.
    fn mth(range: Range<u64>) -> Hash {
        match range.end - range.start {
            0 => Hash(Sha256::digest([]).into()),
            1 => leaf(range.start),
            n => {
                let middle = range.start + split(n);
                parent(&mth(range.start..middle), &mth(middle..range.end))
            }
        }
    }

    fn proof(ranges: Vec<Range<u64>>) -> Proof {
        Proof {
            hashes: ranges.into_iter().map(mth).collect(),
        }
    }

    /// The roots of the test log of Certificate Transparency, whose leaves are given as hashes of
    /// their content behind a zero byte.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let content: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::new();
        for (content, root) in content.iter().zip(roots) {
            let mut bytes = vec![0];
            bytes.extend(*content);
            tree.push(Hash(Sha256::digest(&bytes).into()));
            assert_eq!(tree.root().to_string(), root);
        }
    }

    #[test]
    fn grows_by_leaves_and_by_subtrees_alike() {
        let (mut tree, mut nodes) = (Tree::new(), Vec::new());
        for i in 0..1000 {
            tree.push_and_tell(leaf(i), |node| nodes.push(node));
        }
        assert_eq!(tree.root(), mth(0..1000));
        assert_eq!(nodes.len(), 3);
        let mut again = Tree::new();
        for node in &nodes {
            assert_eq!(node.hash, mth(node.index * 256..node.index * 256 + 256));
            again.push_node(node.hash, node.level);
        }
        (768..1000).for_each(|i| again.push(leaf(i)));
        assert_eq!(again, tree);
    }

    proptest! {
        #[test]
        fn proofs_prove_and_nothing_else_does(size in 1_u64..200, a in any::<prop::sample::Index>(), bad in any::<prop::sample::Index>()) {
            let at = a.index(usize::try_from(size).unwrap()) as u64;
            let root = mth(0..size);
            let path = proof(inclusion_ranges(at, size));
            prop_assert!(path.includes(at + 1, leaf(at), size, root));
            prop_assert!(!path.includes(at + 1, leaf(at + 1), size, root));
            prop_assert!(!path.includes(at + 2, leaf(at), size, root));
            prop_assert!(!path.includes(at + 1, leaf(at), size, leaf(0)) || size == 1 && at == 0);
            let old = at + 1;
            let grown = proof(consistency_ranges(old, size));
            prop_assert!(grown.extends((old, mth(0..old)), (size, root)));
            prop_assert!(!grown.extends((old, leaf(777)), (size, root)));
            prop_assert!(!grown.extends((old, mth(0..old)), (size, leaf(777))));
            for proof in [&path, &grown] {
                if proof.hashes.is_empty() { continue; }
                let mut flipped = proof.clone();
                let i = bad.index(flipped.hashes.len() * 32);
                flipped.hashes[i / 32].0[i % 32] ^= 1;
                prop_assert!(!flipped.includes(at + 1, leaf(at), size, root));
                prop_assert!(!flipped.extends((old, mth(0..old)), (size, root)));
                flipped.hashes.pop();
                prop_assert!(!flipped.includes(at + 1, leaf(at), size, root));
            }
        }
    }
}
