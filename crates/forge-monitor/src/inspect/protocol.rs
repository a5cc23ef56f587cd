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
static LINE_INSIDE_PATH: Rule = rule(
    "protocol.line_break_inside",
    10,
    "A line break in the middle of a path.",
);
static REQUEST_LINE: Rule = rule(
    "protocol.request_line",
    10,
    "The first line of a request of HTTP, where a value belongs.",
);
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
    if kinds.any(Kinds::SLASH) && kinds.any(Kinds::SPACE) && place != Place::FormValue {
        request_line(text, findings);
    }
    if oddities.overlong {
        findings.add(&OVERLONG, text, 0);
    }
    if kinds.any(Kinds::PAREN)
        && (text.ends_with(b"*)(&")
            || text.ends_with(b")(&)")
            || text.ends_with(b"*)(|")
            || has(text, b")(!(&("))
    {
        findings.add(&LDAP, text, 0);
        return;
    }
    if kinds.any(Kinds::PAREN) && kinds.any(Kinds::EQUALS) {
        for start in ["*)(", ")(|(", ")(&(", "*))(", "*))%00", "*(|(", "*(&("] {
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

/// As many bytes behind a line break are looked at.
const MAX_LINE: usize = 1024;

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
    let mut from = 0;
    while let Some(offset) = text
        .get(from..)
        .and_then(|rest| rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')))
    {
        let at = from + offset;
        // Line breaks and blanks in a row are one.
        let rest = text.get(at..).unwrap_or_default();
        let blanks = rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        let (breaks, rest) = rest.split_at(blanks);
        from = at + blanks;
        // Every line asks: no more than one is looked at.
        let rest = rest.get(..rest.len().min(MAX_LINE)).unwrap_or_default();
        // In a form people write lines such as `Location: Berlin`.
        // `\r\nX-Any-Header:`
        let name = rest
            .iter()
            .take(48)
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
            .count();
        let hyphens = rest.get(..name).is_some_and(|name| name.contains(&b'-'));
        let colon = rest
            .get(name..)
            .is_some_and(|behind| behind.trim_ascii_start().starts_with(b":"));
        let pair = has(breaks, b"\r\n");
        let other = pair && hyphens && colon && place != Place::FormValue;
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
        if telling || other || (known && !matches!(place, Place::FormValue | Place::QueryValue)) {
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
            && (has(rest.get(..line).unwrap_or_default(), b" http/")
                || pair && place != Place::FormValue && first_word_is_target(rest));
        if status || request {
            findings.add(&REQUEST, text, at);
            return;
        }
        if known {
            findings.add(&LINE_IN_PATH, text, at);
        }
    }
    if place == Place::Path {
        // Links that were copied with the end of their line are broken, not hostile.
        let inside = text
            .trim_ascii_end()
            .iter()
            .any(|byte| matches!(byte, b'\r' | b'\n'));
        let rule = if inside {
            &LINE_INSIDE_PATH
        } else {
            &LINE_IN_PATH
        };
        findings.add(rule, text, 0);
    }
}

/// `get /x`, `post http://h/`: whether a target follows the method.
fn first_word_is_target(line: &[u8]) -> bool {
    let behind = line.iter().position(|byte| *byte == b' ');
    let target = behind.and_then(|at| line.get(at + 1..)).unwrap_or_default();
    target.starts_with(b"/") || target.starts_with(b"http://") || target.starts_with(b"https://")
}

/// `GET http://h/ HTTP/1.1` as the beginning of a value.
fn request_line(text: &[u8], findings: &mut Findings) {
    let line = text.get(..text.len().min(1024)).unwrap_or_default();
    let method = [
        "get ", "post ", "head ", "put ", "options ", "trace ", "connect ",
    ]
    .iter()
    .any(|method| line.starts_with(method.as_bytes()));
    if method && first_word_is_target(line) && has(line, b" http/") {
        findings.add(&REQUEST_LINE, text, 0);
    }
}
