//! What stands behind each separator of a shell.

use super::commands::{self, Command};
use super::substitution::substitution;
use super::word::{Shape, Word, command, kind_of};
use super::{BEHIND_SEPARATOR, HIDDEN, rule};
use crate::inspect::bytes::{Kinds, has, is_word};
use crate::inspect::rule::{Findings, Place, Rule};

/// So many commands behind separators are looked at.
const MAX_COMMANDS: usize = 256;

/// Longer values are no passwords.
const MAX_PASSWORD: usize = 24;

static MANY_COMMANDS: Rule = rule(
    "shell.many_separators",
    10,
    "More commands behind separators than are looked at.",
);

static MAYBE_BEHIND_SEPARATOR: Rule = rule(
    "shell.word_behind_separator",
    5,
    "A separator of a shell, and behind it a word that is a command too.",
);

/// What stands behind each separator.
pub(super) fn separated(text: &[u8], kinds: Kinds, place: Place, findings: &mut Findings) {
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
            let escaped = at.checked_sub(1).and_then(|at| text.get(at)) == Some(&b'\\');
            in_backticks ^= !escaped;
            // The second one of a pair ends a command; words behind it are a text's.
            if !in_backticks && !escaped && next.is_none_or(|byte| byte.is_ascii_whitespace()) {
                at += 1;
                continue;
            }
        }
        let word = command(text, at + skip);
        let kind = kind_of(text, &word);
        let wildcard = word.path && word.name.contains(&b'?');
        if kind == Command::None && !wildcard && separator != Separator::Substitution {
            at += skip;
            continue;
        }
        // Lines of texts and of code begin with words that are commands too.
        seen += usize::from(separator != Separator::Line || kind != Command::Word);
        // What hides behind padding is not looked at, and so counts as found.
        if seen > MAX_COMMANDS {
            findings.add(&MANY_COMMANDS, text, at);
            return;
        }
        let found = Behind {
            at,
            start: at + skip,
            separator,
            word,
            kind,
        };
        if behind(text, &found, place, findings) {
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
pub(super) enum Separator {
    Semicolon,
    Pipe,
    And,
    Ampersand,
    Line,
    Backtick,
    Substitution,
}

/// What stands behind a separator.
pub(super) struct Behind {
    /// Where the separator is.
    pub(super) at: usize,
    /// Where it ends.
    pub(super) start: usize,
    pub(super) separator: Separator,
    pub(super) word: Word,
    pub(super) kind: Command,
}

/// Whether it found a word that may be a command, and may be prose.
fn behind(text: &[u8], found: &Behind, place: Place, findings: &mut Findings) -> bool {
    let &Behind {
        at,
        start,
        separator,
        ref word,
        kind,
    } = found;
    // `data:image/png;base64,…`, `a;cat: x`
    if matches!(text.get(word.end), Some(b',' | b':')) {
        return false;
    }
    let space = text.get(start).is_some_and(u8::is_ascii_whitespace);
    // Every separator asks: no more than some words before it are looked at.
    let before = text.get(at.saturating_sub(512)..at).unwrap_or_default();
    let before = before.trim_ascii();
    let shape = Shape::of(text, word.end);
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
    // `x!9$;su`: a password has such letters and signs by chance.
    let chance = word.name.len() <= 3
        && !space
        && word.end == text.len()
        && text.len() <= MAX_PASSWORD
        && is_noise(before);
    let one = matches!(
        separator,
        Separator::Semicolon | Separator::Pipe | Separator::Ampersand
    );
    if chance && one && kind != Command::None {
        findings.add(&MAYBE_BEHIND_SEPARATOR, text, at);
        return false;
    }
    let rule = match (separator, kind) {
        (Separator::Backtick | Separator::Substitution, _) => {
            substitution(text, found, shape, findings);
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
            // `Something | Python`: titles and tables have blanks around the bar.
            let set_apart = separator != Separator::Pipe
                || space && at.checked_sub(1).and_then(|at| text.get(at)) == Some(&b' ');
            let shell = commands::is_shell(&word.name);
            let title = (shape.words || shape.ends)
                && !shape.tells()
                && commands::is_product(&word.name)
                && set_apart
                && !(separator == Separator::Pipe && is_fed(before, shell))
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

/// Whether what stands before a separator, behind the one ahead of it, begins with a command whose
/// output a shell would be given.
fn is_fed(before: &[u8], shell: bool) -> bool {
    let start = before
        .iter()
        .rposition(|byte| matches!(byte, b';' | b'|' | b'&' | b'\n' | b'\r' | b'`' | b'('))
        .map_or(0, |at| at + 1);
    match commands::look_up(&command(before, start).name) {
        Command::Sure | Command::Maybe => true,
        // `Test suites | Python`
        Command::Word => shell,
        Command::None => false,
    }
}

/// Whether signs stand in the text that neither values nor shells put there.
fn is_noise(text: &[u8]) -> bool {
    let rare = |byte: &u8| matches!(byte, b'!' | b'#' | b'$' | b'^' | b'*' | b'<' | b'>' | b'~');
    let letters = text
        .iter()
        .filter(|byte| byte.is_ascii_alphabetic())
        .count();
    letters >= 2 && !text.contains(&b' ') && text.iter().any(rare)
}

/// `/x`, `./x`, `$home/x`, `bin/x`: a path; not `input/output`.
fn is_rooted(raw: &[u8]) -> bool {
    let from = raw
        .iter()
        .position(|byte| !matches!(byte, b'\'' | b'"' | b'\\' | b'('));
    let raw = from.and_then(|from| raw.get(from..)).unwrap_or_default();
    matches!(raw.first(), Some(b'/' | b'.' | b'~' | b'$')) || has(raw, b"bin/")
}
