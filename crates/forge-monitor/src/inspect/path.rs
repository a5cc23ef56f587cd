//! Path traversal, files that are nobody's business, and addresses a server is made to fetch.

mod addresses;
mod names;

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::bytes::{self, Kinds, find_any, has, is_word};
use super::normalise::Oddities;
use super::rule::{Family, Findings, Place, Rule};
use addresses::addresses;
pub(super) use addresses::inspect_include;
use names::{FILES, FOLDERS, ORDINARY};

const fn rule(id: &'static str, score: u32, explanation: &'static str) -> Rule {
    Rule::new(id, Family::PathTraversal, score, explanation)
}

static CLIMB: Rule = rule("path.traversal", 10, "`../` climbs out of a folder.");

static CLIMB_IN_PATH: Rule = rule(
    "path.traversal_in_path",
    6,
    "`../` in a path, which well-behaved clients resolve themselves.",
);

static CLIMB_HIDDEN: Rule = rule(
    "path.traversal_hidden",
    10,
    "Dots and slashes in a form that hides `../`.",
);

static SENSITIVE: Rule = rule(
    "path.sensitive_file",
    10,
    "A file that holds secrets or settings of a system.",
);

static STREAM: Rule = rule(
    "path.data_stream",
    10,
    "The unnamed stream of a file on Windows, which gives its source.",
);

static SENSITIVE_NAME: Rule = rule(
    "path.sensitive_name",
    5,
    "The name of a file that holds secrets or settings.",
);

static HIDDEN_FOLDER: Rule = rule(
    "path.hidden_folder",
    10,
    "A folder of a version control system or of keys.",
);

static NUL: Rule = rule(
    "path.nul_byte",
    10,
    "A NUL byte, which ends a name for some programs.",
);

/// Looks at `text`, in lower case.
pub(super) fn inspect(
    text: &[u8],
    kinds: Kinds,
    place: Place,
    oddities: Oddities,
    findings: &mut Findings,
) {
    if oddities.nul && place != Place::UserAgent {
        findings.add(&NUL, text, 0);
    }
    if kinds.any(Kinds::DOT) {
        climb(text, kinds, place, oddities, findings);
    }
    if kinds.any(Kinds::SLASH.or(Kinds::BACKSLASH).or(Kinds::DOT)) {
        files(text, kinds, place, findings);
    }
    if kinds.any(Kinds::COLON) {
        addresses(text, place, findings);
    }
}

fn is_slash(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'/' | b'\\'))
}

fn climb(text: &[u8], kinds: Kinds, place: Place, oddities: Oddities, findings: &mut Findings) {
    if kinds.any(Kinds::SLASH.or(Kinds::BACKSLASH)) {
        let mut climbs = 0;
        let mut first = None;
        // Looked for once, since every `...` asks.
        let mut names_inside = None;
        let mut from = 0;
        while let Some(at) = bytes::find_from(text, b"..", from) {
            from = at + 2;
            let before = at.checked_sub(1).and_then(|at| text.get(at));
            // `..;/` is `../` to some Java servers; `....//` becomes `../` when a filter takes one out.
            let mut behind = at + 2;
            while text.get(behind) == Some(&b'.') {
                behind += 1;
                from = behind;
            }
            let dots = behind - at;
            if text.get(behind) == Some(&b';') {
                behind += 1;
            }
            let starts = before.is_none_or(|byte| !is_word(*byte) && *byte != b')')
                || dots >= 3 && *names_inside.get_or_insert_with(|| has(text, b"web-inf"));
            let slash = is_slash(text.get(behind));
            let ends = text.get(behind).is_none() && is_slash(before) && climbs > 0;
            let doubled = dots == 4 && slash && is_slash(text.get(behind + 1));
            if starts
                && (slash
                    && (dots == 2 || doubled || dots == 3 && text.get(behind) == Some(&b'\\'))
                    || ends && dots == 2)
            {
                climbs += 1;
                first.get_or_insert(at);
                if doubled
                    || dots == 3
                    || text.get(behind) == Some(&b'\\')
                    || text.get(at + 2) == Some(&b';')
                {
                    findings.add(&CLIMB_HIDDEN, text, at);
                }
            }
        }
        if let Some(at) = first {
            // A relative reference that a careless client joined to a path: `/a/../b.css`.
            let start = text.trim_ascii_start();
            let begins =
                start.starts_with(b"..") || start.starts_with(b"/") || start.starts_with(b"\\");
            let lenient = match place {
                Place::Path => climbs < 4 && !oddities.overlong,
                Place::Referer => climbs < 3,
                // `[guide](../guide.md)`, `see ../x`: a reference in a text.
                _ => climbs < 3 && (!begins || text.contains(&b' ')) && !oddities.overlong,
            };
            let rule = if lenient { &CLIMB_IN_PATH } else { &CLIMB };
            findings.add(rule, text, at);
        }
    }
    if oddities.overlong && has(text, b"..") {
        findings.add(&CLIMB_HIDDEN, text, 0);
    }
    if text == b".." || text == b"../" {
        findings.add(&CLIMB_IN_PATH, text, 0);
    }
    if (kinds.any(Kinds::PERCENT) || has(text, b"0x"))
        && find_any(
            text,
            &[
                "0x2e0x2e", "0x2e0x2f", "0x2ex2e", ".%00.", "..%00/", "..%0d/", "%2e%2e", ".%2e/",
                "%2e./", "..%2f", "..%5c", "..%c0", "..%c1", "%%32%65", "..0x2f", "..0x5c",
                "%uff0e", "%u2215", "%bg%qf", "..%u", "%c0%9v", "%c1%8s", "%c1%pc", "%c0%qf",
            ],
        )
        .is_some()
    {
        findings.add(&CLIMB_HIDDEN, text, 0);
    }
}

/// All of them, found in one pass.
static NAMES: LazyLock<AhoCorasick> =
    LazyLock::new(|| bytes::automaton(FILES.iter().chain(FOLDERS)));

fn files(text: &[u8], kinds: Kinds, place: Place, findings: &mut Findings) {
    // Slashes of both kinds, doubled or with a dot between, are one.
    let folded;
    let text = if kinds.any(Kinds::BACKSLASH) || has(text, b"//") || has(text, b"/./") {
        folded = one_slash(text);
        &folded[..]
    } else {
        text
    };
    let sentence = is_sentence(text, kinds);
    // A value that is the path of a file of the system, and nothing else.
    let rooted = text.starts_with(b"/") && !kinds.any(Kinds::SPACE);
    let whole_path = place != Place::Path && (rooted || text.get(1..3) == Some(b":/"));
    if whole_path && text.starts_with(b"/etc/") && text.len() > 5 {
        findings.add(&SENSITIVE, text, 0);
    }
    if kinds.any(Kinds::DOLLAR) && text.ends_with(b"::$data") {
        findings.add(&STREAM, text, text.len() - 7);
    }
    for found in NAMES.find_overlapping_iter(text) {
        let at = found.start();
        let Some(name) = FILES.get(found.pattern().as_usize()) else {
            continue;
        };
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let behind = text.get(at + name.len());
        let letter = name.as_bytes().first().is_some_and(|byte| is_word(*byte));
        if letter && before.is_some_and(|byte| is_word(*byte) || matches!(byte, b'-' | b'.')) {
            continue;
        }
        let word_end = name.as_bytes().last().is_some_and(|byte| is_word(*byte));
        if word_end && behind.is_some_and(u8::is_ascii_alphanumeric) {
            // `wp-configuration`, `etc/hostsomething`
            continue;
        }
        let rooted = is_slash(before)
            && (at == 1
                || text.get(..at).is_some_and(|head| {
                    // Behind `=`, a space or a climb: a path of its own.
                    let head = head.trim_ascii_end();
                    head.ends_with(b"../")
                        || head.len() == 1
                        || matches!(
                            head.get(head.len().wrapping_sub(2)),
                            Some(
                                b'=' | b' '
                                    | b'"'
                                    | b'\''
                                    | b':'
                                    | b'<'
                                    | b'('
                                    | b'/'
                                    | b'`'
                                    | b','
                                    | b';'
                                    | b'|'
                                    | b'>'
                                    | b'}'
                            )
                        )
                }));
        let whole = at == 0 && text.len() == name.len();
        let ordinary = ORDINARY.contains(name);
        let sure = match place {
            Place::Path => {
                !ordinary
                    || matches!(
                        *name,
                        "wp-config"
                            | ".htaccess"
                            | "web.config"
                            | ".bash_history"
                            | ".npmrc"
                            | "id_rsa"
                            | ".bashrc"
                            | "id_ed25519"
                            | "secrets.yml"
                            | ".netrc"
                            | ".pgpass"
                            | "win.ini"
                            | "boot.ini"
                    )
            }
            _ if whole_path && behind.is_none() => true,
            _ => !sentence && (!ordinary || rooted || (whole && !text.starts_with(b"var"))),
        };
        if matches!(*name, "web-inf/" | "meta-inf/") && place == Place::Path && !sure {
            continue;
        }
        findings.add(if sure { &SENSITIVE } else { &SENSITIVE_NAME }, text, at);
        if sure {
            break;
        }
    }
    for found in NAMES.find_overlapping_iter(text) {
        let at = found.start();
        if let Some(name) = found
            .pattern()
            .as_usize()
            .checked_sub(FILES.len())
            .and_then(|folder| FOLDERS.get(folder))
        {
            let before = at.checked_sub(1).and_then(|at| text.get(at));
            let behind = text.get(at + name.len());
            let starts =
                before.is_none_or(|byte| matches!(byte, b'/' | b'=' | b' ' | b'"' | b'\''));
            let ends =
                behind.is_none_or(|byte| matches!(byte, b'/' | b'?' | b'.' | b'"' | b'\'' | b' '));
            let folder = behind == Some(&b'/');
            if !starts || !ends {
                continue;
            }
            let end = behind.is_none();
            let sure = match (*name, place) {
                ("cvs", _) => text.get(at..).is_some_and(|rest| {
                    rest.starts_with(b"cvs/entries") || rest.starts_with(b"cvs/root")
                }),
                // `repo/.git` is the address of a repository.
                (".git", _) => {
                    folder
                        && text.get(at..).is_some_and(|rest| {
                            [
                                ".git/config",
                                ".git/head",
                                ".git/index",
                                ".git/logs",
                                ".git/objects",
                                ".git/refs",
                                ".git/",
                            ]
                            .iter()
                            .any(|name| rest.starts_with(name.as_bytes()))
                        })
                }
                (".env", Place::Path) => at > 0 && !folder,
                (".env", _) => end && (at == 0 && text.len() == 4 || is_slash(before)) || folder,
                (".idea" | ".vscode" | ".docker", Place::Path) => folder,
                (".idea" | ".vscode" | ".docker", _) => false,
                _ => folder || end && place == Place::Path,
            };
            if sure {
                let rule = if sentence {
                    &SENSITIVE_NAME
                } else {
                    &HIDDEN_FOLDER
                };
                findings.add(rule, text, at);
                return;
            }
        }
    }
    if place != Place::Path && !sentence {
        if let Some((at, _)) = find_any(
            text,
            &[
                ">/tmp/",
                "> /tmp/",
                "c:/windows",
                "c:/winnt",
                "c:/boot",
                "c:/inetpub",
                "/bin/sh",
                "/bin/bash",
                "%systemroot%",
                "%systemdrive%",
                "%windir%",
                "%comspec%",
            ],
        ) {
            findings.add(&SENSITIVE, text, at);
        }
        if text.starts_with(b"/dev/")
            && find_any(text, &["/dev/tcp", "/dev/udp", "/dev/mem"]).is_some()
        {
            findings.add(&SENSITIVE, text, 0);
        }
    }
}

/// Whether the text is words with a path among them, rather than a path, or a command with one.
fn is_sentence(text: &[u8], kinds: Kinds) -> bool {
    let signs = Kinds::SEMICOLON
        .or(Kinds::PIPE)
        .or(Kinds::AMPERSAND)
        .or(Kinds::DOLLAR)
        .or(Kinds::ANGLE)
        .or(Kinds::LINE);
    !kinds.any(signs)
        && !has(text, b"../")
        && (text.iter().filter(|byte| **byte == b' ').count() >= 3
            // Some scripts have no spaces between words.
            || text.iter().filter(|byte| **byte >= 0x80).count() >= 12)
}

fn one_slash(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    for &byte in text {
        let byte = if byte == b'\\' { b'/' } else { byte };
        if byte == b'/' {
            if out.ends_with(b"/.") && !out.ends_with(b"/..") {
                out.pop();
            }
            if out.last() == Some(&b'/') && !out.ends_with(b":/") {
                continue;
            }
        }
        out.push(byte);
    }
    out
}
