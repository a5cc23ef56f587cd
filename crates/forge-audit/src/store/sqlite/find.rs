//! Finding records by what they say.

use std::ops::Range;
use std::sync::PoisonError;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::hot::{Columns, Key, Wanted, key};
use super::index;
use super::row::{COLUMNS, Cell, Reading, Words, address_cell, id_cell};
use super::segment::{Phase, Segment};
use super::walk::prev;
use super::write::Hot;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::kind::{Kind, Outcome, Severity};
use crate::query::{Filter, Order, Selection};
use crate::record::Stored;

/// Through so many records of a segment without indexes a query looks at once.
const STRIDE: u64 = 4096;

pub(super) struct Query<'a> {
    pub(super) db: &'a Connection,
    pub(super) hot: &'a Hot,
    pub(super) selection: &'a Selection,
    pub(super) words: Words<'a>,
    pub(super) reading: Reading,
    pub(super) found: Vec<Stored>,
}

impl Query<'_> {
    pub(super) fn segment(&mut self, segment: &Segment) -> Result<(), StoreError> {
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
            let Some(rarest) = terms
                .wanted
                .rarest()
                .filter(|_| segment.phase == Phase::Sealed)
            else {
                return self.select(segment, &range, &terms);
            };
            let place = (segment.id, segment.first);
            let mut sequences = index::find(self.db, place, rarest, &range)?;
            if self.selection.order == Order::NewestFirst {
                sequences.reverse();
            }
            return self.each(segment, &sequences, &terms);
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
        let mut select = self.db.prepare_cached(&terms.one(segment.id))?;
        for seq in sequences {
            if self.found.len() >= self.selection.limit {
                break;
            }
            let values =
                std::iter::once(Value::Integer(seq.cast_signed())).chain(terms.values.clone());
            let mut rows = select.query(params_from_iter(values))?;
            if let Some(row) = rows.next()? {
                let prev = prev(self.db, segment, *seq)?;
                self.reading.read(row, segment.id, &mut self.words, prev)?;
                self.found.push(self.reading.stored());
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
            self.reading.read(row, segment.id, &mut self.words, prev)?;
            self.found.push(self.reading.stored());
        }
        Ok(())
    }
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
                Cell::Blob(few) => Some((Value::Blob(few.as_slice().to_vec()), number)),
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

    /// The statement for the record with one sequence.
    fn one(&self, segment: i64) -> String {
        let terms = &self.sql;
        format!("SELECT {COLUMNS} FROM audit_segment_{segment} WHERE seq = ?{terms}")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Hash;
    use crate::store::sqlite::migrate;
    use crate::store::sqlite::segment::{INDEXES, Phase};

    /// A segment with indexes of SQLite's own, as one has that was pruned in part.
    fn segment(db: &Connection) -> Segment {
        migrate(db).unwrap();
        let segment = Segment {
            id: 1,
            first: 1,
            last: 256,
            prev: Hash::default(),
            since: 0,
            until: None,
            phase: Phase::Partial,
        };
        segment.create(db).unwrap();
        for column in INDEXES {
            segment.create_index(db, column).unwrap();
        }
        segment
    }

    fn explain(db: &Connection, sql: &str, values: Vec<Value>) -> String {
        let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = explain.query_map(params_from_iter(values), |row| row.get::<_, String>(3));
        let lines = lines.unwrap().map(Result::unwrap);
        lines.collect::<Vec<_>>().join("\n")
    }

    fn plan(filter: &Filter) -> String {
        let db = Connection::open_in_memory().unwrap();
        let segment = segment(&db);
        let terms = Terms::of(&db, segment.id, filter).unwrap();
        let mut values = vec![Value::Integer(9)];
        values.extend(terms.values.clone());
        let one = explain(&db, &terms.one(1), values.clone());
        assert_eq!(
            one,
            "SEARCH audit_segment_1 USING INTEGER PRIMARY KEY (rowid=?)"
        );
        values.insert(0, Value::Integer(1));
        values.push(Value::Integer(10));
        explain(&db, &terms.select(1, Order::NewestFirst), values)
    }

    #[test]
    fn queries_are_planned_by_the_best_index_and_never_sort() {
        let database = Connection::open_in_memory().unwrap();
        segment(&database);
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
            let column = index.strip_prefix("by_");
            let rarest = Terms::of(&database, 1, &filter).unwrap().wanted.rarest();
            let rarest = rarest.map(|(column, _)| INDEXES[usize::from(column)]);
            assert_eq!(rarest, column);
            assert!(plan.contains(index), "{index}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{index}: {plan}");
        }
    }
}
