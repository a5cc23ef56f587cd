//! Finding records, and reading them without believing them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::PoisonError;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::hot::{Columns, Key, Wanted, key};
use super::row::{COLUMNS, Cell, Words, address_cell, id_cell, stored};
use super::segment::{self, Phase, Segment};
use super::worker::State;
use super::write::Hot;
use crate::chain::{Content, Hash};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::kind::{Kind, Outcome, Severity};
use crate::query::{Filter, Order, Selection};
use crate::record::Stored;
use crate::store::{Count, SignedNote};
use crate::tree::TILE;

/// Through so many records of a segment without indexes a query looks at once.
const STRIDE: u64 = 4096;

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

struct Query<'a> {
    db: &'a Connection,
    hot: &'a Hot,
    selection: &'a Selection,
    words: Words<'a>,
    found: Vec<Stored>,
}

impl Query<'_> {
    fn segment(&mut self, segment: &Segment) -> Result<(), StoreError> {
        let Some(range) = self.range(segment)? else {
            return Ok(());
        };
        let terms = Terms::of(self.db, segment.id, &self.selection.filter)?;
        let hot = {
            let hot = self.hot.read().unwrap_or_else(PoisonError::into_inner);
            // Empty only where this process does not write, or has not appended yet.
            let mut columns = hot.iter().filter(|c| c.id == segment.id && c.len() > 0);
            columns.next().map(|columns| {
                let end = columns.first + columns.len() as u64;
                (end, self.in_memory(columns, &terms, &range))
            })
        };
        let Some((end, sequences)) = hot else {
            return self.select(segment, &range, &terms);
        };
        // What was committed a moment ago is in the snapshot and may not be in memory yet: a walk
        // that went on to the next segment would pass it over.
        let news = range.start.max(end)..range.end;
        match self.selection.order {
            Order::NewestFirst => {
                self.select(segment, &news, &terms)?;
                self.each(segment, &sequences, &terms)
            }
            Order::OldestFirst => {
                self.each(segment, &sequences, &terms)?;
                self.select(segment, &news, &terms)
            }
        }
    }

    /// Where in the segment what is wanted can lie, from its sequence to before which.
    fn range(&self, segment: &Segment) -> Result<Option<Range<u64>>, StoreError> {
        let Selection {
            filter,
            order,
            beyond,
            ..
        } = self.selection;
        let (mut from, mut until) = (segment.first, segment.last + 1);
        match (order, beyond) {
            (_, None) => {}
            (Order::NewestFirst, Some(seq)) => until = until.min(*seq),
            (Order::OldestFirst, Some(seq)) => from = from.max(seq.saturating_add(1)),
        }
        // Time never decreases with the sequence, so that a range of time is one of sequences.
        if let Some(time) = filter.from {
            if segment.until.is_some_and(|until| until < time.as_micros()) {
                return Ok(None);
            }
            if segment.since < time.as_micros() {
                from = from.max(self.first_from(segment, time)?);
            }
        }
        if let Some(time) = filter.until {
            if segment.since >= time.as_micros() {
                return Ok(None);
            }
            if segment.until.is_none_or(|until| until >= time.as_micros()) {
                until = until.min(self.first_from(segment, time)?);
            }
        }
        Ok(Some(from..until).filter(|range| range.start < range.end))
    }

    /// The sequence of the first record of `segment` that is not before `time`.
    fn first_from(&self, segment: &Segment, time: Timestamp) -> Result<u64, StoreError> {
        let sql = format!(
            "SELECT seq, time FROM audit_segment_{} WHERE seq >= ?1 ORDER BY seq LIMIT 1",
            segment.id
        );
        let mut next = self.db.prepare_cached(&sql)?;
        let (mut from, mut until) = (segment.first, segment.last + 1);
        while from < until {
            let middle = from + (until - from) / 2;
            let found = next.query_row([middle.cast_signed()], |row| {
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?))
            });
            match found.optional()? {
                Some((seq, at)) if at < time.as_micros() => from = seq + 1,
                _ => until = middle,
            }
        }
        Ok(from)
    }

    fn in_memory(&self, columns: &Columns, terms: &Terms, range: &Range<u64>) -> Vec<u64> {
        let left = self.selection.limit - self.found.len();
        let (mut from, mut until) = (
            range.start,
            range.end.min(columns.first + columns.len() as u64),
        );
        let mut found = Vec::new();
        // In strides, since what is wanted may be everywhere.
        while from < until && found.len() < left {
            let mut some = match self.selection.order {
                Order::NewestFirst => {
                    let start = from.max(until.saturating_sub(STRIDE));
                    let mut some = columns.find(&terms.wanted, start, until);
                    some.reverse();
                    until = start;
                    some
                }
                Order::OldestFirst => {
                    let end = until.min(from + STRIDE);
                    let some = columns.find(&terms.wanted, from, end);
                    from = end;
                    some
                }
            };
            found.append(&mut some);
        }
        found.truncate(left);
        found
    }

    fn each(
        &mut self,
        segment: &Segment,
        sequences: &[u64],
        terms: &Terms,
    ) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM audit_segment_{} WHERE seq = ? {}",
            segment.id, terms.sql
        );
        let mut select = self.db.prepare_cached(&sql)?;
        for seq in sequences {
            if self.found.len() >= self.selection.limit {
                break;
            }
            let values =
                std::iter::once(Value::Integer(seq.cast_signed())).chain(terms.values.clone());
            let mut rows = select.query(params_from_iter(values))?;
            if let Some(row) = rows.next()? {
                let prev = prev(self.db, segment, *seq)?;
                self.found
                    .push(stored(row, segment.id, &mut self.words, prev)?);
            }
        }
        Ok(())
    }

    fn select(
        &mut self,
        segment: &Segment,
        range: &Range<u64>,
        terms: &Terms,
    ) -> Result<(), StoreError> {
        let limit = self.selection.limit - self.found.len();
        if limit == 0 || range.start >= range.end {
            return Ok(());
        }
        let sql = terms.select(segment.id, self.selection.order);
        let mut values = vec![
            Value::Integer(range.start.cast_signed()),
            Value::Integer(range.end.cast_signed()),
        ];
        values.extend(terms.values.iter().cloned());
        values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        let mut select = self.db.prepare_cached(&sql)?;
        let mut rows = select.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)?.cast_unsigned();
            let prev = prev(self.db, segment, seq)?;
            self.found
                .push(stored(row, segment.id, &mut self.words, prev)?);
        }
        Ok(())
    }
}

/// The hash of the record before `seq`, which lies in `segment`.
fn prev(db: &Connection, segment: &Segment, seq: u64) -> Result<Hash, StoreError> {
    if seq == segment.first {
        return Ok(segment.prev);
    }
    let sql = format!(
        "SELECT hash FROM audit_segment_{} WHERE seq = ?1",
        segment.id
    );
    let hash = |row: &Row<'_>| {
        let bytes = row.get_ref(0)?.as_blob().unwrap_or_default();
        Ok(Hash(bytes.try_into().unwrap_or_default()))
    };
    let before = (seq - 1).cast_signed();
    let found = db
        .prepare_cached(&sql)?
        .query_row([before], hash)
        .optional()?;
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

/// What a filter comes to in one segment. Texts of the statement are constants: values are bound.
struct Terms {
    sql: String,
    values: Vec<Value>,
    wanted: Wanted,
}

impl Terms {
    fn of(db: &Connection, segment: i64, filter: &Filter) -> Result<Self, StoreError> {
        let Filter {
            from: _,
            until: _,
            actor,
            kind,
            action,
            at_least,
            outcome,
            address,
            resource,
            request_id,
        } = filter;
        let word = |text: &Option<String>| -> Result<Option<(Value, Key)>, StoreError> {
            let Some(text) = text else { return Ok(None) };
            let sql = format!("SELECT id FROM audit_words_{segment} WHERE word = ?1");
            let id: Option<i64> = db
                .prepare_cached(&sql)?
                .query_row([text], |row| row.get(0))
                .optional()?;
            Ok(Some(match id {
                Some(id) => (Value::Integer(id), key(&Cell::Word(id))),
                None => (Value::Text(text.clone()), key(&Cell::Text(text))),
            }))
        };
        let cell = |cell: Cell<'_>| {
            let number = key(&cell);
            match cell {
                Cell::Null => None,
                Cell::Word(id) => Some((Value::Integer(id), number)),
                Cell::Text(text) => Some((Value::Text(text.to_owned()), number)),
                Cell::Blob(bytes) => Some((Value::Blob(bytes), number)),
            }
        };
        let code = |code: u8| Some((Value::Integer(code.into()), 0));
        // The most selective first: by it the records are found, and the rest is looked at.
        let parts = [
            ("request_id = ?", cell(id_cell(request_id.as_deref()))),
            ("resource = ?", word(resource)?),
            ("actor = ?", word(actor)?),
            ("address = ?", cell(address_cell(*address))),
            ("action = ?", word(action)?),
            ("kind = ?", kind.and_then(|kind| code(kind.code()))),
            (
                "severity >= ?",
                at_least.and_then(|least| code(least.code())),
            ),
            (
                "outcome = ?",
                outcome.and_then(|outcome| code(outcome.code())),
            ),
        ];
        let number = |i: usize| parts[i].1.as_ref().map(|(_, number)| *number);
        let wanted = Wanted {
            kind: kind.map(Kind::code),
            outcome: outcome.map(Outcome::code),
            at_least: at_least.map(Severity::code),
            keys: [number(4), number(2), number(3), number(1), number(0)],
        };
        let (mut sql, mut values) = (String::new(), Vec::new());
        for (term, value) in parts {
            let Some((value, _)) = value else { continue };
            // The plus sign keeps a term from choosing the index.
            sql.push_str(if values.is_empty() { " AND " } else { " AND +" });
            sql.push_str(term);
            values.push(value);
        }
        Ok(Self {
            sql,
            values,
            wanted,
        })
    }

    fn select(&self, segment: i64, order: Order) -> String {
        let order = match order {
            Order::NewestFirst => "DESC",
            Order::OldestFirst => "ASC",
        };
        format!(
            "SELECT {COLUMNS} FROM audit_segment_{segment} WHERE seq >= ? AND seq < ?{} \
             ORDER BY seq {order} LIMIT ?",
            self.sql
        )
    }
}

/// What is stored after the sequence `after`.
pub(super) fn scan(db: &Connection, after: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
    let mut found: Vec<Stored> = Vec::new();
    let mut words = Words::new(db);
    for segment in segment::all(db)? {
        let from = segment.first.max(after.saturating_add(1));
        if found.len() >= limit {
            break;
        }
        if segment.last < from {
            continue;
        }
        let left = limit - found.len();
        match segment.phase {
            Phase::Partial | Phase::Gone => {
                pruned(db, &segment, from, left, &mut words, &mut found)?;
            }
            _ => {
                let before = prev(db, &segment, from)?;
                let range = from..segment.last + 1;
                rows(db, &segment, &range, left, before, &mut words, |s| {
                    found.push(s);
                })?;
            }
        }
    }
    Ok(found)
}

/// The records of `segment` in `range`, each with the hash of the one before it as `prev`.
fn rows(
    db: &Connection,
    segment: &Segment,
    range: &Range<u64>,
    limit: usize,
    mut before: Hash,
    words: &mut Words<'_>,
    mut each: impl FnMut(Stored),
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_segment_{} WHERE seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT ?3",
        segment.id
    );
    let mut select = db.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = select.query((range.start.cast_signed(), range.end.cast_signed(), limit))?;
    while let Some(row) = rows.next()? {
        let stored = stored(row, segment.id, words, before)?;
        before = stored.hash;
        each(stored);
    }
    Ok(())
}

/// What is left of a segment that was pruned, tile by tile.
fn pruned(
    db: &Connection,
    segment: &Segment,
    from: u64,
    limit: usize,
    words: &mut Words<'_>,
    found: &mut Vec<Stored>,
) -> Result<(), StoreError> {
    let gone = |seq, hash, count| Stored {
        seq,
        time: Timestamp::default(),
        occurred: Timestamp::default(),
        prev: Hash::default(),
        hash,
        content: Content::Pruned { count },
        is_readable: true,
    };
    let until = found.len() + limit;
    for tile in (from - 1) / TILE..segment.last / TILE {
        if found.len() >= until {
            break;
        }
        let first = tile * TILE + 1;
        let Some(hashes) = tile_hashes(db, tile)? else {
            let node = nodes(db, 8, tile, 1)?.pop().unwrap_or_default();
            found.push(gone(first, node, TILE));
            continue;
        };
        let mut kept = HashMap::new();
        if segment.phase != Phase::Gone {
            let range = first..first + TILE;
            rows(
                db,
                segment,
                &range,
                usize::MAX,
                Hash::default(),
                words,
                |s| {
                    kept.insert(s.seq, s);
                },
            )?;
        }
        for (seq, pair) in (first..).zip(hashes.windows(2)) {
            if seq < from || found.len() >= until {
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
    Ok(())
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
                let sql = format!(
                    "SELECT hash FROM audit_segment_{} WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq",
                    segment.id
                );
                let mut select = db.prepare_cached(&sql)?;
                let mut rows = select.query((from.cast_signed(), until.cast_signed()))?;
                while let Some(row) = rows.next()? {
                    let bytes = row.get_ref(0)?.as_blob().unwrap_or_default();
                    nodes.push(Hash(bytes.try_into().unwrap_or_default()));
                }
            }
        }
    }
    Ok(nodes)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{migrate, segment::INDEXES};

    fn plan(filter: &Filter) -> String {
        let db = Connection::open_in_memory().unwrap();
        migrate(&db).unwrap();
        let segment = Segment {
            id: 1,
            first: 1,
            last: 256,
            prev: Hash::default(),
            since: 0,
            until: None,
            phase: Phase::Sealed,
        };
        segment.create(&db).unwrap();
        for column in INDEXES {
            segment.create_index(&db, column).unwrap();
        }
        let terms = Terms::of(&db, 1, filter).unwrap();
        let sql = terms.select(1, Order::NewestFirst);
        let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut values = vec![Value::Integer(1), Value::Integer(9)];
        values.extend(terms.values);
        values.push(Value::Integer(10));
        let lines = explain.query_map(params_from_iter(values), |row| row.get::<_, String>(3));
        lines
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn queries_are_planned_by_the_best_index_and_never_sort() {
        let text = || Some("x".to_owned());
        let all = Filter {
            actor: text(),
            kind: Some(Kind::Session),
            action: text(),
            at_least: Some(Severity::High),
            outcome: Some(Outcome::Denied),
            address: "::1".parse().ok(),
            resource: text(),
            request_id: text(),
            ..Filter::default()
        };
        let without = |change: fn(&mut Filter)| {
            let mut filter = all.clone();
            change(&mut filter);
            filter
        };
        for (index, filter) in [
            ("PRIMARY KEY", Filter::default()),
            (
                "PRIMARY KEY",
                Filter {
                    at_least: Some(Severity::High),
                    ..Filter::default()
                },
            ),
            ("by_request_id", all.clone()),
            ("by_resource", without(|f| f.request_id = None)),
            (
                "by_actor",
                without(|f| (f.request_id, f.resource) = (None, None)),
            ),
            (
                "by_address",
                without(|f| (f.request_id, f.resource, f.actor) = (None, None, None)),
            ),
            (
                "by_action",
                Filter {
                    action: text(),
                    kind: Some(Kind::System),
                    ..Filter::default()
                },
            ),
            (
                "by_kind",
                Filter {
                    kind: Some(Kind::System),
                    outcome: Some(Outcome::Error),
                    ..Filter::default()
                },
            ),
        ] {
            let plan = plan(&filter);
            assert!(plan.contains(index), "{index}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{index}: {plan}");
        }
    }
}
