//! Expressions between the marks of template languages.

use super::{SERVER_PAGE, TEMPLATE, TEMPLATE_NAME};
use crate::inspect::bytes::{self, find, find_from, find_last, has, is_word};
use crate::inspect::rule::Findings;

/// As many bytes between two marks are looked at.
const MAX_EXPRESSION: usize = 512;

/// Expressions between the marks of template languages.
pub(super) fn templates(text: &[u8], findings: &mut Findings) {
    const MARKS: &[(&[u8], &[u8])] = &[
        (b"{{", b"}}"),
        (b"${", b"}"),
        (b"#{", b"}"),
        (b"<%", b"%>"),
        (b"{%", b"%}"),
        (b"*{", b"}"),
        (b"@{", b"}"),
        (b"~{", b"}"),
        (b"[[", b"]]"),
        (b"{!", b"}"),
        (b"{#", b"}"),
        (b"@(", b")"),
    ];
    for (start, end) in MARKS {
        let mut from = 0;
        // Every byte is looked at once or twice for each mark, so that no padding hides anything.
        while let Some(at) = find_from(text, start, from) {
            let begin = at + start.len();
            let rest = text.get(begin..).unwrap_or_default();
            let rest = rest
                .get(..rest.len().min(MAX_EXPRESSION))
                .unwrap_or_default();
            let close = find(rest, end);
            let inner = rest.get(..close.unwrap_or(rest.len())).unwrap_or_default();
            // The mark may begin several times before it ends.
            let last = find_last(inner, start);
            from = match (close, last) {
                (Some(close), _) => begin + close,
                (None, Some(last)) => begin + last,
                (None, None) => begin + inner.len().saturating_sub(start.len() - 1),
            };
            let innermost = last.and_then(|last| inner.get(last + start.len()..));
            if *start == b"<%" {
                if close.is_some()
                    || matches!(inner.first(), Some(b'=' | b'@' | b'!' | b' ' | b'-'))
                        && inner.len() > 3
                {
                    findings.add(&SERVER_PAGE, text, at);
                    break;
                }
                continue;
            }
            if close.is_none() && *start != b"{{" && *start != b"${" {
                continue;
            }
            let tells: fn(&[u8]) -> bool = if *start == b"@(" {
                is_product
            } else {
                computes
            };
            if (tells(inner) || close.is_some() && innermost.is_some_and(tells))
                && (*start != b"[[" || has(inner, b"${"))
                && (*start != b"{#" || has(inner, b"*"))
            {
                findings.add(&TEMPLATE, text, at);
                break;
            } else if close.is_some() && (*start == b"{{" || *start == b"#{") {
                findings.add(&TEMPLATE_NAME, text, at);
            }
        }
    }
}

/// `7*7`, `7*'7'`
fn is_product(inner: &[u8]) -> bool {
    inner.windows(3).any(|window| {
        matches!(window[1], b'*' | b'+' | b'/' | b'-')
            && window[0].is_ascii_digit()
            && (window[2].is_ascii_digit() || matches!(window[2], b'\'' | b'"'))
    }) && inner.iter().all(|byte| {
        byte.is_ascii_digit()
            || matches!(
                byte,
                b'*' | b'+'
                    | b'/'
                    | b'-'
                    | b'\''
                    | b'"'
                    | b' '
                    | b'('
                    | b')'
                    | b'.'
                    | b'='
                    | b'{'
                    | b'}'
                    | b'<'
                    | b'>'
                    | b'|'
                    | b'%'
                    | b'^'
            )
    })
}

/// Whether an expression multiplies numbers, calls something, or names what templates keep inside.
fn computes(inner: &[u8]) -> bool {
    let inner = bytes::trim(inner);
    if inner.is_empty() {
        return false;
    }
    let product = is_product(inner);
    let call = inner
        .iter()
        .zip(inner.iter().skip(1))
        .any(|(a, b)| *b == b'(' && (is_word(*a) || matches!(a, b')' | b']')))
        || inner.starts_with(b"t(")
        || has(inner, b"=>")
        || has(inner, b"\"()")
        || has(inner, b"'()");
    let inside = [
        "config",
        "self",
        "request",
        "__",
        "constructor",
        ".class",
        "settings.",
        "app.",
        "dump",
        "lipsum",
        "cycler",
        "joiner",
        "namespace",
        "range.",
        "#this",
        "#root",
        "runtime",
        "exec",
        "system",
        "passthru",
        "include",
        "import",
        "print",
        "import os",
        "load ",
        "debug",
        "|attr",
        "|join",
        "session",
        "env",
        "beans",
        "@",
        "process",
        "global",
        "this.",
        "handler",
        "_self",
    ]
    .iter()
    .any(|name| {
        let known = find(inner, name.as_bytes());
        known.is_some_and(|at| {
            at == 0
                && (inner.len() == name.len()
                    || !is_word(inner.get(name.len()).copied().unwrap_or_default())
                        && inner.get(name.len()) != Some(&b' ')
                    || name.ends_with(['.', ' ', '_', '@']))
        }) || matches!(*name, "__" | "|attr" | ".class" | "constructor") && known.is_some()
    });
    product || call || inside
}
