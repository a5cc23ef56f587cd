//! One value, in each form that decoding gives it, before each of the readers.

use super::bytes::Kinds;
use super::normalise::{self, Decoded, Oddities};
use super::rule::{Findings, Place};
use super::{code, html, path, protocol, shell, sql};

/// Looks at a value in each form that decoding gives it.
pub(super) fn all(decoded: &Decoded, place: Place, findings: &mut Findings) {
    let oddities = decoded.oddities;
    every(&decoded.once, decoded.kinds, place, oddities, findings);
    variants(&decoded.once, decoded.kinds, place, findings);
    if let Some(fully) = &decoded.fully {
        let kinds = Kinds::of(fully);
        every(fully, kinds, place, oddities, findings);
        variants(fully, kinds, place, findings);
    }
}

/// The value as HTML and as JavaScript would read it, where that makes a difference.
fn variants(text: &[u8], kinds: Kinds, place: Place, findings: &mut Findings) {
    let mut out = Vec::new();
    if kinds.any(Kinds::AMPERSAND)
        && kinds.any(Kinds::SEMICOLON.or(Kinds::HASH))
        && normalise::decode_entities(text, &mut out)
    {
        let before = kinds;
        let kinds = Kinds::of(&out);
        quotes_decoded(&out, before, kinds, place, findings);
        html::inspect(&out, kinds, place, findings);
        path::inspect(&out, kinds, place, Oddities::default(), findings);
        // A shell's separators are not what the semicolons of entities were.
        shell::inspect(&out, kinds, place, findings);
        code::inspect(&out, kinds, place, findings);
    }
    if kinds.any(Kinds::BACKSLASH) && normalise::decode_backslashes(text, &mut out) {
        let before = kinds;
        let kinds = Kinds::of(&out);
        quotes_decoded(&out, before, kinds, place, findings);
        html::inspect(&out, kinds, place, findings);
        path::inspect(&out, kinds, place, Oddities::default(), findings);
        code::inspect(&out, kinds, place, findings);
    }
    // `\74` is `t` in CSS, and `<` in a script.
    if kinds.any(Kinds::BACKSLASH) && normalise::decode_octal(text, &mut out) {
        html::inspect(&out, Kinds::of(&out), place, findings);
    }
}

/// Escapes may hide the quotation mark that ends a string of SQL.
fn quotes_decoded(text: &[u8], before: Kinds, kinds: Kinds, place: Place, found: &mut Findings) {
    let quotes = Kinds::SINGLE.or(Kinds::DOUBLE);
    if kinds.any(quotes) && !before.any(quotes) {
        sql::inspect(text, kinds, place, found);
    }
}

pub(super) fn every(
    text: &[u8],
    kinds: Kinds,
    place: Place,
    oddities: Oddities,
    findings: &mut Findings,
) {
    sql::inspect(text, kinds, place, findings);
    html::inspect(text, kinds, place, findings);
    path::inspect(text, kinds, place, oddities, findings);
    shell::inspect(text, kinds, place, findings);
    code::inspect(text, kinds, place, findings);
    protocol::inspect(text, kinds, place, oddities, findings);
}
