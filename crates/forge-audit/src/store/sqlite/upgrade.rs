//! Bringing the segments of older layouts up to date.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::block::Block;
use super::fill::{Dictionary, MAX_WORDS};
use super::keep::{index_anew, overwriting};
use super::pack::{CELLS, Cell, Packed, Seal};
use super::segment::{self, Phase, Segment};
use super::write::transaction;
use crate::chain::Hash;
use crate::error::StoreError;

/// The ids of the segments that have a row a record, as all had in version 1.
pub(super) fn rows(db: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut select = db.prepare(
        "SELECT CAST(substr(t.name, 15) AS INTEGER) FROM sqlite_schema AS t
         JOIN pragma_table_info(t.name) AS c ON c.name = 'skew'
         WHERE t.type = 'table' AND t.name GLOB 'audit_segment_[0-9]*'",
    )?;
    let ids = select.query_map([], |row| row.get(0))?;
    ids.collect()
}

/// Packs the rows of such segments into blocks, a segment a transaction. What cannot be read is there
/// afterwards as a record that cannot, and its row is kept in `audit_unreadable_<id>`.
pub(super) fn pack_rows(db: &Connection) -> Result<(), StoreError> {
    let due = rows(db)?;
    if due.is_empty() {
        return Ok(());
    }
    for segment in segment::all(db)? {
        if due.contains(&segment.id) {
            transaction(db, |db| match is_due(db, segment.id)? {
                true => pack(db, &segment),
                // Somebody else was faster.
                false => Ok(()),
            })?;
        }
    }
    Ok(())
}

/// Whether the segment has a row a record.
fn is_due(db: &Connection, segment: i64) -> rusqlite::Result<bool> {
    let table = format!("audit_segment_{segment}");
    let mut select = db.prepare("SELECT 1 FROM pragma_table_info(?1) WHERE name = 'skew'")?;
    select.exists([table])
}

fn pack(db: &Connection, segment: &Segment) -> Result<(), StoreError> {
    let id = segment.id;
    segment.unguard(db)?;
    let [blocks, _] = segment.tables();
    db.execute_batch(&format!(
        "ALTER TABLE audit_segment_{id} RENAME TO audit_rows_{id}; {blocks}"
    ))?;
    let words = Dictionary::read(db, id)?;
    let (mut block, mut last) = (Block::default(), 0);
    let (mut unreadable, mut is_full) = (Vec::new(), false);
    {
        let mut select = db.prepare(&format!(
            "SELECT seq, time, skew, hash, salt, kind, outcome, severity, action, actor, login,
             session, address, agent, resource, request_id, details
             FROM audit_rows_{id} ORDER BY seq"
        ))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)?.cast_unsigned();
            if seq <= last || !segment.contains(seq) {
                return Err(StoreError::Altered);
            }
            last = seq;
            if block.is_full_for(seq) {
                block.append(db, id)?;
            }
            let mut packed = packed(row)?;
            if packed.is_none() {
                unreadable.push(seq);
            }
            let texts = packed.iter_mut().flat_map(Packed::words);
            is_full |= texts.fold(false, |is_full, cell| is_full | spell(cell, &words));
            block.push(seq, |out| {
                if let Some(packed) = packed {
                    packed.write(out);
                }
            });
        }
    }
    block.append(db, id)?;
    overwriting(db, || Ok(set_aside(db, id, &unreadable)?))?;
    if is_full {
        // Erasing once took the last word too.
        let last =
            format!("INSERT OR IGNORE INTO audit_words_{id} (id, word) VALUES (?1, char(0))");
        db.execute(&last, [MAX_WORDS])?;
    }
    segment.guard(db)?;
    if matches!(segment.phase, Phase::Sealed | Phase::Partial) {
        index_anew(db, segment)?;
    }
    Ok(())
}

/// Keeps what cannot be read, for who looks into it, and of the rest no second copy: that would not
/// be erased.
fn set_aside(db: &Connection, id: i64, unreadable: &[u64]) -> rusqlite::Result<()> {
    if !unreadable.is_empty() {
        let all = format!("audit_unreadable_{id} AS SELECT * FROM audit_rows_{id} WHERE false");
        db.execute_batch(&format!("CREATE TABLE {all}"))?;
        let mut insert = db.prepare(&format!(
            "INSERT INTO audit_unreadable_{id} SELECT * FROM audit_rows_{id} WHERE seq = ?1"
        ))?;
        for seq in unreadable {
            insert.execute([seq.cast_signed()])?;
        }
    }
    db.execute_batch(&format!("DROP TABLE audit_rows_{id}"))
}

/// Makes a text a word if it is one, since a query looks for that. Whether it stays a text.
fn spell(cell: &mut Cell<'_>, words: &Dictionary) -> bool {
    let Cell::Text(text) = cell else { return false };
    let word = std::str::from_utf8(text)
        .ok()
        .and_then(|text| words.id(text));
    if let Some(id) = word {
        *cell = Cell::Word(id);
    }
    word.is_none()
}

/// `None` where a value is none that was written.
fn packed<'a>(row: &'a Row<'_>) -> rusqlite::Result<Option<Packed<'a>>> {
    let mut values = [ValueRef::Null; 17];
    for (column, value) in values.iter_mut().enumerate() {
        *value = row.get_ref(column)?;
    }
    Ok(parts(values))
}

fn parts(
    [
        _,
        time,
        skew,
        hash,
        salt,
        kind,
        outcome,
        severity,
        texts @ ..,
    ]: [ValueRef<'_>; 17],
) -> Option<Packed<'_>> {
    let code = |value: ValueRef<'_>| u8::try_from(value.as_i64().ok()?).ok();
    let salt = salt.as_blob().ok()?;
    let seal = match salt.try_into() {
        Ok(salt) => Seal::Salt(salt),
        Err(_) => Seal::Commitment(Hash(salt.try_into().ok()?)),
    };
    let mut cells = [Cell::Nothing; CELLS];
    for (cell, value) in cells.iter_mut().zip(texts) {
        *cell = match value {
            ValueRef::Null => Cell::Nothing,
            ValueRef::Integer(id) => Cell::Word(id.try_into().ok()?),
            ValueRef::Real(_) => return None,
            ValueRef::Text(text) => Cell::Text(text),
            ValueRef::Blob(bytes) => match bytes.try_into() {
                Ok(four) => Cell::Four(four),
                Err(_) => Cell::Sixteen(bytes.try_into().ok()?),
            },
        };
    }
    // Of an erased record nothing else is left.
    let is_erased = matches!(seal, Seal::Commitment(_));
    if is_erased && cells[1..].iter().any(|cell| *cell != Cell::Nothing) {
        return None;
    }
    Some(Packed {
        codes: [code(kind)?, code(outcome)?, code(severity)?],
        time: time.as_i64().ok()?,
        hash: Hash(hash.as_blob().ok()?.try_into().ok()?),
        skew: skew.as_i64().ok()?,
        seal,
        cells,
    })
}
