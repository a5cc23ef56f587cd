//! What kinds of bytes a value is made of: one look at each, so that most values need no other.

use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// A set of kinds of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u32);

impl Kinds {
    /// Letters, digits, and what stands in names, numbers, addresses and tokens.
    pub(super) const PLAIN: Self = Self(1);
    pub(super) const SPACE: Self = Self(1 << 1);
    pub(super) const SLASH: Self = Self(1 << 2);
    pub(super) const SINGLE: Self = Self(1 << 3);
    pub(super) const DOUBLE: Self = Self(1 << 4);
    pub(super) const BACKTICK: Self = Self(1 << 5);
    pub(super) const ANGLE: Self = Self(1 << 6);
    pub(super) const PAREN: Self = Self(1 << 7);
    pub(super) const PERCENT: Self = Self(1 << 8);
    pub(super) const DOLLAR: Self = Self(1 << 9);
    pub(super) const BRACE: Self = Self(1 << 10);
    pub(super) const BRACKET: Self = Self(1 << 11);
    pub(super) const SEMICOLON: Self = Self(1 << 12);
    pub(super) const PIPE: Self = Self(1 << 13);
    pub(super) const AMPERSAND: Self = Self(1 << 14);
    pub(super) const EQUALS: Self = Self(1 << 15);
    pub(super) const HASH: Self = Self(1 << 16);
    pub(super) const BACKSLASH: Self = Self(1 << 17);
    pub(super) const CONTROL: Self = Self(1 << 18);
    pub(super) const HIGH: Self = Self(1 << 19);
    pub(super) const COLON: Self = Self(1 << 20);
    pub(super) const PLUS: Self = Self(1 << 21);
    pub(super) const DOT: Self = Self(1 << 22);
    pub(super) const QUESTION: Self = Self(1 << 23);
    /// `! * ^ ~`
    pub(super) const OTHER: Self = Self(1 << 24);
    pub(super) const AT: Self = Self(1 << 25);
    /// CR and LF.
    pub(super) const LINE: Self = Self(1 << 26);
    pub(super) const UPPER: Self = Self(1 << 27);

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is a byte of any of these kinds.
    pub(super) const fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    /// Whether there is no byte of another kind.
    pub(super) const fn only(self, of: Self) -> bool {
        self.0 & !of.0 == 0
    }

    const fn of_byte(byte: u8) -> Self {
        match byte {
            b'A'..=b'Z' => Self::PLAIN.or(Self::UPPER),
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b',' => Self::PLAIN,
            b' ' => Self::SPACE,
            b'/' => Self::SLASH,
            b'\'' => Self::SINGLE,
            b'"' => Self::DOUBLE,
            b'`' => Self::BACKTICK,
            b'<' | b'>' => Self::ANGLE,
            b'(' | b')' => Self::PAREN,
            b'%' => Self::PERCENT,
            b'$' => Self::DOLLAR,
            b'{' | b'}' => Self::BRACE,
            b'[' | b']' => Self::BRACKET,
            b';' => Self::SEMICOLON,
            b'|' => Self::PIPE,
            b'&' => Self::AMPERSAND,
            b'=' => Self::EQUALS,
            b'#' => Self::HASH,
            b'\\' => Self::BACKSLASH,
            b':' => Self::COLON,
            b'+' => Self::PLUS,
            b'.' => Self::DOT,
            b'?' => Self::QUESTION,
            b'!' | b'*' | b'^' | b'~' => Self::OTHER,
            b'@' => Self::AT,
            b'\r' | b'\n' => Self::SPACE.or(Self::LINE),
            b'\t' | 0x0b | 0x0c => Self::SPACE,
            0..=0x1f | 0x7f => Self::CONTROL,
            0x80..=0xff => Self::HIGH,
        }
    }

    /// The kinds of all bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut kinds = 0;
        for byte in bytes {
            kinds |= TABLE[usize::from(*byte)];
        }
        Self(kinds)
    }
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let kind = Kinds::of_byte(byte as u8);
        table[byte] = kind.0;
        byte += 1;
    }
    table
};

/// Whether a byte is part of a word: a letter, a digit or `_`.
pub(super) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The first place of `needle` in `text`.
pub(super) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    find_from(text, needle, 0)
}

/// The first place of `needle` in `text` at or after `from`.
pub(super) fn find_from(text: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut at = from;
    while let Some(offset) = text.get(at..)?.iter().position(|byte| byte == first) {
        at += offset;
        if text.get(at + 1..)?.starts_with(rest) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The last place of `needle` in `text`.
pub(super) fn find_last(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .rposition(|window| window == needle)
}

/// Whether `needle` is in `text`.
pub(super) fn has(text: &[u8], needle: &[u8]) -> bool {
    find(text, needle).is_some()
}

/// The place of the first of `needles` that is in `text`, with its length. One pass for each needle,
/// of which there is a fixed number.
pub(super) fn find_any(text: &[u8], needles: &[&str]) -> Option<(usize, usize)> {
    needles
        .iter()
        .find_map(|needle| find(text, needle.as_bytes()).map(|at| (at, needle.len())))
}

/// The first place of `needle` at or after `from` that is not the middle of a longer word.
pub(super) fn find_word(text: &[u8], needle: &[u8], mut from: usize) -> Option<usize> {
    while let Some(at) = find_from(text, needle, from) {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let after = text.get(at + needle.len());
        if !before.is_some_and(|byte| is_word(*byte)) && !after.is_some_and(|byte| is_word(*byte)) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// What finds all of `words`, which are constants, in one pass over a text.
pub(super) fn automaton<'a>(words: impl Iterator<Item = &'a &'static str>) -> AhoCorasick {
    let built = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .ascii_case_insensitive(true)
        .build(words);
    // A few hundred short words are far below the limits of an automaton.
    built.unwrap_or_else(|_| unreachable!("constant words"))
}

/// Without white space at both ends.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_a_value_is_made_of() {
        let kinds = Kinds::of(b"rust-1_2,A");
        assert!(kinds.only(Kinds::PLAIN.or(Kinds::UPPER)));
        assert!(Kinds::of(b"a'b").any(Kinds::SINGLE));
        assert!(!Kinds::of(b"a'b").only(Kinds::PLAIN));
        assert!(Kinds::of(b"").only(Kinds::PLAIN));
    }

    #[test]
    fn finds_words_and_not_their_middles() {
        assert_eq!(find(b"abcabd", b"abd"), Some(3));
        assert_eq!(find(b"ab", b"abc"), None);
        assert_eq!(find_word(b"selected select", b"select", 0), Some(9));
        assert_eq!(find_word(b"select select", b"select", 1), Some(7));
        assert_eq!(find_word(b"selected", b"select", 0), None);
        assert_eq!(find(b"", b"x"), None);
    }
}
