//! Attributes of elements: inside of a tag, and behind what ends the value of another.

use super::names::EVENTS;
use super::{ACTIVE_ATTRIBUTE, HANDLER, STYLE, rule};
use crate::inspect::bytes::{self, Kinds, find, find_any, has, is_word};
use crate::inspect::rule::{Findings, Rule};

static HANDLER_BEHIND_QUOTE: Rule = rule(
    "xss.attribute_breakout",
    10,
    "An attribute's value is ended, and an event handler follows.",
);

static BARE_HANDLER: Rule = rule(
    "xss.bare_handler",
    5,
    "What would be an event handler in an attribute without quotes.",
);

static BREAKOUT: Rule = rule(
    "xss.quote_and_angle",
    5,
    "A quote and `>` end an attribute and its element.",
);

/// As many attributes of a tag are looked at.
const MAX_ATTRIBUTES: usize = 256;

/// Where `on…=` stands among the attributes of a tag.
pub(super) fn handler_in(attributes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes::find_from(attributes, b"on", from) {
        from = at + 2;
        let before = at.checked_sub(1).and_then(|at| attributes.get(at));
        if before.is_some_and(|byte| is_word(*byte) || *byte == b'-') {
            continue;
        }
        let rest = attributes.get(from..).unwrap_or_default();
        let name = rest
            .iter()
            .take(40)
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        // Old browsers skipped punctuation between the name and the sign.
        let skipped = rest
            .get(name..)
            .unwrap_or_default()
            .iter()
            .take(32)
            .take_while(|byte| !is_word(**byte) && **byte != b'=')
            .count();
        if name >= 3 && rest.get(name + skipped) == Some(&b'=') {
            return Some(at);
        }
    }
    None
}

/// Whether an attribute of a framework is among them: `v-html=`, `ng-click=`, `@click=`.
pub(super) fn binds(attributes: &[u8]) -> bool {
    let names = attributes
        .split(|byte| byte.is_ascii_whitespace() || *byte == b'/')
        .filter_map(|attribute| {
            let equals = attribute.iter().position(|byte| *byte == b'=')?;
            attribute.get(..equals)
        });
    // Nobody writes so many, but to hide one.
    names.enumerate().any(|(seen, name)| {
        if seen >= MAX_ATTRIBUTES {
            return true;
        }
        let bare = name.strip_prefix(b"data-").unwrap_or(name);
        let plain: Vec<u8> = bare
            .iter()
            .copied()
            .filter(|byte| !matches!(byte, b'[' | b']' | b'(' | b')' | b':'))
            .collect();
        plain.ends_with(b"innerhtml")
            || matches!(
                &plain[..],
                b"v-html" | b"x-html" | b"sethtml" | b"ng-bind-html" | b"x-init" | b"x-data"
            )
            || ["ng-", "v-on", "x-on", "@", "hx-on"].iter().any(|start| {
                let event = plain.strip_prefix(start.as_bytes()).unwrap_or_default();
                [
                    "click", "focus", "mouse", "error", "load", "init", "change", "blur", "key",
                ]
                .iter()
                .any(|known| event.starts_with(known.as_bytes()))
            })
    })
}

pub(super) fn style_runs(text: &[u8]) -> bool {
    let Some(style) = find(text, b"style") else {
        return false;
    };
    let rest = text.get(style..).unwrap_or_default();
    let plain: Vec<u8> = without_comments(rest);
    [
        "expression(",
        "expression (",
        "behavior:",
        "behaviour:",
        "-moz-binding",
        "-o-link",
        "@import",
        "javascript:",
        "vbscript:",
        "url(",
        "src:",
    ]
    .iter()
    .any(|what| has(&plain, what.as_bytes()))
}

/// Without `/*…*/`, backslashes, white space in the middle and control characters.
pub(in crate::inspect) fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with(b"/*") {
            match find(rest, b"*/") {
                Some(end) => at += end + 2,
                None => at = text.len(),
            }
            continue;
        }
        if byte != b'\\' && byte > b' ' {
            out.push(byte);
        }
        at += 1;
    }
    out
}

/// Attributes that may follow what ends a value's own.
pub(super) fn attributes(text: &[u8], kinds: Kinds, findings: &mut Findings) {
    let quotes = kinds.any(Kinds::SINGLE.or(Kinds::DOUBLE).or(Kinds::BACKTICK));
    let first_quote = text
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\'' | b'`'))
        .unwrap_or(text.len());
    let mut from = 0;
    while let Some(at) = bytes::find_from(text, b"on", from) {
        from = at + 2;
        let Some(before) = at.checked_sub(1).and_then(|at| text.get(at)) else {
            if is_event(text, 0) {
                let value = text.iter().position(|byte| *byte == b'=').unwrap_or(0);
                let value = bytes::trim(text.get(value + 1..).unwrap_or_default());
                // `onerror=alert;throw 1`
                let runs = ["alert", "eval", "confirm", "prompt", "print", "javascript"]
                    .iter()
                    .any(|name| value.starts_with(name.as_bytes()));
                if runs {
                    findings.add(&HANDLER, text, at);
                } else if has(text, b"(") {
                    findings.add(&BARE_HANDLER, text, at);
                }
            }
            continue;
        };
        if !matches!(
            before,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | b'/' | b'"' | b'\'' | b'`' | b';' | b'>'
        ) {
            continue;
        }
        let glued = matches!(before, b'"' | b'\'' | b'`' | b'/');
        if quotes && ((glued && is_handler(text, at)) || is_event(text, at)) && first_quote < at {
            findings.add(&HANDLER_BEHIND_QUOTE, text, at);
            return;
        }
        if is_event(text, at) {
            let rest = text.get(at..).unwrap_or_default();
            let script = rest.contains(&b'(') || rest.contains(&b'`');
            findings.add(
                if script {
                    &HANDLER_BEHIND_QUOTE
                } else {
                    &BARE_HANDLER
                },
                text,
                at,
            );
            return;
        }
    }
    if quotes {
        for name in [
            "formaction",
            "xlink:href",
            "srcdoc",
            "xmlns",
            "autofocus onfocus",
            "style",
            "background",
            "dynsrc",
            "lowsrc",
        ] {
            if let Some(at) = find(text, name.as_bytes())
                && let Some(before) = at.checked_sub(1).and_then(|at| text.get(at))
                && matches!(before, b'"' | b'\'' | b'`' | b' ' | b'/' | b'\t' | b'\n')
                && assigned(text, at + name.len())
                && first_quote < at
                && !has(text.get(..at).unwrap_or_default(), b"<")
            {
                let rest = text.get(at..).unwrap_or_default();
                if name != "style" || style_runs(rest) || matches!(before, b'"' | b'\'') {
                    findings.add(&ACTIVE_ATTRIBUTE, text, at);
                }
                return;
            }
        }
    }
    if style_runs(text)
        && (has(text, b"expression") || has(text, b"javascript:") || has(text, b"binding"))
    {
        findings.add(&STYLE, text, 0);
    }
    // `"><`: even where the tag behind is not known.
    let first_tag = text.iter().position(|byte| *byte == b'<');
    if kinds.any(Kinds::ANGLE)
        && let Some((at, _)) = find_any(text, &["\"><", "'><", "\"/><", "'/><", "\"> <", "'> <"])
        && first_tag.is_some_and(|tag| tag > at)
    {
        findings.add(&BREAKOUT, text, at);
    }
}

fn assigned(text: &[u8], at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'=')
}

/// `on` and letters, and then `=`.
fn is_handler(text: &[u8], at: usize) -> bool {
    let rest = text.get(at + 2..).unwrap_or_default();
    let name = rest
        .iter()
        .take(32)
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    name >= 3 && assigned(rest, name)
}

/// The name of an event, and then `=`.
fn is_event(text: &[u8], at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    rest.starts_with(b"on")
        && is_handler(text, at)
        && rest.get(2..).is_some_and(|name| {
            EVENTS
                .iter()
                .any(|event| name.starts_with(event.as_bytes()))
        })
}
