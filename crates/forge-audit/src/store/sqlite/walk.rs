//! Walking through all that is stored, in order.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use rusqlite::{Connection, OptionalExtension};

use super::block::{self, Entry};
use super::pack;
use super::row::{Reading, Words};
use super::segment::{self, Phase, Segment};
use super::sound;
use crate::chain::{Content, Hash};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::query::Order;
use crate::record::Stored;
use crate::tree::TILE;
use crate::verify::Verifier;

/// Of so many records most words of a segment are wanted.
const MANY: usize = 1000;
/// So many records a verifier is shown at once: some milliseconds, in which the words of a segment
/// are read once for half of it. All blocks of a tile are looked at together: so one that somebody
/// else put among them is met.
const FED: u64 = 16_384;

/// What is met on the way.
enum Met<'a> {
    Row(&'a Reading),
    Gone(Stored),
}

impl Met<'_> {
    fn stored(self) -> Stored {
        match self {
            Self::Row(reading) => reading.stored(),
            Self::Gone(stored) => stored,
        }
    }
}

/// What is stored after the sequence `after`.
pub(super) fn scan(db: &Connection, after: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
    let mut found: Vec<Stored> = Vec::with_capacity(limit.min(4096));
    let all = Part {
        until: u64::MAX,
        limit,
        is_strict: false,
    };
    walk(db, after, &all, |met, _| {
        found.push(met.stored());
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Shows `verifier` what comes next.
pub(super) fn feed(db: &Connection, verifier: &mut Verifier) -> Result<(), StoreError> {
    let after = verifier.head().seq;
    let fed = Part {
        until: after.saturating_add(FED).next_multiple_of(TILE),
        limit: usize::MAX,
        is_strict: true,
    };
    walk(db, after, &fed, |met, is_sound| {
        look(verifier, &met, is_sound)
    })?;
    if verifier.head().seq == after {
        // Where more than a page is missing the log does not end, if something comes after it.
        let next = Part {
            until: u64::MAX,
            limit: 1,
            is_strict: false,
        };
        walk(db, after, &next, |met, is_sound| {
            look(verifier, &met, is_sound)
        })?;
    }
    Ok(())
}

fn look(verifier: &mut Verifier, met: &Met<'_>, is_sound: bool) -> ControlFlow<()> {
    let looked = match met {
        Met::Row(reading) => verifier.look(&reading.view(), is_sound && reading.is_readable()),
        Met::Gone(stored) => {
            let view = stored.link().view();
            verifier.look(&view, is_sound && stored.is_readable)
        }
    };
    // The verifier keeps in mind what it found.
    match looked {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

/// How far a walk goes, and how.
struct Part {
    /// Up to this sequence.
    until: u64,
    /// At most so many parts.
    limit: usize,
    /// Whether it looks at what records are found by, too.
    is_strict: bool,
}

/// Meets what is stored after the sequence `after`. Of what is first met of a segment it is told
/// whether what its records are found by is sound.
fn walk(
    db: &Connection,
    after: u64,
    part: &Part,
    mut meet: impl FnMut(Met<'_>, bool) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let Part {
        until,
        limit,
        is_strict,
    } = *part;
    let mut left = limit;
    let mut words = Words::new(db);
    let mut reading = Reading::default();
    for segment in segment::all(db)? {
        let from = segment.first.max(after.saturating_add(1));
        if left == 0 || from > until {
            break;
        }
        if segment.last < from {
            continue;
        }
        let range = from..segment.last.min(until) + 1;
        let mut is_sound = true;
        if is_strict && segment.phase != Phase::Gone {
            is_sound = sound::is_sound(db, &segment)? & words.read_strictly(segment.id)?;
            // Once, where the segment ends.
            let is_end = range.end > segment.last;
            is_sound = is_sound && (!is_end || sound::is_indexed(db, &segment)?);
        } else if left >= MANY && segment.phase != Phase::Gone {
            words.read(segment.id)?;
        }
        let mut meet = |met: Met<'_>| meet(met, std::mem::replace(&mut is_sound, true));
        match segment.phase {
            Phase::Partial | Phase::Gone => {
                let found = pruned(db, &segment, &range, left, &mut words)?;
                left -= found.len();
                let met = found.into_iter().map(Met::Gone);
                if met.into_iter().try_for_each(&mut meet).is_break() {
                    return Ok(());
                }
            }
            _ => {
                let before = hash_before(db, &segment, from)?;
                let mut rows = Rows {
                    db,
                    words: &mut words,
                    reading: &mut reading,
                };
                let met = rows.each(&segment, &range, left, before, |reading| {
                    left -= 1;
                    meet(Met::Row(reading))
                })?;
                if met.is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// What reads records.
struct Rows<'a, 'd> {
    db: &'a Connection,
    words: &'a mut Words<'d>,
    reading: &'a mut Reading,
}

impl Rows<'_, '_> {
    /// The records of `segment` in `range`, each with the hash of the one before it as `prev`.
    fn each(
        &mut self,
        segment: &Segment,
        range: &Range<u64>,
        limit: usize,
        mut before: Hash,
        mut meet: impl FnMut(&Reading) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut left = limit;
        let Self { db, words, reading } = self;
        block::each(db, segment.id, range, Order::OldestFirst, |entry| {
            if left == 0 {
                return Ok(ControlFlow::Break(()));
            }
            left -= 1;
            reading.read(&entry, segment.id, words, before)?;
            before = reading.hash();
            Ok(meet(reading))
        })
    }
}

/// What is left of a segment that was pruned, tile by tile: at most `limit` parts.
fn pruned(
    db: &Connection,
    segment: &Segment,
    range: &Range<u64>,
    limit: usize,
    words: &mut Words<'_>,
) -> Result<Vec<Stored>, StoreError> {
    let gone = |seq, hash, count| Stored {
        seq,
        time: Timestamp::default(),
        occurred: Timestamp::default(),
        prev: Hash::default(),
        hash,
        content: Content::Pruned { count },
        is_readable: true,
    };
    let mut found = Vec::new();
    let mut reading = Reading::default();
    for tile in (range.start - 1) / TILE..(range.end - 1) / TILE {
        if found.len() >= limit {
            break;
        }
        let first = tile * TILE + 1;
        let own = first..first + TILE;
        let Some(hashes) = tile_hashes(db, tile)? else {
            let node = nodes(db, 8, tile, 1)?.pop();
            found.push(Stored {
                // Of a tile that was pruned there is a node and no record.
                is_readable: node.is_some() && !has_records(db, segment, &own)?,
                ..gone(first, node.unwrap_or_default(), TILE)
            });
            continue;
        };
        let mut kept = HashMap::new();
        if segment.phase != Phase::Gone {
            let mut rows = Rows {
                db,
                words: &mut *words,
                reading: &mut reading,
            };
            let _: ControlFlow<()> =
                rows.each(segment, &own, usize::MAX, Hash::default(), |reading| {
                    let mut stored = reading.stored();
                    stored.is_readable &= !kept.contains_key(&stored.seq);
                    kept.insert(stored.seq, stored);
                    ControlFlow::Continue(())
                })?;
        }
        for (seq, pair) in (first..).zip(hashes.windows(2)) {
            if !range.contains(&seq) || found.len() >= limit {
                continue;
            }
            found.push(match kept.remove(&seq) {
                Some(kept) => Stored {
                    prev: pair[0],
                    is_readable: kept.is_readable && kept.hash == pair[1],
                    ..kept
                },
                None => Stored {
                    // The hash before the tile is kept only for a record that needs it.
                    is_readable: seq != first || pair[0] == Hash::default(),
                    ..gone(seq, pair[1], 1)
                },
            });
        }
    }
    Ok(found)
}

/// Whether there are records of `segment` in `range`.
fn has_records(db: &Connection, segment: &Segment, range: &Range<u64>) -> Result<bool, StoreError> {
    if segment.phase == Phase::Gone {
        return Ok(false);
    }
    let sql = format!(
        "SELECT 1 FROM audit_segment_{} WHERE first >= ?1 AND first < ?2",
        segment.id
    );
    let range = (range.start.cast_signed(), range.end.cast_signed());
    Ok(db.prepare_cached(&sql)?.exists(range)?)
}

/// Nodes of the tree; fewer than asked for where they are not kept.
pub(super) fn nodes(
    db: &Connection,
    level: u8,
    first: u64,
    count: u64,
) -> Result<Vec<Hash>, StoreError> {
    let mut nodes = Vec::new();
    if level > 0 {
        let mut select = db.prepare_cached(
            "SELECT hash FROM audit_nodes WHERE level = ?1 AND idx >= ?2 AND idx < ?3 ORDER BY idx",
        )?;
        let range = (level, first.cast_signed(), (first + count).cast_signed());
        let found = select.query_map(range, |row| {
            let bytes = row.get_ref(0)?.as_blob().unwrap_or_default();
            Ok(Hash(bytes.try_into().unwrap_or_default()))
        })?;
        for node in found {
            nodes.push(node?);
        }
        return Ok(nodes);
    }
    for segment in segment::all(db)? {
        let until = first + count;
        let from = segment.first.max(first + nodes.len() as u64 + 1);
        if segment.last < from || from > until {
            continue;
        }
        let until = until.min(segment.last);
        match segment.phase {
            Phase::Partial | Phase::Gone => {
                for seq in from..=until {
                    let place = usize::try_from((seq - 1) % TILE + 1).unwrap_or_default();
                    let hashes = tile_hashes(db, (seq - 1) / TILE)?;
                    let Some(hash) = hashes.and_then(|h| h.get(place).copied()) else {
                        return Ok(nodes);
                    };
                    nodes.push(hash);
                }
            }
            _ => {
                let range = from..until + 1;
                let _: ControlFlow<()> =
                    block::each(db, segment.id, &range, Order::OldestFirst, |entry| {
                        nodes.push(pack::hash(entry.bytes).unwrap_or_default());
                        Ok(ControlFlow::Continue(()))
                    })?;
            }
        }
    }
    Ok(nodes)
}

/// The hash of the record before one that lies in `segment`.
pub(super) fn prev(
    db: &Connection,
    segment: &Segment,
    entry: &Entry<'_>,
) -> Result<Hash, StoreError> {
    match entry.before.and_then(pack::hash) {
        Some(hash) => Ok(hash),
        None => hash_before(db, segment, entry.seq),
    }
}

/// The hash of the record before `seq`, which lies in `segment`.
fn hash_before(db: &Connection, segment: &Segment, seq: u64) -> Result<Hash, StoreError> {
    if seq == segment.first {
        return Ok(segment.prev);
    }
    let mut found = None;
    let _: ControlFlow<()> = block::each(
        db,
        segment.id,
        &(seq - 1..seq),
        Order::OldestFirst,
        |entry| {
            found = Some(pack::hash(entry.bytes).unwrap_or_default());
            Ok(ControlFlow::Break(()))
        },
    )?;
    match found {
        Some(found) => Ok(found),
        None => {
            let (tile, place) = ((seq - 1) / TILE, (seq - 1) % TILE);
            let hashes = tile_hashes(db, tile)?;
            let place = usize::try_from(place).unwrap_or_default();
            Ok(hashes
                .and_then(|h| h.get(place).copied())
                .unwrap_or_default())
        }
    }
}

/// The hashes of a tile that was pruned in part: of the record before it, and of its own.
fn tile_hashes(db: &Connection, tile: u64) -> Result<Option<Vec<Hash>>, StoreError> {
    let found: Option<Vec<u8>> = db
        .prepare_cached("SELECT hashes FROM audit_tiles WHERE idx = ?1")?
        .query_row([tile.cast_signed()], |row| row.get(0))
        .optional()?;
    Ok(found.map(|bytes| bytes.as_chunks().0.iter().copied().map(Hash).collect()))
}
