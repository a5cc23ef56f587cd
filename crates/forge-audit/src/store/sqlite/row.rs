//! A record as a row: texts that come again are words of the segment, and an id that is a UUID is
//! kept as its bytes.

use std::net::IpAddr;
use std::rc::Rc;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};

use super::fill::MAX_WORDS;
use crate::canonical::{Personal, encode_open};
use crate::chain::{Content, Hash};
use crate::clock::Timestamp;
use crate::kind::{Kind, Outcome, Severity};
use crate::record::Stored;

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
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let mut text = [b'-'; 36];
    for (byte, at) in bytes.iter().zip(PAIRS) {
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
    }
    Some(text)
}

/// The words of a segment, as far as a reading has met them.
pub(super) struct Words<'a> {
    db: &'a Connection,
    segment: i64,
    /// By their ids.
    met: Vec<Option<Rc<str>>>,
}

/// The text of a column.
enum Text<'r> {
    Word(Rc<str>),
    Plain(&'r str),
    Id([u8; 36]),
}

impl Text<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Plain(text) => text,
            // Digits and dashes.
            Self::Id(id) => std::str::from_utf8(id).unwrap_or_default(),
        }
    }
}

impl<'a> Words<'a> {
    pub(super) fn new(db: &'a Connection) -> Self {
        Self {
            db,
            segment: 0,
            met: Vec::new(),
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
                let word = Rc::from(word);
                self.keep(id, word);
            }
        }
        Ok(())
    }

    fn turn_to(&mut self, segment: i64) {
        if self.segment != segment {
            self.segment = segment;
            self.met.clear();
        }
    }

    fn keep(&mut self, id: i64, word: Rc<str>) {
        // Others are not given; whoever writes the file may have.
        let Some(place) = usize::try_from(id).ok().filter(|_| id <= MAX_WORDS) else {
            return;
        };
        if self.met.len() <= place {
            self.met.resize(place + 1, None);
        }
        self.met[place] = Some(word);
    }

    fn word(&mut self, segment: i64, id: i64) -> rusqlite::Result<Option<Rc<str>>> {
        self.turn_to(segment);
        let place = usize::try_from(id).unwrap_or(usize::MAX);
        if let Some(Some(word)) = self.met.get(place) {
            return Ok(Some(Rc::clone(word)));
        }
        let sql = format!("SELECT word FROM audit_words_{segment} WHERE id = ?1");
        let text = |row: &Row<'_>| Ok(row.get_ref(0)?.as_str().ok().map(Rc::from));
        let found: Option<Option<Rc<str>>> = self
            .db
            .prepare_cached(&sql)?
            .query_row([id], text)
            .optional()?;
        let word = found.flatten();
        if let Some(word) = &word {
            self.keep(id, Rc::clone(word));
        }
        Ok(word)
    }

    /// The text of a column: `Err` holds what cannot be read.
    fn text<'r>(
        &mut self,
        segment: i64,
        value: ValueRef<'r>,
    ) -> rusqlite::Result<Result<Option<Text<'r>>, ()>> {
        Ok(match value {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(id) => match self.word(segment, id)? {
                Some(word) => Ok(Some(Text::Word(word))),
                None => Err(()),
            },
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(Text::Plain(text))),
                Err(_) => Err(()),
            },
            ValueRef::Blob(bytes) => match uuid_text(bytes) {
                Some(id) => Ok(Some(Text::Id(id))),
                None => Err(()),
            },
            ValueRef::Real(_) => Err(()),
        })
    }
}

/// A row as it is found. A value that it should not have, which only somebody who owns the file can
/// write, makes it unreadable: then the record does not verify.
pub(super) fn stored(
    row: &Row<'_>,
    segment: i64,
    words: &mut Words<'_>,
    prev: Hash,
) -> rusqlite::Result<Stored> {
    let mut readable = true;
    let mut number = |column| {
        let value = row.get_ref(column)?.as_i64();
        readable &= value.is_ok();
        Ok::<_, rusqlite::Error>(value.unwrap_or_default())
    };
    let seq = number(0)?.cast_unsigned();
    let time = number(1)?;
    let occurred = time.wrapping_add(number(2)?);
    let mut code = |column| Ok::<_, rusqlite::Error>(u8::try_from(number(column)?).unwrap_or(0));
    let (kind, outcome, severity) = (code(5)?, code(6)?, code(7)?);
    let blob = |column| {
        let value = row.get_ref(column)?;
        Ok::<_, rusqlite::Error>(value.as_blob().unwrap_or_default())
    };
    let hash = Hash(blob(3)?.try_into().unwrap_or_default());
    let mut text = |column| {
        let text = words.text(segment, row.get_ref(column)?)?;
        readable &= text.is_ok();
        Ok::<_, rusqlite::Error>(text.unwrap_or_default())
    };
    let action = text(8)?;
    let (actor, login, session) = (text(9)?, text(10)?, text(11)?);
    let (agent, resource, request_id) = (text(13)?, text(14)?, text(15)?);
    let details = match row.get_ref(16)? {
        ValueRef::Integer(_) | ValueRef::Blob(_) => {
            readable = false;
            None
        }
        value => value.as_str_or_null().unwrap_or_default(),
    };
    let address = match row.get_ref(12)?.as_blob_or_null() {
        Ok(None) => None,
        Ok(Some(bytes)) => {
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
            let address = v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok());
            readable &= address.is_some();
            address
        }
        Err(_) => {
            readable = false;
            None
        }
    };
    readable &= Kind::from_code(kind).is_some()
        && Outcome::from_code(outcome).is_some()
        && Severity::from_code(severity).is_some()
        && action.is_some();
    let open = encode_open(
        kind,
        outcome,
        severity,
        action.as_ref().map(Text::as_str).unwrap_or_default(),
    );
    let personal = Personal {
        actor: actor.as_ref().map(Text::as_str),
        login: login.as_ref().map(Text::as_str),
        session: session.as_ref().map(Text::as_str),
        address,
        agent: agent.as_ref().map(Text::as_str),
        resource: resource.as_ref().map(Text::as_str),
        request_id: request_id.as_ref().map(Text::as_str),
        details,
    };
    // An erased record has its commitment where another has its salt, and nothing personal.
    let salt = blob(4)?;
    let content = match (<[u8; 16]>::try_from(salt), <[u8; 32]>::try_from(salt)) {
        (_, Ok(commitment)) => {
            readable &= personal == Personal::default();
            Content::Erased {
                open,
                commitment: Hash(commitment),
            }
        }
        (salt, _) => {
            readable &= salt.is_ok();
            Content::Whole {
                open,
                salt: salt.unwrap_or_default(),
                personal: personal.encode(),
            }
        }
    };
    Ok(Stored {
        seq,
        time: Timestamp::from_micros(time),
        occurred: Timestamp::from_micros(occurred),
        prev,
        hash,
        content,
        is_readable: readable,
    })
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
