//! Lookups such as Log4Shell's, resolved as a logger would.

use super::{JNDI, LOOKUP, LOOKUP_PLAIN};
use crate::inspect::bytes::{self, find, has};
use crate::inspect::rule::Findings;

/// `${jndi:…}`, with its letters hidden in lookups of their own or not.
pub(super) fn lookups(text: &[u8], findings: &mut Findings) {
    let Some(start) = find(text, b"${") else {
        return;
    };
    let plain = resolved(text.get(start..).unwrap_or_default());
    if let Some(at) = find(&plain.text, b"jndi:") {
        let braces = plain
            .text
            .get(..at)
            .is_some_and(|head| has(head, b"{") || has(head, b"$"));
        if braces {
            findings.add(&JNDI, text, start);
            return;
        }
    }
    if plain.hides {
        findings.add(&LOOKUP, text, start);
    } else if bytes::find_any(
        &plain.text,
        &[
            "${env:",
            "${sys:",
            "${java:",
            "${lower:",
            "${upper:",
            "${main:",
            "${ctx:",
            "${docker:",
            "${k8s:",
            "${spring:",
            "${bundle:",
            "${marker:",
            "${script:",
            "${dns:",
            "${url:",
            "${base64:",
        ],
    )
    .is_some()
    {
        findings.add(&LOOKUP_PLAIN, text, start);
    }
}

struct Resolved {
    text: Vec<u8>,
    hides: bool,
}

/// The text with inner lookups replaced by what they give: `${lower:j}` is `j`, `${x:y:-n}` is `n`.
/// One pass, with a stack of where lookups begin.
fn resolved(text: &[u8]) -> Resolved {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut open: Vec<usize> = Vec::new();
    let mut hides = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with(b"${") && open.len() < 64 {
            open.push(out.len());
            out.extend_from_slice(b"${");
            at += 2;
            continue;
        }
        if byte == b'}'
            && let Some(start) = open.pop()
        {
            let inner = out.get(start + 2..).unwrap_or_default();
            let value: Option<Vec<u8>> = if let Some(default) = find(inner, b":-") {
                Some(inner.get(default + 2..).unwrap_or_default().to_vec())
            } else {
                [&b"lower:"[..], b"upper:"]
                    .iter()
                    .find_map(|name| inner.strip_prefix(*name))
                    // `${date:'j'}`: a format that is a letter.
                    .or_else(|| inner.strip_prefix(b"date:'")?.strip_suffix(b"'"))
                    .map(<[u8]>::to_vec)
            };
            // A lookup that gives a letter or two hides something, if another is around it.
            if let Some(value) = value {
                hides |= value.len() <= 4 && (!open.is_empty() || start == 0) && inner.len() <= 64;
                out.truncate(start);
                out.extend_from_slice(&value);
            } else {
                out.push(b'}');
            }
            at += 1;
            continue;
        }
        out.push(byte);
        at += 1;
    }
    // `${lower:x}` by itself is a template of somebody's.
    let nested = text.windows(2).filter(|pair| *pair == b"${").count() > 1;
    Resolved {
        text: out,
        hides: hides && nested,
    }
}
