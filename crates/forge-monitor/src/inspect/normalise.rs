//! Undoes what hides an attack: escapes in rounds, overlong and full-width characters, entities.
//!
//! Each step reads its input once and writes at most as much; the number of rounds is fixed.

use super::bytes::Kinds;

/// Rounds of percent-decoding at most: the one that a server does, and three that hide something.
pub(super) const MAX_ROUNDS: u8 = 4;

/// What was found while decoding that no well-meant client sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Oddities {
    /// A NUL.
    pub(super) nul: bool,
    /// A character in more bytes than it needs, which UTF-8 forbids.
    pub(super) overlong: bool,
    /// A full-width form of an ASCII punctuation mark.
    pub(super) full_width: bool,
    /// A `%u` escape, which no standard knows.
    pub(super) percent_u: bool,
}

/// Decodes `%hh` and `%uhhhh` once, `+` as a space where `plus`, and folds letters to lower case.
/// Whether the result has escapes still.
pub(super) fn decode_percent(
    input: &[u8],
    plus: bool,
    out: &mut Vec<u8>,
    oddities: &mut Oddities,
) -> bool {
    out.clear();
    out.reserve(input.len());
    let mut at = 0;
    let mut last_percent = None;
    while let Some(&byte) = input.get(at) {
        at += 1;
        match byte {
            b'+' if plus => out.push(b' '),
            b'%' => {
                if let Some(decoded) = hex_byte(input, at) {
                    if decoded == b'%' {
                        last_percent.get_or_insert(out.len());
                    }
                    out.push(decoded.to_ascii_lowercase());
                    at += 2;
                } else if let Some(code) = percent_u(input, at) {
                    oddities.percent_u = true;
                    push_code(code, out);
                    at += 5;
                } else {
                    last_percent.get_or_insert(out.len());
                    out.push(b'%');
                }
            }
            _ => out.push(byte.to_ascii_lowercase()),
        }
    }
    // An escape that this round has made, or left: `%2541`, `%%34%31`.
    last_percent.is_some_and(|first| has_escape(out.get(first..).unwrap_or_default()))
}

fn has_escape(text: &[u8]) -> bool {
    text.windows(3)
        .any(|w| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit())
        || text.windows(6).any(|w| percent_u(w, 1).is_some())
}

fn hex_byte(input: &[u8], at: usize) -> Option<u8> {
    Some(hex(*input.get(at)?)? << 4 | hex(*input.get(at + 1)?)?)
}

fn percent_u(input: &[u8], at: usize) -> Option<u32> {
    matches!(input.get(at)?, b'u' | b'U')
        .then(|| hex_number(input.get(at + 1..at + 5)?))
        .flatten()
}

fn hex_number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        Some(number << 4 | u32::from(hex(*digit)?))
    })
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn push_code(code: u32, out: &mut Vec<u8>) {
    if let Some(character) = char::from_u32(code) {
        let mut buffer = [0; 4];
        let encoded = character.encode_utf8(&mut buffer);
        encoded.make_ascii_lowercase();
        out.extend_from_slice(encoded.as_bytes());
    }
}

/// Writes ASCII for what a lenient reader takes for it: overlong forms, full-width forms, slashes and
/// quotation marks of other kinds. NUL is left out. In place: what it writes is never longer.
pub(super) fn fold(text: &mut Vec<u8>, oddities: &mut Oddities) {
    let mut read = 0;
    let mut write = 0;
    while let Some(&byte) = text.get(read) {
        let rest = text.get(read + 1..).unwrap_or_default();
        let (byte, used) = match (byte, rest) {
            (0, _) => {
                oddities.nul = true;
                read += 1;
                continue;
            }
            // Two bytes for what needs one. Lenient decoders mask the second byte, whatever it is.
            (0xc0 | 0xc1, [low, ..]) if *low < 0x40 || (0x80..0xc0).contains(low) => {
                oddities.overlong = true;
                ((byte & 1) << 6 | low & 0x3f, 2)
            }
            (0xe0, [0x80 | 0x81, low, ..]) if (0x80..0xc0).contains(low) => {
                oddities.overlong = true;
                ((rest[0] & 1) << 6 | low & 0x3f, 3)
            }
            (0xf0, [0x80, 0x80 | 0x81, low, ..]) if (0x80..0xc0).contains(low) => {
                oddities.overlong = true;
                ((rest[1] & 1) << 6 | low & 0x3f, 4)
            }
            // U+FF01 to U+FF5E.
            (0xef, [0xbc, low @ 0x81..=0xbf, ..]) => {
                oddities.full_width |= !(low - 0x60).is_ascii_alphanumeric();
                (low - 0x60, 3)
            }
            (0xef, [0xbd, low @ 0x80..=0x9e, ..]) => (low - 0x20, 3),
            // No-break space; fraction and division slash; modifier apostrophe.
            (0xc2, [0xa0, ..]) => (b' ', 2),
            (0xe2, [0x88, 0x95, ..] | [0x81, 0x84, ..]) => (b'/', 3),
            (0xca, [0xb9 | 0xbc, ..]) => (b'\'', 2),
            // Letters that become ASCII where case is folded: `ſ`, `ı`, `İ`, the Kelvin sign.
            (0xc5, [0xbf, ..]) => (b's', 2),
            (0xc4, [0xb0 | 0xb1, ..]) => (b'i', 2),
            (0xe2, [0x84, 0xaa, ..]) => (b'k', 3),
            // Characters whose last byte is a line break, to who takes but that one.
            (0xe5, [0x98, 0x8a, 0xe5, 0x98, 0x8d, ..]) => (b'\n', 6),
            // The other slash of set theory.
            (0xe2, [0x88, 0x96, ..]) => (b'\\', 3),
            _ => (byte, 1),
        };
        if let Some(slot) = text.get_mut(write) {
            *slot = byte.to_ascii_lowercase();
        }
        write += 1;
        read += used;
    }
    text.truncate(write);
}

/// Decodes HTML's character references, with or without the closing semicolon. Whether there were
/// any.
pub(super) fn decode_entities(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut found = false;
    let mut at = 0;
    while let Some(&byte) = input.get(at) {
        let rest = input.get(at + 1..).unwrap_or_default();
        if byte == b'&'
            && let Some((code, used)) = entity(rest)
        {
            found = true;
            if code != 0 {
                push_code(code, out);
            }
            at += 1 + used;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    found
}

fn entity(rest: &[u8]) -> Option<(u32, usize)> {
    let semicolon = |used: usize| used + usize::from(rest.get(used) == Some(&b';'));
    if let [b'#', digits @ ..] = rest {
        let (radix, digits, start) = match digits {
            [b'x' | b'X', digits @ ..] => (16, digits, 2),
            digits => (10, digits, 1),
        };
        let count = digits
            .iter()
            .take(10)
            .take_while(|digit| char::from(**digit).is_digit(radix))
            .count();
        let text = std::str::from_utf8(digits.get(..count)?).ok()?;
        let code = u32::from_str_radix(text, radix).ok()?;
        return Some((code, semicolon(start + count)));
    }
    const NAMES: &[(&str, u8)] = &[
        ("lt", b'<'),
        ("gt", b'>'),
        ("quot", b'"'),
        ("apos", b'\''),
        ("amp", b'&'),
        ("tab", b'\t'),
        ("newline", b'\n'),
        ("colon", b':'),
        ("lpar", b'('),
        ("rpar", b')'),
        ("sol", b'/'),
        ("bsol", b'\\'),
        ("equals", b'='),
        ("semi", b';'),
        ("grave", b'`'),
        ("lbrace", b'{'),
        ("rbrace", b'}'),
        ("dollar", b'$'),
        ("excl", b'!'),
        ("period", b'.'),
        ("comma", b','),
        ("num", b'#'),
        ("vert", b'|'),
        ("nbsp", b' '),
    ];
    NAMES.iter().find_map(|(name, byte)| {
        let named = rest.starts_with(name.as_bytes());
        (named && rest.get(name.len()) == Some(&b';')).then_some((u32::from(*byte), name.len() + 1))
    })
}

/// Decodes the escapes of JavaScript and CSS: `\xhh`, `\uhhhh`, `\u{h}`, `\ooo`. Whether there were
/// any.
pub(super) fn decode_backslashes(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut found = false;
    let mut at = 0;
    while let Some(&byte) = input.get(at) {
        let rest = input.get(at + 1..).unwrap_or_default();
        let decoded = match (byte, rest) {
            (b'\\', [b'x', a, b, ..]) => hex_number(&[*a, *b]).map(|code| (code, 4)),
            (b'\\', [b'u', b'{', digits @ ..]) => digits
                .iter()
                .take(8)
                .position(|byte| *byte == b'}')
                .and_then(|end| Some((hex_number(digits.get(..end)?)?, end + 4))),
            (b'\\', [b'u', a, b, c, d, ..]) => hex_number(&[*a, *b, *c, *d]).map(|code| (code, 6)),
            (b'\\', [b'0', a, b, ..]) => {
                // CSS: up to six digits, of which the first are zeros.
                hex_number(&[*a, *b]).map(|_| {
                    let digits = rest
                        .iter()
                        .take(6)
                        .take_while(|digit| digit.is_ascii_hexdigit())
                        .count();
                    let code = hex_number(rest.get(..digits).unwrap_or_default()).unwrap_or(0);
                    (code, digits + 1)
                })
            }
            (b'\\', [a @ b'1'..=b'7', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => Some((
                u32::from(a - b'0') << 6 | u32::from(b - b'0') << 3 | u32::from(c - b'0'),
                4,
            )),
            (b'\\', [a @ b'2'..=b'7', b, ..]) => hex_number(&[*a, *b]).map(|code| (code, 3)),
            _ => None,
        };
        match decoded {
            Some((code, used)) => {
                found = true;
                push_code(code, out);
                at += used;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    found
}

/// Decodes `\74` and `\76`, which are the angles of a tag in octal. Whether there were any.
pub(super) fn decode_octal(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut found = false;
    let mut at = 0;
    while let Some(&byte) = input.get(at) {
        let angle = match input.get(at..at + 3) {
            Some(b"\\74") => Some(b'<'),
            Some(b"\\76") => Some(b'>'),
            _ => None,
        };
        found |= angle.is_some();
        out.push(angle.unwrap_or(byte));
        at += if angle.is_some() { 3 } else { 1 };
    }
    found
}

/// A value, decoded once and, where that leaves escapes, to the end.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// After one round.
    pub(super) once: Vec<u8>,
    /// After all rounds, where one is not enough.
    pub(super) fully: Option<Vec<u8>>,
    pub(super) kinds: Kinds,
    pub(super) oddities: Oddities,
}

impl Decoded {
    /// Decodes `input`, in which `+` is a space where `plus`.
    pub(super) fn of(input: &[u8], plus: bool) -> Self {
        let mut oddities = Oddities::default();
        let mut once = Vec::new();
        let mut more = decode_percent(input, plus, &mut once, &mut oddities);
        let mut fully: Option<Vec<u8>> = None;
        let mut round = 1;
        while more && round < MAX_ROUNDS {
            let mut next = Vec::new();
            let input = fully.as_deref().unwrap_or(&once);
            more = decode_percent(input, false, &mut next, &mut oddities);
            fully = Some(next);
            round += 1;
        }
        let mut kinds = Kinds::of(&once);
        if kinds.any(Kinds::HIGH.or(Kinds::CONTROL)) {
            fold(&mut once, &mut oddities);
            kinds = Kinds::of(&once);
        }
        if let Some(fully) = &mut fully {
            fold(fully, &mut oddities);
        }
        Self {
            once,
            fully,
            kinds,
            oddities,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(input: &str) -> String {
        String::from_utf8_lossy(&Decoded::of(input.as_bytes(), true).once).into_owned()
    }

    fn fully(input: &str) -> Option<String> {
        let fully = Decoded::of(input.as_bytes(), true).fully?;
        Some(String::from_utf8_lossy(&fully).into_owned())
    }

    #[test]
    fn decodes_escapes_in_rounds() {
        assert_eq!(once("a%27+B"), "a' b");
        assert_eq!(fully("a%27"), None);
        assert_eq!(fully("%2527").as_deref(), Some("'"));
        assert_eq!(fully("%252527").as_deref(), Some("'"));
        assert_eq!(fully("%%32%37").as_deref(), Some("'"));
        assert_eq!(fully("%25252527").as_deref(), Some("'"));
        assert_eq!(fully("%2525252527").as_deref(), Some("%27"));
        assert_eq!(once("100%"), "100%");
        assert_eq!(once("%zz%4"), "%zz%4");
        assert_eq!(once("%u0027%u003Cx"), "'<x");
    }

    #[test]
    fn folds_overlong_and_full_width_forms() {
        for dot in ["%c0%ae", "%c0%2e", "%e0%80%ae", "%f0%80%80%ae", "%uff0e"] {
            assert_eq!(once(dot), ".", "{dot}");
        }
        assert_eq!(once("%c0%af%c1%9c%c1%1c"), "/\\\\");
        assert_eq!(once("\u{ff1c}\u{ff33}cript\u{ff1e}"), "<script>");
        assert_eq!(once("a%00b"), "ab");
        assert_eq!(once("Ávila ñandú"), "Ávila ñandú");
        assert!(Decoded::of(b"%c0%af", true).oddities.overlong);
        assert!(!Decoded::of("Ávila".as_bytes(), true).oddities.overlong);
    }

    #[test]
    fn decodes_entities_and_backslashes() {
        let mut out = Vec::new();
        assert!(decode_entities(b"&lt;a&#x3e;&#60&#0000062;&x&", &mut out));
        assert_eq!(out, b"<a><>&x&");
        assert!(!decode_entities(b"a & b &c=1", &mut out));
        assert!(decode_backslashes(br"\x3cb\u003e\u{3c}\74 \", &mut out));
        assert_eq!(out, b"<b><t \\".to_vec());
        assert!(!decode_backslashes(br"c:\dir", &mut out));
    }
}
