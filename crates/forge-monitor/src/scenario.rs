//! Scenarios: which signals, counted by whom, are too many, and what follows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::Severity;
use crate::counter::{Observed, WindowCounter};
use crate::decision::Target;
use crate::error::BuildError;
use crate::signal::{MatchSignal, Signal, SignalClass};

/// The longest window and the longest block.
const MAX_DURATION: Duration = Duration::from_secs(365 * 86_400);
/// How many signal times one scenario may hold: 8 bytes each, 32 MiB.
const MAX_TIMES: usize = 4 << 20;

/// By what a scenario counts, and so whom it blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// By the client's address; IPv6 by /64. A signal without an address is not counted.
    #[default]
    Address,
    /// By the user's id. A signal without a user is not counted.
    User,
}

impl Scope {
    fn target(self, signal: &Signal) -> Option<Target> {
        match self {
            Self::Address => signal.address.map(Target::of_address),
            Self::User => signal.user.as_deref().map(|user| Target::User(user.into())),
        }
    }
}

/// A rule: more than `threshold` matching signals of one address or user within `window` are
/// answered by a block.
///
/// ```
/// use std::time::Duration;
/// use forge_monitor::{Scenario, SignalClass};
///
/// let scenario = Scenario::count("tool_burst", SignalClass::ToolCall)
///     .threshold(100)
///     .window(Duration::from_secs(60))
///     .block_for(Duration::from_secs(300))
///     .simulate(true)
///     .build()?;
/// assert_eq!(scenario.name(), "tool_burst");
/// # Ok::<(), forge_monitor::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Scenario {
    name: Arc<str>,
    matcher: Arc<dyn MatchSignal>,
    scope: Scope,
    threshold: u32,
    window: Duration,
    block_for: Duration,
    severity: Severity,
    simulate: bool,
    capacity: usize,
}

impl Scenario {
    /// A scenario that counts the signals `matcher` matches, to be completed by its setters:
    /// by address, more than 5 in 15 minutes, blocked for 15 minutes, a warning.
    pub fn count(name: impl Into<Arc<str>>, matcher: impl MatchSignal) -> ScenarioBuilder {
        ScenarioBuilder {
            scenario: Self::with_defaults(name.into(), Arc::new(matcher)),
        }
    }

    /// Built in, `failed_authentications`: more than 5 failed authentications in 15 minutes from
    /// one address block it for 15 minutes.
    #[must_use]
    pub fn failed_authentications() -> Self {
        Self::with_defaults(
            "failed_authentications".into(),
            Arc::new(SignalClass::AuthFailed),
        )
    }

    /// Built in, `limit_refusals`: more than 10 refusals by a rate limit in 10 minutes to one
    /// address block it for 10 minutes.
    #[must_use]
    pub fn limit_refusals() -> Self {
        const TEN_MINUTES: Duration = Duration::from_secs(600);
        Self {
            threshold: 10,
            window: TEN_MINUTES,
            block_for: TEN_MINUTES,
            ..Self::with_defaults("limit_refusals".into(), Arc::new(SignalClass::RateLimited))
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its decisions are only reported, not enforced.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.simulate
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(crate) fn block_length(&self) -> Duration {
        self.block_for
    }

    pub(crate) fn severity(&self) -> Severity {
        self.severity
    }

    /// What a person reads in an alert.
    pub(crate) fn summary(&self) -> String {
        format!(
            "more than {} matching signals in {} s",
            self.threshold,
            self.window.as_secs_f64()
        )
    }

    fn with_defaults(name: Arc<str>, matcher: Arc<dyn MatchSignal>) -> Self {
        const FIFTEEN_MINUTES: Duration = Duration::from_secs(900);
        Self {
            name,
            matcher,
            scope: Scope::Address,
            threshold: 5,
            window: FIFTEEN_MINUTES,
            block_for: FIFTEEN_MINUTES,
            severity: Severity::Warning,
            simulate: false,
            capacity: 16_384,
        }
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("scope", &self.scope)
            .field("threshold", &self.threshold)
            .field("window", &self.window)
            .field("block_for", &self.block_for)
            .field("severity", &self.severity)
            .field("simulate", &self.simulate)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Completes a [`Scenario`].
#[derive(Clone, Debug)]
#[must_use = "a scenario does nothing until it is built and given to a monitor"]
pub struct ScenarioBuilder {
    scenario: Scenario,
}

impl ScenarioBuilder {
    /// By what to count. Default: [`Scope::Address`].
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scenario.scope = scope;
        self
    }

    /// How many signals are tolerated: one more decides, so 0 decides on the first. Default: 5.
    pub fn threshold(mut self, threshold: u32) -> Self {
        self.scenario.threshold = threshold;
        self
    }

    /// For how long a signal counts, on the monotonic clock. Default: 15 minutes.
    pub fn window(mut self, window: Duration) -> Self {
        self.scenario.window = window;
        self
    }

    /// How long the first block lasts; each repetition doubles it. Default: 15 minutes.
    pub fn block_for(mut self, block_for: Duration) -> Self {
        self.scenario.block_for = block_for;
        self
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

    /// How many addresses or users are counted at once. When all places are taken, a new one
    /// displaces one whose signals have all left the window, else the least counted, among these
    /// the least recent. Default: 16 384, at about 150 bytes each with a threshold of 5.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.scenario.capacity = capacity;
        self
    }

    /// The scenario.
    ///
    /// # Errors
    /// [`BuildError`] where the name is not 1 to 64 of `a-z`, `0-9`, `_`, `-`; the window or the
    /// block is zero or longer than 365 days; or the counters could take more than 32 MiB.
    pub fn build(self) -> Result<Scenario, BuildError> {
        let scenario = self.scenario;
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        if !(1..=64).contains(&scenario.name.len()) || !scenario.name.bytes().all(allowed) {
            return Err(BuildError::Name);
        }
        for (what, length) in [
            ("the window", scenario.window),
            ("the block", scenario.block_for),
        ] {
            if length.is_zero() || length > MAX_DURATION {
                return Err(BuildError::Duration(what));
            }
        }
        let width = scenario.threshold as usize + 1;
        if !(1..=MAX_TIMES / width).contains(&scenario.capacity) {
            return Err(BuildError::Memory { max: MAX_TIMES });
        }
        Ok(scenario)
    }
}

/// A scenario and its counts.
#[derive(Debug)]
pub(crate) struct Detector {
    scenario: Scenario,
    counter: WindowCounter<Target>,
}

impl Detector {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let counter = WindowCounter::new(scenario.threshold, scenario.window, scenario.capacity);
        Self { scenario, counter }
    }

    pub(crate) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Whom the signal would count against, if it matches.
    pub(crate) fn target(&self, signal: &Signal) -> Option<Target> {
        if self.scenario.matcher.matches(&signal.kind) {
            self.scenario.scope.target(signal)
        } else {
            None
        }
    }

    pub(crate) fn observe(&mut self, target: &Target, now: Duration) -> Observed {
        self.counter.observe(target, now)
    }

    /// Starts the count of `target` anew.
    pub(crate) fn clear(&mut self, target: &Target) {
        self.counter.remove(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::SignalKind;

    #[test]
    fn refuses_what_cannot_work() {
        let build = |name: &str| Scenario::count(name, SignalClass::AuthFailed);
        for name in ["", "Upper", "a b", "a\n", &"x".repeat(65)] {
            assert!(
                matches!(build(name).build(), Err(BuildError::Name)),
                "{name:?}"
            );
        }
        let zero = build("x").window(Duration::ZERO).build();
        assert!(matches!(zero, Err(BuildError::Duration("the window"))));
        let long = build("x").block_for(Duration::MAX).build();
        assert!(matches!(long, Err(BuildError::Duration("the block"))));
        let none = build("x").capacity(0).build();
        assert!(matches!(none, Err(BuildError::Memory { .. })));
        let much = build("x").threshold(u32::MAX).build();
        assert!(matches!(much, Err(BuildError::Memory { .. })));
        assert!(build("ok_1-2").build().is_ok());
    }

    #[test]
    fn the_built_in_scenarios_are_as_valid_as_any() {
        for scenario in [
            Scenario::failed_authentications(),
            Scenario::limit_refusals(),
        ] {
            assert!(ScenarioBuilder { scenario }.build().is_ok());
        }
    }

    #[test]
    fn counts_only_what_matches_and_names_somebody() {
        let detector = Detector::new(Scenario::failed_authentications());
        let address: std::net::IpAddr = "192.0.2.1".parse().unwrap();
        let target = |signal| detector.target(&signal);
        assert!(target(Signal::new(SignalKind::AuthOk).address(address)).is_none());
        assert!(target(Signal::new(SignalKind::AuthFailed).user("7")).is_none());
        assert!(target(Signal::new(SignalKind::AuthFailed).address(address)).is_some());
    }
}
