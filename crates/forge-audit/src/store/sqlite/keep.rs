//! Forgetting, with proof: pruning takes records away and keeps their hashes, erasing takes away
//! what tells of a person and keeps the commitment to it.

use std::collections::HashMap;

use rusqlite::Connection;

use super::segment::{self, INDEXES, Phase, Segment};
use super::walk;
use super::write::transaction;
use crate::chain::Hash;
use crate::error::StoreError;
use crate::record::Stored;
use crate::store::{Rules, Span};
use crate::tree::TILE;

/// Whether a segment may be pruned now.
fn is_due(segment: &Segment, rules: &Rules) -> bool {
    let before = rules
        .some_before()
        .map_or(i64::MIN, crate::Timestamp::as_micros);
    matches!(segment.phase, Phase::Full | Phase::Sealed | Phase::Partial) && segment.since < before
}

pub(super) fn prunable(db: &Connection, rules: &Rules) -> Result<Option<Span>, StoreError> {
    let mut span: Option<Span> = None;
    for segment in segment::all(db)? {
        if !is_due(&segment, rules) {
            continue;
        }
        let (all, mut some) = (is_over(&segment, rules), None::<Span>);
        if all && rules.hold.is_empty() && segment.phase != Phase::Partial {
            some = Some(Span::new(segment.first, segment.last));
        } else {
            each(db, &segment, |stored| {
                if rules.allow(stored) {
                    let first = some.map_or(stored.seq, |some| some.first);
                    some = Some(Span::new(first, stored.seq));
                }
            })?;
        }
        if let Some(some) = some {
            span = Some(Span::new(span.map_or(some.first, |s| s.first), some.last));
        }
    }
    Ok(span)
}

/// Whether the time of all its records is over.
fn is_over(segment: &Segment, rules: &Rules) -> bool {
    let end = segment.until.unwrap_or(i64::MAX);
    rules.before.iter().all(Option::is_some)
        && rules
            .all_before()
            .is_some_and(|before| end < before.as_micros())
}

/// The records left in a segment.
fn each(
    db: &Connection,
    segment: &Segment,
    mut each: impl FnMut(&Stored),
) -> Result<(), StoreError> {
    let mut after = segment.first - 1;
    loop {
        let page = walk::scan(db, after, 4096)?;
        for stored in page.iter().take_while(|s| s.seq <= segment.last) {
            after = stored.seq + stored.count() - 1;
            if stored.count() == 1 && stored.content.open().is_some() {
                each(stored);
            }
        }
        if page.is_empty() || after >= segment.last {
            return Ok(());
        }
        if page.last().is_some_and(|last| last.seq > segment.last) {
            return Ok(());
        }
    }
}

/// Prunes the segments in `span`, each in a transaction of its own.
pub(super) fn prune(db: &Connection, rules: &Rules, span: Span) -> Result<u64, StoreError> {
    let mut pruned = 0;
    for segment in segment::all(db)? {
        if is_due(&segment, rules) && segment.first <= span.last && segment.last >= span.first {
            pruned += transaction(db, |db| prune_segment(db, &segment, rules, span))?;
        }
    }
    Ok(pruned)
}

fn prune_segment(
    db: &Connection,
    segment: &Segment,
    rules: &Rules,
    span: Span,
) -> Result<u64, StoreError> {
    let covers = span.first <= segment.first && span.last >= segment.last;
    if covers && is_over(segment, rules) && rules.hold.is_empty() && !explains(db, segment)? {
        return drop_segment(db, segment);
    }
    let (id, mut kept, mut gone) = (segment.id, Vec::new(), 0);
    // The hash of each record before the pruning, and of the one before the first.
    let mut hashes: HashMap<u64, Hash> = HashMap::from([(segment.first - 1, segment.prev)]);
    let mut after = segment.first - 1;
    while after < segment.last {
        let page = walk::scan(db, after, 4096)?;
        if page.is_empty() {
            return Err(StoreError::Altered);
        }
        for stored in page.iter().take_while(|s| s.seq <= segment.last) {
            after = stored.seq + stored.count() - 1;
            if stored.count() > 1 {
                continue;
            }
            hashes.insert(stored.seq, stored.hash);
            if stored.content.open().is_none() {
                continue;
            }
            if span.contains(stored.seq) && rules.allow(stored) {
                gone += 1;
            } else {
                kept.push(stored.seq);
                hashes.entry(stored.seq - 1).or_insert(stored.prev);
            }
        }
        if page.last().is_some_and(|last| last.seq > segment.last) {
            break;
        }
    }
    if gone == 0 {
        return Ok(0);
    }
    let mut tile_of_kept: Vec<u64> = kept.iter().map(|seq| (seq - 1) / TILE).collect();
    tile_of_kept.dedup();
    for tile in (segment.first - 1) / TILE..segment.last / TILE {
        if tile_of_kept.binary_search(&tile).is_err() {
            db.prepare_cached("DELETE FROM audit_tiles WHERE idx = ?1")?
                .execute([tile.cast_signed()])?;
            continue;
        }
        let mut bytes = Vec::with_capacity(257 * 32);
        for seq in tile * TILE..=(tile + 1) * TILE {
            let hash = hashes.get(&seq).copied().unwrap_or_default();
            let is_needed = seq > tile * TILE || kept.binary_search(&(seq + 1)).is_ok();
            bytes.extend(if is_needed { hash } else { Hash::default() }.0);
        }
        db.prepare_cached("INSERT OR REPLACE INTO audit_tiles (idx, hashes) VALUES (?1, ?2)")?
            .execute((tile.cast_signed(), bytes))?;
    }
    if kept.is_empty() {
        db.execute_batch(&format!(
            "DROP TABLE audit_segment_{id}; DROP TABLE audit_words_{id};
             DROP TABLE IF EXISTS audit_index_{id};"
        ))?;
        segment.set_phase(db, Phase::Gone)?;
        return Ok(gone);
    }
    // Copying what stays and dropping the table is faster than deleting what goes.
    segment.unguard(db)?;
    let sql: String = db.query_row(
        "SELECT sql FROM sqlite_schema WHERE name = ?1",
        [format!("audit_segment_{id}")],
        |row| row.get(0),
    )?;
    db.execute_batch(&format!(
        "ALTER TABLE audit_segment_{id} RENAME TO audit_segment_{id}_old"
    ))?;
    db.execute_batch(&sql)?;
    {
        let mut copy = db.prepare(&format!(
            "INSERT INTO audit_segment_{id} SELECT * FROM audit_segment_{id}_old WHERE seq = ?1"
        ))?;
        for seq in kept {
            copy.execute([seq.cast_signed()])?;
        }
    }
    db.execute_batch(&format!(
        "DROP TABLE audit_segment_{id}_old; DROP TABLE IF EXISTS audit_index_{id};"
    ))?;
    forget_words(db, id)?;
    for column in INDEXES {
        segment.create_index(db, column)?;
    }
    segment.guard(db)?;
    segment.set_phase(db, Phase::Partial)?;
    Ok(gone)
}

/// Whether a segment may hold records that tell why others are gone.
fn explains(db: &Connection, segment: &Segment) -> Result<bool, StoreError> {
    if segment.phase == Phase::Partial {
        return Ok(true);
    }
    let sql = format!(
        "SELECT count(*) FILTER (WHERE word IN (?1, ?2)), count(*) FROM audit_words_{}",
        segment.id
    );
    let told = (crate::retention::PRUNE, crate::retention::ERASE);
    let (found, words): (i64, i64) =
        db.query_row(&sql, told, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found > 0 || words >= super::fill::MAX_WORDS)
}

/// Takes away a segment as a whole, without looking at its records.
fn drop_segment(db: &Connection, segment: &Segment) -> Result<u64, StoreError> {
    let id = segment.id;
    db.execute_batch(&format!(
        "DROP TABLE audit_segment_{id}; DROP TABLE audit_words_{id};
             DROP TABLE IF EXISTS audit_index_{id};"
    ))?;
    segment.set_phase(db, Phase::Gone)?;
    Ok(segment.last - segment.first + 1)
}

/// Deletes the words of a segment that no record uses any more.
fn forget_words(db: &Connection, id: i64) -> Result<(), StoreError> {
    let used = [
        "action",
        "actor",
        "login",
        "session",
        "agent",
        "resource",
        "request_id",
    ]
    .map(|column| {
        format!("SELECT {column} FROM audit_segment_{id} WHERE typeof({column}) = 'integer'")
    })
    .join(" UNION ");
    db.execute_batch(&format!(
        "DELETE FROM audit_words_{id} WHERE id NOT IN ({used})"
    ))?;
    Ok(())
}

/// Erases the personal part of these records. The pages that held it are overwritten.
pub(super) fn erase(db: &Connection, sequences: &[u64]) -> Result<u64, StoreError> {
    db.pragma_update(None, "secure_delete", true)?;
    let erased = transaction(db, |db| {
        let mut erased = 0;
        for segment in segment::all(db)? {
            let own: Vec<u64> = sequences
                .iter()
                .copied()
                .filter(|s| segment.contains(*s))
                .collect();
            if segment.phase != Phase::Gone && !own.is_empty() {
                erased += erase_in(db, &segment, &own)?;
            }
        }
        Ok(erased)
    });
    db.pragma_update(None, "secure_delete", false)?;
    let erased = erased?;
    // What the log still holds of it goes with the log.
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(erased)
}

fn erase_in(db: &Connection, segment: &Segment, sequences: &[u64]) -> Result<u64, StoreError> {
    let id = segment.id;
    segment.unguard(db)?;
    let mut update = db.prepare(&format!(
        "UPDATE audit_segment_{id} SET salt = ?2, actor = NULL, login = NULL, session = NULL,
         address = NULL, agent = NULL, resource = NULL, request_id = NULL, details = NULL
         WHERE seq = ?1 AND length(salt) = 16"
    ))?;
    let mut erased = 0;
    for seq in sequences {
        let found = walk::scan(db, seq - 1, 1)?;
        let Some(stored) = found.first().filter(|s| s.seq == *seq) else {
            continue;
        };
        // What cannot be read has a commitment to something else: it stays as it is, to be found.
        let is_sound = stored.is_readable && stored.hash == stored.link().expected_hash();
        if let Some(commitment) = stored.content.commitment().filter(|_| is_sound) {
            erased += update.execute((seq.cast_signed(), commitment.0))? as u64;
        }
    }
    forget_words(db, id)?;
    segment.guard(db)?;
    if segment.phase == Phase::Sealed {
        // It knows what was erased too, and is built anew.
        db.execute_batch(&format!("DROP TABLE audit_index_{id}"))?;
        segment.set_phase(db, Phase::Full)?;
    }
    Ok(erased)
}
