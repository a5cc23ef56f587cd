//! Code that is a value: statements behind a string, formulas, objects, files to upload.

use super::{NODE, SERIALISED, rule};
use crate::inspect::bytes::{self, find_from, is_word};
use crate::inspect::rule::{Findings, Rule};

static STATEMENT: Rule = rule(
    "code.statement_behind_string",
    10,
    "A string is ended, and a statement of a script follows.",
);

static FORMULA: Rule = rule(
    "code.spreadsheet_formula",
    10,
    "A formula that makes a spreadsheet run a program or fetch something.",
);

static UPLOAD: Rule = rule(
    "code.script_upload",
    10,
    "The name of a file to upload that a server would run.",
);

/// Looks at the name of a file that is uploaded, in lower case.
pub(in crate::inspect) fn inspect_file_name(name: &[u8], findings: &mut Findings) {
    let end = name.iter().rposition(|byte| !matches!(byte, b'.' | b' '));
    let trimmed = name.get(..end.map_or(0, |end| end + 1)).unwrap_or_default();
    let digits = trimmed
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let stem = trimmed.get(..trimmed.len() - digits).unwrap_or_default();
    let script = [
        ".php", ".phtml", ".phar", ".asp", ".aspx", ".jsp", ".jspx", ".cgi",
    ]
    .iter()
    .any(|end| stem.ends_with(end.as_bytes()));
    if script {
        findings.add(&UPLOAD, name, name.len().saturating_sub(16));
    }
}

/// `'; return true; var x='`, `';d=new Date();do{`
pub(super) fn statements(text: &[u8], findings: &mut Findings) {
    let mut from = 0;
    while let Some(at) = find_from(text, b";", from) {
        from = at + 1;
        let before = text.get(..at).unwrap_or_default().last();
        if !matches!(before, Some(b'\'' | b'"')) {
            continue;
        }
        let rest = text.get(from..).unwrap_or_default();
        let rest = rest
            .get(..rest.len().min(128))
            .unwrap_or_default()
            .trim_ascii_start();
        let word = rest.iter().take_while(|byte| is_word(**byte)).count();
        let behind = rest.get(word..).unwrap_or_default();
        let runs = matches!(
            rest.get(..word),
            Some(b"return" | b"var" | b"let" | b"const" | b"while" | b"throw" | b"do")
        ) && behind
            .iter()
            .any(|byte| matches!(byte, b'=' | b'(' | b';' | b'\'' | b'"'));
        // `d=new Date();`
        let makes = word > 0
            && behind.strip_prefix(b"=").is_some_and(|value| {
                value.trim_ascii_start().starts_with(b"new ") || value.starts_with(b"function")
            });
        if runs || makes {
            findings.add(&STATEMENT, text, at);
            return;
        }
    }
}

/// `db.users.drop()`
pub(super) fn shell_of_a_database(text: &[u8], findings: &mut Findings) {
    const CALLS: &[&str] = &[
        ".insert(",
        ".find(",
        ".drop(",
        ".remove(",
        ".update(",
        ".mapreduce(",
        ".aggregate(",
        ".insertone(",
        ".deletemany(",
        ".findone(",
    ];
    let head = text.get(..text.len().min(128)).unwrap_or_default();
    if let Some((at, _)) = bytes::find_any(head, CALLS) {
        findings.add(&NODE, text, at);
    }
}

/// `=cmd|'/c calc'!a0`, `=importxml("http://h/")`: what a spreadsheet would run or fetch.
pub(super) fn formula(text: &[u8], findings: &mut Findings) {
    const CALLS: &[&str] = &[
        "cmd|",
        "msexcel|",
        "powershell|",
        "dde(",
        "hyperlink(",
        "importxml(",
        "importfeed(",
        "importhtml(",
        "importdata(",
        "importrange(",
        "webservice(",
    ];
    if let Some((at, _)) =
        bytes::find_any(text.get(..text.len().min(256)).unwrap_or_default(), CALLS)
    {
        findings.add(&FORMULA, text, at);
    }
}

/// `O:8:"stdClass":1:{…}`
pub(super) fn serialised(text: &[u8], findings: &mut Findings) {
    for start in [&b"o:"[..], b"c:", b"a:"] {
        let mut from = 0;
        while let Some(at) = find_from(text, start, from) {
            from = at + 2;
            let before = at.checked_sub(1).and_then(|at| text.get(at));
            if before.is_some_and(|byte| is_word(*byte)) {
                continue;
            }
            let rest = text.get(from..).unwrap_or_default();
            let rest = rest.strip_prefix(b"+").unwrap_or(rest);
            let digits = rest
                .iter()
                .take(8)
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let behind = rest.get(digits..).unwrap_or_default();
            let object = behind.starts_with(b":\"") && start != b"a:";
            if digits > 0 && object {
                findings.add(&SERIALISED, text, at);
                return;
            }
        }
    }
}
