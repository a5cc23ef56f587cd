//! `monitor.*`: what is watched for, and what is done about it.

use std::time::Duration;

use forge_monitor::{Scenario, Scenarios};

use super::problem::Problem;
use super::{Reader, parse};

/// `monitor.*`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the key of its name")]
pub struct MonitorConfig {
    pub traps: Vec<String>,
    pub blocks_per_minute: usize,
    pub max_block: Duration,
    /// Those that are built in, as `[[monitor.scenario]]` changes and adds to them.
    pub scenarios: Vec<Scenario>,
}

impl MonitorConfig {
    pub(super) fn from_reader(reader: &mut Reader) -> Option<Self> {
        let traps = reader.one("monitor.traps", parse::list(trap));
        let blocks_per_minute = reader.one("monitor.blocks_per_minute", parse::number(1..=10_000));
        let max_block = reader.one("monitor.max_block", parse::duration);
        let built_in = Scenarios::from(Scenario::built_in());
        let scenarios = match reader.tables("monitor.scenario") {
            None => Some(built_in),
            Some(tables) => match built_in.and_tables(&tables.items) {
                Ok(scenarios) => Some(scenarios),
                Err(errors) => {
                    for error in errors {
                        let key = format!("monitor.scenario.{}.{}", error.scenario, error.field);
                        let problem = Problem::new(key, error.problem, error.fix);
                        reader.problems.push(problem.from(tables.origin.clone()));
                    }
                    None
                }
            },
        };
        Some(Self {
            traps: traps?,
            blocks_per_minute: blocks_per_minute?,
            max_block: max_block?,
            scenarios: scenarios?.into_vec(),
        })
    }
}

fn trap(text: &str) -> Result<String, String> {
    // The beginning of every path would be a trap for everybody.
    let is_path = text.starts_with('/') && text.len() > 2 && !text.contains([' ', '?', '#']);
    match is_path && text.to_ascii_lowercase() == text {
        true => Ok(text.to_owned()),
        false => Err("holds something that is no beginning of a path, such as `/.env`".to_owned()),
    }
}
