//! What scenarios would have decided about signals of the past.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::decider::{Active, Decider, Limits, Outcome};
use crate::decision::{Decision, Target};
use crate::never_block::NeverBlock;
use crate::scenario::{Scenario, ScenarioBuilder};
use crate::signal::Signal;

/// Shows signals of the past to scenarios, and tells what would have been decided.
///
/// What was in simulation is enforced here. A signal of whoever is blocked at that time is not
/// shown: it would not have happened. There is no cap on decisions a minute.
///
/// ```
/// use forge_monitor::{NeverBlock, Replay, Scenario, Signal, SignalKind, Timestamp};
///
/// let mut replay = Replay::new(vec![Scenario::failed_authentications()], NeverBlock::new());
/// let client: std::net::IpAddr = [198, 51, 100, 7].into();
/// let mut blocked = 0;
/// for second in 0..10 {
///     let signal = Signal::new(SignalKind::AuthFailed).address(client);
///     let at = Timestamp::from_micros(second * 1_000_000);
///     blocked += replay.show(signal.at(at)).iter().filter(|of| of.is_decision()).count();
/// }
/// assert_eq!((blocked, replay.prevented()), (1, 4));
/// ```
pub struct Replay {
    decider: Decider,
    active: Arc<Active>,
    begin: Option<Timestamp>,
    shown: u64,
    prevented: u64,
}

/// What would have been.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReplayOutcome {
    /// This would have been decided.
    Decided(Arc<Decision>),
    /// A scenario that only alerts would have been met.
    Alerted {
        /// The scenario.
        scenario: Arc<str>,
        /// Whom it is about.
        target: Target,
        /// When.
        at: Timestamp,
    },
}

impl ReplayOutcome {
    /// Whether something would have been decided.
    #[must_use]
    pub fn is_decision(&self) -> bool {
        matches!(self, Self::Decided(_))
    }
}

impl Replay {
    /// Of these scenarios, sparing those.
    #[must_use]
    pub fn new(scenarios: Vec<Scenario>, never_block: NeverBlock) -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        let enforced = scenarios
            .into_iter()
            .map(|scenario| ScenarioBuilder::of(scenario).simulate(false).unchecked());
        let active = Arc::new(Active::default());
        let limits = Limits {
            max_block: DAY,
            jitter: 0,
            escalation_memory: DAY * 7,
            blocks_per_minute: usize::MAX,
            max_blocks: 1_000_000,
            strangers: 1 << 20,
        };
        let decider = Decider::new(enforced.collect(), never_block, Arc::clone(&active), limits);
        Self {
            decider,
            active,
            begin: None,
            shown: 0,
            prevented: 0,
        }
    }

    /// Shows one signal, in the order of their times. One without a time counts as of the latest.
    pub fn show(&mut self, signal: Signal) -> Vec<ReplayOutcome> {
        let at = signal.at.or(self.begin).unwrap_or_default();
        let signal = signal.received(at);
        let begin = *self.begin.get_or_insert(at);
        let elapsed = at.saturating_since(begin);
        self.decider.expire(at);
        let blocked = signal
            .address
            .is_some_and(|address| self.active.blocks.of_address(address, || at).is_some())
            || signal
                .user
                .as_deref()
                .is_some_and(|user| self.active.blocks.of_user(user, || at).is_some());
        if blocked {
            self.prevented += 1;
            return Vec::new();
        }
        self.shown += 1;
        let mut outcomes = Vec::new();
        self.decider.observe(&signal, elapsed, at, &mut outcomes);
        let mut replayed = Vec::new();
        for outcome in outcomes {
            if let Outcome::Met(scenario, target, decisions) = outcome {
                if decisions.is_empty() {
                    let scenario = self.decider.scenario(scenario).shared_name();
                    replayed.push(ReplayOutcome::Alerted {
                        scenario,
                        target,
                        at,
                    });
                }
                replayed.extend(decisions.into_iter().map(ReplayOutcome::Decided));
            }
        }
        replayed
    }

    /// How many signals were shown to the scenarios.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.shown
    }

    /// How many signals a block would have prevented.
    #[must_use]
    pub fn prevented(&self) -> u64 {
        self.prevented
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("shown", &self.shown)
            .field("prevented", &self.prevented)
            .finish_non_exhaustive()
    }
}
