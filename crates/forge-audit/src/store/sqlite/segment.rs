//! Segments: where they begin and end, and their tables.
//!
//! A segment is a table of [blocks](super::block) of records, to which appending is cheap, and a table
//! of the words its records use. When it is full its [index](super::index) is built; until then the process
//! that writes finds its records by [columns in memory](super::hot).

use std::ops::ControlFlow;

use rusqlite::{Connection, Row};

use super::block;
use super::pack;
use crate::chain::{Hash, Head};
use crate::error::StoreError;
use crate::query::Order;

/// More records than this a segment never has.
pub(super) const MAX_ROWS: u64 = 1 << 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open = 0,
    Full = 1,
    /// It has an [index](super::index).
    Sealed = 5,
    /// Some of its records were pruned; it has an index.
    Partial = 3,
    /// All of its records were pruned; it has no tables any more.
    Gone = 4,
}

impl Phase {
    pub(super) fn code(self) -> i64 {
        self as i64
    }

    fn of(code: i64) -> Self {
        match code {
            0 => Self::Open,
            1 => Self::Full,
            5 => Self::Sealed,
            3 => Self::Partial,
            _ => Self::Gone,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) id: i64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) prev: Hash,
    pub(super) since: i64,
    pub(super) until: Option<i64>,
    pub(super) phase: Phase,
}

impl Segment {
    pub(super) fn contains(&self, seq: u64) -> bool {
        (self.first..=self.last).contains(&seq)
    }

    pub(super) fn create(&self, db: &Connection) -> rusqlite::Result<()> {
        for sql in self.tables() {
            db.execute_batch(&sql)?;
        }
        self.guard(db)?;
        self.insert(db)
    }

    /// The statements that create the tables of its blocks and its words, as SQLite keeps them.
    pub(super) fn tables(&self) -> [String; 2] {
        let id = self.id;
        [
            format!(
                "CREATE TABLE audit_segment_{id} (first INTEGER PRIMARY KEY, records BLOB NOT NULL) STRICT"
            ),
            format!(
                "CREATE TABLE audit_words_{id} (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE) STRICT"
            ),
        ]
    }

    /// Its row among the segments.
    pub(super) fn insert(&self, db: &Connection) -> rusqlite::Result<()> {
        db.execute(
            "INSERT INTO audit_segments (id, first, last, prev, since, until, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                self.id,
                self.first.cast_signed(),
                self.last.cast_signed(),
                self.prev.0,
                self.since,
                self.until,
                self.phase.code(),
            ),
        )?;
        Ok(())
    }

    /// The words may only be added to, and a record neither changed nor deleted: triggers stop
    /// mistakes, the chain shows the rest.
    pub(super) fn guard(&self, db: &Connection) -> rusqlite::Result<()> {
        let id = self.id;
        for (table, verb) in [
            ("segment", "UPDATE"),
            ("segment", "DELETE"),
            ("words", "UPDATE"),
            ("words", "DELETE"),
        ] {
            db.execute_batch(&format!(
                "CREATE TRIGGER audit_{table}_{id}_no_{verb} BEFORE {verb} ON audit_{table}_{id}
                 BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END;"
            ))?;
        }
        Ok(())
    }

    pub(super) fn unguard(&self, db: &Connection) -> rusqlite::Result<()> {
        let id = self.id;
        for table in ["segment", "words"] {
            db.execute_batch(&format!(
                "DROP TRIGGER IF EXISTS audit_{table}_{id}_no_UPDATE;
                 DROP TRIGGER IF EXISTS audit_{table}_{id}_no_DELETE;"
            ))?;
        }
        Ok(())
    }

    pub(super) fn set_phase(&self, db: &Connection, phase: Phase) -> rusqlite::Result<()> {
        let mut update = db.prepare_cached("UPDATE audit_segments SET state = ?2 WHERE id = ?1")?;
        update.execute((self.id, phase.code()))?;
        Ok(())
    }

    /// The last of its records.
    fn end(&self, db: &Connection) -> Result<Option<Head>, StoreError> {
        let mut last = None;
        let range = self.first..self.last + 1;
        let _: ControlFlow<()> = block::each(db, self.id, &range, Order::NewestFirst, |entry| {
            let (hash, time) = (pack::hash(entry.bytes), pack::time(entry.bytes));
            last = Some(hash.zip(time).map(|(hash, time)| Head {
                seq: entry.seq,
                hash,
                time: crate::Timestamp::from_micros(time),
            }));
            Ok(ControlFlow::Break(()))
        })?;
        match last {
            Some(None) => Err(StoreError::Altered),
            found => Ok(found.flatten()),
        }
    }
}

pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<Segment>> {
    let mut select = db.prepare_cached(
        "SELECT id, first, last, prev, since, until, state FROM audit_segments ORDER BY id",
    )?;
    let (mut before, mut id_before) = (0, i64::MIN);
    let segment = |row: &Row<'_>| {
        let (first, last): (i64, i64) = (row.get(1)?, row.get(2)?);
        // What nothing here writes, somebody else did: of two segments that say the same sequences
        // are theirs, or that have one name, a query would show records of one and a walk meet those
        // of the other.
        let (id, phase) = (row.get(0)?, Phase::of(row.get(6)?));
        let is_odd = last == i64::MAX || last < first;
        if is_odd
            || id <= id_before
            || first <= before
            || phase != Phase::Gone && (last - first).cast_unsigned() >= MAX_ROWS
        {
            return Err(rusqlite::Error::IntegralValueOutOfRange(1, first));
        }
        (before, id_before) = (last, id);
        Ok(Segment {
            id,
            first: first.cast_unsigned(),
            last: last.cast_unsigned(),
            prev: Hash(row.get(3)?),
            since: row.get(4)?,
            until: row.get(5)?,
            phase,
        })
    };
    select.query_map([], segment)?.collect()
}

/// The end of the log.
pub(super) fn tail(db: &Connection, segments: &[Segment]) -> Result<Head, StoreError> {
    let Some(open) = segments.last() else {
        return Ok(Head::default());
    };
    if open.phase != Phase::Gone
        && let Some(head) = open.end(db)?
    {
        return Ok(head);
    }
    // A segment is begun together with its first record: an empty one was tampered with.
    Ok(Head {
        seq: open.first - 1,
        hash: open.prev,
        time: crate::Timestamp::from_micros(open.since),
    })
}
