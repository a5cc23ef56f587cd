//! Command injection: reads a value as a shell would, and looks at each word that would be run.
//!
//! The names of many commands are words of English. Those count only with what makes them a command:
//! an option, a path, a redirection, or nothing at all behind a separator.

mod commands;
mod first;
mod separators;
mod substitution;
mod windows;
mod word;

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::bytes::{self, Kinds, find, find_any, has, is_word};
use super::rule::{Family, Findings, Place, Rule};
use commands::Command;
use first::first;
use separators::separated;

const fn rule(id: &'static str, score: u32, explanation: &'static str) -> Rule {
    Rule::new(id, Family::CommandInjection, score, explanation)
}

static BEHIND_SEPARATOR: Rule = rule(
    "shell.command_behind_separator",
    10,
    "A separator of a shell, and a command behind it.",
);

static EXPRESSION: Rule = rule(
    "shell.expression",
    5,
    "An expression of a shell: `$(…)`, `${…}`, `<(…)`.",
);

static DIRECT: Rule = rule("shell.command", 10, "A command with its arguments.");

static DIRECT_NAME: Rule = rule("shell.command_name", 5, "The name of a command by itself.");

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
    while let Some(at) = bytes::find_from(text, b"()", from) {
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

/// Whether a variable that is empty splits the name of a command: `c$@at`.
fn is_split(text: &[u8], at: usize) -> bool {
    let head = text.get(..at).unwrap_or_default();
    let length = head
        .iter()
        .rev()
        .take(24)
        .take_while(|byte| is_word(**byte))
        .count();
    let behind = text.get(at + 2).is_some_and(u8::is_ascii_alphabetic);
    behind && length > 0 && commands::look_up(&word::word(text, at - length).name) != Command::None
}

/// What hides the words of a command.
fn hidden(text: &[u8], kinds: Kinds, findings: &mut Findings) {
    if kinds.any(Kinds::DOLLAR) {
        let variable = find_any(
            text,
            &[
                "$ifs", "${ifs", "${@", "${path", "${home", "${pwd", "$'\\x", "$\"\\x", "${shell",
                "$shell", "$0 <", "$(</", "$(<", "${##", "${#path", "${!",
            ],
        );
        let split = || {
            let mut places = text.windows(2).enumerate();
            places
                .find(|(at, sign)| matches!(sign, [b'$', b'@' | b'*']) && is_split(text, *at))
                .map(|(at, _)| at)
        };
        if let Some(at) = variable.map(|(at, _)| at).or_else(split) {
            findings.add(&HIDDEN, text, at);
        } else if let Some(at) = find(text, b"$((") {
            findings.add(&EXPRESSION, text, at);
        }
    }
    // `{cat,/etc/passwd}`, `{ls,-la}`
    if kinds.any(Kinds::BRACE) {
        let mut from = 0;
        let mut last_slash = None;
        while let Some(at) = bytes::find_from(text, b"{", from) {
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
                    || last_slash
                        .get_or_insert_with(|| text.iter().rposition(|byte| *byte == b'/'))
                        .is_some_and(|slash| slash > from + length)
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
        && let Some(at) = bytes::find_from(text, b"<<<", 1)
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
    for found in WINDOWS_NAMES.find_iter(text) {
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
