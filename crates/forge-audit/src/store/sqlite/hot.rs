//! What is in segments that have no indexes yet, by columns in memory: a few machine words a record.

use super::row::Cell;
#[cfg(doc)]
use super::segment::INDEXES;

/// One column's value as a number: 0 for none, the id of a word, or a hash with the highest bit set.
/// Different values can have the same number.
pub(super) type Key = u64;

pub(super) fn key(cell: &Cell<'_>) -> Key {
    match cell {
        Cell::Null => 0,
        Cell::Word(id) => id.cast_unsigned(),
        Cell::Text(text) => hashed(text.as_bytes()),
        Cell::Blob(few) => hashed(few.as_slice()),
    }
}

/// The key of a text or of bytes. It is stored: what it is may not change.
pub(super) fn hashed(bytes: &[u8]) -> Key {
    // FNV-1a. Who makes values meet gains that a query looks at some records in vain.
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step) | 1 << 63
}

/// Where in [`Columns`] the columns are that are indexed, but for the kind, the last of them.
const PLACES: [usize; 5] = [4, 3, 1, 2, 0];

/// What a query looks for in one segment; `None` for anything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) kind: Option<u8>,
    pub(super) outcome: Option<u8>,
    pub(super) at_least: Option<u8>,
    /// In the order of [`Columns::keys`].
    pub(super) keys: [Option<Key>; 5],
}

impl Wanted {
    /// What finds the fewest: the place of its column among [`INDEXES`], and its key.
    pub(super) fn rarest(&self) -> Option<(u8, Key)> {
        let keys = PLACES.map(|place| self.keys[place]);
        let kind = self.kind.map(Key::from);
        let all = (0..).zip(keys.into_iter().chain([kind]));
        all.filter_map(|(index, key)| Some((index, key?))).next()
    }
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

    /// The keys of the column with this place among [`INDEXES`].
    pub(super) fn keys(&self, index: u8) -> Box<dyn Iterator<Item = Key> + '_> {
        match PLACES.get(usize::from(index)) {
            Some(place) => Box::new(self.keys[*place].iter().copied()),
            None => Box::new(self.codes.iter().map(|[kind, ..]| Key::from(*kind))),
        }
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
