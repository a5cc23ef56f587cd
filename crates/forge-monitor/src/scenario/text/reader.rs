//! One table of a text, read field by field.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use toml::{Table, Value};

use super::ScenarioError;
use crate::alert::Severity;
use crate::decision::Action;
use crate::error::BuildError;
use crate::health::HealthStatus;
use crate::pattern::SignalPattern;
use crate::scenario::{Distinct, Scenario, ScenarioBuilder, Scope, Weight};
use crate::signal::SignalClass;

const KINDS: [&str; 5] = ["count", "leaky", "distinct", "sequence", "first"];

/// Takes the fields out of a table and keeps what is wrong with them.
pub(super) struct Reader {
    pub(super) scenario: String,
    table: Table,
    prefix: String,
    pub(super) errors: Vec<ScenarioError>,
}

impl Reader {
    pub(super) fn new(table: &Table, number: usize) -> Self {
        let name = table.get("name").and_then(Value::as_str);
        Self {
            scenario: name.map_or_else(|| (number + 1).to_string(), str::to_owned),
            table: table.clone(),
            prefix: String::new(),
            errors: Vec::new(),
        }
    }

    pub(super) fn wrong(
        &mut self,
        field: &str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.errors.push(ScenarioError {
            scenario: self.scenario.clone(),
            field: format!("{}{field}", self.prefix),
            problem: problem.into(),
            fix: fix.into(),
        });
    }

    /// The scenario, new or one that is changed.
    pub(super) fn scenario(&mut self, known: Option<&Scenario>) -> Option<Scenario> {
        match self.table.remove("name") {
            Some(Value::String(_)) => {}
            Some(_) => self.wrong("name", "is no text", "write it in quotes"),
            None => self.wrong(
                "name",
                "is missing",
                "give it a name of a-z, 0-9, `_` and `-`",
            ),
        }
        let kind = self.one_of("kind", &KINDS);
        let mut builder = match known {
            Some(known) => {
                if kind.is_some() {
                    let fix = "take it out, or choose another name";
                    self.wrong(
                        "kind",
                        "cannot be changed of a scenario that is built in",
                        fix,
                    );
                }
                for field in [
                    "signal",
                    "match",
                    "min_score",
                    "status",
                    "distinct",
                    "steps",
                ] {
                    if self.table.remove(field).is_some() {
                        let problem = "cannot be changed of a scenario that is built in";
                        self.wrong(field, problem, "choose another name for one of your own");
                    }
                }
                ScenarioBuilder::of(known.clone())
            }
            None => self.begin(kind)?,
        };
        if let Some(threshold) = self.number("threshold", u32::MAX.into()) {
            builder = builder.threshold(threshold as u32);
        }
        if let Some(window) = self.duration("window") {
            builder = builder.window(window);
        }
        if let Some(burst) = self.number("burst", u64::MAX >> 1) {
            builder = builder.burst(burst);
        }
        if let Some(drain) = self.duration("drain") {
            builder = builder.drain(drain);
        }
        if let Some(weight) = self.one_of("weight", &["one", "score", "bytes"]) {
            builder = builder.weight([Weight::One, Weight::Score, Weight::Bytes][weight]);
        }
        if let Some(by) = self.one_of("by", &["address", "user", "component"]) {
            builder = builder.scope([Scope::Address, Scope::User, Scope::Component][by]);
        }
        if let Some(actions) = self.actions() {
            builder = builder.respond(actions);
        }
        if let Some(hold_for) = self.duration("hold_for") {
            builder = builder.hold_for(hold_for);
        }
        if let Some(severity) = self.one_of("severity", &["info", "warning", "critical"]) {
            let severities = [Severity::Info, Severity::Warning, Severity::Critical];
            builder = builder.severity(severities[severity]);
        }
        if let Some(simulate) = self.truth("simulate") {
            builder = builder.simulate(simulate);
        }
        if let Some(capacity) = self.number("capacity", u32::MAX.into()) {
            builder = builder.capacity(capacity as usize);
        }
        if let Some(reset_on) = self.pattern_of("reset_on") {
            builder = builder.reset_on(reset_on);
        }
        self.nothing_else(&FIELDS);
        match builder.build() {
            Ok(scenario) if self.errors.is_empty() => Some(scenario),
            Ok(_) => None,
            Err(error) => {
                self.not_built(&error);
                None
            }
        }
    }

    /// A new scenario of that kind, with what it is about.
    fn begin(&mut self, kind: Option<usize>) -> Option<ScenarioBuilder> {
        let name: Arc<str> = self.scenario.as_str().into();
        let Some(kind) = kind else {
            if !self.errors.iter().any(|error| error.field == "kind") {
                self.wrong(
                    "kind",
                    "is missing",
                    format!("it is one of {}", listed(&KINDS)),
                );
            }
            return None;
        };
        if KINDS[kind] == "sequence" {
            return self.steps(Scenario::sequence(name));
        }
        let pattern = self.pattern()?;
        Some(match KINDS[kind] {
            "count" => Scenario::count(name, pattern),
            "leaky" => Scenario::leaky_bucket(name, pattern),
            kind => {
                let what = ["user", "address", "path", "tool", "component"];
                let distinct = self.one_of("distinct", &what);
                let Some(distinct) = distinct else {
                    let fix = format!("it is one of {}", listed(&what));
                    if !self.errors.iter().any(|error| error.field == "distinct") {
                        self.wrong("distinct", "is missing", fix);
                    }
                    return None;
                };
                let of = [
                    Distinct::User,
                    Distinct::Address,
                    Distinct::Name,
                    Distinct::Name,
                    Distinct::Name,
                ][distinct];
                match kind {
                    "distinct" => Scenario::distinct(name, pattern, of),
                    _ => Scenario::first(name, pattern, of),
                }
            }
        })
    }

    fn steps(&mut self, mut builder: ScenarioBuilder) -> Option<ScenarioBuilder> {
        let fix =
            r#"write `steps = [{ signal = "auth_failed", times = 5 }, { signal = "auth_ok" }]`"#;
        let steps = match self.table.remove("steps") {
            Some(Value::Array(steps)) => steps,
            Some(_) => {
                self.wrong("steps", "is no list", fix);
                return None;
            }
            None => {
                self.wrong("steps", "is missing", fix);
                return None;
            }
        };
        for (number, step) in steps.into_iter().enumerate() {
            let Value::Table(table) = step else {
                self.wrong("steps", "holds something that is no table", fix);
                return None;
            };
            let outer = std::mem::replace(&mut self.table, table);
            self.prefix = format!("steps[{number}].");
            let times = self.number("times", 1000).unwrap_or(1);
            let pattern = self.pattern();
            self.nothing_else(&["signal", "match", "min_score", "status", "times"]);
            self.prefix.clear();
            self.table = outer;
            builder = builder.then_times(times as u32, pattern?);
        }
        Some(builder)
    }

    fn pattern_of(&mut self, field: &'static str) -> Option<SignalPattern> {
        let table = match self.table.remove(field)? {
            Value::Table(table) => table,
            _ => {
                let fix = format!(r#"write `{field} = {{ signal = "auth_ok" }}`"#);
                self.wrong(field, "is no table", fix);
                return None;
            }
        };
        let outer = std::mem::replace(&mut self.table, table);
        self.prefix = format!("{field}.");
        let pattern = self.pattern();
        self.nothing_else(&["signal", "match", "min_score", "status"]);
        self.prefix.clear();
        self.table = outer;
        pattern
    }

    fn pattern(&mut self) -> Option<SignalPattern> {
        let classes = SignalClass::ALL.map(SignalClass::as_str);
        let before = self.errors.len();
        let Some(class) = self.one_of("signal", &classes) else {
            if self.errors.len() == before {
                self.wrong(
                    "signal",
                    "is missing",
                    format!("it is one of {}", listed(&classes)),
                );
            }
            return None;
        };
        let mut pattern = SignalPattern::new(SignalClass::ALL[class]);
        if let Some(names) = self.texts("match") {
            pattern = pattern.names(names);
        }
        if let Some(score) = self.number("min_score", u32::MAX.into()) {
            pattern = pattern.min_score(score as u32);
        }
        if let Some(statuses) = self.texts("status") {
            let mut known = Vec::new();
            for status in statuses {
                match status.as_str() {
                    "up" => known.push(HealthStatus::Up),
                    "degraded" => known.push(HealthStatus::Degraded),
                    "down" => known.push(HealthStatus::Down),
                    _ => self.wrong("status", "holds no status", "use up, degraded or down"),
                }
            }
            pattern = pattern.statuses(known);
        }
        Some(pattern)
    }

    fn actions(&mut self) -> Option<Vec<Action>> {
        let names = self.texts("respond")?;
        let mut actions = Vec::new();
        for name in names {
            match Action::parse(&name) {
                Some(action) => actions.push(action),
                None => {
                    let known = Action::ALL.map(Action::as_str);
                    let fix = format!("use any of {}, or [] to alert only", listed(&known));
                    self.wrong("respond", format!("holds `{}`", name.escape_debug()), fix);
                }
            }
        }
        Some(actions)
    }

    /// The place of a text in a list of those allowed.
    fn one_of(&mut self, field: &str, allowed: &[&str]) -> Option<usize> {
        let value = self.table.remove(field)?;
        let place = value
            .as_str()
            .and_then(|text| allowed.iter().position(|allowed| *allowed == text));
        if place.is_none() {
            self.wrong(
                field,
                format!("is {}", shown(&value)),
                format!("it is one of {}", listed(allowed)),
            );
        }
        place
    }

    fn number(&mut self, field: &str, max: u64) -> Option<u64> {
        let value = self.table.remove(field)?;
        let number = value
            .as_integer()
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| *number <= max);
        if number.is_none() {
            let fix = format!("write a whole number from 0 to {max}");
            self.wrong(field, format!("is {}", shown(&value)), fix);
        }
        number
    }

    pub(super) fn truth(&mut self, field: &str) -> Option<bool> {
        let value = self.table.remove(field)?;
        let truth = value.as_bool();
        if truth.is_none() {
            self.wrong(
                field,
                format!("is {}", shown(&value)),
                "write true or false",
            );
        }
        truth
    }

    fn texts(&mut self, field: &str) -> Option<Vec<String>> {
        let value = self.table.remove(field)?;
        let texts = match &value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        };
        if texts.is_none() {
            let fix = r#"write a list of texts, such as ["read_*"]"#;
            self.wrong(field, format!("is {}", shown(&value)), fix);
        }
        texts
    }

    fn duration(&mut self, field: &str) -> Option<Duration> {
        let value = self.table.remove(field)?;
        let duration = value.as_str().and_then(duration);
        if duration.is_none() {
            let fix = "write it as \"90s\", \"15m\", \"24h\" or \"7d\"";
            self.wrong(field, format!("is {}", shown(&value)), fix);
        }
        duration
    }

    /// What is left is not known.
    fn nothing_else(&mut self, known: &[&str]) {
        let left: Vec<String> = self.table.keys().cloned().collect();
        for field in left {
            let fix = format!("the fields are {}", listed(known));
            self.wrong(&field.escape_debug().to_string(), "is not known", fix);
        }
    }

    fn not_built(&mut self, error: &BuildError) {
        let (field, fix) = match error {
            BuildError::Name => ("name", "choose such a name"),
            BuildError::Duration("the window") => ("window", "write it as \"15m\""),
            BuildError::Duration("the time to drain") => ("drain", "write it as \"10m\""),
            BuildError::Duration(_) => ("hold_for", "write it as \"15m\""),
            BuildError::Burst => ("burst", "make it at least 1"),
            BuildError::Steps { .. } => ("steps", "make them fewer, or add one"),
            BuildError::Action { .. } => ("respond", "set `by` to user, or choose another action"),
            BuildError::Unfit(field) => (*field, "take it out, or choose another `kind`"),
            BuildError::Memory { .. } => ("capacity", "make it smaller, or the threshold"),
        };
        self.wrong(field, format!("cannot be: {error}"), fix);
    }
}

const FIELDS: [&str; 20] = [
    "name",
    "kind",
    "signal",
    "match",
    "min_score",
    "status",
    "distinct",
    "steps",
    "by",
    "threshold",
    "window",
    "burst",
    "drain",
    "weight",
    "reset_on",
    "respond",
    "hold_for",
    "severity",
    "simulate",
    "capacity",
];

/// `90s`, `15m`, `24h`, `7d`, `250ms`
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok()?;
    let unit = match text[end..].trim() {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_secs)
}

fn listed(names: &[&str]) -> String {
    names.join(", ")
}

/// A value as it was written, as far as it fits a line.
fn shown(value: &Value) -> impl fmt::Display {
    let text: String = value.to_string().chars().take(60).collect();
    text.escape_debug().to_string()
}
