//! Blocks: the rows of a segment, each of some records that follow one another. A row a record would
//! cost most of the time of appending, and of reading all.
//!
//! A block holds records of one tile. Each is preceded by its length, 4 bytes, little-endian.

use std::ops::{ControlFlow, Range};

use rusqlite::Connection;

use crate::error::StoreError;
use crate::query::Order;
use crate::tree::TILE;

/// A block has no more records than this, and takes no more when it has so many bytes: who wants one
/// record reads all of its block.
const RECORDS: usize = 64;
const BYTES: usize = 16 * 1024;

const LENGTH: usize = size_of::<u32>();

/// A block that is being filled.
#[derive(Debug, Default)]
pub(super) struct Block {
    first: u64,
    count: usize,
    bytes: Vec<u8>,
}

impl Block {
    /// Whether the record `seq` must not go in.
    pub(super) fn is_full_for(&self, seq: u64) -> bool {
        let next = self.first + self.count as u64;
        let is_other = seq != next || (seq - 1).is_multiple_of(TILE);
        self.count > 0 && (is_other || self.count == RECORDS || self.bytes.len() >= BYTES)
    }

    /// Adds the record `seq`, whose bytes `write` adds to those of the block.
    pub(super) fn push(&mut self, seq: u64, write: impl FnOnce(&mut Vec<u8>)) {
        if self.count == 0 {
            self.first = seq;
        }
        let at = self.bytes.len();
        self.bytes.extend([0; LENGTH]);
        write(&mut self.bytes);
        // Every part is bounded at construction, far below this.
        let length = u32::try_from(self.bytes.len() - at - LENGTH).unwrap_or(u32::MAX);
        self.bytes[at..at + LENGTH].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    /// Appends the block to the segment, and empties it.
    pub(super) fn append(&mut self, db: &Connection, segment: i64) -> rusqlite::Result<()> {
        if self.count > 0 {
            let sql =
                format!("INSERT INTO audit_segment_{segment} (first, records) VALUES (?1, ?2)");
            let mut insert = db.prepare_cached(&sql)?;
            insert.execute((self.first.cast_signed(), &self.bytes))?;
            self.count = 0;
            self.bytes.clear();
        }
        Ok(())
    }
}

/// A record in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) seq: u64,
    /// Empty for what cannot be a record.
    pub(super) bytes: &'a [u8],
    /// The bytes of the record before it, where they are in the same block.
    pub(super) before: Option<&'a [u8]>,
}

/// The records of a block. What cannot be one is an empty one, and the last; what lies beyond the
/// tile is none.
fn records(first: u64, bytes: &[u8]) -> Vec<Entry<'_>> {
    let (mut seq, mut rest) = (first, bytes);
    let mut found = Vec::with_capacity(RECORDS);
    let mut before = None;
    loop {
        let cut = rest.split_first_chunk().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length)
        });
        let (bytes, behind) = cut.unwrap_or_default();
        found.push(Entry { seq, bytes, before });
        before = Some(bytes);
        if behind.is_empty() || seq.is_multiple_of(TILE) {
            return found;
        }
        (seq, rest) = (seq.saturating_add(1), behind);
    }
}

/// The statement that finds the blocks with records of a range: from the one on that begins last
/// before it, or where it does.
fn blocks(segment: i64, order: Order) -> String {
    let direction = match order {
        Order::NewestFirst => "DESC",
        Order::OldestFirst => "ASC",
    };
    format!(
        "SELECT first, records FROM audit_segment_{segment} WHERE first < ?2 AND first >= coalesce(
             (SELECT max(first) FROM audit_segment_{segment} WHERE first <= ?1), ?1)
         ORDER BY first {direction}"
    )
}

/// Meets the records of the segment in `range`, in that order.
pub(super) fn each(
    db: &Connection,
    segment: i64,
    range: &Range<u64>,
    order: Order,
    mut meet: impl FnMut(Entry<'_>) -> Result<ControlFlow<()>, StoreError>,
) -> Result<ControlFlow<()>, StoreError> {
    let sql = blocks(segment, order);
    let mut select = db.prepare_cached(&sql)?;
    let mut rows = select.query((range.start.cast_signed(), range.end.cast_signed()))?;
    while let Some(row) = rows.next()? {
        // Other types only somebody else writes: nobody shows what is not a record.
        let first = row.get_ref(0)?.as_i64().unwrap_or_default();
        let bytes = row.get_ref(1)?.as_blob().unwrap_or_default();
        let records = records(first.cast_unsigned(), bytes).into_iter();
        let mut records = records.filter(|entry| range.contains(&entry.seq));
        let mut meet = |entry| match meet(entry) {
            Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
            other => ControlFlow::Break(other),
        };
        let met = match order {
            Order::NewestFirst => records.rev().try_for_each(&mut meet),
            Order::OldestFirst => records.try_for_each(&mut meet),
        };
        if let ControlFlow::Break(end) = met {
            return end;
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_their_key_and_never_sorted() {
        let db = Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE audit_segment_7 (first INTEGER PRIMARY KEY, records BLOB)";
        db.execute_batch(table).unwrap();
        for order in [Order::NewestFirst, Order::OldestFirst] {
            let sql = format!("EXPLAIN QUERY PLAN {}", blocks(7, order));
            let mut explain = db.prepare(&sql).unwrap();
            let lines = explain.query_map((1, 2), |row| row.get(3)).unwrap();
            let lines: Vec<String> = lines.map(Result::unwrap).collect();
            assert_eq!(
                lines,
                [
                    "SEARCH audit_segment_7 USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
                    "SCALAR SUBQUERY 1",
                    "SEARCH audit_segment_7 USING INTEGER PRIMARY KEY (rowid<?)",
                ]
            );
        }
    }

    #[test]
    fn a_block_ends_with_its_tile_its_count_and_its_bytes() {
        let full_after = |first: u64, bytes: usize| {
            let mut block = Block::default();
            let mut seq = first;
            while !block.is_full_for(seq) {
                block.push(seq, |out| out.extend(vec![0; bytes]));
                seq += 1;
            }
            assert!(block.is_full_for(seq + 1));
            seq - first
        };
        assert_eq!(full_after(1, 10), RECORDS as u64);
        assert_eq!(full_after(250, 10), 7);
        assert_eq!(full_after(256, 10), 1);
        assert_eq!(full_after(1, 5000), 4);
        assert_eq!(full_after(1, 50_000), 1);
    }

    #[test]
    fn what_is_cut_is_an_empty_record_and_the_last() {
        let mut block = Block::default();
        for seq in 255..=256 {
            block.push(seq, |out| out.extend(b"abc"));
        }
        let met = |bytes: &[u8]| {
            let records = records(255, bytes);
            records
                .iter()
                .map(|e| (e.seq, e.bytes.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!(met(&block.bytes), [(255, 3), (256, 3)]);
        // Beyond the tile there is nothing.
        assert_eq!(met(&block.bytes.repeat(3)), [(255, 3), (256, 3)]);
        for cut in 8..block.bytes.len() {
            assert_eq!(met(&block.bytes[..cut]), [(255, 3), (256, 0)], "{cut}");
        }
        assert_eq!(met(&[]), [(255, 0)]);
        assert_eq!(met(&[0xff; 9]), [(255, 0)]);
    }
}
