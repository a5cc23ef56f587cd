//! The canonical bytes of an event: what is hashed and, in the end, proved.
//!
//! They come in two parts, so that what tells of a person can be erased and the record still
//! verifies. Version 1, in this order; integers are big-endian and every part that varies bears its
//! length:
//!
//! | open part | bytes |
//! |---|---|
//! | version | `01` |
//! | kind, outcome, severity | one byte each, the code of the value |
//! | action | length `u32`, UTF-8 |
//!
//! | personal part | bytes |
//! |---|---|
//! | actor id, login, session | each `00`, or `01`, length `u32`, UTF-8 |
//! | address | `00`, or `04` and 4 bytes, or `06` and 16 bytes |
//! | user agent, resource, request id | each `00`, or `01`, length `u32`, UTF-8 |
//! | details | `00`, or `01`, length `u32`, JSON |
//!
//! Two different events never have the same bytes. Details are kept as the text that was written:
//! what verifies is the bytes, so that no later version has to write JSON the same way.

use std::net::IpAddr;

use crate::details::Details;
use crate::error::DecodeError;
use crate::event::{Actor, Event, Source};
use crate::kind::{Kind, Outcome, Severity};

const VERSION: u8 = 1;

/// The personal part of an event, taken apart; texts as they are hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Personal<'a> {
    pub(crate) actor: Option<&'a str>,
    pub(crate) login: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) agent: Option<&'a str>,
    pub(crate) resource: Option<&'a str>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) details: Option<&'a str>,
}

/// The open part: what kind of thing happened, which stays when a person is erased.
pub(crate) fn encode_open(kind: u8, outcome: u8, severity: u8, action: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + action.len());
    open(&mut out, [kind, outcome, severity], action);
    out
}

/// Adds an open part to `out`.
pub(crate) fn open(out: &mut Vec<u8>, [kind, outcome, severity]: [u8; 3], action: &str) {
    out.extend([VERSION, kind, outcome, severity]);
    bytes(out, action.as_bytes());
}

/// Both parts of `event`.
pub(crate) fn encode(event: &Event) -> (Vec<u8>, Vec<u8>) {
    let open = encode_open(
        event.kind.code(),
        event.outcome.code(),
        event.severity.code(),
        &event.action,
    );
    let personal = Personal {
        actor: event.actor.id.as_deref(),
        login: event.actor.login.as_deref(),
        session: event.actor.session.as_deref(),
        address: event.source.address,
        agent: event.source.user_agent.as_deref(),
        resource: event.resource.as_deref(),
        request_id: event.request_id.as_deref(),
        details: event.details_json(),
    };
    (open, personal.encode())
}

impl<'a> Personal<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(384);
        for text in [self.actor, self.login, self.session] {
            option(&mut out, text);
        }
        address(&mut out, self.address);
        for text in [self.agent, self.resource, self.request_id, self.details] {
            option(&mut out, text);
        }
        out
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut input = Input(bytes);
        let personal = Self {
            actor: input.optional_text()?,
            login: input.optional_text()?,
            session: input.optional_text()?,
            address: input.address()?,
            agent: input.optional_text()?,
            resource: input.optional_text()?,
            request_id: input.optional_text()?,
            details: input.optional_text()?,
        };
        input.end()?;
        Ok(personal)
    }
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Every part is bounded at construction, far below this.
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(bytes);
}

/// Adds a text of a personal part to `out`.
pub(crate) fn option(out: &mut Vec<u8>, part: Option<&str>) {
    match part {
        None => out.push(0),
        Some(part) => {
            out.push(1);
            bytes(out, part.as_bytes());
        }
    }
}

/// Adds the address of a personal part to `out`.
pub(crate) fn address(out: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
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
}

/// The event of which only the open part is left.
pub(crate) fn decode_open(open: &[u8]) -> Result<Event, DecodeError> {
    let mut input = Input(open);
    if input.byte()? != VERSION {
        return Err(DecodeError);
    }
    let kind = Kind::from_code(input.byte()?).ok_or(DecodeError)?;
    let outcome = Outcome::from_code(input.byte()?).ok_or(DecodeError)?;
    let severity = Severity::from_code(input.byte()?).ok_or(DecodeError)?;
    let action = input.text()?.to_owned();
    input.end()?;
    let mut event = Event::new(kind, "_").outcome(outcome).severity(severity);
    event.action = action.into();
    Ok(event)
}

/// The event that the two parts encode.
pub(crate) fn decode(open: &[u8], personal: &[u8]) -> Result<Event, DecodeError> {
    let mut event = decode_open(open)?;
    let Personal {
        actor,
        login,
        session,
        address,
        agent,
        resource,
        request_id,
        details,
    } = Personal::decode(personal)?;
    let owned = |text: Option<&str>| text.map(str::to_owned);
    event.actor = Actor {
        id: owned(actor),
        login: owned(login),
        session: owned(session),
    };
    event.source = Source {
        address,
        user_agent: owned(agent),
    };
    event.resource = owned(resource);
    event.request_id = owned(request_id);
    event.details = match details {
        Some(json) => Some(Details::parse(json).ok_or(DecodeError)?),
        None => None,
    };
    Ok(event)
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

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| DecodeError)?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError)
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError)
        }
    }

    fn optional_text(&mut self) -> Result<Option<&'a str>, DecodeError> {
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
            let (open, personal) = encode(&event);
            let details = event.details_json();
            prop_assert_eq!(Personal::decode(&personal).unwrap().details, details);
            prop_assert_eq!(decode(&open, &personal).unwrap(), event);
        }

        #[test]
        fn different_events_have_different_bytes(a in any_event(), b in any_event()) {
            prop_assert_eq!(encode(&a) == encode(&b), a == b);
        }

        #[test]
        fn refuses_what_is_cut_or_has_more(event in any_event(), at in any::<prop::sample::Index>()) {
            let (mut open, mut personal) = encode(&event);
            prop_assert!(decode(&open[..at.index(open.len())], &personal).is_err());
            prop_assert!(decode(&open, &personal[..at.index(personal.len())]).is_err());
            personal.push(0);
            prop_assert!(decode(&open, &personal).is_err());
            personal.pop();
            open.push(0);
            prop_assert!(decode(&open, &personal).is_err());
        }

        #[test]
        fn hostile_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, &bytes);
            let _ = decode(b"\x01\x01\x01\x01\0\0\0\x01x", &bytes);
        }
    }

    #[test]
    fn details_that_would_be_kept_as_other_bytes_are_refused() {
        let event = Event::new(Kind::Session, "a.b");
        let (open, _) = encode(&event);
        let with = |details| Personal {
            details: Some(details),
            ..Personal::default()
        };
        assert!(decode(&open, &with("{}").encode()).is_ok());
        for other in [" {}", "{} ", "{}{}", "{", ""] {
            assert!(decode(&open, &with(other).encode()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn details_that_are_no_value_or_break_lines_are_refused() {
        let event = Event::new(Kind::Session, "a.b");
        let (open, _) = encode(&event);
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for hostile in [&*deep, "1e999", "{\n}", "[1,\t2]", "{\r\"a\":1}"] {
            let personal = Personal {
                details: Some(hostile),
                ..Personal::default()
            };
            assert!(decode(&open, &personal.encode()).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn the_encoding_is_the_documented_one() {
        let event = Event::new(Kind::Session, "a.b")
            .actor(Actor::new("7"))
            .source(Source::new().address("192.0.2.7".parse().unwrap()))
            .details(&json!({}));
        let (open, personal) = encode(&event);
        assert_eq!(open, b"\x01\x0c\x01\x01\0\0\0\x03a.b");
        assert_eq!(
            personal,
            b"\x01\0\0\0\x017\0\0\x04\xc0\0\x02\x07\0\0\0\x01\0\0\0\x02{}"
        );
    }
}
