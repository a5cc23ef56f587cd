//! Filling a segment with rows, and its dictionary with words.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{CachedStatement, Connection, Statement};

use super::hot::{Columns, key};
use super::row::{self, COLUMNS, Cell, address_cell, id_cell};
use crate::chain::Content;
use crate::error::StoreError;
use crate::record::Record;

/// More different texts than this a segment does not keep as words.
pub(super) const MAX_WORDS: i64 = 16_384;
/// So many rows one statement inserts, where there are as many: the cost of a statement is more than
/// that of a row.
const ROWS: usize = 16;

/// The words of the open segment.
#[derive(Default)]
pub(super) struct Dictionary {
    /// With a seed of each process, so that who chooses the texts does not know where they fall. It is
    /// no keyed hash: what one who finds out gains is bounded by [`MAX_WORDS`].
    ids: HashMap<Box<str>, i64, RandomState>,
    /// The highest id ever given that is still there.
    last: i64,
}

impl Dictionary {
    pub(super) fn read(db: &Connection, segment: i64) -> rusqlite::Result<Self> {
        let mut select = db.prepare(&format!("SELECT word, id FROM audit_words_{segment}"))?;
        let word =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?.into_boxed_str(), row.get(1)?));
        let ids = select
            .query_map([], word)?
            .collect::<rusqlite::Result<HashMap<_, i64, _>>>()?;
        // Erasing takes words away, so that their number says nothing about their ids.
        let last = ids.values().copied().max().unwrap_or_default();
        Ok(Self { ids, last })
    }
}

/// Inserts `records` into the table of `segment`, and tells `columns` of them.
pub(super) fn fill(
    db: &Connection,
    segment: i64,
    words: &mut Dictionary,
    records: &[Record],
    columns: &mut Columns,
) -> Result<(), StoreError> {
    let new_word = format!("INSERT INTO audit_words_{segment} (id, word) VALUES (?1, ?2)");
    let mut rows = Rows {
        words,
        new_word: db.prepare_cached(&new_word)?,
        columns,
    };
    let (many, rest) = records.as_chunks::<ROWS>();
    if !many.is_empty() {
        let mut insert = db.prepare_cached(&insert(segment, ROWS))?;
        for some in many {
            for (place, record) in some.iter().enumerate() {
                rows.bind(&mut insert, place, record)?;
            }
            insert.raw_execute()?;
        }
    }
    if !rest.is_empty() {
        let mut insert = db.prepare_cached(&insert(segment, 1))?;
        for record in rest {
            rows.bind(&mut insert, 0, record)?;
            insert.raw_execute()?;
        }
    }
    Ok(())
}

/// The statement that inserts so many rows.
fn insert(segment: i64, rows: usize) -> String {
    let row = format!("({})", ["?"; row::WIDTH].join(","));
    let rows = vec![row; rows].join(",");
    format!("INSERT INTO audit_segment_{segment} ({COLUMNS}) VALUES {rows}")
}

struct Rows<'a> {
    words: &'a mut Dictionary,
    new_word: CachedStatement<'a>,
    columns: &'a mut Columns,
}

impl Rows<'_> {
    /// The text as a word of the segment, or as itself where there are too many.
    fn cell<'t>(&mut self, text: Option<&'t str>) -> rusqlite::Result<Cell<'t>> {
        let Some(text) = text else {
            return Ok(Cell::Null);
        };
        if let Some(id) = self.words.ids.get(text) {
            return Ok(Cell::Word(*id));
        }
        // The last may be any number, where somebody else wrote the file.
        let id = self.words.last.saturating_add(1);
        if id > MAX_WORDS {
            return Ok(Cell::Text(text));
        }
        self.new_word.execute((id, text))?;
        self.words.last = id;
        self.words.ids.insert(text.into(), id);
        Ok(Cell::Word(id))
    }

    /// Binds `record` as the row with this place in the statement.
    fn bind(
        &mut self,
        insert: &mut Statement<'_>,
        place: usize,
        record: &Record,
    ) -> Result<(), StoreError> {
        let event = &record.event;
        let action = self.cell(Some(&event.action))?;
        let codes = [
            event.kind.code(),
            event.outcome.code(),
            event.severity.code(),
        ];
        let skew = record
            .occurred
            .as_micros()
            .wrapping_sub(record.time.as_micros());
        let mut at = place * row::WIDTH;
        let mut next = || {
            at += 1;
            at
        };
        insert.raw_bind_parameter(next(), record.seq.cast_signed())?;
        insert.raw_bind_parameter(next(), record.time.as_micros())?;
        insert.raw_bind_parameter(next(), skew)?;
        insert.raw_bind_parameter(next(), &record.hash.0[..])?;
        let (salt, is_whole) = match &record.content {
            Content::Whole { salt, .. } => (&salt[..], true),
            Content::Erased { commitment, .. } => (&commitment.0[..], false),
            Content::Pruned { .. } => {
                let what = "a pruned record cannot be appended";
                return Err(StoreError::unavailable(what));
            }
        };
        insert.raw_bind_parameter(next(), salt)?;
        for code in codes {
            insert.raw_bind_parameter(next(), code)?;
        }
        insert.raw_bind_parameter(next(), &action)?;
        if !is_whole {
            for _ in 0..row::PERSONAL {
                insert.raw_bind_parameter(next(), rusqlite::types::Null)?;
            }
            self.columns.push(codes, [key(&action), 0, 0, 0, 0]);
            return Ok(());
        }
        // The event is what the personal part says.
        let actor = self.cell(event.actor.id.as_deref())?;
        let address = address_cell(event.source.address);
        let resource = self.cell(event.resource.as_deref())?;
        let request_id = id_cell(event.request_id.as_deref());
        insert.raw_bind_parameter(next(), &actor)?;
        insert.raw_bind_parameter(next(), self.cell(event.actor.login.as_deref())?)?;
        insert.raw_bind_parameter(next(), self.cell(event.actor.session.as_deref())?)?;
        insert.raw_bind_parameter(next(), &address)?;
        insert.raw_bind_parameter(next(), self.cell(event.source.user_agent.as_deref())?)?;
        insert.raw_bind_parameter(next(), &resource)?;
        insert.raw_bind_parameter(next(), &request_id)?;
        insert.raw_bind_parameter(next(), event.details_json())?;
        let keys = [&action, &actor, &address, &resource, &request_id].map(key);
        self.columns.push(codes, keys);
        Ok(())
    }
}
