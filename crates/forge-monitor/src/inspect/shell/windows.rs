//! Statements of Windows' command line: `for %a in (…) do …`, `if exist … …`.

use super::{bytes, is_word};
use bytes::{find, find_from};

/// As many words that may begin a statement are looked at. No text has more, but to hide one.
const MAX_STARTS: usize = 256;

/// Where a statement begins, and whether it is one beyond doubt.
pub(super) fn statement(text: &[u8]) -> Option<(usize, bool)> {
    let loops = starts(text, b"for")
        .enumerate()
        .find(|(seen, at)| *seen == MAX_STARTS || is_loop(text.get(at + 3..).unwrap_or_default()));
    if let Some((_, at)) = loops {
        return Some((at, true));
    }
    let mut doubtful = None;
    for (seen, at) in starts(text, b"if").enumerate() {
        if seen == MAX_STARTS {
            return Some((at, true));
        }
        match condition(text.get(at + 2..).unwrap_or_default()) {
            Some(true) => return Some((at, true)),
            Some(false) => doubtful = doubtful.or(Some((at, false))),
            None => {}
        }
    }
    doubtful
}

fn starts<'a>(text: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    let places = std::iter::from_fn(move || {
        let at = find_from(text, word, from)?;
        from = at + 1;
        Some(at)
    });
    places.filter(move |at| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let behind = text.get(at + word.len());
        !before.is_some_and(|byte| is_word(*byte))
            && behind.is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'/' | b'('))
    })
}

/// `[/f "…"] %a in (…) do`
fn is_loop(rest: &[u8]) -> bool {
    let head = rest.get(..rest.len().min(256)).unwrap_or_default();
    let Some(percent) = find(head, b"%") else {
        return false;
    };
    let options = head.get(..percent).unwrap_or_default().trim_ascii();
    let variable = head.get(percent..).unwrap_or_default();
    let name = variable
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(variable.len());
    let behind = variable.get(name..).unwrap_or_default().trim_ascii_start();
    let listed = behind
        .strip_prefix(b"in")
        .is_some_and(|list| list.trim_ascii_start().starts_with(b"("));
    // `for 5% in (some) cases`: a percentage follows its number.
    (options.is_empty() || options.starts_with(b"/")) && name > 1 && listed
}

/// What stands behind `if`: a condition of the command line for sure, perhaps, or not.
fn condition(rest: &[u8]) -> Option<bool> {
    let mut rest = rest.trim_ascii_start();
    let ignores_case = rest.starts_with(b"/i");
    if ignores_case {
        rest = rest.get(2..).unwrap_or_default().trim_ascii_start();
    }
    let negated = rest.starts_with(b"not ");
    if negated {
        rest = rest.get(4..).unwrap_or_default().trim_ascii_start();
    }
    let behind = |word: &[u8]| {
        let rest = rest.strip_prefix(word)?;
        let argument = rest.trim_ascii_start();
        (rest.len() > argument.len() && !argument.is_empty()).then_some(argument)
    };
    // People write `if it exists`; only a command line says `if exist`.
    if behind(b"exist").is_some()
        || behind(b"errorlevel").is_some()
        || behind(b"cmdextversion").is_some()
    {
        return Some(true);
    }
    if let Some(argument) = behind(b"defined") {
        let name = argument
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(argument.len());
        let then = argument.get(name..).unwrap_or_default().trim_ascii_start();
        let runs = ["(", "set ", "echo", "goto", "call ", "@", "del ", "rem "]
            .iter()
            .any(|word| then.starts_with(word.as_bytes()));
        return Some(runs);
    }
    let head = rest.get(..rest.len().min(160)).unwrap_or_default();
    let compares = [" equ ", " neq ", " lss ", " leq ", " gtr ", " geq "]
        .iter()
        .any(|word| find(head, word.as_bytes()).is_some());
    if compares {
        return Some(true);
    }
    let equals = find(head, b"==")?;
    if head.get(equals + 2) == Some(&b'=') {
        return None;
    }
    let (left, right) = (
        head.get(..equals).unwrap_or_default(),
        head.get(equals + 2..).unwrap_or_default().trim_ascii(),
    );
    let variable = left.contains(&b'%') || left.starts_with(b"\"!") || ignores_case;
    // Other languages put a colon or a brace behind a condition, and the condition in parentheses.
    let other = right.ends_with(b":") || right.contains(&b'{') || find(head, b"then").is_some();
    let bracketed = matches!(
        (left.first(), left.trim_ascii().last()),
        (Some(b'"'), Some(b'"')) | (Some(b'['), Some(b']')) | (Some(b'('), Some(b')'))
    );
    Some((variable || bracketed && right.contains(&b' ')) && !other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_statements_of_the_command_line_and_no_prose() {
        for sure in [
            "for %a in (a,b) do x",
            "for /f \"tokens=1-3\" %%a in ('x') do y",
            "& for  /l %_ in (1,1,9) do @echo x",
            "if exist a.txt echo x",
            "if /i not exist x y",
            "if errorlevel 1 x",
            "if \"%x%\" neq \"1\" echo x",
            "if [%1]==[/?] goto x",
            "if not defined x set y=1",
            "if (a) == (a) echo same",
        ] {
            assert_eq!(
                statement(sure.as_bytes()).map(|(_, sure)| sure),
                Some(true),
                "{sure}"
            );
        }
        for other in [
            "for 5% in (most) cases",
            "for all in (the) list",
            "if it exists, then",
            "if defined in the file",
            "if (a == b) { return; }",
            "if x == 1: pass",
            "elif %x",
            "for",
            "if",
            "what if",
        ] {
            assert_ne!(
                statement(other.as_bytes()).map(|(_, sure)| sure),
                Some(true),
                "{other}"
            );
        }
    }
}
