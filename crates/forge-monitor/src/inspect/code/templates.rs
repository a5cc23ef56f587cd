//! Expressions between the marks of template languages.

use super::{SERVER_PAGE, TEMPLATE, TEMPLATE_NAME};
use crate::inspect::bytes::{self, find, find_from, has, is_word};
use crate::inspect::rule::Findings;

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
        for _ in 0..8 {
            let Some(at) = find_from(text, start, from) else {
                break;
            };
            from = at + start.len();
            let rest = text.get(from..).unwrap_or_default();
            let close = find(rest.get(..rest.len().min(512)).unwrap_or_default(), end);
            let inner = rest
                .get(..close.unwrap_or(rest.len().min(512)))
                .unwrap_or_default();
            if *start == b"<%" {
                if close.is_some()
                    || matches!(inner.first(), Some(b'=' | b'@' | b'!' | b' ' | b'-'))
                        && inner.len() > 3
                {
                    findings.add(&SERVER_PAGE, text, at);
                }
                continue;
            }
            if close.is_none() && *start != b"{{" && *start != b"${" {
                continue;
            }
            if (if *start == b"@(" {
                is_product(inner)
            } else {
                computes(inner)
            }) && (*start != b"[[" || has(inner, b"${"))
                && (*start != b"{#" || has(inner, b"*"))
            {
                findings.add(&TEMPLATE, text, at);
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
