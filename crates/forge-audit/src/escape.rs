//! Makes text safe to show: control and bidirectional characters become visible escapes.
//!
//! A line break in a logged value forges a line (CWE-117), an escape sequence drives the terminal
//! of who reads it, a bidirectional override shows text in another order than it has (CVE-2021-42574).

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with every character that could deceive a reader written as an escape.
///
/// Borrowed when there is nothing to do. Escaped are the C0 and C1 controls with CR, LF, TAB, ESC
/// and DEL, the line and paragraph separators, the bidirectional controls, and characters without
/// a width. Text already escaped stays as it is.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if is_plain(text) || !text.chars().any(deceives) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push(&mut safe, c);
    }
    Cow::Owned(safe)
}

/// Escapes `text` and cuts it to at most `max` bytes, at the bound of a character.
pub(crate) fn bounded(text: &str, max: usize) -> String {
    if text.len() <= max && is_plain(text) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let before = safe.len();
        push(&mut safe, c);
        if safe.len() > max {
            safe.truncate(before);
            break;
        }
    }
    safe
}

/// Whether all of it is printable ASCII, which nearly every text is and is soon seen.
fn is_plain(text: &str) -> bool {
    // To its end, without a branch, many bytes at once.
    text.bytes()
        .fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'))
}

fn push(safe: &mut String, c: char) {
    match c {
        '\n' => safe.push_str("\\n"),
        '\r' => safe.push_str("\\r"),
        '\t' => safe.push_str("\\t"),
        c if deceives(c) => {
            // Writing to a String cannot fail.
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
        }
        c => safe.push(c),
    }
}

/// Whether showing this character does more, or less, than showing a character.
pub(crate) fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn leaves_plain_text_alone() {
        assert!(matches!(
            escape("GET /api/me von Jürgen 漢字 🦀"),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn makes_what_deceives_visible() {
        for (hostile, safe) in [
            ("a\r\nadmin signed in", r"a\r\nadmin signed in"),
            ("\x1b[2Jgone", r"\u{1b}[2Jgone"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("user\u{202e}nimda", r"user\u{202e}nimda"),
            (
                "a\u{2028}b\0c\x7f\u{feff}",
                r"a\u{2028}b\u{0}c\u{7f}\u{feff}",
            ),
            ("\u{2066}x\u{2069}\u{200b}", r"\u{2066}x\u{2069}\u{200b}"),
            ("\x1f ~", r"\u{1f} ~"),
            (" ~\x7f", r" ~\u{7f}"),
        ] {
            assert_eq!(escape(hostile), safe);
            assert_eq!(bounded(hostile, 256), safe);
        }
    }

    #[test]
    fn plain_text_is_cut_at_its_bound() {
        assert_eq!(bounded("abcd", 4), "abcd");
        assert_eq!(bounded("abcde", 4), "abcd");
        assert_eq!(bounded("", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_that_deceives_is_left(text in any::<String>(), max in 0_usize..64) {
            let safe = escape(&text).into_owned();
            prop_assert!(!safe.chars().any(deceives));
            prop_assert_eq!(escape(&safe), safe.clone());
            let cut = bounded(&text, max);
            prop_assert!(cut.len() <= max && safe.starts_with(&cut));
        }
    }
}
