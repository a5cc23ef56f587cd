//! The text of a sealed value, taken apart and put together without any cryptography.
//!
//! ```text
//! fv1.<key id>.<base64url(nonce ‖ commitment ‖ ciphertext ‖ tag)>
//!     11 chars             24       32           0..=65536    16 bytes
//! ```
//!
//! Base64url without padding (RFC 4648, section 5), with unused bits zero: each value has one text.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::cipher::{COMMITMENT_LEN, NONCE_LEN, TAG_LEN};
use crate::error::OpenFailure;
use crate::key::KeyId;

/// The longest plaintext in bytes: 64 KiB. A secret is a token, a key or a small document.
pub const MAX_PLAINTEXT: usize = 64 * 1024;

const VERSION: &[u8; 4] = b"fv1.";
const HEAD_LEN: usize = NONCE_LEN + COMMITMENT_LEN;
const BODY_AT: usize = VERSION.len() + KeyId::TEXT_LEN + 1;
const MAX_TEXT: usize = BODY_AT + base64_len(HEAD_LEN + MAX_PLAINTEXT + TAG_LEN);

/// How many bytes are encoded or decoded at a time; a multiple of three, and enough for a token in
/// one go, since each start and end costs as much as a dozen bytes.
const STRIDE: usize = 240;

/// Whether a text says of itself that it is sealed. Whether it is, [`Envelope::parse`] tells.
pub(crate) fn is_sealed(text: &str) -> bool {
    text.as_bytes().starts_with(VERSION)
}

/// A text that has the shape of a sealed value, not yet decoded.
pub(crate) struct Envelope<'a> {
    pub(crate) key: KeyId,
    /// The length of the ciphertext, and of the plaintext.
    pub(crate) len: usize,
    body: &'a [u8],
}

/// The decoded parts of fixed length.
pub(crate) struct Seal {
    pub(crate) nonce: [u8; NONCE_LEN],
    pub(crate) commitment: [u8; COMMITMENT_LEN],
    pub(crate) tag: [u8; TAG_LEN],
}

impl<'a> Envelope<'a> {
    /// Looks at the length first, and allocates nothing.
    pub(crate) fn parse(text: &'a str) -> Result<Self, OpenFailure> {
        if text.len() > MAX_TEXT {
            return Err(OpenFailure::TooLong);
        }
        let rest = text.as_bytes().strip_prefix(VERSION);
        let (id, body) = rest
            .and_then(|rest| rest.split_at_checked(KeyId::TEXT_LEN))
            .ok_or(OpenFailure::Malformed)?;
        let key = KeyId::from_text(id).ok_or(OpenFailure::Malformed)?;
        let body = body.strip_prefix(b".").ok_or(OpenFailure::Malformed)?;
        let raw = body.len() / 4 * 3 + (body.len() % 4).saturating_sub(1);
        let len = raw
            .checked_sub(HEAD_LEN + TAG_LEN)
            .ok_or(OpenFailure::Malformed)?;
        Ok(Self { key, len, body })
    }

    /// Decodes the ciphertext into `ciphertext`, which has the length [`Self::len`].
    pub(crate) fn decode(&self, ciphertext: &mut [u8]) -> Result<Seal, OpenFailure> {
        let mut seal = Seal {
            nonce: [0; NONCE_LEN],
            commitment: [0; COMMITMENT_LEN],
            tag: [0; TAG_LEN],
        };
        let places = [
            &mut seal.nonce[..],
            &mut seal.commitment[..],
            ciphertext,
            &mut seal.tag[..],
        ];
        decode_into(self.body, places)?;
        Ok(seal)
    }
}

/// Writes a sealed value. `seal` is given the nonce's place and the plaintext's and fills in what
/// belongs there; the whole is made in one buffer, which is the only allocation.
///
/// When `seal` fails it must leave no plaintext behind in its argument.
pub(crate) fn write<E>(
    key: KeyId,
    len: usize,
    seal: impl FnOnce(Parts<'_>) -> Result<(), E>,
) -> Result<String, E> {
    let raw_len = HEAD_LEN + len + TAG_LEN;
    let mut text = vec![0; BODY_AT + base64_len(raw_len)];
    text[..VERSION.len()].copy_from_slice(VERSION);
    text[VERSION.len()..BODY_AT - 1].copy_from_slice(&key.to_text());
    text[BODY_AT - 1] = b'.';

    // The bytes lie at the end of the buffer while they are made, and are encoded towards its
    // front: three bytes become four characters, and the text never overtakes the bytes.
    let raw_at = text.len() - raw_len;
    let (nonce, rest) = text[raw_at..].split_at_mut(NONCE_LEN);
    let (commitment, rest) = rest.split_at_mut(COMMITMENT_LEN);
    let (message, tag) = rest.split_at_mut(len);
    seal(Parts {
        nonce,
        commitment,
        message,
        tag,
    })?;
    let (mut read, mut write) = (raw_at, BODY_AT);
    while read < text.len() {
        let mut bytes = [0; STRIDE];
        let bytes = &mut bytes[..STRIDE.min(text.len() - read)];
        bytes.copy_from_slice(&text[read..read + bytes.len()]);
        read += bytes.len();
        write += BASE64_URL_SAFE_NO_PAD
            .encode_slice(bytes, &mut text[write..])
            .expect("the buffer was made for the whole text");
    }
    Ok(String::from_utf8(text).expect("base64url is ASCII"))
}

/// Where [`write`] wants the parts of a sealed value.
pub(crate) struct Parts<'a> {
    pub(crate) nonce: &'a mut [u8],
    pub(crate) commitment: &'a mut [u8],
    pub(crate) message: &'a mut [u8],
    pub(crate) tag: &'a mut [u8],
}

/// Fills `places` in turn with what `body` decodes to.
fn decode_into<const N: usize>(body: &[u8], places: [&mut [u8]; N]) -> Result<(), OpenFailure> {
    let mut places = places.into_iter();
    let mut place: &mut [u8] = &mut [];
    for chunk in body.chunks(base64_len(STRIDE)) {
        let mut bytes = [0; STRIDE];
        let len = BASE64_URL_SAFE_NO_PAD
            .decode_slice(chunk, &mut bytes)
            .map_err(|_| OpenFailure::Malformed)?;
        let mut bytes = &bytes[..len];
        while !bytes.is_empty() {
            while place.is_empty() {
                place = places.next().ok_or(OpenFailure::Malformed)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(place.len()));
            let (filled, rest) = place.split_at_mut(now.len());
            filled.copy_from_slice(now);
            (bytes, place) = (later, rest);
        }
    }
    Ok(())
}

const fn base64_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyId {
        KeyId::parse("V3d3AZZ3Wsg").unwrap()
    }

    /// A text whose parts count on: 0, 1, 2, …
    fn counting(len: usize) -> (String, Vec<u8>) {
        let raw: Vec<u8> = (0..HEAD_LEN + len + TAG_LEN).map(|i| i as u8).collect();
        let text = write::<()>(key(), len, |parts| {
            let mut raw = &raw[..];
            for part in [parts.nonce, parts.commitment, parts.message, parts.tag] {
                let (head, tail) = raw.split_at(part.len());
                part.copy_from_slice(head);
                raw = tail;
            }
            Ok(())
        });
        (text.unwrap(), raw)
    }

    #[test]
    fn writes_in_place_what_base64_says_and_reads_it_back() {
        for len in (0..400).chain([MAX_PLAINTEXT - 1, MAX_PLAINTEXT]) {
            let (text, raw) = counting(len);
            let expected = BASE64_URL_SAFE_NO_PAD.encode(&raw);
            assert_eq!(text, format!("fv1.V3d3AZZ3Wsg.{expected}"));
            assert_eq!(text.len(), text.capacity());

            let envelope = Envelope::parse(&text).unwrap();
            assert_eq!((envelope.key, envelope.len), (key(), len));
            let mut message = vec![0; len];
            let seal = envelope.decode(&mut message).unwrap();
            let parts = [&seal.nonce[..], &seal.commitment, &message, &seal.tag];
            assert_eq!(parts.concat(), raw);
        }
    }

    #[test]
    fn refuses_a_long_text_by_its_length_alone() {
        let (longest, _) = counting(MAX_PLAINTEXT);
        assert_eq!(longest.len(), MAX_TEXT);
        assert!(Envelope::parse(&longest).is_ok());
        for text in [longest + "A", "A".repeat(16 << 20)] {
            assert_eq!(Envelope::parse(&text).err(), Some(OpenFailure::TooLong));
        }
    }

    #[test]
    fn refuses_every_other_shape() {
        let (text, _) = counting(0);
        let body = &text[BODY_AT..];
        for text in [
            String::new(),
            "fv1".into(),
            "fv1.".into(),
            "fv1.V3d3AZZ3Wsg".into(),
            "fv1.V3d3AZZ3Wsg.".into(),
            format!("fv2.V3d3AZZ3Wsg.{body}"),
            format!("FV1.V3d3AZZ3Wsg.{body}"),
            format!(" fv1.V3d3AZZ3Wsg.{body}"),
            format!("fv1.V3d3AZZ3Wsh.{body}"),
            format!("fv1.V3d3AZZ3Ws.{body}"),
            format!("fv1.V3d3AZZ3Wsg{body}"),
            format!("fv1.V3d3AZZ3Wsg-{body}"),
            format!("fv1.V3d3AZZ3Wsg.{}", &body[1..]),
            format!("fv1.V3d3AZZ3Ws\u{e9}.{body}"),
        ] {
            let outcome = Envelope::parse(&text).map(|envelope| envelope.decode(&mut []).is_ok());
            assert!(matches!(outcome, Err(OpenFailure::Malformed)), "{text}");
        }
    }

    #[test]
    fn a_value_has_one_text() {
        let decode = |text: &str| {
            let envelope = Envelope::parse(text)?;
            let seal = envelope.decode(&mut vec![0; envelope.len])?;
            Ok::<_, OpenFailure>(seal.tag)
        };
        for len in 0..3 {
            let (text, _) = counting(len);
            let tag = decode(&text).unwrap();
            for wrong in [
                format!("{text}="),
                format!("{text}=="),
                format!("{text}A"),
                format!("{text}\n"),
                text.replacen("AAEC", "AA+C", 1),
                text.replacen("AAEC", "AA/C", 1),
                text.replacen("AAEC", "AA C", 1),
                text.replacen("AAECA", "AA\u{e9}A", 1),
            ] {
                assert_ne!(decode(&wrong), Ok(tag), "{wrong}");
            }
            // The bits of the last character beyond the last byte are zero, and only zero.
            let same = BASE64_ALPHABET.chars().filter(|&last| {
                let text = format!("{}{last}", &text[..text.len() - 1]);
                decode(&text) == Ok(tag)
            });
            assert_eq!(same.count(), 1);
        }
    }

    const BASE64_ALPHABET: &str =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
}
