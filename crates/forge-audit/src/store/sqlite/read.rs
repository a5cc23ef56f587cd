//! Finding records, and reading them without believing them.

use std::ops::Range;

use rusqlite::Connection;

use super::find::Query;
use super::row::{Reading, Words};
use super::segment::{self, Phase};
use super::worker::State;
use super::write::Hot;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::kind::{Kind, Outcome, Severity};
use crate::query::{Order, Selection};
use crate::record::Stored;
use crate::store::{Count, SignedNote};

/// The side that reads.
pub(super) struct Reader {
    pub(super) db: Connection,
    pub(super) hot: Hot,
}

impl State for Reader {}

impl Reader {
    /// Runs `read` on one state of the database.
    pub(super) fn snapshot<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.db.prepare_cached("BEGIN")?.execute([])?;
        let done = read(&self.db);
        if !self.db.is_autocommit() {
            self.db.prepare_cached("COMMIT")?.execute([])?;
        }
        done
    }

    pub(super) fn query(&self, selection: &Selection) -> Result<Vec<Stored>, StoreError> {
        self.snapshot(|db| {
            let mut segments = segment::all(db)?;
            if selection.order == Order::NewestFirst {
                segments.reverse();
            }
            let mut query = Query {
                db,
                hot: &self.hot,
                selection,
                words: Words::new(db),
                reading: Reading::default(),
                found: Vec::new(),
            };
            for segment in &segments {
                if query.found.len() >= selection.limit {
                    break;
                }
                if segment.phase != Phase::Gone {
                    query.segment(segment)?;
                }
            }
            Ok(query.found)
        })
    }
}

pub(super) fn counts(db: &Connection, during: &Range<Timestamp>) -> Result<Vec<Count>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT minute, kind, outcome, severity, events FROM audit_counts
         WHERE minute >= ?1 AND minute < ?2 ORDER BY minute, kind, outcome, severity",
    )?;
    let mut rows = select.query((during.start.as_micros(), during.end.as_micros()))?;
    let mut counts = Vec::new();
    while let Some(row) = rows.next()? {
        let known = (
            Kind::from_code(row.get(1)?),
            Outcome::from_code(row.get(2)?),
            Severity::from_code(row.get(3)?),
        );
        if let (Some(kind), Some(outcome), Some(severity)) = known {
            counts.push(Count {
                minute: Timestamp::from_micros(row.get(0)?),
                kind,
                outcome,
                severity,
                events: row.get::<_, i64>(4)?.cast_unsigned(),
            });
        }
    }
    Ok(counts)
}

pub(super) fn checkpoints(
    db: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<SignedNote>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT size, text FROM audit_checkpoints WHERE size > ?1 ORDER BY size LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let notes = select.query_map((after, limit), |row| {
        Ok(SignedNote {
            size: row.get::<_, i64>(0)?.cast_unsigned(),
            text: row.get(1)?,
        })
    })?;
    Ok(notes.collect::<rusqlite::Result<_>>()?)
}
