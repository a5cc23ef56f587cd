//! Scenarios from TOML: every mistake named by its field, with the fix.

mod reader;

use toml::{Table, Value};

use super::Scenario;
use reader::Reader;

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
