//! SQL injection: reads a value as SQL in each place where it could stand, and looks for what turns
//! a value into a statement.
//!
//! Prose has the same words as SQL but not its structure, so single words count for little: what
//! counts is a comparison of constants behind `or`, a `select` with a list a server would take, a
//! string that is ended and followed by an operator.

mod calls;
mod conditions;
mod endings;
mod rules;
mod statement;
mod tokens;
mod words;

use super::bytes::{Kinds, has};
use super::level::Level;
use super::rule::{Findings, Place};
use rules::{OPERATOR, SYSTEM};
use statement::Statement;
use tokens::{Context, Reader};
use words::Word;

/// What has to be in a value for it to be read as SQL, besides letters and spaces.
const SIGNS: Kinds = Kinds::SINGLE
    .or(Kinds::DOUBLE)
    .or(Kinds::PAREN)
    .or(Kinds::SEMICOLON)
    .or(Kinds::EQUALS)
    .or(Kinds::ANGLE)
    .or(Kinds::HASH)
    .or(Kinds::BACKTICK)
    .or(Kinds::PIPE)
    .or(Kinds::OTHER)
    .or(Kinds::AT)
    .or(Kinds::AMPERSAND)
    .or(Kinds::SLASH)
    .or(Kinds::COLON)
    .or(Kinds::SPACE);

/// Whether the text, in any case, is the name of a table or schema of a database's own.
pub(super) fn is_system_name(text: &[u8]) -> bool {
    let mut lower = [0; 24];
    let Some(lower) = lower.get_mut(..text.len()) else {
        return false;
    };
    lower.copy_from_slice(text);
    lower.make_ascii_lowercase();
    words::look_up(lower) == Word::System
}

/// Looks at `text`, in lower case.
pub(super) fn inspect(text: &[u8], kinds: Kinds, place: Place, findings: &mut Findings) {
    if kinds.any(Kinds::DOLLAR) {
        document_operators(text, findings);
    }
    // A name by itself may be a table of the database's own.
    if !kinds.any(SIGNS) {
        if is_system_name(text) {
            findings.add(&SYSTEM, text, 0);
        }
        // `mysql.db`, `pg_catalog.x`
        if !kinds.any(Kinds::DOT) {
            return;
        }
    }
    // Paths have numbers, words and signs side by side; quotes and parentheses they have not.
    let telling = Kinds::SINGLE
        .or(Kinds::DOUBLE)
        .or(Kinds::PAREN)
        .or(Kinds::SPACE)
        .or(Kinds::OTHER);
    if place == Place::Path && !kinds.any(telling) {
        return;
    }
    read_in(text, Context::Bare, findings);
    for (kind, quote) in [
        (Kinds::SINGLE, b'\''),
        (Kinds::DOUBLE, b'"'),
        (Kinds::BACKTICK, b'`'),
    ] {
        if kinds.any(kind) && (quote != b'`' || ends_identifier(text)) {
            read_in(text, Context::Quoted(quote), findings);
        }
    }
    if kinds.any(Kinds::DOLLAR) && has(text, b"$$") {
        read_in(text, Context::Dollars, findings);
    }
}

/// Whether the first backtick ends a name, as `` 1`=`1 `` does. In Markdown it begins code: a space
/// stands before it, and none behind.
fn ends_identifier(text: &[u8]) -> bool {
    let Some(at) = text.iter().position(|byte| *byte == b'`') else {
        return false;
    };
    let before = text.get(..at).unwrap_or_default();
    match before.last() {
        None => text.get(at + 1).is_some_and(u8::is_ascii_whitespace),
        Some(last) => {
            (last.is_ascii_alphanumeric() || matches!(last, b'%' | b')')) && !before.contains(&b' ')
        }
    }
}

fn read_in(text: &[u8], context: Context, findings: &mut Findings) {
    let mut reader = Reader::new(text, context);
    let mut begins = true;
    loop {
        let statement = Statement {
            text,
            tokens: &reader.tokens,
            context,
            inner_comment: reader.inner_comment,
            begins,
        };
        statement.inspect(findings);
        // Enough to be refused for: the rest changes nothing.
        if findings.score() >= Level::Low.threshold() || !reader.advance() {
            return;
        }
        begins = false;
    }
}

/// `[$ne]`, `{"$gt":""}`, `$where`: as a name of a parameter, or in a value.
fn document_operators(text: &[u8], findings: &mut Findings) {
    const OPERATORS: &[&[u8]] = &[
        b"ne",
        b"eq",
        b"gt",
        b"gte",
        b"lt",
        b"lte",
        b"in",
        b"nin",
        b"or",
        b"nor",
        b"xor",
        b"and",
        b"not",
        b"regex",
        b"where",
        b"exists",
        b"type",
        b"mod",
        b"all",
        b"size",
        b"elemmatch",
        b"slice",
        b"expr",
        b"function",
        b"jsonschema",
        b"like",
        b"between",
        b"div",
        b"text",
        b"accumulator",
        b"lookup",
        b"func",
    ];
    let mut from = 0;
    // Looked for once, since every `$` asks.
    let is_object = text.contains(&b'{');
    while let Some(at) = super::bytes::find_from(text, b"$", from) {
        from = at + 1;
        let rest = text.get(from..).unwrap_or_default();
        let length = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        let word = rest.get(..length).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let after = rest.get(length);
        let bracketed = before == Some(&b'[') && after == Some(&b']');
        let key = matches!(before, Some(b'"' | b'\'' | b'{' | b',' | b' '))
            && matches!(after, Some(b'"' | b'\'' | b':'))
            && is_object;
        let whole = at == 0 && word == b"where" && matches!(after, None | Some(b':' | b'='));
        // `, $where: '1 == 1'`: behind the value of another key.
        let appended = after == Some(&b':')
            && matches!(before, None | Some(b',' | b' ' | b'\''))
            && matches!(
                word,
                b"where" | b"or" | b"and" | b"ne" | b"gt" | b"regex" | b"expr" | b"comment"
            );
        if appended {
            findings.add(&OPERATOR, text, at);
            return;
        }
        if (bracketed || key || whole) && OPERATORS.contains(&word) {
            findings.add(&OPERATOR, text, at);
            return;
        }
    }
}
