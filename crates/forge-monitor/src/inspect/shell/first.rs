//! A command with which the value begins.

use super::commands::{self, Command};
use super::word::{self, Shape, command, kind_of};
use super::{DIRECT, DIRECT_NAME, HIDDEN, rule};
use crate::inspect::bytes::{Kinds, has, is_word};
use crate::inspect::rule::{Findings, Rule};

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

/// A command at the beginning of the value.
pub(super) fn first(text: &[u8], kinds: Kinds, findings: &mut Findings) {
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
                // `ls;`, `id|x`; a password may have such letters and signs.
                let rest = text.get(word.end..).unwrap_or_default();
                let signs = rest
                    .iter()
                    .take_while(|byte| matches!(byte, b';' | b'|' | b'&'))
                    .count();
                let next = rest.get(signs);
                let chained = signs > 0
                    && (next.is_none_or(u8::is_ascii_whitespace)
                        || kind_of(text, &command(text, word.end + signs)) != Command::None);
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
