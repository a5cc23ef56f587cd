//! JavaScript where a value belongs: calls that attackers make, and what gets a value out of a
//! string in a script.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::bytes::{self, Kinds, find, find_any, find_last, has, is_word};
use super::html::without_comments;
use super::rule::{Family, Findings, Rule};

const fn rule(id: &'static str, score: u32, explanation: &'static str) -> Rule {
    Rule::new(id, Family::CrossSiteScripting, score, explanation)
}

static CALL_BEHIND_STRING: Rule = rule(
    "xss.script_breakout",
    10,
    "A string or statement of a script is ended, and a call follows.",
);
static CALL: Rule = rule(
    "xss.script_call",
    6,
    "A call that runs script or shows that it runs.",
);
static HANDED: Rule = rule(
    "xss.function_handed_on",
    10,
    "A function that shows that script runs, handed to another.",
);
static PAGE: Rule = rule(
    "xss.page_access",
    10,
    "Access to the page's cookies, address or content.",
);
static MEMBER: Rule = rule(
    "xss.member_access",
    10,
    "A member of the page or window by a computed name.",
);
static SYMBOLS: Rule = rule(
    "xss.symbols_only",
    10,
    "Script written in brackets and signs alone.",
);
static CHARACTERS: Rule = rule(
    "xss.from_char_codes",
    10,
    "A string made of character codes, to hide what it is.",
);

/// Calls by which a script is shown to run, or made to.
const CALLS: &[&[u8]] = &[
    b"alert",
    b"confirm",
    b"prompt",
    b"eval",
    b"settimeout",
    b"setinterval",
    b"setimmediate",
    b"execscript",
    b"function",
    b"fetch",
    b"atob",
    b"btoa",
    b"import",
    b"importscripts",
    b"print",
    b"queuemicrotask",
    b"requestanimationframe",
    b"msgbox",
    b"$eval",
    b"globaleval",
    b"open",
    b"sendbeacon",
    b"xmlhttprequest",
    b"getscript",
    b"console.log",
    b"location.replace",
];

/// Looks at `text`, in lower case.
pub(super) fn inspect(text: &[u8], kinds: Kinds, findings: &mut Findings) {
    if kinds.any(Kinds::PAREN.or(Kinds::BACKTICK)) {
        calls(text, findings);
    }
    if kinds.any(Kinds::DOT) {
        page(text, findings);
        // `document/**/.cookie`
        if kinds.any(Kinds::OTHER) && has(text, b"/*") {
            page(&without_comments(text), findings);
        }
    }
    if kinds.any(
        Kinds::PAREN
            .or(Kinds::EQUALS)
            .or(Kinds::BRACE)
            .or(Kinds::BRACKET),
    ) {
        handed(text, findings);
    }
    if kinds.any(Kinds::BRACKET) {
        members(text, findings);
        // `[]['filter']['constructor']`, `top[8680439..toString(30)]`
        if let Some((at, _)) = find_any(
            text,
            &[
                "['constructor']",
                "[\"constructor\"]",
                "[`constructor`]",
                "..tostring(",
            ],
        ) {
            findings.add(&MEMBER, text, at);
        }
        if let Some((at, _)) = find_any(
            text,
            &[
                "(![]+", "[]+[]", "![]+", "!![]", "+[![]]", "[+[]]", "[![]]", "[+!", "({}+",
                "+{})[",
            ],
        ) {
            findings.add(&SYMBOLS, text, at);
        }
    }
}

fn calls(text: &[u8], findings: &mut Findings) {
    let mut from = 0;
    let mut backticks = 0;
    let prose = text.iter().filter(|byte| **byte == b' ').count() >= 3
        && !text
            .iter()
            .any(|byte| matches!(byte, b'<' | b'>' | b'"' | b'=' | b';' | b'{'))
        // `doesn't`
        && text.windows(3).all(|three| {
            three[1] != b'\'' || three[0].is_ascii_alphabetic() && three[2].is_ascii_alphabetic()
        });
    // What every call asks of the whole text is looked for once.
    let first_quote = text
        .iter()
        .position(|byte| matches!(byte, b'\'' | b'"' | b'`' | b'<'));
    let mut comment = None;
    let one_word = !text.contains(&b' ');
    while let Some(open) = text
        .get(from..)
        .and_then(|rest| rest.iter().position(|byte| matches!(byte, b'(' | b'`')))
    {
        let open = from + open;
        let between = text.get(from..open).unwrap_or_default();
        comment = find_last(between, b"/*").map(|at| from + at).or(comment);
        from = open + 1;
        if text.get(open) == Some(&b'`') {
            backticks += 1;
            // The second one of a pair ends something, where no template begins behind it.
            let begins = matches!(text.get(from), Some(b'`' | b'0'..=b'9'));
            if backticks % 2 == 0 && !begins {
                continue;
            }
        }
        let before = trim_end(text.get(..open).unwrap_or_default());
        // `(alert)(1)`, `alert/**/(1)`, `alert?.(1)`, `top["al"+"ert"](1)`
        let before = before
            .strip_suffix(b"*/")
            .and_then(|rest| comment.and_then(|at| rest.get(..at)))
            .unwrap_or(before);
        let before = before.strip_suffix(b"?.").unwrap_or(before);
        let name_end = before
            .strip_suffix(b")")
            .or_else(|| before.strip_suffix(b"']"))
            .or_else(|| before.strip_suffix(b"\"]"))
            .or_else(|| before.strip_suffix(b"`]"))
            .unwrap_or(before);
        let length = name_end
            .iter()
            .rev()
            .take(24)
            .take_while(|byte| is_word(**byte) || **byte == b'$')
            .count();
        let start = name_end.len() - length;
        let name = name_end.get(start..).unwrap_or_default();
        if !CALLS.contains(&name) {
            continue;
        }
        let template = text.get(open) == Some(&b'`');
        let ahead = text.get(..start).unwrap_or_default();
        let argument = text.get(open + 1..).unwrap_or_default();
        let rough = matches!(
            name,
            b"open" | b"print" | b"import" | b"function" | b"fetch"
        );
        let elsewhere = matches!(name, b"fetch" | b"import" | b"importscripts" | b"getscript")
            && !prose
            && argument.get(1..).is_some_and(|address| {
                [&b"//"[..], b"http:", b"https:", b"data:"]
                    .iter()
                    .any(|start| address.starts_with(start))
            });
        // `like eval() but …`
        let begins = text.len() < 24
            && text
                .get(..start)
                .is_some_and(|head| !head.is_empty() && head.ends_with(b" "));
        let named = (prose || begins) && argument.first() == Some(&b')');
        let telling = !rough
            && !named
            && matches!(
                argument.first(),
                Some(b'0'..=b'9' | b'\'' | b'"' | b'`' | b'/' | b')' | b'\\' | b'&' | b'<')
            )
            || argument.trim_ascii_start().starts_with(b"document")
            // `fetch('//h/x')`: from, or to, another site.
            || elsewhere
            || template && !rough && one_word
            || argument.starts_with(b"location")
            || argument.starts_with(b"string.")
            || argument.starts_with(b"xss");
        if template
            && !matches!(
                name,
                b"alert"
                    | b"confirm"
                    | b"prompt"
                    | b"eval"
                    | b"settimeout"
                    | b"setinterval"
                    | b"fetch"
            )
        {
            continue;
        }
        let breakout = first_quote.is_some_and(|at| at < start)
            && matches!(
                trim_end(ahead).last(),
                Some(
                    b';' | b'\''
                        | b'"'
                        | b'-'
                        | b'+'
                        | b'*'
                        | b'}'
                        | b')'
                        | b','
                        | b'>'
                        | b'='
                        | b'('
                        | b'{'
                        | b'/'
                        | b'|'
                        | b'&'
                        | b'^'
                        | b':'
                        | b'.'
                        | b'['
                )
            );
        let ends = ahead.is_empty()
            || matches!(
                trim_end(ahead).last(),
                Some(b';' | b'}' | b'=' | b'{' | b'(')
            );
        if (breakout && (!rough || telling))
            || (ends && telling && (template || name == b"execscript"))
        {
            findings.add(&CALL_BEHIND_STRING, text, start);
            return;
        }
        // `atob()`, `setInterval(code, 1)`, `new Function()`: nothing but the call.
        let spaced = before.len() < open;
        let whole = (!spaced || telling)
            && (ahead.is_empty() || trim_end(ahead) == b"new")
            && bytes::trim(text).ends_with(b")")
            && !matches!(name, b"print" | b"open" | b"fetch" | b"import")
            && (name != b"function" || trim_end(ahead) == b"new");
        if whole {
            findings.add(&CALL_BEHIND_STRING, text, start);
            return;
        }
        // `e=>eval(e.data)`
        let arrow = trim_end(ahead).ends_with(b"=>");
        if elsewhere && (ends || text.len() < 160) || arrow && !rough {
            findings.add(&CALL_BEHIND_STRING, text, start);
            return;
        }
        if telling && !rough {
            let sure = matches!(
                name,
                b"alert" | b"confirm" | b"prompt" | b"eval" | b"settimeout" | b"setinterval"
            );
            findings.add(
                if sure && (ends || text.len() < 64) {
                    &CALL_BEHIND_STRING
                } else {
                    &CALL
                },
                text,
                start,
            );
            return;
        }
        if !rough {
            findings.add(&CALL, text, start);
        }
    }
}

/// A function that shows that script runs, handed to something else: `[1].find(alert)`,
/// `x=alert,x(1)`, `alert.call(…)`.
fn handed(text: &[u8], findings: &mut Findings) {
    // What every name asks of the whole text is looked for once.
    let (mut calls, mut last_throw) = (None, None);
    for name in ["alert", "confirm", "prompt", "eval"] {
        let (mut from, mut last_open) = (0, None);
        while let Some(at) = bytes::find_from(text, name.as_bytes(), from) {
            let between = text.get(from..at).unwrap_or_default();
            last_open = between
                .iter()
                .rposition(|byte| *byte == b'(')
                .map(|open| from + open)
                .or(last_open);
            from = at + name.len();
            let behind = text.get(from..).unwrap_or_default();
            let before = text.get(..at).unwrap_or_default();
            let method = [&b".call("[..], b".apply(", b".bind(", b"?.("]
                .iter()
                .any(|method| behind.starts_with(method));
            // `.map(alert)`, `f(1,alert)`, `{get:alert}`, `a=alert;`
            let argument =
                matches!(behind.first(), Some(b')' | b',')) && in_call(before, last_open);
            let listed = behind.first() == Some(&b']')
                && matches!(before.last(), Some(b'[' | b','))
                && matches!(behind.get(1), Some(b'[' | b'.' | b')' | b']'));
            let assigned = matches!(before.last(), Some(b'=' | b':' | b'[' | b','))
                && matches!(behind.first(), Some(b';' | b',' | b'}'));
            let value = (listed || assigned)
                && (*calls.get_or_insert_with(|| text.contains(&b'('))
                    || last_throw
                        .get_or_insert_with(|| find_last(text, b"throw"))
                        .is_some_and(|throw| throw >= from));
            let edge = before.last().is_none_or(|byte| !is_word(*byte));
            if edge && (method || argument || value) {
                findings.add(&HANDED, text, at);
                return;
            }
        }
    }
}

/// Whether the argument that would follow is one of a method's: `.map(`, `.then(`, `.sort(1,`.
/// `last_open` is the last parenthesis before it.
fn in_call(before: &[u8], last_open: Option<usize>) -> bool {
    let Some(open) = last_open.filter(|_| matches!(before.last(), Some(b'(' | b','))) else {
        return false;
    };
    let name = before.get(..open).unwrap_or_default();
    let length = name
        .iter()
        .rev()
        .take(32)
        .take_while(|byte| is_word(**byte))
        .count();
    let dot = name
        .len()
        .checked_sub(length + 1)
        .and_then(|at| name.get(at));
    length > 0 && dot == Some(&b'.')
}

/// What reads or changes a page.
const PAGE_ACCESS: &[&str] = &[
    "document.cookie",
    "document.write",
    "document.domain",
    "document.location",
    "document.body",
    "document.documentelement",
    "document.createelement",
    "document.url",
    "document.referrer",
    "document.forms",
    "document.getelement",
    "document.queryselector",
    "document.vulnerable",
    "window.location",
    "window.open(",
    "window.name",
    "window.onerror",
    "self.location",
    "top.location",
    "parent.location",
    "location.href=",
    "location.href =",
    "location.hash",
    "location.assign(",
    "location.replace(",
    "localstorage.",
    "sessionstorage.",
    "navigator.sendbeacon",
    "string.fromcharcode",
    "string['fromcharcode']",
    ".constructor(",
    "reflect.apply",
    "reflect.construct",
];
/// Members of elements, which are names in documentation too.
const ELEMENT_ACCESS: &[&str] = &[
    ".innerhtml",
    ".outerhtml",
    ".parentnode",
    ".insertadjacenthtml",
    ".srcdoc",
    ".appendchild",
];

static PAGE_WORDS: LazyLock<AhoCorasick> =
    LazyLock::new(|| bytes::automaton(PAGE_ACCESS.iter().chain(ELEMENT_ACCESS)));

fn page(text: &[u8], findings: &mut Findings) {
    // What every name asks of the whole text is looked for once.
    let (mut codes, mut one_word, mut calls) = (None, None, None);
    for found in PAGE_WORDS.find_iter(text) {
        let at = found.start();
        let behind = text.get(found.end()..).unwrap_or_default();
        let Some(name) = PAGE_ACCESS.get(found.pattern().as_usize()) else {
            let used = matches!(
                behind.trim_ascii_start().first(),
                Some(b'=' | b'.' | b'(' | b'[' | b'+')
            );
            findings.add(if used { &PAGE } else { &CALL }, text, at);
            if used {
                return;
            }
            continue;
        };
        let codes = codes
            .get_or_insert_with(|| find_last(text, b"fromcharcode"))
            .is_some_and(|last| last >= at);
        let one_word = *one_word.get_or_insert_with(|| !text.contains(&b' '));
        let calls = *calls.get_or_insert_with(|| has(text, b"(") || has(text, b"="));
        // `document.body` in a text is a name; with something around it, it is script.
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let letter = behind.first().is_some_and(u8::is_ascii_alphabetic);
        let next = behind
            .iter()
            .position(|byte| !is_word(*byte))
            .and_then(|end| behind.get(end..))
            .map(<[u8]>::trim_ascii_start);
        let used = next.is_some_and(|next| {
            matches!(
                next.first(),
                Some(b'=' | b'[' | b'+' | b')' | b';' | b'(' | b'-')
            ) && !next.starts_with(b"(s)")
                || next.starts_with(b".")
                    && next.get(1).is_some_and(u8::is_ascii_alphabetic)
                    && calls
        }) || name.ends_with(['(', '='])
            || name.ends_with('.') && letter;
        let held = matches!(before, Some(b'(' | b'=' | b'+' | b',' | b'{' | b'[' | b'!'))
            || text
                .get(..at)
                .is_some_and(|head| matches!(trim_end(head).last(), Some(b'=' | b'+')));
        if found.len() == text.len() || one_word || used || held {
            findings.add(if codes { &CHARACTERS } else { &PAGE }, text, at);
            return;
        }
        findings.add(&CALL, text, at);
    }
}

/// `window['al'+'ert']`, `self[…]`, `this[…]`, `document['cookie']`
fn members(text: &[u8], findings: &mut Findings) {
    for object in [
        "window",
        "self",
        "document",
        "top",
        "this",
        "parent",
        "frames",
        "globalthis",
        "string",
        "location",
    ] {
        let mut from = 0;
        while let Some(at) = bytes::find_word(text, object.as_bytes(), from) {
            from = at + object.len();
            if is_member(text, from) {
                findings.add(&MEMBER, text, at);
                return;
            }
        }
    }
}

/// As many bytes of a comment before a bracket are looked at.
const MAX_COMMENT: usize = 256;

/// Whether an object whose name ends at `end` is asked for a member by a computed name.
fn is_member(text: &[u8], end: usize) -> bool {
    let rest = text.get(end..).unwrap_or_default();
    let rest = rest.strip_prefix(b"?.").unwrap_or(rest);
    let mut rest = rest.trim_ascii_start();
    if let Some(comment) = rest.strip_prefix(b"/*")
        && let Some(end) = find(
            comment
                .get(..comment.len().min(MAX_COMMENT))
                .unwrap_or_default(),
            b"*/",
        )
    {
        rest = comment.get(end + 2..).unwrap_or_default();
    }
    // `(document)["cookie"]`
    let rest = rest.strip_prefix(b")").unwrap_or(rest).trim_ascii_start();
    let spaced = text.get(end).is_some_and(u8::is_ascii_whitespace);
    let inner = rest.strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    inner.is_some_and(|inner| {
        // In Markdown: the string [`Display`] gives.
        !(spaced && inner.starts_with(b"`"))
            && matches!(
                inner.first(),
                Some(b'\'' | b'"' | b'`' | b'/' | b'(' | b'+' | b'!' | b'\\')
            )
    })
}

fn trim_end(text: &[u8]) -> &[u8] {
    text.trim_ascii_end()
}
