//! A record as a row: texts that come again are words of the segment, and an id that is a UUID is
//! kept as its bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::rc::Rc;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::canonical::{Personal, encode_open};
use crate::chain::{Content, Hash};
use crate::clock::Timestamp;
use crate::kind::{Kind, Outcome, Severity};
use crate::record::Stored;

pub(super) const COLUMNS: &str = "seq, time, skew, hash, salt, kind, outcome, severity, action, \
     actor, login, session, address, agent, resource, request_id, details";

/// The value of a column that holds a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    /// A word of the segment.
    Word(i64),
    Text(&'a str),
    Blob(Vec<u8>),
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Word(id) => ValueRef::Integer(*id),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

pub(super) fn address_cell(address: Option<IpAddr>) -> Cell<'static> {
    match address {
        None => Cell::Null,
        Some(IpAddr::V4(v4)) => Cell::Blob(v4.octets().to_vec()),
        Some(IpAddr::V6(v6)) => Cell::Blob(v6.octets().to_vec()),
    }
}

/// A request id: as the bytes of a UUID if it is written as one.
pub(super) fn id_cell(id: Option<&str>) -> Cell<'_> {
    match id {
        None => Cell::Null,
        Some(text) => match uuid_bytes(text) {
            Some(bytes) => Cell::Blob(bytes.to_vec()),
            None => Cell::Text(text),
        },
    }
}

const DASHES: [usize; 4] = [8, 13, 18, 23];

/// The bytes of a UUID in its usual form, from which [`uuid_text`] makes the same text again.
fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    let mut nibbles = 0;
    for (i, b) in text.iter().enumerate() {
        let nibble = match b {
            b'-' if DASHES.contains(&i) => continue,
            _ if DASHES.contains(&i) => return None,
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => return None,
        };
        bytes[nibbles / 2] |= nibble << (4 * (1 - nibbles % 2));
        nibbles += 1;
    }
    Some(bytes)
}

fn uuid_text(bytes: &[u8]) -> Option<String> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let mut text = String::with_capacity(36);
    for byte in bytes {
        if DASHES.contains(&text.len()) {
            text.push('-');
        }
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    Some(text)
}

/// The words of segments, as far as a reading has met them.
pub(super) struct Words<'a> {
    db: &'a Connection,
    met: HashMap<(i64, i64), Option<Rc<str>>>,
}

impl<'a> Words<'a> {
    pub(super) fn new(db: &'a Connection) -> Self {
        Self {
            db,
            met: HashMap::new(),
        }
    }

    fn word(&mut self, segment: i64, id: i64) -> rusqlite::Result<Option<Rc<str>>> {
        match self.met.entry((segment, id)) {
            Entry::Occupied(met) => Ok(met.get().clone()),
            Entry::Vacant(new) => {
                let sql = format!("SELECT word FROM audit_words_{segment} WHERE id = ?1");
                let text = |row: &Row<'_>| Ok(row.get_ref(0)?.as_str().ok().map(Rc::from));
                let word = self
                    .db
                    .prepare_cached(&sql)?
                    .query_row([id], text)
                    .optional()?;
                Ok(new.insert(word.flatten()).clone())
            }
        }
    }

    /// The text of a column: `Err` holds what cannot be read.
    fn text(
        &mut self,
        segment: i64,
        value: ValueRef<'_>,
    ) -> rusqlite::Result<Result<Option<Rc<str>>, ()>> {
        Ok(match value {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(id) => self.word(segment, id)?.map(Some).ok_or(()),
            ValueRef::Text(bytes) => std::str::from_utf8(bytes)
                .map(|t| Some(t.into()))
                .map_err(|_| ()),
            ValueRef::Blob(bytes) => uuid_text(bytes).map(|t| Some(t.into())).ok_or(()),
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
        row.get_ref(column)
            .map(|value| value.as_blob().unwrap_or_default().to_vec())
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
        value => value
            .as_str_or_null()
            .unwrap_or_default()
            .map(str::to_owned),
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
        action.as_deref().unwrap_or_default(),
    );
    let personal = Personal {
        actor: actor.as_deref(),
        login: login.as_deref(),
        session: session.as_deref(),
        address,
        agent: agent.as_deref(),
        resource: resource.as_deref(),
        request_id: request_id.as_deref(),
        details: details.as_deref(),
    };
    // An erased record has its commitment where another has its salt, and nothing personal.
    let salt = blob(4)?;
    let content = match (<[u8; 16]>::try_from(&*salt), <[u8; 32]>::try_from(&*salt)) {
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
                prop_assert_eq!(uuid_text(&bytes), Some(text));
            }
        }
    }

    #[test]
    fn a_uuid_takes_sixteen_bytes() {
        let id = "0198c2f0-7a1b-7c3d-8e4f-5a6b7c8d9e0f";
        assert_eq!(
            id_cell(Some(id)),
            Cell::Blob(uuid_bytes(id).unwrap().to_vec())
        );
        for other in [
            "0198C2F0-7a1b-7c3d-8e4f-5a6b7c8d9e0f",
            "0198c2f007a1b-7c3d-8e4f-5a6b7c8d9e0f",
        ] {
            assert_eq!(id_cell(Some(other)), Cell::Text(other));
        }
    }
}
