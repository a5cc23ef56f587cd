//! Commands whose output takes their place, and code that Markdown quotes in the same way.

use super::commands::{self, Command};
use super::separators::Separator;
use super::word::{Shape, Word};
use super::{EXPRESSION, rule};
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

#[expect(clippy::too_many_arguments, reason = "what `behind` has found out")]
pub(super) fn substitution(
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
