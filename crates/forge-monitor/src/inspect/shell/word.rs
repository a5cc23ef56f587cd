//! A word of a shell's line, without what hides it, and the shape of what follows.

use super::commands::{self, Command};
use crate::inspect::bytes::{find, has, is_word};

/// As many blanks before a word are skipped, since every separator asks.
const MAX_BLANKS: usize = 256;

/// As many bytes behind a command are looked at.
const MAX_ARGUMENTS: usize = 1024;

/// A word as a shell reads it, and where it ends.
pub(super) struct Word {
    pub(super) name: Vec<u8>,
    pub(super) end: usize,
    /// Whether something had to be taken out.
    pub(super) quoted: bool,
    /// Whether it was given with its folder.
    pub(super) path: bool,
}

/// The command that begins at `start`: without quotes, backslashes, empty variables, folders, and the
/// words that run others.
pub(super) fn command(text: &[u8], start: usize) -> Word {
    let mut at = start;
    for _ in 0..4 {
        let word = word(text, at);
        // `sudo x`, `time x`, `env a=b x`
        let wraps = commands::wraps(&word.name)
            || (word.name.contains(&b'=') && !word.name.starts_with(b"="));
        let goes_on = text.get(word.end).is_some_and(u8::is_ascii_whitespace);
        if !wraps || !goes_on {
            return word;
        }
        at = word.end;
        if matches!(commands::look_up(&peek(text, at)), Command::None)
            && !commands::wraps(&peek(text, at))
        {
            return word;
        }
    }
    word(text, at)
}

fn peek(text: &[u8], at: usize) -> Vec<u8> {
    word(text, at).name
}

pub(super) fn word(text: &[u8], start: usize) -> Word {
    let mut at = start;
    // Every separator asks, so blanks are skipped up to a bound.
    while at < start + MAX_BLANKS
        && text.get(at).is_some_and(|byte| {
            byte.is_ascii_whitespace() || matches!(byte, b'(' | b'{' | b'!' | b'@')
        })
    {
        at += 1;
    }
    let mut name = Vec::with_capacity(16);
    let mut quoted = false;
    let mut path = false;
    while name.len() < 48
        && let Some(&byte) = text.get(at)
    {
        let rest = text.get(at..).unwrap_or_default();
        match byte {
            b'\'' | b'"' | b'\\' | b'^' => {
                // `c:\dir`, `\`: a folder, not an escape.
                quoted = true;
                at += 1;
            }
            b'$' => {
                if rest.starts_with(b"${ifs") || rest.starts_with(b"$ifs") {
                    break;
                }
                // `$@`, `$*`, `$1`, `$u`, `${u}`, `$(…)` of nothing: empty inside a word.
                let skipped = empty_variable(rest);
                if skipped == 0 {
                    break;
                }
                quoted = true;
                at += skipped;
            }
            b'/' => {
                name.clear();
                path = true;
                at += 1;
            }
            b'?' | b'*' if path => {
                name.push(byte);
                at += 1;
            }
            b'[' if rest.get(2) == Some(&b']') => {
                quoted = true;
                name.extend(rest.get(1));
                at += 3;
            }
            _ if is_word(byte) || matches!(byte, b'.' | b'-' | b'+' | b'=') => {
                name.push(byte);
                at += 1;
            }
            _ => break,
        }
    }
    Word {
        name,
        end: at,
        quoted,
        path,
    }
}

/// The length of a variable that is empty in every shell: `$@`, `$*`, `$!`, `$1`, `${x}`, `$x` glued
/// to a word.
fn empty_variable(rest: &[u8]) -> usize {
    match rest {
        [b'$', b'@' | b'*' | b'!' | b'0'..=b'9', ..] => 2,
        [b'$', b'{', inner @ ..] => match inner.iter().take(24).position(|byte| *byte == b'}') {
            Some(end) => end + 3,
            None => 0,
        },
        _ => 0,
    }
}

/// What follows the name of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    pub(super) ends: bool,
    pub(super) option: bool,
    pub(super) path: bool,
    pub(super) quoted: bool,
    pub(super) number: bool,
    pub(super) assigns: bool,
    pub(super) redirects: bool,
    pub(super) variable: bool,
    /// Nothing but a word or words.
    pub(super) words: bool,
    pub(super) address: bool,
    pub(super) call: bool,
}

impl Shape {
    pub(super) fn of(text: &[u8], end: usize) -> Self {
        let rest = text.get(end..).unwrap_or_default();
        let rest = rest
            .get(..rest.len().min(MAX_ARGUMENTS))
            .unwrap_or_default();
        let mut shape = Self::default();
        let spaced = rest
            .first()
            .is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'+')
            || rest.starts_with(b"${ifs")
            || rest.starts_with(b"$ifs")
            || rest.starts_with(b"%");
        if rest.starts_with(b"${ifs") || rest.starts_with(b"$ifs") {
            shape.variable = true;
            return shape;
        }
        let argument = rest
            .iter()
            .position(|byte| !byte.is_ascii_whitespace() && *byte != b'+')
            .and_then(|at| rest.get(at..))
            .unwrap_or_default();
        match argument.first() {
            None => shape.ends = true,
            Some(b';' | b'|' | b'&' | b'`' | b')' | b'}' | b'#') => shape.ends = true,
            Some(b'"' | b'\'') if argument.len() < 3 || !spaced => {
                shape.ends = !spaced && argument.len() < 3;
                shape.quoted = spaced;
            }
            Some(b'<' | b'>') => shape.redirects = redirects(argument),
            Some(b'(') => shape.call = true,
            Some(_) if !spaced => {}
            Some(b'-') => {
                shape.option = argument
                    .get(1)
                    .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
            }
            Some(b'/' | b'~') => {
                // `/?` and `/c` are options on Windows.
                shape.path = argument
                    .get(1)
                    .is_some_and(|byte| !byte.is_ascii_whitespace());
            }
            Some(b'.') => {
                shape.path = argument.starts_with(b"./")
                    || argument.starts_with(b"../")
                    || argument.len() == 1;
            }
            Some(b'"' | b'\'') => shape.quoted = true,
            Some(b'$' | b'%' | b'*') => shape.variable = true,
            Some(_) => {
                let word_end = argument
                    .iter()
                    .position(|byte| {
                        byte.is_ascii_whitespace()
                            || matches!(byte, b';' | b'|' | b'&' | b'`' | b')')
                    })
                    .unwrap_or(argument.len());
                let word = argument.get(..word_end).unwrap_or_default();
                let behind = argument
                    .get(word_end..)
                    .unwrap_or_default()
                    .trim_ascii_start();
                shape.number = word
                    .iter()
                    .all(|byte| byte.is_ascii_digit() || *byte == b'.');
                shape.assigns = word.contains(&b'=');
                shape.address = word.starts_with(b"http:")
                    || word.starts_with(b"https:")
                    || word.starts_with(b"ftp:")
                    || word.starts_with(b"c:");
                // `a/b` is a pair of words as often as a path.
                shape.path |= [
                    &b".txt"[..],
                    b".php",
                    b".sh",
                    b".conf",
                    b".exe",
                    b".py",
                    b".pl",
                    b".log",
                ]
                .iter()
                .any(|end| word.ends_with(end))
                    || word.contains(&b'\\')
                    || word.iter().filter(|byte| **byte == b'/').count() > 2;
                // An option further on: `ping a.b -c 1`, `net user x /add`
                shape.option = behind.starts_with(b"-")
                    && behind.get(1).is_some_and(u8::is_ascii_alphanumeric)
                    || find(
                        argument
                            .get(..argument.len().min(word_end + 24))
                            .unwrap_or_default(),
                        b" -",
                    )
                    .is_some_and(|at| {
                        argument.get(at + 2).is_some_and(u8::is_ascii_alphabetic)
                            && argument.get(at + 3).is_none_or(u8::is_ascii_whitespace)
                    });
                shape.words = true;
                shape.redirects = redirects(behind);
            }
        }
        shape
    }

    /// Whether what follows is mostly words of a language, at least four of them.
    pub(super) fn is_prose(text: &[u8], end: usize) -> bool {
        let rest = text.get(end..).unwrap_or_default();
        let rest = rest.get(..rest.len().min(512)).unwrap_or_default();
        let (mut plain, mut other) = (0, 0);
        for word in rest
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty())
        {
            let word = word
                .strip_suffix(b",")
                .or_else(|| word.strip_suffix(b"."))
                .or_else(|| word.strip_suffix(b":"))
                .unwrap_or(word);
            let letters = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'\'' | b'-');
            let begins = word.first().is_some_and(u8::is_ascii_alphabetic);
            if begins && word.iter().all(letters) {
                plain += 1;
            } else {
                other += 1;
            }
        }
        plain >= 4 && plain > other * 2
    }

    /// Whether it is what a command has and a sentence has not.
    pub(super) fn tells(self) -> bool {
        self.option || self.path || self.redirects || self.variable || self.address
    }
}

/// What the word is, with the next one where that tells: `net user`.
pub(super) fn kind_of(text: &[u8], word: &Word) -> Command {
    if !matches!(&word.name[..], b"net" | b"net1") {
        return commands::look_up(&word.name);
    }
    let rest = text.get(word.end..).unwrap_or_default().trim_ascii_start();
    let accounts = [
        "user",
        "localgroup",
        "group",
        "view",
        "share",
        "use",
        "accounts",
    ];
    let administers = accounts.iter().any(|name| {
        rest.starts_with(name.as_bytes())
            && !rest.get(name.len()).is_some_and(|byte| is_word(*byte))
    });
    if administers {
        Command::Sure
    } else {
        commands::look_up(&word.name)
    }
}

/// `> file`, `>& 1`, `< file`; not the angles around an address or a tag.
fn redirects(text: &[u8]) -> bool {
    let closed = text.starts_with(b"<") && !text.starts_with(b"<<") && text.contains(&b'>');
    let named =
        text.starts_with(b"<http") || has(text.get(..text.len().min(64)).unwrap_or_default(), b"@");
    let target = text
        .iter()
        .find(|byte| !matches!(byte, b'<' | b'>' | b' ' | b'(' | b'\'' | b'"'));
    let file = target
        .is_some_and(|byte| is_word(*byte) || matches!(byte, b'/' | b'&' | b'.' | b'$' | b'~'));
    matches!(text.first(), Some(b'<' | b'>')) && !closed && !named && file
}
