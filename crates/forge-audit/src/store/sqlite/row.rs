//! A record as a row: texts that come again are words of the segment, and an id that is a UUID is
//! kept as its bytes.

use std::net::IpAddr;
use std::ops::Range;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row};

use super::fill::MAX_WORDS;
use crate::canonical;
use crate::chain::{Committed, Content, Hash, Salt};
use crate::clock::Timestamp;
use crate::kind::{Kind, Outcome, Severity};
use crate::record::Stored;
use crate::view::{Left, View};

pub(super) const COLUMNS: &str = "seq, time, skew, hash, salt, kind, outcome, severity, action, \
     actor, login, session, address, agent, resource, request_id, details";
/// How many columns there are, and how many of them, the last, tell of a person.
pub(super) const WIDTH: usize = 17;
pub(super) const PERSONAL: usize = 8;

/// The value of a column that holds a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    /// A word of the segment.
    Word(i64),
    Text(&'a str),
    /// An address, or a UUID.
    Blob(Few),
}

/// At most 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Few {
    bytes: [u8; 16],
    length: usize,
}

impl Few {
    fn new(from: &[u8]) -> Self {
        let length = from.len().min(16);
        let mut bytes = [0; 16];
        bytes[..length].copy_from_slice(&from[..length]);
        Self { bytes, length }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Word(id) => ValueRef::Integer(*id),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(few) => ValueRef::Blob(few.as_slice()),
        }))
    }
}

pub(super) fn address_cell(address: Option<IpAddr>) -> Cell<'static> {
    match address {
        None => Cell::Null,
        Some(IpAddr::V4(v4)) => Cell::Blob(Few::new(&v4.octets())),
        Some(IpAddr::V6(v6)) => Cell::Blob(Few::new(&v6.octets())),
    }
}

/// A request id: as the bytes of a UUID if it is written as one.
pub(super) fn id_cell(id: Option<&str>) -> Cell<'_> {
    match id {
        None => Cell::Null,
        Some(text) => match uuid_bytes(text) {
            Some(bytes) => Cell::Blob(Few::new(&bytes)),
            None => Cell::Text(text),
        },
    }
}

const DASHES: [usize; 4] = [8, 13, 18, 23];
/// Where the two digits of each byte are.
const PAIRS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// The bytes of a UUID in its usual form, from which [`uuid_text`] makes the same text again.
fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    if DASHES.iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, at) in bytes.iter_mut().zip(PAIRS) {
        let (high, low) = (nibble(text[at]), nibble(text[at + 1]));
        if high | low > 15 {
            return None;
        }
        *byte = high << 4 | low;
    }
    Some(bytes)
}

/// What a small hexadecimal digit stands for; more than 15 for what is none.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => u8::MAX,
    }
}

fn uuid_text(bytes: &[u8]) -> Option<[u8; 36]> {
    // A digit by computing, since that is done for all at once.
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let (high, low) = (bytes.map(|b| digit(b >> 4)), bytes.map(|b| digit(b & 15)));
    let mut text = [b'-'; 36];
    for (i, at) in PAIRS.into_iter().enumerate() {
        text[at] = high[i];
        text[at + 1] = low[i];
    }
    Some(text)
}

/// The words of a segment, as far as a reading has met them.
pub(super) struct Words<'a> {
    db: &'a Connection,
    segment: i64,
    /// Where each is in `texts`, by its id.
    met: Vec<Option<Range<usize>>>,
    texts: String,
    /// The last one met whose id is none that is given.
    other: String,
}

impl<'a> Words<'a> {
    pub(super) fn new(db: &'a Connection) -> Self {
        Self {
            db,
            segment: 0,
            met: Vec::new(),
            texts: String::new(),
            other: String::new(),
        }
    }

    /// Reads all words of `segment`, of which many are wanted.
    pub(super) fn read(&mut self, segment: i64) -> rusqlite::Result<()> {
        self.turn_to(segment);
        let sql = format!("SELECT id, word FROM audit_words_{segment}");
        let mut select = self.db.prepare_cached(&sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            if let (Ok(id), Ok(word)) = (row.get_ref(0)?.as_i64(), row.get_ref(1)?.as_str()) {
                self.keep(id, word);
            }
        }
        Ok(())
    }

    fn turn_to(&mut self, segment: i64) {
        if self.segment != segment {
            self.segment = segment;
            self.met.clear();
            self.texts.clear();
        }
    }

    fn keep(&mut self, id: i64, word: &str) -> Option<Range<usize>> {
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

    fn word(&mut self, segment: i64, id: i64) -> rusqlite::Result<Option<&str>> {
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

    /// Hands the text of a column to `then`, and tells whether it could be read.
    #[inline]
    fn text<T>(
        &mut self,
        segment: i64,
        value: ValueRef<'_>,
        then: impl FnOnce(Option<&str>) -> T,
    ) -> rusqlite::Result<(T, bool)> {
        let id;
        let text = match value {
            ValueRef::Null => return Ok((then(None), true)),
            ValueRef::Integer(id) => self.word(segment, id)?,
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
            ValueRef::Blob(bytes) => {
                id = uuid_text(bytes);
                // Digits and dashes.
                id.as_ref().and_then(|id| std::str::from_utf8(id).ok())
            }
            ValueRef::Real(_) => None,
        };
        Ok((then(text), text.is_some()))
    }
}

/// A row as it is found, in memory that serves for the next row too. A value that it should not
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
    /// Takes in a row of the columns [`COLUMNS`].
    pub(super) fn read(
        &mut self,
        row: &Row<'_>,
        segment: i64,
        words: &mut Words<'_>,
        prev: Hash,
    ) -> rusqlite::Result<()> {
        let mut readable = true;
        let mut number = |column| {
            let value = row.get_ref(column)?.as_i64();
            readable &= value.is_ok();
            Ok::<_, rusqlite::Error>(value.unwrap_or_default())
        };
        self.prev = prev;
        self.seq = number(0)?.cast_unsigned();
        let time = number(1)?;
        self.time = Timestamp::from_micros(time);
        self.occurred = Timestamp::from_micros(time.wrapping_add(number(2)?));
        let mut code =
            |column| Ok::<_, rusqlite::Error>(u8::try_from(number(column)?).unwrap_or(0));
        let codes @ [kind, outcome, severity] = [code(5)?, code(6)?, code(7)?];
        let blob = |column| {
            let value = row.get_ref(column)?;
            Ok::<_, rusqlite::Error>(value.as_blob().unwrap_or_default())
        };
        self.hash = Hash(blob(3)?.try_into().unwrap_or_default());
        let salt = blob(4)?;
        self.salt = match <[u8; 32]>::try_from(salt) {
            Ok(commitment) => {
                self.commitment = Hash(commitment);
                None
            }
            Err(_) => {
                let salt = Salt::try_from(salt);
                readable &= salt.is_ok();
                Some(salt.unwrap_or_default())
            }
        };

        let open = &mut self.open;
        open.clear();
        let (has_action, _) = words.text(segment, row.get_ref(8)?, |action| {
            canonical::open(open, codes, action.unwrap_or_default());
            action.is_some()
        })?;
        readable &= has_action
            && Kind::from_code(kind).is_some()
            && Outcome::from_code(outcome).is_some()
            && Severity::from_code(severity).is_some();

        let personal = self.personal.begin(&self.salt.unwrap_or_default());
        let mut text = |out: &mut Vec<u8>, column| {
            let value = row.get_ref(column)?;
            let ((), is_text) = words.text(segment, value, |text| canonical::option(out, text))?;
            readable &= is_text;
            Ok::<_, rusqlite::Error>(())
        };
        for column in 9..12 {
            text(personal, column)?;
        }
        let address = address(row.get_ref(12)?);
        canonical::address(personal, address.unwrap_or_default());
        for column in 13..16 {
            text(personal, column)?;
        }
        let details = match row.get_ref(16)? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| ()),
            _ => Err(()),
        };
        canonical::option(personal, details.unwrap_or_default());
        let is_erased_whole = self.salt.is_some() || self.personal.personal() == [0; PERSONAL];
        self.is_readable = readable && address.is_ok() && details.is_ok() && is_erased_whole;
        Ok(())
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

/// The address in a column: `Err` stands for what is none.
fn address(value: ValueRef<'_>) -> Result<Option<IpAddr>, ()> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Blob(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.map(Some).map_err(|_| ())
        }
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_comes_back_as_it_was(text in "[0-9a-fA-F-]{35,37}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|.*") {
            if let Some(bytes) = uuid_bytes(&text) {
                prop_assert_eq!(uuid_text(&bytes).unwrap(), text.as_bytes());
            }
        }
    }

    #[test]
    fn a_uuid_takes_sixteen_bytes() {
        let id = "0198c2f0-7a1b-7c3d-8e4f-5a6b7c8d9e0f";
        assert_eq!(
            id_cell(Some(id)),
            Cell::Blob(Few::new(&uuid_bytes(id).unwrap()))
        );
        for other in [
            "0198C2F0-7a1b-7c3d-8e4f-5a6b7c8d9e0f",
            "0198c2f007a1b-7c3d-8e4f-5a6b7c8d9e0f",
        ] {
            assert_eq!(id_cell(Some(other)), Cell::Text(other));
        }
    }
}
