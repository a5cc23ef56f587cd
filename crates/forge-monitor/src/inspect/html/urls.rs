//! Addresses that are scripts or hold pages.

use super::rule;
use crate::inspect::bytes::{self, find_any, has};
use crate::inspect::rule::{Findings, Rule};

static SCRIPT_URL: Rule = rule("xss.script_url", 10, "An address that is a script.");

static SCRIPT_URL_IDLE: Rule = rule(
    "xss.script_url_idle",
    3,
    "An address that is a script and does nothing.",
);

static DATA_URL: Rule = rule("xss.data_url", 10, "A `data:` address that holds a page.");

/// Addresses that are scripts, with what browsers skip inside the scheme.
pub(super) fn urls(text: &[u8], findings: &mut Findings) {
    let mut from = 0;
    // What stands behind is looked for once, not by every scheme.
    let text = text.trim_ascii_end();
    let (mut last_code, mut assigns) = (None, None);
    while let Some(colon) = bytes::find_from(text, b":", from) {
        from = colon + 1;
        let before = text.get(..colon).unwrap_or_default();
        let rest = text.get(from..).unwrap_or_default();
        let scheme = ["javascript", "vbscript", "livescript", "jscript", "mocha"]
            .iter()
            .find(|scheme| ends_with_skipping(before, scheme.as_bytes()));
        if let Some(scheme) = scheme {
            let spaced = !before.ends_with(scheme.as_bytes());
            // Blanks may be a slip; tabs and line breaks are none.
            let hides = spaced
                && before
                    .iter()
                    .rev()
                    .take(scheme.len() + 8)
                    .any(|byte| *byte < b' ' || *byte == b'\\');
            let at = colon.saturating_sub(scheme.len());
            let target = bytes::trim(rest);
            if target.is_empty() && !spaced {
                continue;
            }
            if matches!(target, b"void(0)" | b"void(0);" | b";" | b"//" | b"void 0") && at == 0 {
                findings.add(&SCRIPT_URL_IDLE, text, at);
                continue;
            }
            let prose = rest.first() == Some(&b' ') && !spaced;
            let code = last_code
                .get_or_insert_with(|| text.iter().rposition(|byte| is_code(*byte)))
                .is_some_and(|last| last >= from);
            let assigns = *assigns.get_or_insert_with(|| text.contains(&b'='));
            if hides || code && (spaced || !prose || at > 0 && assigns) {
                findings.add(&SCRIPT_URL, text, at);
            }
        } else if ends_with_skipping(before, b"data") && !before.ends_with(b"metadata") {
            let head = rest.get(..rest.len().min(64)).unwrap_or_default();
            let page = has(head, b"text/html")
                || has(head, b"image/svg")
                || has(head, b"text/xml")
                || has(head, b"application/x")
                || has(head, b"javascript")
                || has(head, b"ecmascript")
                || head.starts_with(b",")
                || head.starts_with(b";base64,")
                || head.starts_with(b"text/x-");
            if page && !rest.starts_with(b", ") {
                findings.add(&DATA_URL, text, colon);
            }
        }
    }
    if let Some((at, _)) = find_any(text, &["url(javascript", "src=\"data:", "livescript:["]) {
        findings.add(&SCRIPT_URL, text, at);
    }
}

/// Whether a byte is one of those without which script does nothing.
const fn is_code(byte: u8) -> bool {
    matches!(
        byte,
        b'(' | b'`' | b'=' | b'[' | b'{' | b'\'' | b'"' | b'%' | b'/' | b';'
    )
}

/// Whether `text` ends with `word`, where white space and control characters between its letters
/// are skipped, as browsers skip tabs and line breaks in a scheme.
fn ends_with_skipping(text: &[u8], word: &[u8]) -> bool {
    let mut letters = text
        .iter()
        .rev()
        .take(word.len() * 6)
        .filter(|byte| **byte > b' ' && **byte != b'\\');
    word.iter()
        .rev()
        .all(|letter| letters.next() == Some(letter))
}
