//! Commands whose output takes their place, and code that Markdown quotes in the same way.

use super::commands::{self, Command, Use};
use super::separators::{Behind, Separator};
use super::word::Shape;
use super::{EXPRESSION, rule};
use crate::inspect::bytes::has;
use crate::inspect::rule::{Findings, Rule};

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

static QUOTED_COMMAND: Rule = rule(
    "shell.quoted_command",
    5,
    "A command with its arguments in backticks among words.",
);

pub(super) fn substitution(text: &[u8], found: &Behind, shape: Shape, findings: &mut Findings) {
    let &Behind {
        at,
        start,
        separator,
        ref word,
        kind,
    } = found;
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
        let literal = rest.get(end + 1) == Some(&b'`')
            && at.checked_sub(1).and_then(|at| text.get(at)) == Some(&b'`');
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
        // `/dev/tty` and `tokio/net` are no programs.
        let program = word.path
            && (kind == Command::Sure
                || has(text.get(start..word.end).unwrap_or_default(), b"bin/"));
        let arguments = text.get(word.end..start + end).unwrap_or_default();
        let rule = match sure {
            true if !(sentence || link) => &SUBSTITUTION,
            _ if acts(&word.name, arguments) => &SUBSTITUTION,
            true if program || shape.tells() || reaches(&word.name, arguments) => &QUOTED_COMMAND,
            _ if sentence || link => &QUOTED_CODE,
            _ => &EXPRESSION,
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

/// Whether a command with these arguments does something wherever it is run: reads or deletes what
/// is outside its folder, runs code that it is given, or reaches another machine. Documentation has
/// commands with the names of its own files.
fn acts(name: &[u8], arguments: &[u8]) -> bool {
    let mut words = arguments
        .split(|byte| byte.is_ascii_whitespace() || matches!(byte, b'\'' | b'"' | b'='))
        .filter(|word| !word.is_empty());
    let outside = |word: &[u8]| {
        let word = word
            .iter()
            .position(|byte| !matches!(byte, b'<' | b'>' | b'@' | b'&'))
            .and_then(|at| word.get(at..))
            .unwrap_or_default();
        matches!(word, [b'/', rest @ ..] if !rest.starts_with(b"path/"))
            || matches!(word, b"~" | b"*" | b"~/" | b"./*")
            || word.starts_with(b"~/")
            || word.starts_with(b"../..")
            || word.starts_with(b"${ifs")
    };
    let machine = |word: &[u8]| {
        let dots = word.iter().filter(|byte| **byte == b'.').count();
        let number = word
            .iter()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':'));
        let here = word.starts_with(b"127.") || word.starts_with(b"0.0.0.0");
        dots == 3 && number && !here
    };
    match commands::use_of(name) {
        // `find /`: nothing is changed.
        Use::Files => {
            let reads = matches!(name, b"find" | b"ls" | b"dir" | b"grep" | b"echo");
            words.any(|word| outside(word) && !(reads && matches!(word, b"/" | b"~" | b"*")))
        }
        Use::Code => words
            .any(|word| outside(word) || matches!(word, b"-c" | b"-e" | b"-r" | b"-enc" | b"-i")),
        Use::Net => words
            .any(|word| outside(word) || machine(word) || matches!(word, b"-e" | b"-c" | b"exec:")),
        Use::Wait => words.next().is_some_and(|word| {
            word.iter()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b's' | b'm'))
        }),
        Use::Other => false,
    }
}

/// Whether a command is given a name of another machine, or a port.
fn reaches(name: &[u8], arguments: &[u8]) -> bool {
    commands::use_of(name) == Use::Net
        && arguments.split(u8::is_ascii_whitespace).any(|word| {
            word.contains(&b'.') || word.len() > 1 && word.iter().all(u8::is_ascii_digit)
        })
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
