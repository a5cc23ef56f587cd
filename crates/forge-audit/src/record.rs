//! A record: an event with its place in the log.

use serde::Serialize;

use crate::chain::{Content, Hash, Link};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::kind::{Kind, Outcome, Severity};

/// An event with its place in the log.
///
/// Serialises as one flat object: the parts of the event beside `seq`, `time`, `occurred`, `prev`
/// and `hash`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// Its sequence: 1 for the first, one more for each that follows.
    pub seq: u64,
    /// Its time in the log, never before that of the record before it.
    pub time: Timestamp,
    /// The time of the clock when the event was handed over.
    pub occurred: Timestamp,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// The hash of the record before it.
    pub prev: Hash,
    /// Its own hash.
    pub hash: Hash,
    /// What the hash covers.
    #[serde(skip)]
    pub(crate) content: Content,
}

impl Record {
    /// What the hash covers.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Whether the personal part was erased: then only kind, action, outcome and severity are left.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        matches!(self.content, Content::Erased { .. })
    }

    /// The record as the chain sees it.
    #[must_use]
    pub fn link(&self) -> Link<'_> {
        Link {
            seq: self.seq,
            time: self.time,
            occurred: self.occurred,
            prev: self.prev,
            hash: self.hash,
            content: &self.content,
        }
    }
}

/// A record as a store holds it, before anything about it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The sequence.
    pub seq: u64,
    /// The time in the log.
    pub time: Timestamp,
    /// The time of the clock.
    pub occurred: Timestamp,
    /// The hash of the record before.
    pub prev: Hash,
    /// The hash of this record.
    pub hash: Hash,
    /// What is kept of the event.
    pub content: Content,
    /// Whether the store could read all of it.
    pub is_readable: bool,
}

impl Stored {
    /// The record as the chain sees it.
    #[must_use]
    pub fn link(&self) -> Link<'_> {
        Link {
            seq: self.seq,
            time: self.time,
            occurred: self.occurred,
            prev: self.prev,
            hash: self.hash,
            content: &self.content,
        }
    }

    /// How many records it stands for: 1, or 256 where a tile was pruned.
    pub(crate) fn count(&self) -> u64 {
        match self.content {
            Content::Pruned { count } => count.max(1),
            _ => 1,
        }
    }

    /// The event, as far as it is left and its bytes are one.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        self.content.event()
    }

    /// The record to show. One whose content does not fit its hash, or cannot be read, is shown as the critical event `audit.damaged`: neither hidden nor believed.
    #[must_use]
    pub fn into_record(self) -> Record {
        let sound = self.is_readable && self.hash == self.link().expected_hash();
        let event = self.event().filter(|_| sound).unwrap_or_else(|| {
            Event::new(Kind::SecurityViolation, "audit.damaged")
                .outcome(Outcome::Error)
                .severity(Severity::Critical)
        });
        let Self {
            seq,
            time,
            occurred,
            prev,
            hash,
            content,
            ..
        } = self;
        Record {
            seq,
            time,
            occurred,
            event,
            prev,
            hash,
            content,
        }
    }
}

impl From<&Record> for Stored {
    fn from(record: &Record) -> Self {
        Self {
            seq: record.seq,
            time: record.time,
            occurred: record.occurred,
            prev: record.prev,
            hash: record.hash,
            content: record.content.clone(),
            is_readable: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;
    use crate::event::{Actor, Source};
    use serde_json::json;

    fn record() -> Record {
        let event = Event::new(Kind::Authentication, "auth.sign_in")
            .actor(Actor::new("7").login("octo"))
            .source(Source::new().address("192.0.2.7".parse().unwrap()))
            .details(&json!({ "provider": "github" }));
        Chain::new().append(event, Timestamp::from_micros(250))
    }

    #[test]
    fn serialises_flat_with_times_to_the_microsecond() {
        let record = record();
        assert_eq!(
            serde_json::to_value(&record).unwrap(),
            json!({
                "seq": 1, "time": "1970-01-01T00:00:00.000250Z", "occurred": "1970-01-01T00:00:00.000250Z",
                "kind": "authentication", "action": "auth.sign_in", "outcome": "success", "severity": "low",
                "actor": { "id": "7", "login": "octo" }, "source": { "address": "192.0.2.7" },
                "details": { "provider": "github" },
                "prev": "0".repeat(64), "hash": record.hash.to_string(),
            })
        );
    }

    #[test]
    fn a_damaged_record_is_shown_as_damaged() {
        let record = record();
        assert_eq!(Stored::from(&record).into_record(), record);
        let mut flipped = Stored::from(&record);
        let Content::Whole { open, .. } = &mut flipped.content else {
            panic!("pruned");
        };
        open[2] = 2;
        assert_eq!(flipped.into_record().event.action(), "audit.damaged");
        let elsewhere = Stored {
            is_readable: false,
            ..Stored::from(&record)
        };
        assert_eq!(elsewhere.into_record().event.level(), Severity::Critical);
    }
}
