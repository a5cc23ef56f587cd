//! A record as bytes: texts that come again are words of the segment, and an id that is a UUID is
//! kept as its bytes.
//!
//! | part | bytes |
//! |---|---|
//! | form | `01` whole, `02` erased |
//! | kind, outcome, severity | one each, the code of the value |
//! | time | 8, little-endian, microseconds since the epoch |
//! | hash | 32 |
//! | occurred, less time | LEB128 of the zigzag |
//! | salt, or of an erased record the commitment | 16, or 32 |
//! | action | a cell |
//! | actor, login, session, address, agent, resource, request id, details; not of an erased record | a cell each |
//!
//! A cell is a number in LEB128 and what it stands for: 0 for nothing, 1 for a text (its length in
//! LEB128 and its bytes), 2 for 4 bytes, 3 for 16, and from 4 on for the word whose id is 4 less.

use std::net::IpAddr;

use crate::chain::{Hash, Salt};

/// Form, codes, time and hash, which are found without taking the rest apart.
const FIXED: usize = 4 + 8 + 32;
const WHOLE: u8 = 1;
const ERASED: u8 = 2;

const NOTHING: u64 = 0;
const TEXT: u64 = 1;
const FOUR: u64 = 2;
const SIXTEEN: u64 = 3;
const WORDS: u64 = 4;

/// How many cells there are: that of the action, and those of the personal part.
pub(super) const CELLS: usize = 9;

/// The value of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Cell<'a> {
    #[default]
    Nothing,
    /// A word of the segment.
    Word(u32),
    Text(&'a [u8]),
    /// An address.
    Four([u8; 4]),
    /// An address, or a UUID.
    Sixteen([u8; 16]),
}

/// What the commitment to the personal part is made of, or all that is left of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seal {
    Salt(Salt),
    Commitment(Hash),
}

/// The parts of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Packed<'a> {
    /// Kind, outcome, severity.
    pub(super) codes: [u8; 3],
    pub(super) time: i64,
    pub(super) hash: Hash,
    pub(super) skew: i64,
    pub(super) seal: Seal,
    /// Action, actor, login, session, address, agent, resource, request id, details.
    pub(super) cells: [Cell<'a>; CELLS],
}

impl<'a> Packed<'a> {
    /// Takes apart what [`write`](Self::write) wrote; `None` for what it does not write.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED>()?;
        let mut input = Input(rest);
        let skew = input.number()?;
        let skew = (skew >> 1).cast_signed() ^ -(skew & 1).cast_signed();
        let mut cells = [Cell::Nothing; CELLS];
        let (seal, left) = match fixed[0] {
            WHOLE => (Seal::Salt(input.array()?), CELLS),
            ERASED => (Seal::Commitment(Hash(input.array()?)), 1),
            _ => return None,
        };
        for cell in &mut cells[..left] {
            *cell = input.cell()?;
        }
        input.0.is_empty().then_some(Self {
            codes: [fixed[1], fixed[2], fixed[3]],
            time: time(bytes)?,
            hash: hash(bytes)?,
            skew,
            seal,
            cells,
        })
    }

    /// The same without its personal part.
    pub(super) fn erased(self, commitment: Hash) -> Self {
        Self {
            seal: Seal::Commitment(commitment),
            ..self
        }
    }

    /// The cells that are words where there is room: all but address, request id and details.
    pub(super) fn words(&mut self) -> impl Iterator<Item = &mut Cell<'a>> {
        let [texts @ .., _, agent, resource, _, _] = &mut self.cells;
        texts.iter_mut().chain([agent, resource])
    }

    /// What records are found by: action, actor, address, resource, request id.
    pub(super) fn searched(&self) -> [Cell<'a>; 5] {
        [0, 1, 4, 6, 7].map(|place: usize| self.cells[place])
    }

    /// Adds the bytes of the record to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let (form, seal, left): (u8, &[u8], usize) = match &self.seal {
            Seal::Salt(salt) => (WHOLE, salt, CELLS),
            Seal::Commitment(commitment) => (ERASED, &commitment.0, 1),
        };
        let [kind, outcome, severity] = self.codes;
        out.extend([form, kind, outcome, severity]);
        out.extend(self.time.to_le_bytes());
        out.extend(self.hash.0);
        number(out, (self.skew << 1 ^ self.skew >> 63).cast_unsigned());
        out.extend(seal);
        self.cells[..left].iter().for_each(|cell| cell.write(out));
    }
}

impl Cell<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nothing => number(out, NOTHING),
            Self::Word(id) => number(out, WORDS + u64::from(*id)),
            Self::Text(text) => {
                number(out, TEXT);
                number(out, text.len() as u64);
                out.extend(*text);
            }
            Self::Four(bytes) => {
                number(out, FOUR);
                out.extend(bytes);
            }
            Self::Sixteen(bytes) => {
                number(out, SIXTEEN);
                out.extend(bytes);
            }
        }
    }
}

/// The time of a record.
pub(super) fn time(bytes: &[u8]) -> Option<i64> {
    let bytes = bytes.get(4..)?.first_chunk()?;
    Some(i64::from_le_bytes(*bytes))
}

/// The hash of a record.
pub(super) fn hash(bytes: &[u8]) -> Option<Hash> {
    let bytes = bytes.get(12..)?.first_chunk()?;
    Some(Hash(*bytes))
}

pub(super) fn address_cell(address: Option<IpAddr>) -> Cell<'static> {
    match address {
        None => Cell::Nothing,
        Some(IpAddr::V4(v4)) => Cell::Four(v4.octets()),
        Some(IpAddr::V6(v6)) => Cell::Sixteen(v6.octets()),
    }
}

/// A request id: as the bytes of a UUID if it is written as one.
pub(super) fn id_cell(id: Option<&str>) -> Cell<'_> {
    let Some(text) = id else { return Cell::Nothing };
    uuid_bytes(text.as_bytes()).map_or(Cell::Text(text.as_bytes()), Cell::Sixteen)
}

/// Adds `number` to `out` in LEB128.
pub(super) fn number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn cell(&mut self) -> Option<Cell<'a>> {
        Some(match self.number()? {
            NOTHING => Cell::Nothing,
            TEXT => {
                let length = usize::try_from(self.number()?).ok()?;
                let (text, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Cell::Text(text)
            }
            FOUR => Cell::Four(self.array()?),
            SIXTEEN => Cell::Sixteen(self.array()?),
            word => Cell::Word(u32::try_from(word - WORDS).ok()?),
        })
    }
}

const DASHES: [usize; 4] = [8, 13, 18, 23];
/// Where the two digits of each byte are.
const PAIRS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// The bytes of a UUID in its usual form, from which [`uuid_text`] makes the same text again.
pub(super) fn uuid_bytes(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
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

pub(super) fn uuid_text(bytes: [u8; 16]) -> [u8; 36] {
    // A digit by computing, since that is done for all at once.
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let (high, low) = (bytes.map(|b| digit(b >> 4)), bytes.map(|b| digit(b & 15)));
    let mut text = [b'-'; 36];
    for (i, at) in PAIRS.into_iter().enumerate() {
        text[at] = high[i];
        text[at + 1] = low[i];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_cell() -> impl Strategy<Value = (u8, u32, Vec<u8>, [u8; 16])> {
        let text = prop::collection::vec(any::<u8>(), 0..300);
        (0..5_u8, any::<u32>(), text, any::<[u8; 16]>())
    }

    fn cell<'a>((form, id, text, bytes): &'a (u8, u32, Vec<u8>, [u8; 16])) -> Cell<'a> {
        match form {
            0 => Cell::Nothing,
            1 => Cell::Word(*id),
            2 => Cell::Text(text),
            3 => Cell::Four([bytes[0], bytes[1], bytes[2], bytes[3]]),
            _ => Cell::Sixteen(*bytes),
        }
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(
            (codes, time, skew) in any::<([u8; 3], i64, i64)>(),
            (hash, seal) in any::<([u8; 32], Result<[u8; 16], [u8; 32]>)>(),
            cells in prop::collection::vec(any_cell(), CELLS),
            at in any::<prop::sample::Index>(),
        ) {
            let mut packed = Packed {
                codes,
                time,
                hash: Hash(hash),
                skew,
                seal: match seal {
                    Ok(salt) => Seal::Salt(salt),
                    Err(hash) => Seal::Commitment(Hash(hash)),
                },
                cells: std::array::from_fn(|i| cell(&cells[i])),
            };
            let mut bytes = Vec::new();
            packed.write(&mut bytes);
            if let Seal::Commitment(_) = packed.seal {
                packed.cells[1..].fill(Cell::Nothing);
            }
            prop_assert_eq!(Packed::read(&bytes), Some(packed));
            prop_assert_eq!(Packed::read(&bytes[..at.index(bytes.len())]), None);
            bytes.push(0);
            prop_assert_eq!(Packed::read(&bytes), None);
        }

        #[test]
        fn hostile_bytes_are_nothing_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut whole = vec![WHOLE; FIXED];
            whole.extend(&bytes);
            for bytes in [bytes, whole] {
                let _ = (Packed::read(&bytes), time(&bytes), hash(&bytes));
            }
        }

        #[test]
        fn an_id_comes_back_as_it_was(text in "[0-9a-fA-F-]{35,37}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|.*") {
            if let Some(bytes) = uuid_bytes(text.as_bytes()) {
                prop_assert_eq!(&uuid_text(bytes)[..], text.as_bytes());
            }
        }
    }

    #[test]
    fn a_uuid_takes_sixteen_bytes() {
        let id = "0198c2f0-7a1b-7c3d-8e4f-5a6b7c8d9e0f";
        let bytes = uuid_bytes(id.as_bytes()).unwrap();
        assert_eq!(id_cell(Some(id)), Cell::Sixteen(bytes));
        for other in [
            "0198C2F0-7a1b-7c3d-8e4f-5a6b7c8d9e0f",
            "0198c2f007a1b-7c3d-8e4f-5a6b7c8d9e0f",
        ] {
            assert_eq!(id_cell(Some(other)), Cell::Text(other.as_bytes()));
        }
    }
}
