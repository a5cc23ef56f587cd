//! Records as they are read.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;

use rusqlite::Connection;

use super::block::Entry;
use super::fill::MAX_WORDS;
use super::pack::{self, Cell, Packed, Seal, uuid_bytes, uuid_text};
use crate::canonical;
use crate::chain::{Committed, Content, Hash, Salt};
use crate::clock::Timestamp;
use crate::kind::{Kind, Outcome, Severity};
use crate::record::Stored;
use crate::view::{Left, View};

/// The words of a segment, as far as a reading has met them.
pub(super) struct Words<'a> {
    db: &'a Connection,
    segment: i64,
    /// Where each is in `texts`, by its id.
    met: Vec<Option<Range<usize>>>,
    texts: String,
    /// The last one met whose id is none that is given.
    other: String,
    /// Who verifies does not let a text stand in place of a word: it would not be found. Of a
    /// segment that is full of words, all of them; otherwise there are no such texts.
    strict: Option<Strict>,
}

enum Strict {
    Room,
    Full(HashSet<Box<str>>),
}

impl<'a> Words<'a> {
    pub(super) fn new(db: &'a Connection) -> Self {
        Self {
            db,
            segment: 0,
            met: Vec::new(),
            texts: String::new(),
            other: String::new(),
            strict: None,
        }
    }

    /// Reads all words of `segment`, of which many are wanted.
    pub(super) fn read(&mut self, segment: i64) -> rusqlite::Result<()> {
        self.read_all(segment).map(drop)
    }

    /// Reads all words of `segment`, and tells whether each is there once, with an id that is given.
    /// From now on a text in place of a word is taken for damage.
    pub(super) fn read_strictly(&mut self, segment: i64) -> rusqlite::Result<bool> {
        let mut is_sound = self.read_all(segment)?;
        let known: HashSet<&str> = self
            .met
            .iter()
            .flatten()
            .filter_map(|at| self.texts.get(at.clone()))
            .collect();
        is_sound &= known.len() == self.met.iter().flatten().count();
        let is_full = self.met.len() > MAX_WORDS as usize;
        self.strict = Some(match is_full {
            true => Strict::Full(known.into_iter().map(Box::from).collect()),
            false => Strict::Room,
        });
        Ok(is_sound)
    }

    /// Whether each was one that a writer writes.
    fn read_all(&mut self, segment: i64) -> rusqlite::Result<bool> {
        self.turn_to(segment);
        let sql = format!("SELECT id, word FROM audit_words_{segment}");
        let mut select = self.db.prepare_cached(&sql)?;
        let mut rows = select.query([])?;
        let mut is_sound = true;
        while let Some(row) = rows.next()? {
            let (id, word) = (row.get_ref(0)?.as_i64(), row.get_ref(1)?.as_str());
            let id = id.ok().and_then(|id| u32::try_from(id).ok());
            let kept = id.zip(word.ok()).and_then(|(id, word)| self.keep(id, word));
            is_sound &= kept.is_some() && id > Some(0);
        }
        Ok(is_sound)
    }

    fn turn_to(&mut self, segment: i64) {
        if self.segment != segment {
            self.segment = segment;
            self.met.clear();
            self.texts.clear();
        }
    }

    fn keep(&mut self, id: u32, word: &str) -> Option<Range<usize>> {
        // Others are not given; whoever writes the file may have.
        let place = usize::try_from(id).ok().filter(|_| id <= MAX_WORDS)?;
        if self.met.len() <= place {
            self.met.resize(place + 1, None);
        }
        let from = self.texts.len();
        self.texts.push_str(word);
        let at = from..self.texts.len();
        self.met[place] = Some(at.clone());
        Some(at)
    }

    fn word(&mut self, segment: i64, id: u32) -> rusqlite::Result<Option<&str>> {
        self.turn_to(segment);
        let place = usize::try_from(id).unwrap_or(usize::MAX);
        if let Some(Some(at)) = self.met.get(place) {
            return Ok(self.texts.get(at.clone()));
        }
        let sql = format!("SELECT word FROM audit_words_{segment} WHERE id = ?1");
        let mut select = self.db.prepare_cached(&sql)?;
        let mut rows = select.query([id])?;
        let found = rows.next()?.map(|row| row.get_ref(0)).transpose()?;
        let Some(word) = found.and_then(|found| found.as_str().ok()) else {
            return Ok(None);
        };
        Ok(match self.keep(id, word) {
            Some(at) => self.texts.get(at),
            None => {
                self.other.clear();
                self.other.push_str(word);
                Some(&self.other)
            }
        })
    }

    /// A text that is no word; `None` if a writer would have made it one.
    fn spelled<'t>(&self, bytes: &'t [u8]) -> Option<&'t str> {
        let text = std::str::from_utf8(bytes).ok();
        text.filter(|text| match &self.strict {
            None => true,
            Some(Strict::Room) => false,
            Some(Strict::Full(words)) => !words.contains(*text),
        })
    }

    /// Hands the text of a cell to `then`, and tells whether it is one that a writer writes.
    #[inline]
    fn text<T>(
        &mut self,
        segment: i64,
        cell: Cell<'_>,
        then: impl FnOnce(Option<&str>) -> T,
    ) -> rusqlite::Result<(T, bool)> {
        let text = match cell {
            Cell::Nothing => return Ok((then(None), true)),
            Cell::Word(id) => self.word(segment, id)?,
            Cell::Text(bytes) => self.spelled(bytes),
            Cell::Four(_) | Cell::Sixteen(_) => None,
        };
        Ok((then(text), text.is_some()))
    }
}

/// A record as it is found, in memory that serves for the next one too. A value that it should not
/// have, which only somebody who owns the file can write, makes it unreadable: then the record does
/// not verify.
#[derive(Default)]
pub(super) struct Reading {
    seq: u64,
    time: Timestamp,
    occurred: Timestamp,
    prev: Hash,
    hash: Hash,
    open: Vec<u8>,
    personal: Committed,
    /// An erased record has its commitment in place of it.
    salt: Option<Salt>,
    commitment: Hash,
    is_readable: bool,
}

impl Reading {
    /// Takes in a record.
    pub(super) fn read(
        &mut self,
        entry: &Entry<'_>,
        segment: i64,
        words: &mut Words<'_>,
        prev: Hash,
    ) -> rusqlite::Result<()> {
        self.seq = entry.seq;
        self.prev = prev;
        let Some(packed) = Packed::read(entry.bytes) else {
            self.damaged(entry.bytes);
            return Ok(());
        };
        self.hash = packed.hash;
        self.time = Timestamp::from_micros(packed.time);
        self.occurred = Timestamp::from_micros(packed.time.wrapping_add(packed.skew));
        self.salt = match packed.seal {
            Seal::Salt(salt) => Some(salt),
            Seal::Commitment(commitment) => {
                self.commitment = commitment;
                None
            }
        };
        let codes @ [kind, outcome, severity] = packed.codes;
        let [action, texts @ .., address, agent, resource, id, details] = packed.cells;

        let open = &mut self.open;
        open.clear();
        let (has_action, _) = words.text(segment, action, |action| {
            canonical::open(open, codes, action.unwrap_or_default());
            action.is_some()
        })?;
        let mut readable = has_action
            && Kind::from_code(kind).is_some()
            && Outcome::from_code(outcome).is_some()
            && Severity::from_code(severity).is_some();

        let personal = self.personal.begin(&self.salt.unwrap_or_default());
        let mut text = |out: &mut Vec<u8>, cell| {
            let ((), is_text) = words.text(segment, cell, |text| canonical::option(out, text))?;
            readable &= is_text;
            Ok::<_, rusqlite::Error>(())
        };
        for cell in texts {
            text(personal, cell)?;
        }
        let (address, is_address) = address_of(address);
        canonical::address(personal, address);
        for cell in [agent, resource] {
            text(personal, cell)?;
        }
        let uuid;
        let (id, is_id) = match id {
            Cell::Sixteen(bytes) => {
                uuid = uuid_text(bytes);
                plain(Cell::Text(&uuid))
            }
            // As a text it would not be found.
            Cell::Text(text) if uuid_bytes(text).is_some() => (None, false),
            other => plain(other),
        };
        canonical::option(personal, id);
        let (details, is_details) = plain(details);
        canonical::option(personal, details);
        self.is_readable = readable && is_address && is_id && is_details;
        Ok(())
    }

    /// What cannot be taken apart is shown where it stands, as damaged.
    fn damaged(&mut self, bytes: &[u8]) {
        self.hash = pack::hash(bytes).unwrap_or_default();
        self.time = Timestamp::from_micros(pack::time(bytes).unwrap_or_default());
        self.occurred = self.time;
        self.open.clear();
        self.salt = None;
        self.commitment = Hash::default();
        self.is_readable = false;
    }

    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// Whether every value was one that it may have.
    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// The record as the chain sees it.
    pub(super) fn view(&self) -> View<'_> {
        let (personal, commitment) = match self.salt {
            Some(_) => (Some(self.personal.personal()), self.personal.commitment()),
            None => (None, self.commitment),
        };
        View {
            seq: self.seq,
            time: self.time,
            occurred: self.occurred,
            prev: self.prev,
            hash: self.hash,
            left: Left::Event {
                open: &self.open,
                personal,
                commitment,
            },
        }
    }

    pub(super) fn stored(&self) -> Stored {
        let open = self.open.clone();
        Stored {
            seq: self.seq,
            time: self.time,
            occurred: self.occurred,
            prev: self.prev,
            hash: self.hash,
            content: match self.salt {
                Some(salt) => Content::Whole {
                    open,
                    salt,
                    personal: self.personal.personal().to_vec(),
                },
                None => Content::Erased {
                    open,
                    commitment: self.commitment,
                },
            },
            is_readable: self.is_readable,
        }
    }
}

/// The address in a cell, and whether it is one.
fn address_of(cell: Cell<'_>) -> (Option<IpAddr>, bool) {
    match cell {
        Cell::Nothing => (None, true),
        Cell::Four(bytes) => (Some(bytes.into()), true),
        Cell::Sixteen(bytes) => (Some(bytes.into()), true),
        Cell::Word(_) | Cell::Text(_) => (None, false),
    }
}

/// The text in a cell that is no word, and whether it is one.
fn plain(cell: Cell<'_>) -> (Option<&str>, bool) {
    match cell {
        Cell::Nothing => (None, true),
        Cell::Text(bytes) => {
            let text = std::str::from_utf8(bytes).ok();
            (text, text.is_some())
        }
        Cell::Word(_) | Cell::Four(_) | Cell::Sixteen(_) => (None, false),
    }
}
