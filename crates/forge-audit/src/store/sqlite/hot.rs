//! What is in segments that have no indexes yet, by columns in memory: a few machine words a record.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::row::Cell;

/// One column's value as a number: 0 for none, the id of a word, or a hash with the highest bit set.
/// Different values can have the same number.
pub(super) type Key = u64;

pub(super) fn key(cell: &Cell<'_>) -> Key {
    let hashed = |bytes: &[u8]| {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish() | 1 << 63
    };
    match cell {
        Cell::Null => 0,
        Cell::Word(id) => id.cast_unsigned(),
        Cell::Text(text) => hashed(text.as_bytes()),
        Cell::Blob(bytes) => hashed(bytes),
    }
}

/// What a query looks for in one segment; `None` for anything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) kind: Option<u8>,
    pub(super) outcome: Option<u8>,
    pub(super) at_least: Option<u8>,
    /// In the order of [`Columns::keys`].
    pub(super) keys: [Option<Key>; 5],
}

/// The records of one segment. The values of a column lie together.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) id: i64,
    pub(super) first: u64,
    /// Kind, outcome, severity.
    codes: Vec<[u8; 3]>,
    /// Action, actor, address, resource, request id.
    keys: [Vec<Key>; 5],
}

impl Columns {
    pub(super) fn new(id: i64, first: u64) -> Self {
        Self {
            id,
            first,
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, codes: [u8; 3], keys: [Key; 5]) {
        self.codes.push(codes);
        for (column, key) in self.keys.iter_mut().zip(keys) {
            column.push(key);
        }
    }

    pub(super) fn append(&mut self, mut more: Self) {
        self.codes.append(&mut more.codes);
        for (column, more) in self.keys.iter_mut().zip(&mut more.keys) {
            column.append(more);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.codes.len()
    }

    /// The sequences between `from` and `until` of the records that may be wanted, in order.
    pub(super) fn find(&self, wanted: &Wanted, from: u64, until: u64) -> Vec<u64> {
        let index = |seq: u64| {
            let index = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX);
            index.min(self.len())
        };
        let (from, until) = (index(from), index(until));
        if from >= until {
            return Vec::new();
        }
        let terms: Vec<_> = self
            .keys
            .iter()
            .zip(wanted.keys)
            .filter_map(|(column, key)| Some((&column[from..until], key?)))
            .collect();
        let fits = |i: &usize| {
            let [kind, outcome, severity] = self.codes[from + i];
            wanted.kind.is_none_or(|wanted| wanted == kind)
                && wanted.outcome.is_none_or(|wanted| wanted == outcome)
                && wanted.at_least.is_none_or(|least| severity >= least)
        };
        let seq = |i: usize| self.first + (from + i) as u64;
        match terms.split_first() {
            None => (0..until - from).filter(fits).map(seq).collect(),
            Some(((column, key), rest)) => column
                .iter()
                .enumerate()
                .filter(|(_, value)| *value == key)
                .map(|(i, _)| i)
                .filter(|i| rest.iter().all(|(column, key)| column[*i] == *key))
                .filter(fits)
                .map(seq)
                .collect(),
        }
    }
}
