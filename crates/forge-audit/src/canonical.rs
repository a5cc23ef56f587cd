//! The canonical bytes of an event: what is stored, hashed and, in the end, proved.
//!
//! Version 1, in this order; integers are big-endian and every part that varies bears its length:
//!
//! | part | bytes |
//! |---|---|
//! | version | `01` |
//! | kind, outcome, severity | one byte each, the code of the value |
//! | action | length `u32`, UTF-8 |
//! | actor id, login, session | each `00`, or `01`, length `u32`, UTF-8 |
//! | address | `00`, or `04` and 4 bytes, or `06` and 16 bytes |
//! | user agent, resource, request id | each `00`, or `01`, length `u32`, UTF-8 |
//! | details | `00`, or `01`, length `u32`, JSON |
//!
//! Two different events never have the same bytes. The bytes are kept as they were written: what
//! verifies is the bytes, so that no later version has to write JSON the same way.

use std::net::IpAddr;

use crate::error::DecodeError;
use crate::event::{Actor, Event, Source};
use crate::kind::{Kind, Outcome, Severity};

const VERSION: u8 = 1;

/// The canonical bytes of `event`.
pub(crate) fn encode(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend([
        VERSION,
        event.kind.code(),
        event.outcome.code(),
        event.severity.code(),
    ]);
    bytes(&mut out, event.action.as_bytes());
    let Actor { id, login, session } = &event.actor;
    for text in [id, login, session] {
        option(&mut out, text.as_deref().map(str::as_bytes));
    }
    match event.source.address {
        None => out.push(0),
        Some(IpAddr::V4(v4)) => {
            out.push(4);
            out.extend(v4.octets());
        }
        Some(IpAddr::V6(v6)) => {
            out.push(6);
            out.extend(v6.octets());
        }
    }
    for text in [&event.source.user_agent, &event.resource, &event.request_id] {
        option(&mut out, text.as_deref().map(str::as_bytes));
    }
    // A `Value` has no keys that are not texts, so that writing it cannot fail.
    let details = event.details.as_ref().map(ToString::to_string);
    option(&mut out, details.as_deref().map(str::as_bytes));
    out
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Every part is bounded at construction, far below this.
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(bytes);
}

fn option(out: &mut Vec<u8>, part: Option<&[u8]>) {
    match part {
        None => out.push(0),
        Some(part) => {
            out.push(1);
            bytes(out, part);
        }
    }
}

/// The event that `bytes` encode.
pub(crate) fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let mut input = Input(bytes);
    if input.byte()? != VERSION {
        return Err(DecodeError);
    }
    let event = Event {
        kind: Kind::from_code(input.byte()?).ok_or(DecodeError)?,
        outcome: Outcome::from_code(input.byte()?).ok_or(DecodeError)?,
        severity: Severity::from_code(input.byte()?).ok_or(DecodeError)?,
        action: input.text()?.into(),
        actor: Actor {
            id: input.optional_text()?,
            login: input.optional_text()?,
            session: input.optional_text()?,
        },
        source: Source {
            address: input.address()?,
            user_agent: input.optional_text()?,
        },
        resource: input.optional_text()?,
        request_id: input.optional_text()?,
        details: match input.optional_text()? {
            Some(json) => Some(serde_json::from_str(&json).map_err(|_| DecodeError)?),
            None => None,
        },
    };
    if input.0.is_empty() {
        Ok(event)
    } else {
        Err(DecodeError)
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| DecodeError)?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| DecodeError)
    }

    fn optional_text(&mut self) -> Result<Option<String>, DecodeError> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err(DecodeError),
        }
    }

    fn address(&mut self) -> Result<Option<IpAddr>, DecodeError> {
        match self.byte()? {
            0 => Ok(None),
            4 => Ok(Some(IpAddr::from(self.array::<4>()?))),
            6 => Ok(Some(IpAddr::from(self.array::<16>()?))),
            _ => Err(DecodeError),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    pub(crate) fn any_event() -> impl Strategy<Value = Event> {
        let texts = prop::collection::vec(prop::option::of(any::<String>()), 6);
        let codes = (1_u8..=14, 1_u8..=4, 1_u8..=4);
        let details = prop::option::of((any::<String>(), any::<i64>()));
        (
            codes,
            any::<String>(),
            texts,
            any::<Option<IpAddr>>(),
            details,
        )
            .prop_map(
                |((kind, outcome, severity), action, mut texts, address, details)| {
                    let mut event = Event::new(Kind::from_code(kind).unwrap(), action)
                        .outcome(Outcome::from_code(outcome).unwrap())
                        .severity(Severity::from_code(severity).unwrap());
                    let mut next = || {
                        texts
                            .pop()
                            .flatten()
                            .map(|t| crate::escape::bounded(&t, 256))
                    };
                    event.actor = Actor {
                        id: next(),
                        login: next(),
                        session: next(),
                    };
                    event.source.user_agent = next();
                    event.source.address = address.map(|a| a.to_canonical());
                    (event.resource, event.request_id) = (next(), next());
                    match details {
                        Some((text, number)) => {
                            event.details(&json!({ "text": text, "n": number }))
                        }
                        None => event,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn reads_back_what_it_wrote(event in any_event()) {
            prop_assert_eq!(decode(&encode(&event)).unwrap(), event);
        }

        #[test]
        fn different_events_have_different_bytes(a in any_event(), b in any_event()) {
            prop_assert_eq!(encode(&a) == encode(&b), a == b);
        }

        #[test]
        fn refuses_what_is_cut_or_has_more(event in any_event(), at in any::<prop::sample::Index>()) {
            let mut bytes = encode(&event);
            prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn hostile_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let mut headed = vec![1, 1, 1, 1];
            headed.extend(bytes);
            let _ = decode(&headed);
        }
    }

    #[test]
    fn the_encoding_is_the_documented_one() {
        let event = Event::new(Kind::Session, "a.b")
            .actor(Actor::new("7"))
            .source(Source::new().address("192.0.2.7".parse().unwrap()))
            .details(&json!({}));
        let expected = b"\x01\x0c\x01\x01\0\0\0\x03a.b\x01\0\0\0\x017\0\0\x04\xc0\0\x02\x07\0\0\0\x01\0\0\0\x02{}";
        assert_eq!(encode(&event), expected);
    }
}
