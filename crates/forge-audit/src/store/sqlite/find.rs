//! Finding records by what they say.

use std::ops::{ControlFlow, Range};
use std::sync::PoisonError;

use rusqlite::{Connection, OptionalExtension};

use super::block;
use super::hot::{Columns, Wanted, key};
use super::index;
use super::pack::{self, Cell, Packed, address_cell, id_cell};
use super::row::{Reading, Words};
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
        let Some(mut range) = self.range(segment)? else {
            return Ok(());
        };
        let terms = Terms::of(self.db, segment.id, &self.selection.filter)?;
        // What may be wanted by its keys may be another, or not be in the snapshot: then it goes on.
        while range.start < range.end && self.found.len() < self.selection.limit {
            self.some(segment, &mut range, &terms)?;
        }
        Ok(())
    }

    /// Looks at some of `range`, and takes that off it.
    fn some(
        &mut self,
        segment: &Segment,
        range: &mut Range<u64>,
        terms: &Terms<'_>,
    ) -> Result<(), StoreError> {
        let all = range.clone();
        let hot = {
            let hot = self.hot.read().unwrap_or_else(PoisonError::into_inner);
            // Empty only where this process does not write, or has not appended yet.
            let mut columns = hot.iter().filter(|c| c.id == segment.id && c.len() > 0);
            columns.next().map(|columns| {
                let end = columns.first + columns.len() as u64;
                (end, self.in_memory(columns, terms, range))
            })
        };
        let Some((end, sequences)) = hot else {
            range.end = range.start;
            let is_indexed = matches!(segment.phase, Phase::Sealed | Phase::Partial);
            let Some(rarest) = terms.wanted.rarest().filter(|_| is_indexed) else {
                return self.select(segment, &all, terms);
            };
            let place = (segment.id, segment.first);
            let mut sequences = index::find(self.db, place, rarest, &all)?;
            if self.selection.order == Order::NewestFirst {
                sequences.reverse();
            }
            return self.each(segment, &sequences, terms);
        };
        // What was committed a moment ago is in the snapshot and may not be in memory yet: a walk
        // that went on to the next segment would pass it over.
        match self.selection.order {
            Order::NewestFirst => {
                range.end = range.end.min(end.max(range.start));
                self.select(segment, &(all.start.max(end)..all.end), terms)?;
                self.each(segment, &sequences, terms)
            }
            Order::OldestFirst => {
                self.each(segment, &sequences, terms)?;
                if range.start >= end {
                    self.select(segment, range, terms)?;
                    range.end = range.start;
                }
                Ok(())
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
        let (mut from, mut until) = (segment.first, segment.last + 1);
        while from < until {
            let middle = from + (until - from) / 2;
            let mut next = None;
            let _: ControlFlow<()> = block::each(
                self.db,
                segment.id,
                &(middle..until),
                Order::OldestFirst,
                |entry| {
                    next = Some((entry.seq, pack::time(entry.bytes).unwrap_or_default()));
                    Ok(ControlFlow::Break(()))
                },
            )?;
            match next {
                Some((seq, at)) if at < time.as_micros() => from = seq + 1,
                _ => until = middle,
            }
        }
        Ok(from)
    }

    /// The sequences of those that may be wanted in some of `range`, which is taken off it.
    fn in_memory(&self, columns: &Columns, terms: &Terms<'_>, range: &mut Range<u64>) -> Vec<u64> {
        let left = self.selection.limit - self.found.len();
        let end = columns.first + columns.len() as u64;
        let mut found = Vec::new();
        // In strides, since what is wanted may be everywhere.
        while range.start < range.end.min(end) && found.len() < left {
            let mut some = match self.selection.order {
                Order::NewestFirst => {
                    let until = range.end.min(end);
                    range.end = range.start.max(until.saturating_sub(STRIDE));
                    let mut some = columns.find(&terms.wanted, range.end, until);
                    some.reverse();
                    some
                }
                Order::OldestFirst => {
                    let from = range.start;
                    range.start = range.end.min(end).min(from.saturating_add(STRIDE));
                    columns.find(&terms.wanted, from, range.start)
                }
            };
            found.append(&mut some);
        }
        found
    }

    /// Looks at the records with these sequences.
    fn each(
        &mut self,
        segment: &Segment,
        sequences: &[u64],
        terms: &Terms<'_>,
    ) -> Result<(), StoreError> {
        for seq in sequences {
            if self.found.len() >= self.selection.limit {
                break;
            }
            self.select(segment, &(*seq..seq + 1), terms)?;
        }
        Ok(())
    }

    /// Looks at all records in `range`.
    fn select(
        &mut self,
        segment: &Segment,
        range: &Range<u64>,
        terms: &Terms<'_>,
    ) -> Result<(), StoreError> {
        if self.found.len() >= self.selection.limit || range.start >= range.end {
            return Ok(());
        }
        let Self {
            db,
            selection,
            words,
            reading,
            found,
            ..
        } = self;
        let _: ControlFlow<()> = block::each(db, segment.id, range, selection.order, |entry| {
            if terms.fit(entry.bytes) {
                let prev = prev(db, segment, &entry)?;
                reading.read(&entry, segment.id, words, prev)?;
                found.push(reading.stored());
            }
            Ok(match found.len() < selection.limit {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        Ok(())
    }
}

/// What a filter comes to in one segment.
struct Terms<'a> {
    /// Action, actor, address, resource, request id.
    cells: [Option<Cell<'a>>; 5],
    wanted: Wanted,
}

impl<'a> Terms<'a> {
    fn of(db: &Connection, segment: i64, filter: &'a Filter) -> Result<Self, StoreError> {
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
        let sql = format!("SELECT id FROM audit_words_{segment} WHERE word = ?1");
        let word = |text: &'a Option<String>| -> Result<_, StoreError> {
            let Some(text) = text else { return Ok(None) };
            let mut select = db.prepare_cached(&sql)?;
            let id: Option<i64> = select.query_row([text], |row| row.get(0)).optional()?;
            let word = id.and_then(|id| u32::try_from(id).ok()).map(Cell::Word);
            Ok(Some(word.unwrap_or(Cell::Text(text.as_bytes()))))
        };
        let cells = [
            word(action)?,
            word(actor)?,
            address.map(|address| address_cell(Some(address))),
            word(resource)?,
            request_id.as_deref().map(|id| id_cell(Some(id))),
        ];
        let wanted = Wanted {
            kind: kind.map(Kind::code),
            outcome: outcome.map(Outcome::code),
            at_least: at_least.map(Severity::code),
            keys: cells.map(|cell| cell.as_ref().map(key)),
        };
        Ok(Self { cells, wanted })
    }

    /// Whether a record is wanted. What cannot be taken apart is: it is shown as damaged.
    fn fit(&self, bytes: &[u8]) -> bool {
        let Some(packed) = Packed::read(bytes) else {
            return true;
        };
        let cells = self.cells.iter().zip(packed.searched());
        self.wanted.fits(packed.codes)
            && cells
                .into_iter()
                .all(|(wanted, is)| wanted.is_none_or(|wanted| wanted == is))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::index::INDEXES;
    use crate::store::sqlite::migrate;

    #[test]
    fn what_finds_the_fewest_is_looked_up() {
        let db = Connection::open_in_memory().unwrap();
        migrate(&db).unwrap();
        Segment {
            id: 1,
            first: 1,
            last: 256,
            prev: crate::chain::Hash::default(),
            since: 0,
            until: None,
            phase: Phase::Open,
        }
        .create(&db)
        .unwrap();
        let text = || Some("x".to_owned());
        let mut filter = Filter {
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
        let without: [fn(&mut Filter); 6] = [
            |f| f.request_id = None,
            |f| f.resource = None,
            |f| f.actor = None,
            |f| f.address = None,
            |f| f.action = None,
            |f| f.kind = None,
        ];
        for (column, without) in INDEXES.into_iter().zip(without) {
            let terms = Terms::of(&db, 1, &filter).unwrap();
            let (rarest, _) = terms.wanted.rarest().unwrap();
            assert_eq!(INDEXES[usize::from(rarest)], column);
            without(&mut filter);
        }
        let terms = Terms::of(&db, 1, &filter).unwrap();
        assert_eq!(terms.wanted.rarest(), None);
    }
}
