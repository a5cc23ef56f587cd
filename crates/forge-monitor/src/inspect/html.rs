//! Cross-site scripting: reads a value as HTML in each place where a page could show it: between
//! tags, in an attribute with either quote or none, and in a script.

mod attributes;
mod names;
mod urls;

use super::bytes::{self, Kinds, find, has, is_word};
use super::rule::{Family, Findings, Place, Rule};
use super::script;
pub(super) use attributes::without_comments;
use attributes::{attributes, binds, handler_in, style_runs};
use names::{ACTIVE, LOADING, SHOWING};
use urls::urls;

const fn rule(id: &'static str, score: u32, explanation: &'static str) -> Rule {
    Rule::new(id, Family::CrossSiteScripting, score, explanation)
}

static SCRIPT_TAG: Rule = rule("xss.script_tag", 10, "A `script` element.");

static ACTIVE_TAG: Rule = rule(
    "xss.active_tag",
    10,
    "An element that loads, runs or takes over something.",
);

static TAG_WITH_ATTRIBUTE: Rule = rule(
    "xss.tag_with_attribute",
    5,
    "An element of HTML with an attribute.",
);

static TAG: Rule = rule("xss.tag", 3, "An element of HTML.");

static TAG_IN_TEXT: Rule = rule(
    "xss.tag_in_text",
    5,
    "An element that would be active, named in a text.",
);

static LINK: Rule = rule(
    "xss.link_as_value",
    5,
    "A value that is nothing but a link to another site.",
);

static MANY_TAGS: Rule = rule(
    "xss.many_tags",
    10,
    "More places where an element may begin than are looked at.",
);

static HANDLER: Rule = rule("xss.event_handler", 10, "An event handler as an attribute.");

static STYLE: Rule = rule(
    "xss.style",
    10,
    "A style that runs script or loads something.",
);

static MARKUP: Rule = rule(
    "xss.markup_declaration",
    10,
    "A declaration, an entity, a processing instruction or a section of markup.",
);

static SERVER_INCLUDE: Rule = rule(
    "xss.server_side_include",
    10,
    "A directive that a server would run: `<!--#exec …`.",
);

static HTML_COMMENT: Rule = rule("xss.comment", 5, "A comment of HTML.");

static END_TAG: Rule = rule(
    "xss.end_tag",
    10,
    "The end of an element that a page's own script, style or text is in.",
);

static OTHER_CHARSET: Rule = rule(
    "xss.other_charset",
    10,
    "Markup in UTF-7 or in the upper half of US-ASCII.",
);

static ACTIVE_ATTRIBUTE: Rule = rule(
    "xss.active_attribute",
    10,
    "An attribute that loads or runs something.",
);

/// Looks at `text`, in lower case.
pub(super) fn inspect(text: &[u8], kinds: Kinds, place: Place, findings: &mut Findings) {
    if kinds.any(Kinds::ANGLE) {
        tags(text, findings);
        if matches!(place, Place::QueryValue | Place::QueryName) {
            link(text, findings);
        }
        // `o<x>nerror=`: for a filter that takes tags out.
        if kinds.any(Kinds::EQUALS) && !text.starts_with(b"<") {
            let bare = without_tags(text);
            if bare.len() < text.len() {
                attributes(&bare, Kinds::of(&bare), findings);
            }
        }
    }
    if kinds.any(Kinds::EQUALS) {
        attributes(text, kinds, findings);
    }
    if kinds.any(Kinds::COLON) {
        urls(text, findings);
    }
    if kinds.any(Kinds::OTHER)
        && let Some(at) = find(text, b"!entity")
        && (has(text, b"system") || has(text, b"public"))
    {
        findings.add(&MARKUP, text, at);
    }
    // `+ADw-script+AD4-`, with the plus as a space or not.
    if has(text, b"adw-") && has(text, b"ad4-") && kinds.any(Kinds::PLUS.or(Kinds::SPACE)) {
        let at = find(text, b"adw-").unwrap_or(0);
        findings.add(&OTHER_CHARSET, text, at);
    }
    if kinds.any(Kinds::HIGH)
        && let Some(at) = text.iter().position(|byte| *byte == 0xbc)
        && text.get(at..).is_some_and(|rest| rest.contains(&0xbe))
        && at.checked_sub(1).and_then(|at| text.get(at)) != Some(&0xef)
        && text
            .get(at + 1)
            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'/')
        && std::str::from_utf8(text).is_err()
    {
        findings.add(&OTHER_CHARSET, text, at);
    }
    script::inspect(text, kinds, findings);
}

/// Tags, between which the value may stand.
fn tags(text: &[u8], findings: &mut Findings) {
    let mut from = 0;
    let mut seen = 0;
    while let Some(at) = bytes::find_from(text, b"<", from) {
        seen += 1;
        // What hides behind padding is not looked at, and so counts as found.
        if seen > 64 {
            findings.add(&MANY_TAGS, text, at);
            return;
        }
        from = at + 1;
        let rest = text.get(from..).unwrap_or_default();
        match rest.first() {
            Some(b'!' | b'?' | b'%') => declaration(text, at, rest, findings),
            Some(b'/') => end_tag(text, at, rest, findings),
            Some(_) => tag(text, at, rest, findings),
            None => {}
        }
    }
}

fn declaration(text: &[u8], at: usize, rest: &[u8], findings: &mut Findings) {
    let starts = |what: &[u8]| rest.starts_with(what);
    if starts(b"!--") {
        let inner = bytes::trim(rest.get(3..).unwrap_or_default());
        if inner.starts_with(b"#") {
            findings.add(&SERVER_INCLUDE, text, at);
        } else {
            findings.add(&HTML_COMMENT, text, at);
        }
    } else if starts(b"![cdata[")
        || starts(b"!doctype")
        || starts(b"!entity")
        || starts(b"!element")
        || starts(b"!attlist")
        || starts(b"?import")
        || starts(b"?xml")
        || starts(b"![if")
    {
        findings.add(&MARKUP, text, at);
    }
}

/// Ends of elements that text of a page may be in, so that what follows is markup.
fn end_tag(text: &[u8], at: usize, rest: &[u8], findings: &mut Findings) {
    let name = tag_name(rest.get(1..).unwrap_or_default()).0;
    if matches!(
        name,
        b"script" | b"style" | b"textarea" | b"title" | b"iframe" | b"noscript" | b"xmp" | b"svg"
    ) {
        findings.add(&END_TAG, text, at);
    } else if SHOWING.contains(&name) {
        findings.add(&TAG, text, at);
    }
}

/// `<a href="http://h/">x</a>` as the whole value.
fn link(text: &[u8], findings: &mut Findings) {
    let text = bytes::trim(text);
    let Some(rest) = text.strip_prefix(b"<a") else {
        return;
    };
    let tag = rest.iter().position(|byte| *byte == b'>').unwrap_or(0);
    let tag = rest.get(..tag).unwrap_or_default();
    if text.ends_with(b">")
        && let Some(at) = find(tag, b"href")
        && has(tag.get(at..).unwrap_or_default(), b"//")
    {
        findings.add(&LINK, text, 0);
    }
}

/// The text with everything between angles taken out.
fn without_tags(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut inside = false;
    for &byte in text {
        match byte {
            b'<' => inside = true,
            b'>' if inside => inside = false,
            _ if !inside => out.push(byte),
            _ => {}
        }
    }
    out
}

/// Whether a tag is named in a text, rather than meant: words around it, and nothing that runs.
fn is_mention(text: &[u8], at: usize, attributes: &[u8]) -> bool {
    let Some(end) = attributes.iter().position(|byte| *byte == b'>') else {
        return false;
    };
    let inside = attributes.get(..end).unwrap_or_default();
    let harmless = !inside.contains(&b'=')
        || ["rel", "type", "http-equiv", "name"]
            .iter()
            .any(|name| inside.trim_ascii_start().starts_with(name.as_bytes()))
            && inside.iter().filter(|byte| **byte == b'=').count() == 1;
    let calls = text.windows(2).any(|pair| {
        is_word(pair[0]) && matches!(pair[1], b'(')
            || matches!(pair[0], b'.' | b'=') && pair[1] == b'/'
    });
    let outside = text.iter().filter(|byte| **byte == b'=').count()
        > inside.iter().filter(|byte| **byte == b'=').count();
    let before = text.get(..at).unwrap_or_default();
    let words = before
        .split(|byte| *byte == b' ')
        .filter(|word| word.len() > 1 && word.iter().all(u8::is_ascii_alphanumeric))
        .count();
    let spaces = text.iter().filter(|byte| **byte == b' ').count();
    harmless && !calls && !outside && words >= 1 && spaces >= 3 && !has(text, b"://")
}

/// The name of the element, without a namespace, and where it ends.
fn tag_name(rest: &[u8]) -> (&[u8], usize) {
    let end = rest
        .iter()
        .take(40)
        .take_while(|byte| is_word(**byte) || **byte == b'-')
        .count();
    let name = rest.get(..end).unwrap_or_default();
    if rest.get(end) == Some(&b':') {
        let (local, local_end) = local_name(rest.get(end + 1..).unwrap_or_default());
        let glued = local_end == local.len();
        if !local.is_empty() && (glued || local == b"script") {
            return (local, end + 1 + local_end);
        }
    }
    (name, end)
}

fn local_name(rest: &[u8]) -> (&[u8], usize) {
    let skipped = rest
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    let rest = rest.get(skipped..).unwrap_or_default();
    let end = rest
        .iter()
        .take(40)
        .take_while(|byte| is_word(**byte) || **byte == b'-')
        .count();
    (rest.get(..end).unwrap_or_default(), skipped + end)
}

/// The letters behind `<` with white space taken out: `< s c r i p t`.
fn spaced_name(rest: &[u8], wanted: &[u8]) -> bool {
    let mut letters = rest
        .iter()
        .take(wanted.len() * 4 + 8)
        .filter(|byte| !byte.is_ascii_whitespace() && **byte >= b' ');
    wanted.iter().all(|letter| letters.next() == Some(letter))
}

fn tag(text: &[u8], at: usize, rest: &[u8], findings: &mut Findings) {
    if rest.starts_with(b"esi:") {
        findings.add(&SERVER_INCLUDE, text, at);
        return;
    }
    let (name, end) = tag_name(rest);
    if name.is_empty() || rest.first().is_some_and(u8::is_ascii_digit) {
        // `<   script`, `<\x01script`: some browsers and many filters have read it so.
        if spaced_name(rest, b"script") || spaced_name(rest, b"x:script") {
            findings.add(&SCRIPT_TAG, text, at);
        } else if !rest.first().is_some_and(u8::is_ascii_digit)
            && ["iframe", "object", "svg/", "svgon", "imgsrc", "embed"]
                .iter()
                .any(|name| spaced_name(rest, name.as_bytes()))
        {
            findings.add(&ACTIVE_TAG, text, at);
        }
        return;
    }
    let behind = rest.get(end..).unwrap_or_default();
    // The tag, up to the next one: attributes may hold `>`.
    let stop = behind
        .iter()
        .position(|byte| *byte == b'<')
        .unwrap_or(behind.len());
    let attributes = behind.get(..stop.min(2048)).unwrap_or_default();
    if name.starts_with(b"script") && !name.starts_with(b"scripts") && !name.starts_with(b"scriptu")
        || spaced_name(rest, b"script") && name.len() <= 6 && name.len() < 6
    {
        let mention = name == b"script" && is_mention(text, at, attributes);
        findings.add(if mention { &TAG_IN_TEXT } else { &SCRIPT_TAG }, text, at);
        return;
    }
    // `<imgsrc=x`
    let glued = matches!(
        name,
        b"imgsrc" | b"iframesrc" | b"embedsrc" | b"bodyonload" | b"svgonload"
    );
    if glued && attributes.first() == Some(&b'=') {
        findings.add(&ACTIVE_TAG, text, at);
        return;
    }
    let ends = matches!(
        attributes.first(),
        None | Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | b'/' | b'>' | b'"' | b'\'' | b'+')
    );
    let active = ACTIVE.contains(&name);
    let loading = LOADING.contains(&name);
    let known = active || SHOWING.contains(&name);
    // `<f o r m`, `<i m g`: letters one by one.
    if name.len() == 1
        && attributes.first() == Some(&b' ')
        && attributes.get(1).is_some_and(u8::is_ascii_alphabetic)
        && matches!(attributes.get(2), Some(b' '))
    {
        const SPACED: &[&[u8]] = &[
            b"form", b"iframe", b"img", b"svg", b"object", b"embed", b"dialog", b"meta", b"link",
            b"base", b"style", b"body", b"applet", b"math", b"video", b"audio",
        ];
        if SPACED.iter().any(|name| spaced_name(rest, name)) {
            findings.add(&ACTIVE_TAG, text, at);
            return;
        }
    }
    if !known && !ends {
        return;
    }
    let handler = handler_in(attributes);
    if let Some(offset) = handler {
        findings.add(&HANDLER, text, at + 1 + end + offset);
        return;
    }
    if style_runs(attributes) {
        findings.add(&STYLE, text, at);
        return;
    }
    let equals = attributes.contains(&b'=');
    // What frameworks run, or write into the page as it is.
    if equals
        && (has(attributes, b"html")
            || ["ng-", "v-on:", "x-on:", "x-init", "x-data", "@", "hx-on"]
                .iter()
                .any(|name| has(attributes, name.as_bytes())))
        && binds(attributes)
    {
        findings.add(&ACTIVE_ATTRIBUTE, text, at);
        return;
    }
    // A namespace makes of any element what its vocabulary has: scripts, includes, links.
    if equals
        && ["xmlns", "xsi:", "xlink:", "xi:"]
            .iter()
            .any(|name| has(attributes, name.as_bytes()))
    {
        findings.add(&ACTIVE_ATTRIBUTE, text, at);
        return;
    }
    // `Option<Layer>`: a type of many languages.
    let generic = attributes.first() == Some(&b'>')
        && at
            .checked_sub(1)
            .and_then(|at| text.get(at))
            .is_some_and(|byte| is_word(*byte));
    if generic
        && active
        && !matches!(
            name,
            b"iframe" | b"svg" | b"math" | b"embed" | b"applet" | b"marquee"
        )
    {
        findings.add(&TAG, text, at);
        return;
    }
    if (active && ends) || (loading && ends && (equals || attributes.first() == Some(&b'/'))) {
        let mention = is_mention(text, at, attributes);
        findings.add(if mention { &TAG_IN_TEXT } else { &ACTIVE_TAG }, text, at);
    } else if known && ends {
        let closed = attributes.contains(&b'>');
        if equals {
            findings.add(&TAG_WITH_ATTRIBUTE, text, at);
        } else if closed {
            findings.add(&TAG, text, at);
        }
    } else if equals
        && ends
        && (has(attributes, b"style") || has(attributes, b"href") || has(attributes, b"src"))
    {
        findings.add(&TAG_WITH_ATTRIBUTE, text, at);
    }
}
