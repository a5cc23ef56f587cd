//! Line breaks and bytes that would be more than a value to whoever writes it into a protocol.

use super::bytes::{Kinds, find, has};
use super::normalise::Oddities;
use super::rule::{Family, Findings, Place, Rule};

const fn rule(id: &'static str, score: u32, explanation: &'static str) -> Rule {
    Rule::new(id, Family::ProtocolAttack, score, explanation)
}

static HEADER: Rule = rule(
    "protocol.header_injection",
    10,
    "A line break, and behind it a header of HTTP or of mail.",
);
static REQUEST: Rule = rule(
    "protocol.request_smuggling",
    10,
    "A line break, and behind it a line that begins a request or a response.",
);
static LINE_IN_PATH: Rule = rule("protocol.line_break", 5, "A line break in a path.");
static OVERLONG: Rule = rule(
    "protocol.overlong",
    5,
    "A character in more bytes than it needs, which UTF-8 forbids.",
);
static LDAP: Rule = rule(
    "protocol.ldap_filter",
    10,
    "A filter of LDAP is ended, and another follows.",
);

/// Looks at `text`, in lower case.
pub(super) fn inspect(
    text: &[u8],
    kinds: Kinds,
    place: Place,
    oddities: Oddities,
    findings: &mut Findings,
) {
    if kinds.any(Kinds::LINE) {
        lines(text, place, findings);
    }
    if oddities.overlong {
        findings.add(&OVERLONG, text, 0);
    }
    if kinds.any(Kinds::PAREN) && kinds.any(Kinds::EQUALS) {
        for start in ["*)(", ")(|(", ")(&(", "*))(", "*))%00"] {
            if let Some(at) = find(text, start.as_bytes())
                && has(text.get(at..).unwrap_or_default(), b"=")
                && !has(text, b"select")
            {
                findings.add(&LDAP, text, at);
                return;
            }
        }
    }
}

const HEADERS: &[&str] = &[
    "set-cookie",
    "location",
    "content-type",
    "content-length",
    "transfer-encoding",
    "content-disposition",
    "x-xss-protection",
    "access-control-allow-origin",
    "refresh",
    "host",
    "bcc",
    "cc",
    "x-forwarded-for",
    "content-encoding",
    "link",
    "last-modified",
    "cache-control",
    "connection",
    "status",
    "x-injected",
    "header-injected",
    "mime-version",
    "content-transfer-encoding",
];

fn lines(text: &[u8], place: Place, findings: &mut Findings) {
    for (at, _) in text
        .iter()
        .enumerate()
        .filter(|(_, byte)| matches!(byte, b'\r' | b'\n'))
        .take(64)
    {
        let rest = text.get(at + 1..).unwrap_or_default().trim_ascii_start();
        // In a form people write lines such as `Location: Berlin`.
        let known = HEADERS
            .iter()
            .any(|name| rest.starts_with(name.as_bytes()) && rest.get(name.len()) == Some(&b':'));
        let telling = [
            "set-cookie:",
            "content-type:",
            "content-length:",
            "transfer-encoding:",
            "bcc:",
            "location: http",
            "location:http",
            "location:/",
            "x-xss-protection:",
            "access-control-allow-origin:",
        ]
        .iter()
        .any(|start| rest.starts_with(start.as_bytes()));
        if telling || (known && !matches!(place, Place::FormValue | Place::QueryValue)) {
            findings.add(&HEADER, text, at);
            return;
        }
        let status = rest.starts_with(b"http/1.")
            || rest.starts_with(b"http/2")
            || rest.starts_with(b"http/0.9");
        let line = rest
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n'))
            .unwrap_or(rest.len());
        let request = [
            "get ", "post ", "head ", "put ", "delete ", "options ", "trace ", "connect ",
        ]
        .iter()
        .any(|method| rest.starts_with(method.as_bytes()))
            && has(rest.get(..line.min(1024)).unwrap_or_default(), b" http/");
        if status || request {
            findings.add(&REQUEST, text, at);
            return;
        }
        if known {
            findings.add(&LINE_IN_PATH, text, at);
        }
    }
    if place == Place::Path {
        findings.add(&LINE_IN_PATH, text, 0);
    }
}
