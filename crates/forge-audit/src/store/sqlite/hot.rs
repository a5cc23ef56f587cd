//! What is in segments that have no indexes yet, by columns in memory: a few machine words a record.

use std::ops::ControlFlow;

use rusqlite::Connection;

use super::block;
#[cfg(doc)]
use super::index::INDEXES;
use super::pack::{Cell, Packed};
use super::segment::Segment;
use crate::error::StoreError;
use crate::query::Order;

/// One column's value as a number: 0 for none, the id of a word, or a hash with the highest bit set.
/// Different values can have the same number.
pub(super) type Key = u64;

pub(super) fn key(cell: &Cell<'_>) -> Key {
    match cell {
        Cell::Nothing => 0,
        Cell::Word(id) => Key::from(*id),
        Cell::Text(text) => hashed(text),
        Cell::Four(bytes) => hashed(bytes),
        Cell::Sixteen(bytes) => hashed(bytes),
    }
}

/// The key of a text or of bytes. It is stored: what it is may not change.
fn hashed(bytes: &[u8]) -> Key {
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
    /// Whether a record with this kind, outcome and severity is looked for.
    pub(super) fn fits(&self, [kind, outcome, severity]: [u8; 3]) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
            && self.outcome.is_none_or(|wanted| wanted == outcome)
            && self.at_least.is_none_or(|least| severity >= least)
    }

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

    /// What is in `segment`. Of a record that was pruned there is nothing that is found.
    pub(super) fn read(db: &Connection, segment: &Segment) -> Result<Self, StoreError> {
        let mut columns = Self::new(segment.id, segment.first);
        let range = segment.first..segment.last + 1;
        let _: ControlFlow<()> =
            block::each(db, segment.id, &range, Order::OldestFirst, |entry| {
                while segment.first + (columns.len() as u64) < entry.seq {
                    columns.push_all([0; 3], [0; 5]);
                }
                // What cannot be taken apart is found only where all are looked at.
                match Packed::read(entry.bytes) {
                    Some(packed) => columns.push(&packed),
                    None => columns.push_all([0; 3], [0; 5]),
                }
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(columns)
    }

    pub(super) fn push(&mut self, packed: &Packed<'_>) {
        let cells = packed.searched();
        self.push_all(packed.codes, cells.map(|cell| key(&cell)));
    }

    pub(super) fn push_all(&mut self, codes: [u8; 3], keys: [Key; 5]) {
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
        let fits = |i: &usize| wanted.fits(self.codes[from + i]);
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
