//! Forgetting, with proof: pruning takes records away and keeps their hashes, erasing takes away
//! what tells of a person and keeps the commitment to it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::block::{self, Block};
use super::fill::MAX_WORDS;
use super::hot::Columns;
use super::index;
use super::pack::{Cell, Packed};
use super::segment::{self, Phase, Segment};
use super::walk;
use super::write::transaction;
use crate::chain::{Content, Hash};
use crate::error::StoreError;
use crate::query::Order;
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
    segment.unguard(db)?;
    // What is kept is moved: who is erased later must not be left where it was.
    overwriting(db, || {
        for tile in (segment.first - 1) / TILE..segment.last / TILE {
            rewrite(db, segment, tile, |seq, bytes, out| {
                out.extend(bytes);
                kept.binary_search(&seq).is_ok()
            })?;
        }
        forget_words(db, segment)
    })?;
    segment.guard(db)?;
    index_anew(db, segment)?;
    segment.set_phase(db, Phase::Partial)?;
    Ok(gone)
}

/// Writes the blocks of a tile anew: of each record what `write` adds to the bytes it is given, if it
/// says that the record stays.
fn rewrite(
    db: &Connection,
    segment: &Segment,
    tile: u64,
    mut write: impl FnMut(u64, &[u8], &mut Vec<u8>) -> bool,
) -> Result<(), StoreError> {
    let id = segment.id;
    let range = tile * TILE + 1..(tile + 1) * TILE + 1;
    let (mut block, mut blocks) = (Block::default(), Vec::new());
    let _: ControlFlow<()> = block::each(db, id, &range, Order::OldestFirst, |entry| {
        let mut record = Vec::new();
        if write(entry.seq, entry.bytes, &mut record) {
            if block.is_full_for(entry.seq) {
                blocks.push(std::mem::take(&mut block));
            }
            block.push(entry.seq, |out| out.append(&mut record));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    blocks.push(block);
    let delete = format!("DELETE FROM audit_segment_{id} WHERE first >= ?1 AND first < ?2");
    let range = (range.start.cast_signed(), range.end.cast_signed());
    db.prepare_cached(&delete)?.execute(range)?;
    for mut block in blocks {
        block.append(db, id)?;
    }
    Ok(())
}

/// Builds the index of a segment that has changed.
pub(super) fn index_anew(db: &Connection, segment: &Segment) -> Result<(), StoreError> {
    let id = segment.id;
    db.execute_batch(&format!("DROP TABLE IF EXISTS audit_index_{id}"))?;
    Ok(index::build(db, &Columns::read(db, segment)?)?)
}

/// Whether a segment may hold records that tell why others are gone.
fn explains(db: &Connection, segment: &Segment) -> Result<bool, StoreError> {
    if segment.phase == Phase::Partial {
        return Ok(true);
    }
    let sql = format!(
        "SELECT count(*) FILTER (WHERE word IN (?1, ?2)), coalesce(max(id), 0) FROM audit_words_{}",
        segment.id
    );
    let told = (crate::retention::PRUNE, crate::retention::ERASE);
    let (found, last): (i64, i64) =
        db.query_row(&sql, told, |row| Ok((row.get(0)?, row.get(1)?)))?;
    // In a dictionary that was full, also when some were taken out since, they may be none of its words.
    Ok(found > 0 || last >= i64::from(MAX_WORDS))
}

/// Takes away a segment as a whole, without looking at its records.
fn drop_segment(db: &Connection, segment: &Segment) -> Result<u64, StoreError> {
    let id = segment.id;
    db.execute_batch(&format!(
        "DROP TABLE audit_segment_{id}; DROP TABLE audit_words_{id};
             DROP TABLE IF EXISTS audit_index_{id}; DROP TABLE IF EXISTS audit_unreadable_{id};"
    ))?;
    segment.set_phase(db, Phase::Gone)?;
    Ok(segment.last - segment.first + 1)
}

/// Deletes the words of a segment that no record uses any more.
fn forget_words(db: &Connection, segment: &Segment) -> Result<(), StoreError> {
    let id = segment.id;
    let mut used = HashSet::new();
    let range = segment.first..segment.last + 1;
    let _: ControlFlow<()> = block::each(db, id, &range, Order::OldestFirst, |entry| {
        let cells = Packed::read(entry.bytes).map(|packed| packed.cells);
        used.extend(cells.into_iter().flatten().filter_map(|cell| match cell {
            Cell::Word(id) => Some(i64::from(id)),
            _ => None,
        }));
        Ok(ControlFlow::Continue(()))
    })?;
    let mut left: Vec<(i64, Value)> = Vec::new();
    {
        let mut select = db.prepare(&format!("SELECT id, word FROM audit_words_{id}"))?;
        let words = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for word in words {
            let (id, word) = word?;
            if used.contains(&id) {
                left.push((id, word));
            } else if id == i64::from(MAX_WORDS) {
                // With its last id a dictionary is full, and stays so: what came after is not among
                // its words.
                left.push((id, Value::Text("\0".to_owned())));
            }
        }
    }
    // A page that was split may still hold what lies on another now: only one that is given up is
    // overwritten as a whole.
    db.execute(&format!("DELETE FROM audit_words_{id}"), [])?;
    let mut insert = db.prepare(&format!(
        "INSERT INTO audit_words_{id} (id, word) VALUES (?1, ?2)"
    ))?;
    for word in left {
        insert.execute(word)?;
    }
    Ok(())
}

/// Overwrites what `change` deletes.
pub(super) fn overwriting<T>(
    db: &Connection,
    change: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    db.pragma_update(None, "secure_delete", true)?;
    let done = change();
    db.pragma_update(None, "secure_delete", "FAST")?;
    done
}

/// Erases the personal part of these records. The pages that held it are overwritten.
pub(super) fn erase(db: &Connection, sequences: &[u64]) -> Result<u64, StoreError> {
    let erase_all = |db: &Connection| {
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
    };
    let erased = overwriting(db, || transaction(db, erase_all))?;
    // What the log still holds of it goes with the log.
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(erased)
}

fn erase_in(db: &Connection, segment: &Segment, sequences: &[u64]) -> Result<u64, StoreError> {
    let mut commitments = HashMap::new();
    for seq in sequences {
        let found = walk::scan(db, seq - 1, 1)?;
        let Some(stored) = found.first().filter(|s| s.seq == *seq) else {
            continue;
        };
        // What cannot be read has a commitment to something else: it stays as it is, to be found.
        let is_sound = stored.is_readable && stored.hash == stored.link().expected_hash();
        let is_whole = matches!(stored.content, Content::Whole { .. });
        if let Some(commitment) = stored.content.commitment().filter(|_| is_sound && is_whole) {
            commitments.insert(*seq, commitment);
        }
    }
    segment.unguard(db)?;
    let tiles: BTreeSet<u64> = commitments.keys().map(|seq| (seq - 1) / TILE).collect();
    for tile in tiles {
        rewrite(db, segment, tile, |seq, bytes, out| {
            match commitments.get(&seq).zip(Packed::read(bytes)) {
                Some((commitment, packed)) => packed.erased(*commitment).write(out),
                None => out.extend(bytes),
            }
            true
        })?;
    }
    forget_words(db, segment)?;
    segment.guard(db)?;
    // It knows what was erased too.
    match segment.phase {
        Phase::Sealed => {
            db.execute_batch(&format!("DROP TABLE audit_index_{}", segment.id))?;
            segment.set_phase(db, Phase::Full)?;
        }
        Phase::Partial => index_anew(db, segment)?,
        Phase::Open | Phase::Full | Phase::Gone => {}
    }
    Ok(commitments.len() as u64)
}
