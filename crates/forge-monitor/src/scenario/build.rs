//! Completes a scenario.

use std::sync::Arc;
use std::time::Duration;

use super::{Distinct, Rule, Scenario, Scope, Weight};
use crate::alert::Severity;
use crate::decision::Action;
use crate::error::BuildError;
use crate::signal::MatchSignal;

/// The longest window and the longest block.
const MAX_DURATION: Duration = Duration::from_secs(365 * 86_400);
/// How many words of state one scenario may hold: 8 bytes each, 32 MiB.
const MAX_WORDS: usize = 4 << 20;
/// How many steps a sequence may have.
const MAX_STEPS: usize = 32;

const FIFTEEN_MINUTES: Duration = Duration::from_secs(900);

impl Scenario {
    /// Counts the signals that `matcher` matches, to be completed by the setters: by address, more
    /// than 5 in 15 minutes, blocked for 15 minutes, a warning.
    pub fn count(name: impl Into<Arc<str>>, matcher: impl MatchSignal) -> ScenarioBuilder {
        ScenarioBuilder::new(
            name,
            Rule::Count {
                matcher: Arc::new(matcher),
                threshold: 5,
                window: FIFTEEN_MINUTES,
            },
        )
    }

    /// Fills a bucket with the signals that `matcher` matches, which drains at a constant rate and
    /// must not run over: by address, a bucket of 10 that drains in 10 minutes, each signal one.
    pub fn leaky_bucket(name: impl Into<Arc<str>>, matcher: impl MatchSignal) -> ScenarioBuilder {
        ScenarioBuilder::new(
            name,
            Rule::Leaky {
                matcher: Arc::new(matcher),
                burst: 10,
                drain: Duration::from_secs(600),
                weight: Weight::One,
            },
        )
    }

    /// Counts how many different users, addresses or names the matching signals bear: by address,
    /// more than 5 in 15 minutes. A signal that bears none is not counted.
    pub fn distinct(
        name: impl Into<Arc<str>>,
        matcher: impl MatchSignal,
        of: Distinct,
    ) -> ScenarioBuilder {
        ScenarioBuilder::new(
            name,
            Rule::Distinct {
                matcher: Arc::new(matcher),
                of,
                threshold: 5,
                window: FIFTEEN_MINUTES,
            },
        )
    }

    /// Is met by signals that match the steps in their order, whatever comes between them, within
    /// a window of 15 minutes from the first; by address. Add steps with
    /// [`then`](ScenarioBuilder::then).
    pub fn sequence(name: impl Into<Arc<str>>) -> ScenarioBuilder {
        ScenarioBuilder::new(
            name,
            Rule::Sequence {
                steps: Vec::new(),
                window: FIFTEEN_MINUTES,
            },
        )
    }

    /// Is met by the first matching signal of a user or an address that bears this name, user or
    /// address, within 30 days; by address. It only alerts.
    pub fn first(
        name: impl Into<Arc<str>>,
        matcher: impl MatchSignal,
        of: Distinct,
    ) -> ScenarioBuilder {
        ScenarioBuilder::new(
            name,
            Rule::First {
                matcher: Arc::new(matcher),
                of,
                memory: Duration::from_secs(30 * 86_400),
            },
        )
        .respond([])
        .capacity(16_384)
    }
}

/// Completes a [`Scenario`].
///
/// A setter that the kind of scenario has no use for is an error of [`build`](Self::build).
#[derive(Clone, Debug)]
#[must_use = "a scenario does nothing until it is built and given to a monitor"]
pub struct ScenarioBuilder {
    scenario: Scenario,
    /// What was set and has no meaning for this kind.
    unfit: Option<&'static str>,
}

impl ScenarioBuilder {
    fn new(name: impl Into<Arc<str>>, rule: Rule) -> Self {
        let scenario = Scenario {
            name: name.into(),
            rule,
            scope: Scope::Address,
            reset_on: None,
            respond: vec![Action::Block],
            hold_for: FIFTEEN_MINUTES,
            severity: Severity::Warning,
            simulate: false,
            capacity: 4096,
        };
        Self::of(scenario)
    }

    /// Changes a scenario, for instance one that is built in.
    pub fn of(scenario: Scenario) -> Self {
        Self {
            scenario,
            unfit: None,
        }
    }

    pub(crate) fn unchecked(self) -> Scenario {
        self.scenario
    }

    /// By what to count. Default: [`Scope::Address`].
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scenario.scope = scope;
        self
    }

    /// How many are tolerated: one more decides, so 0 decides on the first. Of counts and of
    /// different ones. Default: 5.
    pub fn threshold(mut self, tolerated: u32) -> Self {
        match &mut self.scenario.rule {
            Rule::Count { threshold, .. } | Rule::Distinct { threshold, .. } => {
                *threshold = tolerated;
            }
            _ => self.unfit = Some("threshold"),
        }
        self
    }

    /// For how long a signal counts, or a sequence may take, or a first one is remembered, on the
    /// monotonic clock. Default: 15 minutes; for a first one 30 days.
    pub fn window(mut self, length: Duration) -> Self {
        match &mut self.scenario.rule {
            Rule::Count { window, .. }
            | Rule::Distinct { window, .. }
            | Rule::Sequence { window, .. }
            | Rule::First { memory: window, .. } => *window = length,
            Rule::Leaky { .. } => self.unfit = Some("window"),
        }
        self
    }

    /// What a leaky bucket holds. Default: 10.
    pub fn burst(mut self, size: u64) -> Self {
        match &mut self.scenario.rule {
            Rule::Leaky { burst, .. } => *burst = size,
            _ => self.unfit = Some("burst"),
        }
        self
    }

    /// How long a full bucket takes to drain. Default: 10 minutes.
    pub fn drain(mut self, time: Duration) -> Self {
        match &mut self.scenario.rule {
            Rule::Leaky { drain, .. } => *drain = time,
            _ => self.unfit = Some("drain"),
        }
        self
    }

    /// What a signal weighs in a leaky bucket. Default: [`Weight::One`].
    pub fn weight(mut self, of: Weight) -> Self {
        match &mut self.scenario.rule {
            Rule::Leaky { weight, .. } => *weight = of,
            _ => self.unfit = Some("weight"),
        }
        self
    }

    /// Adds the next step of a sequence.
    pub fn then(self, step: impl MatchSignal) -> Self {
        self.then_times(1, step)
    }

    /// Adds a step of a sequence that has to come so many times.
    pub fn then_times(mut self, times: u32, step: impl MatchSignal) -> Self {
        match &mut self.scenario.rule {
            Rule::Sequence { steps, .. } => {
                let step: Arc<dyn MatchSignal> = Arc::new(step);
                // More than the allowed number is an error, whatever it is.
                let times = (times as usize).min(MAX_STEPS + 1);
                steps.extend(std::iter::repeat_n(step, times));
            }
            _ => self.unfit = Some("steps"),
        }
        self
    }

    /// What ends the count of whoever it concerns: with it, the rule is met only where no such
    /// signal comes in between. Default: nothing.
    pub fn reset_on(mut self, matcher: impl MatchSignal) -> Self {
        self.scenario.reset_on = Some(Arc::new(matcher));
        self
    }

    /// What is done; nothing but an alert where it is empty. Default: [`Action::Block`].
    pub fn respond(mut self, actions: impl IntoIterator<Item = Action>) -> Self {
        self.scenario.respond.clear();
        for action in actions {
            if !self.scenario.respond.contains(&action) {
                self.scenario.respond.push(action);
            }
        }
        self
    }

    /// How long the first decision holds; each repetition doubles it. Default: 15 minutes.
    pub fn hold_for(mut self, hold_for: Duration) -> Self {
        self.scenario.hold_for = hold_for;
        self
    }

    /// The same as [`hold_for`](Self::hold_for).
    pub fn block_for(self, block_for: Duration) -> Self {
        self.hold_for(block_for)
    }

    /// How grave its alerts are. Default: [`Severity::Warning`].
    pub fn severity(mut self, severity: Severity) -> Self {
        self.scenario.severity = severity;
        self
    }

    /// Report what it would have decided, and do nothing. Default: false.
    pub fn simulate(mut self, simulate: bool) -> Self {
        self.scenario.simulate = simulate;
        self
    }

    /// How many addresses or users that came more than once are counted at the same time. When all
    /// places are taken, a new one displaces one whose signals have all left the window, else the
    /// one that is furthest from the threshold, among these the least recent. Default: 4096, at
    /// about 100 bytes each with a threshold of 5; for a first one 16 384.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.scenario.capacity = capacity;
        self
    }

    /// The scenario.
    ///
    /// # Errors
    /// [`BuildError`] where the name is not 1 to 64 of `a-z`, `0-9`, `_`, `-`; a length of time is
    /// zero or longer than 365 days; the state could take more than 32 MiB; a sequence has no or
    /// too many steps; an action does not fit whom the scenario counts by; or something was set
    /// that this kind has no use for.
    pub fn build(self) -> Result<Scenario, BuildError> {
        let scenario = self.scenario;
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        if !(1..=64).contains(&scenario.name.len()) || !scenario.name.bytes().all(allowed) {
            return Err(BuildError::Name);
        }
        if let Some(what) = self.unfit {
            return Err(BuildError::Unfit(what));
        }
        let span = match &scenario.rule {
            Rule::Count { window, .. }
            | Rule::Distinct { window, .. }
            | Rule::Sequence { window, .. } => ("the window", *window),
            Rule::First { memory, .. } => ("the window", *memory),
            Rule::Leaky { drain, .. } => ("the time to drain", *drain),
        };
        for (what, length) in [span, ("the time a decision holds", scenario.hold_for)] {
            if length.is_zero() || length > MAX_DURATION {
                return Err(BuildError::Duration(what));
            }
        }
        match &scenario.rule {
            Rule::Leaky { burst: 0, .. } => return Err(BuildError::Burst),
            Rule::Sequence { steps, .. } if !(1..=MAX_STEPS).contains(&steps.len()) => {
                return Err(BuildError::Steps { max: MAX_STEPS });
            }
            _ => {}
        }
        let about_users = [Action::RevokeSessions, Action::RequireSignIn];
        for action in &scenario.respond {
            let fits = match scenario.scope {
                Scope::User => true,
                Scope::Address => !about_users.contains(action),
                Scope::Component => false,
            };
            if !fits {
                return Err(BuildError::Action {
                    action: action.as_str(),
                    scope: scenario.scope.as_str(),
                });
            }
        }
        if !(1..=MAX_WORDS / scenario.rule.width()).contains(&scenario.capacity) {
            return Err(BuildError::Memory { max: MAX_WORDS });
        }
        Ok(scenario)
    }
}
