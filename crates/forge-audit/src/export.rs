//! Records in the formats of others.
//!
//! Texts are escaped twice where it matters: what [deceives](crate::escape) a reader was written as
//! an escape when the event was made and is again, and each format's own separators are written as
//! it asks. A value in CSV that a spreadsheet would take for a formula gets an apostrophe before it.

mod ocsf;

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::json;

use crate::chain::Content;
use crate::error::{StoreError, UnknownName};
use crate::escape::escape;
use crate::kind::Severity;
use crate::query::Filter;
use crate::record::Record;
use crate::store::AuditStore;

pub use self::ocsf::OCSF_VERSION;

const PAGE: usize = 1000;

/// A format of export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JSON Lines: each record as the API shows it.
    JsonLines,
    /// CSV, RFC 4180, with a header.
    Csv,
    /// Common Event Format, version 0.
    Cef,
    /// Syslog, RFC 5424, facility 13 (log audit).
    Syslog,
    /// Open Cybersecurity Schema Framework, [`OCSF_VERSION`], as JSON Lines.
    Ocsf,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] = &[
        Self::JsonLines,
        Self::Csv,
        Self::Cef,
        Self::Syslog,
        Self::Ocsf,
    ];

    /// Its name on a command line: `jsonl`, `csv`, `cef`, `syslog`, `ocsf`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Cef => "cef",
            Self::Syslog => "syslog",
            Self::Ocsf => "ocsf",
        }
    }

    /// What stands before the first record.
    #[must_use]
    pub const fn header(self) -> &'static str {
        match self {
            Self::Csv => {
                "seq,time,kind,action,outcome,severity,actor_id,actor_login,session,address,\
                 user_agent,resource,request_id,details,hash\r\n"
            }
            _ => "",
        }
    }

    /// `record` as one line, with its end.
    #[must_use]
    pub fn line(self, record: &Record) -> String {
        match self {
            Self::JsonLines => format!("{}\n", safe_json(&json!(record).to_string())),
            Self::Csv => csv(record),
            Self::Cef => cef(record),
            Self::Syslog => syslog(record),
            Self::Ocsf => format!("{}\n", safe_json(&ocsf::value(record).to_string())),
        }
    }
}

impl std::str::FromStr for Format {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let mut all = Self::ALL.iter();
        all.find(|format| format.as_str() == text)
            .copied()
            .ok_or(UnknownName)
    }
}

/// Exports a log piece by piece. It can be taken up again after any piece, by its last sequence.
#[derive(Clone)]
#[must_use]
pub struct Export {
    store: Arc<dyn AuditStore>,
    format: Format,
    filter: Filter,
    after: u64,
    is_begun: bool,
}

/// A piece of an export: whole lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// The lines.
    pub text: String,
    /// The sequence to go on after.
    pub last: u64,
}

impl Export {
    /// All that `store` holds, from the first record on.
    pub fn new(store: Arc<dyn AuditStore>, format: Format) -> Self {
        Self {
            store,
            format,
            filter: Filter::default(),
            after: 0,
            is_begun: false,
        }
    }

    /// Only what `filter` finds.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Goes on after the record with this sequence, without a header.
    pub fn after(mut self, seq: u64) -> Self {
        self.after = seq;
        self.is_begun = seq > 0;
        self
    }

    /// The next piece; `None` when there is nothing more.
    ///
    /// # Errors
    ///
    /// The store's error; another call tries again.
    pub async fn next(&mut self) -> Result<Option<Piece>, StoreError> {
        let page = self.store.scan(self.after, PAGE).await?;
        let Some(last) = page.last().map(|s| s.seq + s.count() - 1) else {
            return Ok(None);
        };
        let mut text = String::new();
        if !self.is_begun {
            text.push_str(self.format.header());
        }
        for stored in page {
            if !matches!(stored.content, Content::Pruned { .. }) {
                let record = stored.into_record();
                if self.filter.matches(record.time, &record.event) {
                    text.push_str(&self.format.line(&record));
                }
            }
        }
        (self.after, self.is_begun) = (last, true);
        Ok(Some(Piece { text, last }))
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export")
            .field("format", &self.format)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

/// JSON of which no character deceives: those that JSON lets stand are written as its escapes.
fn safe_json(text: &str) -> String {
    if !text.chars().any(crate::escape::deceives) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if crate::escape::deceives(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// The parts of a record that are texts, by their names in CSV.
fn texts(record: &Record) -> [(&'static str, Option<Cow<'_, str>>); 8] {
    let event = &record.event;
    let text = |part: Option<&'_ str>| part.map(|part| Cow::Owned(escape(part).into_owned()));
    let address = event.source.address.map(|a| Cow::Owned(a.to_string()));
    [
        ("actor_id", text(event.actor.id.as_deref())),
        ("actor_login", text(event.actor.login.as_deref())),
        ("session", text(event.actor.session.as_deref())),
        ("address", address),
        ("user_agent", text(event.source.user_agent.as_deref())),
        ("resource", text(event.resource.as_deref())),
        ("request_id", text(event.request_id.as_deref())),
        (
            "details",
            event.details_json().map(|json| Cow::Owned(safe_json(json))),
        ),
    ]
}

fn csv(record: &Record) -> String {
    let event = &record.event;
    let mut line = format!(
        "{},{},{},{},{},{}",
        record.seq, record.time, event.kind, event.action, event.outcome, event.severity
    );
    for (_, text) in texts(record) {
        let text = text.unwrap_or_default();
        let formula = if text.starts_with(['=', '+', '-', '@']) {
            "'"
        } else {
            ""
        };
        let _ = write!(line, ",\"{formula}{}\"", text.replace('"', "\"\""));
    }
    let _ = write!(line, ",{}\r\n", record.hash);
    line
}

fn cef(record: &Record) -> String {
    let event = &record.event;
    let severity = match event.severity {
        Severity::Low => 2,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    };
    let mut line = format!(
        "CEF:0|Forge|forge-audit|{}|{}|{}|{severity}|rt={} externalId={} cat={} outcome={}",
        env!("CARGO_PKG_VERSION"),
        event.action,
        event.action,
        record.time.as_micros() / 1000,
        record.seq,
        event.kind,
        event.outcome,
    );
    let keys = [
        ("actor_id", "suid"),
        ("actor_login", "suser"),
        ("address", "src"),
        ("user_agent", "requestClientApplication"),
        ("resource", "request"),
    ];
    let custom = [("session", 1), ("request_id", 2), ("details", 3)];
    let value = |text: &str| text.replace('\\', "\\\\").replace('=', "\\=");
    for (name, text) in texts(record) {
        let Some(text) = text else { continue };
        if let Some((_, key)) = keys.iter().find(|(own, _)| *own == name) {
            // IPv6 has keys of its own.
            let key = match event.source.address {
                Some(address) if name == "address" && address.is_ipv6() => "c6a2",
                _ => key,
            };
            let _ = write!(line, " {key}={}", value(&text));
        }
        if let Some((_, number)) = custom.iter().find(|(own, _)| *own == name) {
            let _ = write!(line, " cs{number}Label={name} cs{number}={}", value(&text));
        }
    }
    line.push('\n');
    line
}

fn syslog(record: &Record) -> String {
    let event = &record.event;
    let level = match event.severity {
        Severity::Low => 6,
        Severity::Medium => 5,
        Severity::High => 4,
        Severity::Critical => 2,
    };
    // Facility 13 is that of audit logs. 32473 is the enterprise number for examples (RFC 5612):
    // the project has none.
    let mut line = format!(
        "<{}>1 {} - forge-audit - {} [audit@32473 seq=\"{}\" kind=\"{}\" outcome=\"{}\" severity=\"{}\" hash=\"{}\"",
        13 * 8 + level,
        record.time,
        event.action.get(..32).unwrap_or(&event.action),
        record.seq,
        event.kind,
        event.outcome,
        event.severity,
        record.hash,
    );
    for (name, text) in texts(record) {
        let Some(text) = text else { continue };
        let value = text
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace(']', "\\]");
        let _ = write!(line, " {name}=\"{value}\"");
    }
    let _ = writeln!(line, "] {}", event.action);
    line
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::chain::Chain;
    use crate::clock::Timestamp;
    use crate::event::{Actor, Event, Source};
    use crate::kind::{Kind, Outcome};

    fn record(text: &str) -> Record {
        let event = Event::new(Kind::Authentication, "auth.sign_in")
            .outcome(Outcome::Denied)
            .severity(Severity::High)
            .actor(Actor::new("7").login(text).session("s"))
            .source(
                Source::new()
                    .address("192.0.2.7".parse().unwrap())
                    .user_agent(text),
            )
            .resource(text)
            .request_id("r-1")
            .details(&json!({ "text": text }));
        Chain::new().append(event, Timestamp::from_micros(1_700_000_000_000_250))
    }

    /// What forges lines, drives terminals, reorders text, ends fields or begins formulas.
    const HOSTILE: &[&str] = &[
        "a\r\nCEF:0|x|y",
        "\u{1b}[2J",
        "\u{202e}nimda",
        "a|b=c\\d",
        "\"] [x@1 y=\"z",
        "=1+1",
        "@SUM(A1)",
        "a\u{2028}b\0c\u{7f}",
        "x\u{feff}",
        "',\"\"; DROP",
        "<134>1 2020",
        "\u{9b}31m",
    ];

    #[test]
    fn details_that_only_a_forger_writes_are_shown_as_damaged() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for forged in [&*deep, "1e999", "{\n\"a\":1}"] {
            let personal = crate::canonical::Personal {
                details: Some(forged),
                ..Default::default()
            };
            let event = Event::new(Kind::Authentication, "auth.sign_in");
            let mut stored = crate::Stored::from(&Chain::new().append(event, Timestamp::default()));
            if let Content::Whole { personal: kept, .. } = &mut stored.content {
                *kept = personal.encode();
            }
            // Whoever can write the database can compute it.
            stored.hash = stored.link().expected_hash();
            let record = stored.into_record();
            for format in Format::ALL {
                let line = format.line(&record);
                assert_eq!(line.trim_end().lines().count(), 1, "{format:?}: {line:?}");
            }
            assert_eq!(record.event.action(), "audit.damaged");
        }
    }

    #[test]
    fn no_text_breaks_out_of_its_field_or_line() {
        for hostile in HOSTILE {
            let record = record(hostile);
            for format in Format::ALL {
                let line = format.line(&record);
                let body = line.trim_end_matches(['\r', '\n']);
                assert_eq!(line.matches('\n').count(), 1, "{format:?} {line:?}");
                assert!(
                    !body.chars().any(crate::escape::deceives),
                    "{format:?} {line:?}"
                );
            }
            let csv = Format::Csv.line(&record);
            for field in csv.split("\",\"") {
                assert!(!field.starts_with(['=', '+', '@']), "{csv}");
            }
            let read: Value = serde_json::from_str(&Format::Ocsf.line(&record)).unwrap();
            assert_eq!(read["class_uid"], 3002);
            let syslog = Format::Syslog.line(&record);
            let unescaped = syslog.replace("\\\\", "").replace("\\]", "");
            assert_eq!(unescaped.matches(']').count(), 1, "{syslog}");
            let cef = Format::Cef.line(&record);
            assert_eq!(cef.split('|').take(7).count(), 7);
        }
    }

    #[test]
    fn each_format_is_as_its_standard_has_it() {
        let record = record("octo");
        let cef = Format::Cef.line(&record);
        assert!(cef.starts_with("CEF:0|Forge|forge-audit|"), "{cef}");
        assert!(
            cef.contains("|auth.sign_in|auth.sign_in|8|rt=1700000000000 externalId=1 "),
            "{cef}"
        );
        assert!(
            cef.contains(" suser=octo ") && cef.contains(" src=192.0.2.7 "),
            "{cef}"
        );
        let syslog = Format::Syslog.line(&record);
        assert!(syslog.starts_with("<108>1 2023-11-14T22:13:20.000250Z - forge-audit - auth.sign_in [audit@32473 seq=\"1\" "), "{syslog}");
        let csv = Format::Csv.line(&record);
        assert_eq!(
            csv.matches(',').count(),
            Format::Csv.header().matches(',').count(),
            "{csv}"
        );
        assert!(csv.ends_with("\r\n"));
    }
}
