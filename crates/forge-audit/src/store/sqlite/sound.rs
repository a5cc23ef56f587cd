//! Whether what records are found by is what they say. Who verifies asks, so that a query cannot pass
//! over a record that verifies.

use std::ops::ControlFlow;

use rusqlite::Connection;

use super::block;
use super::hot::Columns;
use super::index;
use super::pack;
use super::segment::{Phase, Segment};
use crate::error::StoreError;
use crate::query::Order;

/// Whether the tables of `segment` are those that were created, and its times enclose those of its
/// records.
pub(super) fn is_sound(db: &Connection, segment: &Segment) -> Result<bool, StoreError> {
    let has_index = matches!(segment.phase, Phase::Sealed | Phase::Partial);
    let mut tables = segment.tables().to_vec();
    tables.extend(has_index.then(|| index::table(segment.id)));
    for sql in tables {
        let mut same =
            db.prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND sql = ?1")?;
        if !same.exists([sql])? {
            return Ok(false);
        }
    }
    let first = time(db, segment, Order::OldestFirst)?;
    let last = time(db, segment, Order::NewestFirst)?;
    let until = segment.until.unwrap_or(i64::MAX);
    Ok(first.is_none_or(|first| segment.since <= first) && last.is_none_or(|last| last <= until))
}

/// The time of the first record that there is, or of the last.
fn time(db: &Connection, segment: &Segment, order: Order) -> Result<Option<i64>, StoreError> {
    let (mut time, range) = (None, segment.first..segment.last + 1);
    let _: ControlFlow<()> = block::each(db, segment.id, &range, order, |entry| {
        time = pack::time(entry.bytes);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(time)
}

/// Whether the index of `segment`, if it has one, finds each of its records, and nothing else.
pub(super) fn is_indexed(db: &Connection, segment: &Segment) -> Result<bool, StoreError> {
    if !matches!(segment.phase, Phase::Sealed | Phase::Partial) {
        return Ok(true);
    }
    Ok(index::agrees(db, &Columns::read(db, segment)?)?)
}
