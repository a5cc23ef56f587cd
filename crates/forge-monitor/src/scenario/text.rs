//! Scenarios from TOML: every mistake named by its field, with the fix.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use toml::{Table, Value};

use super::{Distinct, Scenario, ScenarioBuilder, Scope, Weight};
use crate::alert::Severity;
use crate::decision::Action;
use crate::error::BuildError;
use crate::health::HealthStatus;
use crate::pattern::SignalPattern;
use crate::signal::SignalClass;

const KINDS: [&str; 5] = ["count", "leaky", "distinct", "sequence", "first"];

/// A mistake in a scenario's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scenario `{scenario}`: `{field}` {problem}; {fix}")]
#[non_exhaustive]
pub struct ScenarioError {
    /// The scenario's name; its number, from 1, where it has none.
    pub scenario: String,
    /// The field.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

/// A list of scenarios, changed by what TOML says.
///
/// ```
/// use forge_monitor::{Scenario, Scenarios};
///
/// let scenarios = Scenarios::from(Scenario::built_in()).and_toml(r#"
///     ## A new one:
///     [[scenario]]
///     name = "report_scraping"
///     kind = "count"
///     signal = "tool_call"
///     match = ["read_report*"]
///     by = "user"
///     threshold = 40
///     window = "10m"
///     respond = ["tighten_limit"]
///     hold_for = "30m"
///
///     ## One that is built in, but for two fields:
///     [[scenario]]
///     name = "failed_authentications"
///     threshold = 8
///     simulate = true
///
///     ## One that is not wanted:
///     [[scenario]]
///     name = "tool_first_use"
///     enabled = false
/// "#).map_err(|errors| errors[0].clone())?;
/// assert_eq!(scenarios.into_vec().len(), Scenario::built_in().len());
/// # Ok::<(), forge_monitor::ScenarioError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Scenarios(Vec<Scenario>);

impl From<Vec<Scenario>> for Scenarios {
    fn from(scenarios: Vec<Scenario>) -> Self {
        Self(scenarios)
    }
}

impl Scenarios {
    /// The scenarios.
    #[must_use]
    pub fn into_vec(self) -> Vec<Scenario> {
        self.0
    }

    /// With those of a text, in tables `[[scenario]]`: see [`and_tables`](Self::and_tables).
    ///
    /// # Errors
    /// All mistakes, or that the text is no TOML.
    pub fn and_toml(self, text: &str) -> Result<Self, Vec<ScenarioError>> {
        let whole = |problem: String, fix: &str| {
            vec![ScenarioError {
                scenario: "*".to_owned(),
                field: "*".to_owned(),
                problem,
                fix: fix.to_owned(),
            }]
        };
        let mut document: Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().map_or("", |span| &text[..span.start]);
            let line = before.matches('\n').count() + 1;
            whole(
                format!("is not TOML: {} (line {line})", error.message()),
                "mend the line",
            )
        })?;
        let tables = match document.remove("scenario") {
            None => Vec::new(),
            Some(Value::Array(tables)) => tables,
            Some(_) => {
                return Err(whole(
                    "is no list of tables".to_owned(),
                    "begin each scenario with `[[scenario]]`",
                ));
            }
        };
        if let Some(unknown) = document.keys().next() {
            let fix = "begin each scenario with `[[scenario]]`";
            return Err(whole(
                format!("holds `{unknown}`, which is no scenario"),
                fix,
            ));
        }
        self.and_tables(&tables)
    }

    /// With those of some tables. A table whose name is in the list already changes that scenario
    /// by the fields it has, or takes it out with `enabled = false`.
    ///
    /// # Errors
    /// All mistakes.
    pub fn and_tables(mut self, tables: &[Value]) -> Result<Self, Vec<ScenarioError>> {
        let mut errors = Vec::new();
        let mut named = Vec::new();
        for (number, value) in tables.iter().enumerate() {
            let Value::Table(table) = value else {
                let mut reader = Reader::new(&Table::new(), number);
                reader.wrong("*", "is no table", "begin it with `[[scenario]]`");
                errors.append(&mut reader.errors);
                continue;
            };
            let mut reader = Reader::new(table, number);
            let name = reader.scenario.clone();
            if named.contains(&name) {
                reader.wrong(
                    "name",
                    "was given to another one already",
                    "give it another",
                );
            }
            named.push(name.clone());
            let known = self.0.iter().position(|known| known.name() == name);
            let enabled = reader.truth("enabled").unwrap_or(true);
            if !enabled {
                // What else the table says may stand there for later.
                if let Some(known) = known {
                    self.0.remove(known);
                }
            } else if let Some(scenario) = reader.scenario(known.map(|known| &self.0[known])) {
                match known {
                    Some(known) => self.0[known] = scenario,
                    None => self.0.push(scenario),
                }
            }
            errors.append(&mut reader.errors);
        }
        match errors.is_empty() {
            true => Ok(self),
            false => Err(errors),
        }
    }
}

/// Takes the fields out of a table and keeps what is wrong with them.
struct Reader {
    scenario: String,
    table: Table,
    prefix: String,
    errors: Vec<ScenarioError>,
}

impl Reader {
    fn new(table: &Table, number: usize) -> Self {
        let name = table.get("name").and_then(Value::as_str);
        Self {
            scenario: name.map_or_else(|| (number + 1).to_string(), str::to_owned),
            table: table.clone(),
            prefix: String::new(),
            errors: Vec::new(),
        }
    }

    fn wrong(&mut self, field: &str, problem: impl Into<String>, fix: impl Into<String>) {
        self.errors.push(ScenarioError {
            scenario: self.scenario.clone(),
            field: format!("{}{field}", self.prefix),
            problem: problem.into(),
            fix: fix.into(),
        });
    }

    /// The scenario, new or one that is changed.
    fn scenario(&mut self, known: Option<&Scenario>) -> Option<Scenario> {
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

    fn truth(&mut self, field: &str) -> Option<bool> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let read = Scenarios::from(Scenario::built_in()).and_toml(text);
        let errors = read.expect_err("a mistake");
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_is_told_by_field_and_fix() {
        let told = errors(
            r#"
            [[scenario]]
            name = "x"
            kind = "count"
            signal = "auth_fail"

            [[scenario]]
            name = "y"
            kind = "count"
            signal = "auth_failed"
            threshold = -1
            window = "15"
            respond = ["ban"]
            treshold = 3

            [[scenario]]
            name = "z"
            kind = "count"
            signal = "auth_failed"
            respond = ["revoke_sessions"]

            [[scenario]]
            kind = "count"
            "#,
        );
        let expected = [
            "scenario `x`: `signal` is \"auth_fail\"; it is one of auth_failed, auth_ok,",
            "scenario `y`: `threshold` is -1; write a whole number from 0 to 4294967295",
            "scenario `y`: `window` is \"15\"; write it as \"90s\", \"15m\", \"24h\" or \"7d\"",
            "scenario `y`: `respond` holds `ban`; use any of block, revoke_sessions,",
            "scenario `y`: `treshold` is not known; the fields are name, kind,",
            "scenario `z`: `respond` cannot be: revoke_sessions does not fit a scenario that counts \
             by address; set `by` to user",
            "scenario `4`: `name` is missing;",
            "scenario `4`: `signal` is missing;",
        ];
        for (told, expected) in told.iter().zip(expected) {
            let plain = told.replace("\\\"", "\"");
            assert!(plain.starts_with(expected), "{plain}\n{expected}");
        }
        assert_eq!(told.len(), expected.len(), "{told:#?}");
    }

    #[test]
    fn what_is_no_toml_is_told_by_line() {
        assert!(errors("[[scenario]]\nname = ")[0].contains("(line 2)"));
        assert!(errors("x = 1")[0].contains("holds `x`"));
        assert!(errors("scenario = 1")[0].contains("[[scenario]]"));
        assert!(
            errors("[[scenario]]\nname = 'a'\nkind = 'first'\nsignal = 'tool_call'")[0]
                .contains("`distinct` is missing")
        );
    }

    #[test]
    fn every_kind_can_be_written() {
        let text = r#"
            [[scenario]]
            name = "a"
            kind = "leaky"
            signal = "suspicious_request"
            min_score = 3
            weight = "score"
            burst = 20
            drain = "10m"
            severity = "critical"
            capacity = 100

            [[scenario]]
            name = "b"
            kind = "distinct"
            signal = "path_missing"
            match = "*.php"
            distinct = "path"
            threshold = 3

            [[scenario]]
            name = "c"
            kind = "sequence"
            by = "user"
            window = "2m"
            respond = ["revoke_sessions", "require_sign_in"]
            steps = [{ signal = "auth_failed", times = 5 }, { signal = "auth_ok" }]
            reset_on = { signal = "admin_act" }

            [[scenario]]
            name = "d"
            kind = "first"
            signal = "tool_call"
            distinct = "tool"
            window = "7d"

            [[scenario]]
            name = "e"
            kind = "count"
            signal = "health_changed"
            status = ["down"]
            by = "component"
            respond = []

            [[scenario]]
            name = "limit_refusals"
            enabled = false
        "#;
        let read = Scenarios::from(Scenario::built_in())
            .and_toml(text)
            .unwrap();
        let names: Vec<String> = read
            .into_vec()
            .iter()
            .map(|s| s.name().to_owned())
            .collect();
        assert_eq!(names.len(), 14 + 5 - 1);
        assert!(!names.contains(&"limit_refusals".to_owned()));
    }

    #[test]
    fn a_built_in_scenario_is_changed_by_the_fields_given() {
        let text = "[[scenario]]\nname = 'honeypath'\nhold_for = '2h'\nsimulate = true";
        let read = Scenarios::from(Scenario::built_in())
            .and_toml(text)
            .unwrap();
        let changed = read.into_vec();
        let trap = changed.iter().find(|s| s.name() == "honeypath").unwrap();
        assert!(trap.is_simulated());
        assert_eq!(trap.holds_for(), Duration::from_secs(7200));
        let kind = errors("[[scenario]]\nname = 'honeypath'\nsignal = 'auth_ok'");
        assert!(kind[0].contains("`signal` cannot be changed"), "{kind:?}");
        let unfit = errors("[[scenario]]\nname = 'honeypath'\nburst = 5");
        assert!(unfit[0].contains("`burst` cannot be"), "{unfit:?}");
    }
}
