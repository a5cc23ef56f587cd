//! Filling a segment with records, and its dictionary with words.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{CachedStatement, Connection};

use super::block::Block;
use super::hot::Columns;
use super::pack::{CELLS, Cell, Packed, Seal, address_cell, id_cell};
use crate::canonical::Personal;
use crate::chain::Content;
use crate::error::StoreError;
use crate::record::Record;

/// More different texts than this a segment does not keep as words.
pub(super) const MAX_WORDS: u32 = 16_384;

/// The words of the open segment.
#[derive(Default)]
pub(super) struct Dictionary {
    /// With a seed of each process, so that who chooses the texts does not know where they fall. It is
    /// no keyed hash: what one who finds out gains is bounded by [`MAX_WORDS`].
    ids: HashMap<Box<str>, u32, RandomState>,
    /// The highest id ever given that is still there.
    last: u32,
}

impl Dictionary {
    pub(super) fn read(db: &Connection, segment: i64) -> rusqlite::Result<Self> {
        let mut select = db.prepare(&format!("SELECT word, id FROM audit_words_{segment}"))?;
        let mut rows = select.query([])?;
        let (mut ids, mut last) = (HashMap::default(), 0);
        while let Some(row) = rows.next()? {
            // Other ids only somebody else writes.
            let id = u32::try_from(row.get::<_, i64>(1)?).unwrap_or(u32::MAX);
            ids.insert(row.get::<_, String>(0)?.into_boxed_str(), id);
            // Erasing takes words away, so that their number says nothing about their ids.
            last = last.max(id);
        }
        Ok(Self { ids, last })
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }
}

/// Appends `records` to `segment`, and tells `columns` of them.
pub(super) fn fill(
    db: &Connection,
    segment: i64,
    words: &mut Dictionary,
    records: &[Record],
    columns: &mut Columns,
) -> Result<(), StoreError> {
    let new_word = format!("INSERT INTO audit_words_{segment} (id, word) VALUES (?1, ?2)");
    let mut filling = Filling {
        words,
        new_word: db.prepare_cached(&new_word)?,
    };
    let mut block = Block::default();
    for record in records {
        let packed = filling.pack(record)?;
        if block.is_full_for(record.seq) {
            block.append(db, segment)?;
        }
        block.push(record.seq, |out| packed.write(out));
        columns.push(&packed);
    }
    Ok(block.append(db, segment)?)
}

struct Filling<'a> {
    words: &'a mut Dictionary,
    new_word: CachedStatement<'a>,
}

impl Filling<'_> {
    /// The text as a word of the segment, or as itself where there are too many.
    fn cell<'t>(&mut self, text: Option<&'t str>) -> rusqlite::Result<Cell<'t>> {
        let Some(text) = text else {
            return Ok(Cell::Nothing);
        };
        if let Some(id) = self.words.ids.get(text) {
            return Ok(Cell::Word(*id));
        }
        // The last may be any number, where somebody else wrote the file.
        let id = self.words.last.saturating_add(1);
        if id > MAX_WORDS {
            return Ok(Cell::Text(text.as_bytes()));
        }
        self.new_word.execute((id, text))?;
        self.words.last = id;
        self.words.ids.insert(text.into(), id);
        Ok(Cell::Word(id))
    }

    fn pack<'r>(&mut self, record: &'r Record) -> Result<Packed<'r>, StoreError> {
        let event = &record.event;
        let mut cells = [Cell::Nothing; CELLS];
        cells[0] = self.cell(Some(&event.action))?;
        let seal = match &record.content {
            Content::Whole { salt, personal, .. } => {
                // The event says the same, in many more places of memory.
                let personal = Personal::decode(personal).map_err(StoreError::unavailable)?;
                cells[1] = self.cell(personal.actor)?;
                cells[2] = self.cell(personal.login)?;
                cells[3] = self.cell(personal.session)?;
                cells[4] = address_cell(personal.address);
                cells[5] = self.cell(personal.agent)?;
                cells[6] = self.cell(personal.resource)?;
                cells[7] = id_cell(personal.request_id);
                let details = personal.details.map(str::as_bytes);
                cells[8] = details.map_or(Cell::Nothing, Cell::Text);
                Seal::Salt(*salt)
            }
            Content::Erased { commitment, .. } => Seal::Commitment(*commitment),
            Content::Pruned { .. } => {
                let what = "a pruned record cannot be appended";
                return Err(StoreError::unavailable(what));
            }
        };
        let (time, occurred) = (record.time.as_micros(), record.occurred.as_micros());
        Ok(Packed {
            codes: [
                event.kind.code(),
                event.outcome.code(),
                event.severity.code(),
            ],
            time,
            hash: record.hash,
            skew: occurred.wrapping_sub(time),
            seal,
            cells,
        })
    }
}
