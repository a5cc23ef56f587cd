//! Command injection: reads a value as a shell would, and looks at each word that would be run.
//!
//! The names of many commands are words of English. Those count only with what makes them a command:
//! an option, a path, a redirection, or nothing at all behind a separator.

mod commands;

mod windows;
mod word;

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::bytes::{self, Kinds, find, find_any, has, is_word};

use super::rule::{Family, Findings, Place, Rule};

use commands::Command;
use word::{Shape, Word, command, kind_of};

const fn rule(id: &'static str, score: u32, explanation: &'static str) -> Rule {
    Rule::new(id, Family::CommandInjection, score, explanation)
}

/// So many separators of a value are looked behind.
const MAX_SEPARATORS: usize = 256;

static MANY_COMMANDS: Rule = rule(
    "shell.many_separators",
    5,
    "More places where a command may begin than are looked at.",
);

static BEHIND_SEPARATOR: Rule = rule(
    "shell.command_behind_separator",
    10,
    "A separator of a shell, and a command behind it.",
);

static MAYBE_BEHIND_SEPARATOR: Rule = rule(
    "shell.word_behind_separator",
    5,
    "A separator of a shell, and behind it a word that is a command too.",
);

static SUBSTITUTION: Rule = rule(
    "shell.substitution",
    10,
    "A command whose output takes its place: `$(…)` or backticks.",
);

static QUOTED_CODE: Rule = rule(
    "shell.quoted_code",
    2,
    "The name of a command in backticks among words, as Markdown has it.",
);

static EXPRESSION: Rule = rule(
    "shell.expression",
    5,
    "An expression of a shell: `$(…)`, `${…}`, `<(…)`.",
);

static DIRECT: Rule = rule("shell.command", 10, "A command with its arguments.");

static DIRECT_NAME: Rule = rule("shell.command_name", 5, "The name of a command by itself.");

static DIRECT_WORDS: Rule = rule(
    "shell.command_words",
    3,
    "The name of a command, and words behind it.",
);

static FULL_PATH: Rule = rule(
    "shell.program_path",
    10,
    "The whole path of a program, to be run.",
);

static SHELLSHOCK: Rule = rule(
    "shell.shellshock",
    10,
    "A definition of a function, as Shellshock has it.",
);

static HIDDEN: Rule = rule(
    "shell.hidden_words",
    10,
    "Variables, braces or wildcards that hide words of a command.",
);

static POWERSHELL: Rule = rule("shell.powershell", 10, "A command of PowerShell.");

static WINDOWS: Rule = rule("shell.windows", 10, "A command of Windows' command line.");

static WINDOWS_WORDS_ONLY: Rule = rule(
    "shell.windows_words",
    4,
    "Words that begin a statement of Windows' command line.",
);

/// What a shell gives a meaning to.
const SIGNS: Kinds = Kinds::SEMICOLON
    .or(Kinds::PIPE)
    .or(Kinds::AMPERSAND)
    .or(Kinds::BACKTICK)
    .or(Kinds::DOLLAR)
    .or(Kinds::ANGLE)
    .or(Kinds::BRACE)
    .or(Kinds::LINE)
    .or(Kinds::SLASH)
    .or(Kinds::BACKSLASH)
    .or(Kinds::SPACE)
    .or(Kinds::OTHER)
    .or(Kinds::SINGLE)
    .or(Kinds::DOUBLE)
    .or(Kinds::PAREN);

/// Looks at `text`, in lower case.
pub(super) fn inspect(text: &[u8], kinds: Kinds, place: Place, findings: &mut Findings) {
    if place == Place::Path
        && !kinds.any(
            Kinds::SEMICOLON
                .or(Kinds::PIPE)
                .or(Kinds::BACKTICK)
                .or(Kinds::DOLLAR),
        )
    {
        return;
    }
    if kinds.any(Kinds::BRACE) && kinds.any(Kinds::PAREN) {
        shellshock(text, findings);
    }
    if !kinds.any(SIGNS) {
        // `whoami` as the whole value.
        if commands::is_telling(text) {
            findings.add(&DIRECT, text, 0);
        } else if matches!(commands::look_up(text), Command::Sure) && text.len() > 3 {
            findings.add(&DIRECT_NAME, text, 0);
        }
        return;
    }
    if matches!(place, Place::UserAgent | Place::Referer)
        && !kinds.any(
            Kinds::PIPE
                .or(Kinds::BACKTICK)
                .or(Kinds::DOLLAR)
                .or(Kinds::LINE),
        )
        && !has(text, b"&&")
        && !has(text, b"/bin/")
    {
        return;
    }
    hidden(text, kinds, findings);
    first(text, kinds, findings);
    separated(text, kinds, place, findings);
    command_line(text, kinds, findings);
}

/// Whether the text is the name of a command that is nothing else.
pub(super) fn is_command(text: &[u8]) -> bool {
    commands::look_up(text) == Command::Sure
}

/// Only definitions of functions: for headers in which nothing else is looked for.
pub(super) fn inspect_functions(text: &[u8], findings: &mut Findings) {
    shellshock(text, findings);
}

fn shellshock(text: &[u8], findings: &mut Findings) {
    let mut from = 0;
    for _ in 0..16 {
        let Some(at) = bytes::find_from(text, b"()", from) else {
            return;
        };
        from = at + 2;
        let rest = text.get(from..).unwrap_or_default().trim_ascii_start();
        if let Some(body) = rest.strip_prefix(b"{") {
            let body = body.trim_ascii_start();
            if at == 0
                || body.starts_with(b":")
                || body.starts_with(b"_;")
                || body.starts_with(b"(a)=>")
            {
                // A function of JavaScript begins with its name, or is handed to something.
                let script = body.starts_with(b"return") || body.starts_with(b"var ");
                if !script {
                    findings.add(&SHELLSHOCK, text, at);
                    return;
                }
            }
        }
    }
}

/// What stands behind each separator.
fn separated(text: &[u8], kinds: Kinds, place: Place, findings: &mut Findings) {
    if !kinds.any(
        Kinds::SEMICOLON
            .or(Kinds::PIPE)
            .or(Kinds::AMPERSAND)
            .or(Kinds::BACKTICK)
            .or(Kinds::DOLLAR)
            .or(Kinds::ANGLE)
            .or(Kinds::LINE),
    ) {
        return;
    }
    let mut at = 0;
    let mut seen = 0;
    let mut maybe = 0;
    let mut in_backticks = false;
    while let Some(&byte) = text.get(at) {
        let next = text.get(at + 1).copied();
        let separator = match byte {
            b';' => Separator::Semicolon,
            b'|' => Separator::Pipe,
            b'&' if next == Some(b'&') => Separator::And,
            b'&' => Separator::Ampersand,
            b'\n' | b'\r' => Separator::Line,
            b'`' => Separator::Backtick,
            b'$' if next == Some(b'(') => Separator::Substitution,
            b'<' | b'>' if next == Some(b'(') => Separator::Substitution,
            _ => {
                at += 1;
                continue;
            }
        };
        let skip = match separator {
            Separator::And | Separator::Substitution => 2,
            Separator::Pipe if next == Some(b'|') || next == Some(b'&') => 2,
            _ => 1,
        };
        if separator == Separator::Backtick {
            in_backticks = !in_backticks;
            // The second one of a pair ends a command; words behind it are a text's.
            if !in_backticks && next.is_none_or(|byte| byte.is_ascii_whitespace()) {
                at += 1;
                continue;
            }
        }
        seen += 1;
        if seen > MAX_SEPARATORS {
            findings.add(&MANY_COMMANDS, text, at);
            return;
        }
        if behind(text, at, at + skip, separator, place, findings) {
            maybe += 1;
        }
        // One word may be prose; several commands in a row are a script.
        if maybe == 2 {
            findings.add(&BEHIND_SEPARATOR, text, at);
        }
        at += skip;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    Semicolon,
    Pipe,
    And,
    Ampersand,
    Line,
    Backtick,
    Substitution,
}

/// Whether it found a word that may be a command, and may be prose.
fn behind(
    text: &[u8],
    at: usize,
    start: usize,
    separator: Separator,
    place: Place,
    findings: &mut Findings,
) -> bool {
    let word = command(text, start);
    // `data:image/png;base64,…`, `a;cat: x`
    if matches!(text.get(word.end), Some(b',' | b':')) {
        return false;
    }
    let space = text.get(start).is_some_and(u8::is_ascii_whitespace);
    // Every separator asks: no more than some words before it are looked at.
    let before = text.get(at.saturating_sub(512)..at).unwrap_or_default();
    let before = before.trim_ascii();
    let shape = Shape::of(text, word.end);
    let kind = kind_of(text, &word);
    let wildcard = word.path && word.name.contains(&b'?');
    let rooted = text
        .get(start..word.end)
        .is_some_and(|raw| is_rooted(raw.trim_ascii_start()));
    let program = word.path && (kind != Command::None || wildcard) && rooted;
    // One value, and behind the separator a command with no more than a few words.
    let appended = !before.contains(&b' ')
        && text
            .get(start..)
            .unwrap_or_default()
            .trim_ascii()
            .iter()
            .take(256)
            .filter(|byte| **byte == b' ')
            .count()
            <= 3;
    // A number, an address, the end of a string.
    let value = !before.iter().any(u8::is_ascii_alphabetic);
    let probe = commands::is_probe(&word.name);
    let administers = kind == Command::Sure && matches!(&word.name[..], b"net" | b"net1");
    let rule = match (separator, kind) {
        (Separator::Backtick | Separator::Substitution, _) => {
            substitution(text, at, start, separator, &word, kind, shape, findings);
            return false;
        }
        _ if program && !matches!(place, Place::Path) && kind != Command::None => &BEHIND_SEPARATOR,
        _ if wildcard => &HIDDEN,
        (_, Command::None) => return false,
        // Line breaks stand in texts, and ampersands between names.
        (Separator::Line, Command::Sure)
            if shape.tells() || shape.ends || word.quoted || appended =>
        {
            &BEHIND_SEPARATOR
        }
        (Separator::Line, Command::Sure) => &MAYBE_BEHIND_SEPARATOR,
        (Separator::Line, Command::Maybe | Command::Word) if shape.tells() => &BEHIND_SEPARATOR,
        (Separator::Line, Command::Maybe)
            if shape.ends && (before.is_empty() || appended) || appended && probe =>
        {
            &BEHIND_SEPARATOR
        }
        (Separator::Line, _) => return false,
        (Separator::Ampersand, Command::Sure)
            if shape.tells()
                || shape.quoted
                || (shape.ends && !space)
                || shape.number
                || appended && (!space || commands::is_telling(&word.name) || administers)
                || appended && probe && (shape.words || value) =>
        {
            &BEHIND_SEPARATOR
        }
        (Separator::Ampersand, Command::Sure) => &MAYBE_BEHIND_SEPARATOR,
        (Separator::Ampersand, Command::Maybe | Command::Word)
            if shape.tells() && !shape.address =>
        {
            &BEHIND_SEPARATOR
        }
        (Separator::Ampersand, Command::Maybe)
            if shape.ends && (before.is_empty() || text.ends_with(b"&") || value && probe)
                || appended && probe && value && (shape.words || shape.number) =>
        {
            &BEHIND_SEPARATOR
        }
        (Separator::Ampersand, Command::Maybe) if shape.number => {
            if space || before.contains(&b' ') {
                &MAYBE_BEHIND_SEPARATOR
            } else {
                &BEHIND_SEPARATOR
            }
        }
        (Separator::Ampersand, _) => return false,
        (_, Command::Sure) => {
            let own_name = word.name.contains(&b'-') || word.quoted;
            let prose = shape.words && space && !shape.tells() && !shape.number && !own_name;
            // `Something | Python`: titles and tables.
            let title = (shape.words || shape.ends)
                && !shape.tells()
                && commands::is_product(&word.name)
                && before
                    .iter()
                    .any(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80);
            let prose = prose && !administers && !(appended && probe);
            if title || prose && separator == Separator::Semicolon {
                &MAYBE_BEHIND_SEPARATOR
            } else {
                &BEHIND_SEPARATOR
            }
        }
        (
            Separator::Semicolon | Separator::Pipe | Separator::And,
            Command::Maybe | Command::Word,
        ) if shape.tells()
            || (shape.number && kind == Command::Maybe)
            || shape.quoted && kind == Command::Maybe
            || word.quoted && !space =>
        {
            &BEHIND_SEPARATOR
        }
        (Separator::Semicolon | Separator::Pipe | Separator::And, Command::Maybe) if shape.ends => {
            // `|id` and `;ls`; but `name|id` may be a list, and `a; test` a sentence.
            let behind_word = text.get(word.end);
            let bracketed = behind_word == Some(&b')')
                && before.last().is_some_and(|byte| is_word(*byte))
                && before.contains(&b'(');
            let list = separator == Separator::Pipe
                && !space
                && !before.is_empty()
                && (bracketed
                    || before
                        .iter()
                        .all(|byte| is_word(*byte) || matches!(byte, b'|' | b',')));
            if list || (space && !before.is_empty() && separator == Separator::Semicolon) {
                &MAYBE_BEHIND_SEPARATOR
            } else {
                &BEHIND_SEPARATOR
            }
        }
        (Separator::Semicolon | Separator::Pipe | Separator::And, Command::Maybe) => {
            let doubled = separator == Separator::And || text.get(at + 1) == Some(&b'|');
            let glued = !space && before.is_empty()
                || doubled && !before.contains(&b' ')
                || appended && probe;
            if glued && shape.words && !before.ends_with(b")") {
                &BEHIND_SEPARATOR
            } else {
                &MAYBE_BEHIND_SEPARATOR
            }
        }
        (_, Command::Word) if shape.ends && before.is_empty() && !space => &MAYBE_BEHIND_SEPARATOR,
        _ => return false,
    };
    // In a `User-Agent` and a path, semicolons separate other things.
    if matches!(place, Place::Path)
        && separator == Separator::Semicolon
        && !shape.tells()
        && !matches!(kind, Command::Sure)
    {
        return false;
    }
    findings.add(rule, text, at);
    kind == Command::Maybe && rule.id == MAYBE_BEHIND_SEPARATOR.id
}

/// `/x`, `./x`, `$home/x`, `bin/x`: a path; not `input/output`.
fn is_rooted(raw: &[u8]) -> bool {
    let from = raw
        .iter()
        .position(|byte| !matches!(byte, b'\'' | b'"' | b'\\' | b'('));
    let raw = from.and_then(|from| raw.get(from..)).unwrap_or_default();
    matches!(raw.first(), Some(b'/' | b'.' | b'~' | b'$')) || has(raw, b"bin/")
}

#[expect(clippy::too_many_arguments, reason = "what `behind` has found out")]
fn substitution(
    text: &[u8],
    at: usize,
    start: usize,
    separator: Separator,
    word: &Word,
    kind: Command,
    shape: Shape,
    findings: &mut Findings,
) {
    let rest = text.get(start..).unwrap_or_default();
    if separator == Separator::Backtick {
        let Some(end) = rest.iter().position(|byte| *byte == b'`') else {
            return;
        };
        if kind == Command::None && !word.path {
            return;
        }
        // `fmt::Display`, `` ``x`` ``: names and literals of documentation.
        let name = matches!(text.get(word.end), Some(b':' | b'!' | b'['));
        let literal = rest.get(end + 1) == Some(&b'`');
        if kind == Command::None || name || literal {
            return;
        }
        let sure = match kind {
            Command::Sure | Command::Maybe => {
                let probe = commands::is_probe(&word.name) || shape.redirects || word.quoted;
                let product = commands::is_product(&word.name) && !shape.redirects;
                word.path || probe || shape.tells() && !product
            }
            _ => word.path || shape.redirects,
        };
        // In Markdown, code stands between backticks among words.
        let outside = text.get(..at).unwrap_or_default();
        let behind = rest.get(end + 1..).unwrap_or_default();
        let words = words_of(outside) + words_of(behind);
        let spaced = outside.last().is_some_and(u8::is_ascii_whitespace);
        let sentence = words >= 2 || words == 1 && shape.ends && spaced;
        let link = outside.ends_with(b"[") && behind.starts_with(b"]");
        let rule = match sure {
            _ if sentence || link => &QUOTED_CODE,
            true => &SUBSTITUTION,
            false => &EXPRESSION,
        };
        findings.add(rule, text, at);
        return;
    }
    if kind != Command::None
        && (shape.ends || shape.tells() || shape.number || shape.quoted || shape.words)
        || word.path
    {
        // `$(date)` and `$(pwd)` are what scripts say, and no one else.
        findings.add(&SUBSTITUTION, text, at);
    } else if text.get(at) == Some(&b'$') && rest.first() == Some(&b'(') {
        findings.add(&EXPRESSION, text, at);
    }
}

/// How many words of letters there are, up to three.
fn words_of(text: &[u8]) -> usize {
    let text = text.get(..text.len().min(256)).unwrap_or_default();
    text.split(u8::is_ascii_whitespace)
        .filter(|word| {
            let letters = word
                .iter()
                .filter(|byte| byte.is_ascii_alphabetic())
                .count();
            letters >= 2 && letters * 2 >= word.len()
        })
        .take(3)
        .count()
}

/// A command at the beginning of the value.
fn first(text: &[u8], kinds: Kinds, findings: &mut Findings) {
    let start = text
        .iter()
        .position(|byte| !matches!(byte, b'\'' | b'"' | b' '))
        .unwrap_or(0);
    if text
        .get(start)
        .is_some_and(|byte| !is_word(*byte) && !matches!(byte, b'/' | b'\\' | b'.'))
    {
        return;
    }
    let leading = word::word(text, start).end;
    let word = command(text, start);
    // `time x`, `nohup x`
    let wrapped = leading != word.end;
    let kind = commands::look_up(&word.name);
    let wildcard = word.path && word.name.contains(&b'?') && kinds.any(Kinds::QUESTION);
    if kind == Command::None && !wildcard {
        return;
    }
    let shape = Shape::of(text, word.end);
    let behind_quote = start > 0 && !text.starts_with(b" ");
    let whole = text.get(start..word.end).unwrap_or_default();
    // `I'd` has one quotation mark; what a shell takes out comes in pairs.
    let paired = [b'\'', b'"']
        .iter()
        .all(|quote| whole.iter().filter(|byte| *byte == quote).count() % 2 == 0);
    if word.quoted && !paired && !behind_quote {
        return;
    }
    if word.path {
        // `/bin/ls`, `/usr/bin/id`, `/???/??t`
        let folder = ["bin/", "sbin/", "system32/"]
            .iter()
            .any(|folder| has(whole, folder.as_bytes()));
        let glob = has(whole, b"?")
            && whole.starts_with(b"/")
            && (shape.tells() || shape.ends)
            && whole.iter().filter(|byte| **byte == b'?').count() >= 3;
        // `/bin/kill gives up, and so on`: a sentence about it.
        let words = text.iter().filter(|byte| **byte == b' ').count();
        let sentence = words >= 3 && shape.words && !shape.tells();
        if glob {
            findings.add(&HIDDEN, text, start);
        } else if folder {
            findings.add(
                if sentence { &DIRECT_NAME } else { &FULL_PATH },
                text,
                start,
            );
        }
        return;
    }
    if word.quoted
        && whole
            .iter()
            .any(|byte| matches!(byte, b'\'' | b'"' | b'\\' | b'^' | b'$' | b'['))
        && kind != Command::Word
    {
        let inside = whole
            .iter()
            .skip(1)
            .take(whole.len().saturating_sub(2))
            .any(|byte| matches!(byte, b'\'' | b'"' | b'\\' | b'^' | b'$'));
        if inside
            && paired
            && (shape.tells() || shape.ends || shape.words)
            && !whole.ends_with(b"'s")
        {
            findings.add(&HIDDEN, text, start);
            return;
        }
    }
    match kind {
        Command::Sure => {
            // People look for tools with their options, and write about them.
            let written = commands::is_product(&word.name) && !shape.redirects
                || Shape::is_prose(text, word.end);
            let telling = shape.tells() || wrapped && (shape.ends || shape.words);
            if telling && written {
                findings.add(&DIRECT_NAME, text, start);
            } else if telling || shape.ends && commands::is_telling(&word.name) {
                findings.add(&DIRECT, text, start);
            } else if shape.ends && !commands::is_product(&word.name) {
                let chained = text
                    .get(word.end)
                    .is_some_and(|byte| matches!(byte, b';' | b'|' | b'&'));
                findings.add(
                    if chained || behind_quote {
                        &DIRECT
                    } else {
                        &DIRECT_NAME
                    },
                    text,
                    start,
                );
            } else if shape.words && text.iter().filter(|byte| **byte == b' ').count() <= 2
                || shape.quoted
            {
                findings.add(&DIRECT_WORDS, text, start);
            }
        }
        // `sudo id`, but not `nice cat`.
        Command::Maybe
            if wrapped
                && shape.ends
                && matches!(
                    text.get(start..leading),
                    Some(b"sudo" | b"doas" | b"nohup" | b"busybox" | b"setsid" | b"xargs")
                ) =>
        {
            findings.add(&DIRECT, text, start);
        }
        Command::Maybe | Command::Word => {
            let rooted = {
                let rest = text.get(word.end..).unwrap_or_default().trim_ascii_start();
                rest.starts_with(b"/")
                    && rest.get(1).is_some_and(u8::is_ascii_lowercase)
                    && shape.path
                    && has(rest, b"/")
                    && [
                        "/etc", "/var", "/tmp", "/proc", "/usr", "/bin", "/home", "/root", "/dev",
                        "/opt", "/sys",
                    ]
                    .iter()
                    .any(|folder| rest.starts_with(folder.as_bytes()))
            };
            let option = shape.option
                && text
                    .get(word.end..)
                    .is_some_and(|rest| rest.trim_ascii_start().starts_with(b"-"));
            let telling = kind == Command::Maybe && (shape.redirects || option);
            let word_only = matches!(&word.name[..], b"if" | b"for" | b"while");
            let written = commands::is_product(&word.name) || Shape::is_prose(text, word.end);
            if shape.variable && has(text, b"ifs") || !written && (rooted && !word_only || telling)
            {
                findings.add(&DIRECT, text, start);
            } else if telling || behind_quote && kind == Command::Maybe && shape.path {
                findings.add(&DIRECT_NAME, text, start);
            }
        }
        Command::None => {}
    }
}

/// What hides the words of a command.
fn hidden(text: &[u8], kinds: Kinds, findings: &mut Findings) {
    if kinds.any(Kinds::DOLLAR)
        && let Some((at, _)) = find_any(
            text,
            &[
                "$ifs", "${ifs", "$@", "${@", "$*", "${path", "${home", "${pwd", "$'\\x", "$\"\\x",
                "${shell", "$shell", "$0 <", "$(</", "$(<", "${##", "${#path", "$((", "${!",
            ],
        )
    {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with(b"$((") {
            findings.add(&EXPRESSION, text, at);
        } else if !(rest.starts_with(b"$@") || rest.starts_with(b"$*"))
            || text.get(at + 2).is_some_and(u8::is_ascii_alphabetic)
                && at > 0
                && text.get(at - 1).is_some_and(u8::is_ascii_alphabetic)
        {
            findings.add(&HIDDEN, text, at);
        }
    }
    // `{cat,/etc/passwd}`, `{ls,-la}`
    if kinds.any(Kinds::BRACE) {
        let mut from = 0;
        for _ in 0..16 {
            let Some(at) = bytes::find_from(text, b"{", from) else {
                break;
            };
            from = at + 1;
            // `analyze-{cc,c++}`: names with a common beginning.
            let joined = at
                .checked_sub(1)
                .and_then(|at| text.get(at))
                .is_some_and(|byte| is_word(*byte) || matches!(byte, b'-' | b'.' | b'/'));
            if joined {
                continue;
            }
            let rest = text.get(from..).unwrap_or_default();
            let length = rest
                .iter()
                .take(32)
                .take_while(|byte| is_word(**byte) || matches!(byte, b'-' | b'/' | b'.'))
                .count();
            let name = rest.get(..length).unwrap_or_default();
            let name = name
                .iter()
                .rposition(|byte| *byte == b'/')
                .map_or(name, |at| name.get(at + 1..).unwrap_or_default());
            let known = matches!(commands::look_up(name), Command::Sure | Command::Maybe);
            if rest.get(length) == Some(&b',') && known {
                let after = rest.get(length + 1..).unwrap_or_default();
                let telling = after.starts_with(b"-")
                    || after.starts_with(b"/")
                    || after.starts_with(b"}")
                    || has(after, b"/")
                    || commands::look_up(name) == Command::Sure;
                if telling {
                    findings.add(&HIDDEN, text, at);
                    break;
                }
            }
        }
    }
    // A command with a file or a here-string: `cat<flag`, `sh<<<`
    if kinds.any(Kinds::ANGLE)
        && let Some(at) = find(text, b"<<<")
        && at > 0
    {
        findings.add(&HIDDEN, text, at);
    }
    if kinds.any(Kinds::SLASH)
        && let Some((at, _)) = find_any(text, &["/dev/tcp/", "/dev/udp/"])
    {
        findings.add(&HIDDEN, text, at);
    }
}

/// Words of Windows' command line that tell by themselves.
const WINDOWS_WORDS: &[&str] = &[
    "cmd.exe",
    "cmd /c",
    "cmd /k",
    "cmd+/c",
    "powershell.exe",
    "powershell -",
    "pwsh -",
    "wscript.shell",
    "certutil -",
    "bitsadmin /",
    "rundll32 ",
    "regsvr32 /",
    "mshta http",
    "mshta vbscript",
    "wmic process",
    "schtasks /",
    "reg add hk",
    "reg query hk",
    "vssadmin ",
    "ipconfig /all",
    "tasklist /",
    "%comspec%",
    "%systemroot%",
    "%windir%",
    "%programfiles%",
    "%appdata%",
    "%userprofile%",
    "%programdata%",
    "%pathext%",
    "%path:",
    "%systemdrive%",
];

/// These, and the commands of PowerShell.
static WINDOWS_NAMES: LazyLock<AhoCorasick> =
    LazyLock::new(|| bytes::automaton(WINDOWS_WORDS.iter().chain(commands::CMDLETS)));

fn command_line(text: &[u8], kinds: Kinds, findings: &mut Findings) {
    for found in WINDOWS_NAMES.find_iter(text).take(16) {
        let at = found.start();
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let behind = text.get(found.end());
        let cmdlet = found.pattern().as_usize() >= WINDOWS_WORDS.len();
        let part = before
            .is_some_and(|byte| is_word(*byte) || cmdlet && matches!(byte, b'-' | b'/'))
            || cmdlet && behind.is_some_and(|byte| is_word(*byte) || matches!(byte, b'-' | b'/'));
        // `powershell -enc`, but not `PowerShell - a shell`.
        let dash = text.get(found.end() - 1) == Some(&b'-');
        let part = part || dash && !behind.is_some_and(u8::is_ascii_alphanumeric);
        // The whole value is a name; with something around it, it is a command.
        if !part && found.len() < text.len() {
            findings.add(if cmdlet { &POWERSHELL } else { &WINDOWS }, text, at);
            break;
        }
    }
    if kinds.any(Kinds::SPACE)
        && let Some((at, sure)) = windows::statement(text)
    {
        findings.add(if sure { &WINDOWS } else { &WINDOWS_WORDS_ONLY }, text, at);
    }
}
