//! The index of a segment that is full: for each column that records are found by, the keys of its
//! records and where they are, in order, in blocks.
//!
//! It is made of the [columns in memory](super::hot) in a few milliseconds; as many indexes of
//! SQLite's own would take six times as long, and three times the room. Keys are short: different
//! values can have the same, and who looks finds a few records too many, never one too few.
//!
//! In a block each key (4 bytes, big-endian) is followed by how many places it has, the first of them,
//! and how far each next one is from the one before, in LEB128.

use std::ops::Range;

use rusqlite::Connection;

use super::hot::{Columns, Key};
use super::pack::{self, Input};

/// What records of a segment are found by; the most selective first.
pub(super) const INDEXES: [&str; 6] = [
    "request_id",
    "resource",
    "actor",
    "address",
    "action",
    "kind",
];

/// Pairs of a key and a place in one block.
const BLOCK: usize = 1024;

/// A key in the upper half, a place in the lower: in this order.
type Pair = u64;

fn key_of(pair: Pair) -> u32 {
    (pair >> 32) as u32
}

fn place_of(pair: Pair) -> u64 {
    pair & u64::from(u32::MAX)
}

/// Adds pairs, which are in order, to the bytes of a block.
fn write(pairs: &[Pair], out: &mut Vec<u8>) {
    for of_key in pairs.chunk_by(|a, b| key_of(*a) == key_of(*b)) {
        let mut before = 0;
        out.extend(key_of(of_key[0]).to_be_bytes());
        pack::number(out, of_key.len() as u64);
        for place in of_key.iter().copied().map(place_of) {
            pack::number(out, place - before);
            before = place;
        }
    }
}

/// Hands the pairs of a block to `then` until it says no, and tells whether it met the end: a block
/// that only somebody else writes has none.
fn read(block: &[u8], mut then: impl FnMut(Pair) -> bool) -> bool {
    let mut input = Input(block);
    while let Some(key) = input.array() {
        let mut place = 0_u64;
        for _ in 0..input.number().unwrap_or_default() {
            let next = input.number().and_then(|step| place.checked_add(step));
            let Some(next) = next.filter(|next| *next <= u64::from(u32::MAX)) else {
                return false;
            };
            place = next;
            if !then(u64::from(u32::from_be_bytes(key)) << 32 | place) {
                return false;
            }
        }
    }
    input.0.is_empty()
}

/// What a block is found by: the key of its last pair.
fn short(key: Key) -> u32 {
    // Both halves, of which a word has only the lower.
    ((key >> 32) ^ (key & u64::from(u32::MAX))) as u32
}

/// The statement that creates the table of an index, as SQLite keeps it.
pub(super) fn table(segment: i64) -> String {
    format!(
        "CREATE TABLE audit_index_{segment} (col INTEGER NOT NULL, last INTEGER NOT NULL, \
         block INTEGER NOT NULL, pairs BLOB NOT NULL, PRIMARY KEY (col, last, block)) \
         STRICT, WITHOUT ROWID"
    )
}

/// Makes the index of the segment whose records `columns` holds.
pub(super) fn build(db: &Connection, columns: &Columns) -> rusqlite::Result<()> {
    let id = columns.id;
    db.execute_batch(&table(id))?;
    let mut insert = db.prepare(&format!(
        "INSERT INTO audit_index_{id} (col, last, block, pairs) VALUES (?1, ?2, ?3, ?4)"
    ))?;
    let mut bytes = Vec::new();
    for col in (0_u8..).take(INDEXES.len()) {
        let pair = |(place, key)| u64::from(short(key)) << 32 | place as u64;
        let keys = columns.keys(col).enumerate().filter(|(_, key)| *key != 0);
        let mut pairs: Vec<Pair> = keys.map(pair).collect();
        pairs.sort_unstable();
        for (block, some) in (0_u32..).zip(pairs.chunks(BLOCK)) {
            let last = some.last().copied().map_or(0, key_of);
            bytes.clear();
            write(some, &mut bytes);
            insert.execute((col, last, block, &bytes))?;
        }
    }
    Ok(())
}

/// Whether the index is that of the segment whose records `columns` holds: each of its pairs is one
/// of theirs, they are in order, and none is missing.
pub(super) fn agrees(db: &Connection, columns: &Columns) -> rusqlite::Result<bool> {
    let mut select = db.prepare_cached(&blocks(columns.id, "last, block, pairs"))?;
    for col in (0_u8..).take(INDEXES.len()) {
        // 0 stands for none: what is short may be 0 too.
        let shorts: Vec<_> = columns
            .keys(col)
            .map(|key| (key != 0).then(|| short(key)))
            .collect();
        let mut left = shorts.iter().flatten().count();
        let (mut before, mut blocks) = (None::<Pair>, 0_i64);
        let mut rows = select.query((col, 0))?;
        while let Some(row) = rows.next()? {
            let is_next = |pair: Pair| {
                let place = usize::try_from(place_of(pair)).unwrap_or(usize::MAX);
                let key = shorts.get(place).copied().flatten();
                let is_next = before < Some(pair) && key == Some(key_of(pair)) && left > 0;
                (before, left) = (Some(pair), left.saturating_sub(1));
                is_next
            };
            let is_whole = read(row.get_ref(2)?.as_blob()?, is_next);
            let last = before.map_or(0, |pair| i64::from(key_of(pair)));
            if !is_whole || (row.get(0)?, row.get(1)?) != (last, blocks) {
                return Ok(false);
            }
            blocks += 1;
        }
        if left > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The statement that finds the blocks of a key.
fn blocks(segment: i64, what: &str) -> String {
    format!(
        "SELECT {what} FROM audit_index_{segment} WHERE col = ?1 AND last >= ?2 \
         ORDER BY col, last, block"
    )
}

/// The sequences in `range` of the records of the segment, which begins at `first`, that may have
/// `key` in the column; in order.
pub(super) fn find(
    db: &Connection,
    (segment, first): (i64, u64),
    (col, key): (u8, Key),
    range: &Range<u64>,
) -> rusqlite::Result<Vec<u64>> {
    let key = short(key);
    let mut found = Vec::new();
    let mut select = db.prepare_cached(&blocks(segment, "pairs"))?;
    let mut rows = select.query((col, i64::from(key)))?;
    while let Some(row) = rows.next()? {
        let mut is_beyond = false;
        read(row.get_ref(0)?.as_blob()?, |pair| {
            let seq = first.saturating_add(place_of(pair));
            if key_of(pair) == key && range.contains(&seq) {
                found.push(seq);
            }
            is_beyond = key_of(pair) > key;
            !is_beyond
        });
        if is_beyond {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_is_there_and_little_else(
            keys in prop::collection::vec(prop_oneof![0_u64..40, any::<u64>()], 1..3000),
            wanted in any::<prop::sample::Index>(),
            from in 0_u64..3000,
        ) {
            let db = Connection::open_in_memory().unwrap();
            let mut columns = Columns::new(7, 100);
            for key in &keys {
                columns.push_all([1, 1, 1], [0, 0, 0, 0, *key]);
            }
            build(&db, &columns).unwrap();
            let key = keys[wanted.index(keys.len())];
            // The request id is found by first.
            let range = 100 + from..u64::MAX;
            let found = find(&db, (7, 100), (0, key), &range).unwrap();
            let mut expected: Vec<u64> = (100..).zip(&keys).filter(|(_, k)| **k == key).map(|(seq, _)| seq).collect();
            expected.retain(|seq| range.contains(seq));
            if key == 0 {
                expected.clear();
            }
            prop_assert!(expected.iter().all(|seq| found.contains(seq)));
            prop_assert!(found.is_sorted());
            prop_assert!(found.iter().all(|seq| short(keys[(seq - 100) as usize]) == short(key)));
            let kinds = find(&db, (7, 100), (5, 1), &(0..u64::MAX)).unwrap();
            prop_assert_eq!(kinds.len(), keys.len());
        }
    }

    #[test]
    fn a_block_is_found_by_its_key() {
        let db = Connection::open_in_memory().unwrap();
        build(&db, &Columns::new(7, 1)).unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {}", blocks(7, "pairs"));
        let plan: String = db.query_row(&sql, (0, 0), |row| row.get(3)).unwrap();
        assert_eq!(
            plan,
            "SEARCH audit_index_7 USING PRIMARY KEY (col=? AND last>?)"
        );
    }
}
