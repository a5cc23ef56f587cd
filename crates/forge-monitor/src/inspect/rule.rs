//! Rules: what is looked for, how much it weighs, and what a match says.

use std::borrow::Cow;
use std::fmt;

/// What kind of attack a rule looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Family {
    /// SQL, and operators of document databases, where a value belongs.
    SqlInjection,
    /// Markup or script that a page would run.
    CrossSiteScripting,
    /// A path out of its folder, or to a file that is nobody's business.
    PathTraversal,
    /// Commands of a shell.
    CommandInjection,
    /// Template expressions, lookups such as Log4Shell's, and code of a language.
    CodeInjection,
    /// A line break that would begin a header or a response, or bytes no protocol has there.
    ProtocolAttack,
    /// An address that makes the server fetch something.
    RequestForgery,
    /// A tool that looks for weaknesses.
    Scanner,
}

impl Family {
    /// The name in reports, metrics and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SqlInjection => "sql_injection",
            Self::CrossSiteScripting => "xss",
            Self::PathTraversal => "path_traversal",
            Self::CommandInjection => "command_injection",
            Self::CodeInjection => "code_injection",
            Self::ProtocolAttack => "protocol",
            Self::RequestForgery => "request_forgery",
            Self::Scanner => "scanner",
        }
    }
}

/// Where in a request something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The path.
    Path,
    /// A query parameter's name.
    QueryName,
    /// A query parameter's value.
    QueryValue,
    /// A form field's name.
    FormName,
    /// A form field's value.
    FormValue,
    /// A cookie's name or value.
    Cookie,
    /// The `User-Agent` header.
    UserAgent,
    /// The `Referer` header.
    Referer,
    /// Another header's value.
    Header,
}

impl Place {
    /// The name in reports and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::QueryName => "query_name",
            Self::QueryValue => "query_value",
            Self::FormName => "form_name",
            Self::FormValue => "form_value",
            Self::Cookie => "cookie",
            Self::UserAgent => "user_agent",
            Self::Referer => "referer",
            Self::Header => "header",
        }
    }
}

/// One thing that is looked for.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: &'static str,
    pub(super) family: Family,
    /// Ten is enough for a refusal at either level, five at the high one.
    pub(super) score: u32,
    pub(super) explanation: &'static str,
}

impl Rule {
    pub(super) const fn new(
        id: &'static str,
        family: Family,
        score: u32,
        explanation: &'static str,
    ) -> Self {
        Self {
            id,
            family,
            score,
            explanation,
        }
    }
}

/// What a rule found. Safe to log: it is bounded, and escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Match {
    /// The rule's id, such as `sql.union_select`. Ids stay the same between versions.
    pub rule: &'static str,
    /// The kind of attack.
    pub family: Family,
    /// Where it was found.
    pub place: Place,
    /// The name of the parameter, cookie or header it was found in, escaped and cut short.
    pub name: Option<Box<str>>,
    /// How much it weighs.
    pub score: u32,
    /// What the rule looks for, in one sentence.
    pub explanation: &'static str,
    /// What it saw, decoded, escaped and cut short.
    pub saw: Box<str>,
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (+{}) in {}",
            self.rule,
            self.score,
            self.place.as_str()
        )?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        write!(f, ": {} Saw `{}`.", self.explanation, self.saw)
    }
}

/// The longest `saw`, in bytes of what was seen.
const MAX_SAW: usize = 80;

/// Collects what the rules find in one value.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<(&'static Rule, Box<str>)>,
}

impl Findings {
    /// Takes note that `rule` has found something at `at` in `text`. The first time counts.
    pub(super) fn add(&mut self, rule: &'static Rule, text: &[u8], at: usize) {
        if !self.found.iter().any(|(known, _)| known.id == rule.id) {
            // A little of what stands before it, for whoever reads the report.
            let start = boundary(text, at.saturating_sub(8));
            let seen = text.get(start..).unwrap_or_default();
            self.found.push((rule, escaped(seen, MAX_SAW).into()));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn score(&self) -> u32 {
        self.found.iter().map(|(rule, _)| rule.score).sum()
    }

    pub(super) fn into_matches(self, place: Place, name: Option<&[u8]>) -> Vec<Match> {
        let name: Option<Box<str>> = name.map(|name| escaped(name, 64).into());
        let matches = self.found.into_iter().map(|(rule, saw)| Match {
            rule: rule.id,
            family: rule.family,
            place,
            name: name.clone(),
            score: rule.score,
            explanation: rule.explanation,
            saw,
        });
        matches.collect()
    }
}

/// The place at `at`, or where the character that it lies in begins.
fn boundary(text: &[u8], at: usize) -> usize {
    let begins = (at.saturating_sub(3)..at)
        .rev()
        .find(|before| text.get(*before).is_some_and(|byte| byte & 0xc0 != 0x80));
    let Some((begins, rest)) = begins.and_then(|begins| Some((begins, text.get(begins..)?))) else {
        return at;
    };
    // What is no UTF-8 may be cut anywhere.
    let longest = rest.get(..4).unwrap_or(rest);
    let first = longest.utf8_chunks().next();
    let first = first.and_then(|chunk| chunk.valid().chars().next());
    match first {
        Some(character) if begins + character.len_utf8() > at => begins,
        _ => at,
    }
}

/// The text in printable ASCII and letters of any script, other bytes escaped, cut at `max` bytes
/// or before the character that lies there.
pub(super) fn escaped(text: &[u8], max: usize) -> Cow<'static, str> {
    let cut = text.len() > max;
    let text = match cut {
        true => text.get(..boundary(text, max)).unwrap_or(text),
        false => text,
    };
    let mut out = String::with_capacity(text.len() + 8);
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '`' | '\\' => out.extend(['\\', character]),
                ' '..='~' => out.push(character),
                _ if character.is_alphanumeric() => out.push(character),
                _ => out.extend(character.escape_default()),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if cut {
        out.push('…');
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_escaped_and_cut_short() {
        assert_eq!(escaped(b"a\r\n\x1b[0m\xff", 80), r"a\r\n\u{1b}[0m\xff");
        assert_eq!(escaped("\u{202e}é".as_bytes(), 80), r"\u{202e}é");
        let long = escaped(&[b'x'; 200], 80);
        assert_eq!(long.chars().count(), 81);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn no_character_is_cut_in_two() {
        for (character, shift) in ["é", "€", "𝄞"].map(|c| (c, c.len())) {
            for before in 0..shift {
                let text = [&"x".repeat(before), &*character.repeat(40)].concat();
                let seen = escaped(text.as_bytes(), 21);
                let whole = escaped(character.as_bytes(), 21);
                let left = (21 - before) / shift;
                let expected = [&"x".repeat(before), &*whole.repeat(left), "…"].concat();
                assert_eq!(seen, expected);
                // Nor where the report begins.
                assert_eq!(
                    boundary(text.as_bytes(), before + shift * 2 - 1) - before,
                    shift
                );
            }
        }
        // What is no UTF-8 is cut where it is.
        assert_eq!(escaped(b"ab\xc3\xc3\xc3", 4), r"ab\xc3\xc3…");
        assert_eq!(boundary(b"\x80\x80\x80\x80\x80", 4), 4);
    }

    #[test]
    fn a_rule_counts_once_for_a_value() {
        static RULE: Rule = Rule::new("a.b", Family::Scanner, 5, "x");
        let mut findings = Findings::default();
        findings.add(&RULE, b"0123456789", 9);
        findings.add(&RULE, b"0123456789", 2);
        assert_eq!(findings.score(), 5);
        let matches = findings.into_matches(Place::Path, None);
        assert_eq!(&*matches[0].saw, "123456789");
    }
}
