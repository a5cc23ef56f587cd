//! Puts a monitor together and starts it.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::engine::Engine;
use super::outlet::Outlet;
use super::reporter::Reporter;
use super::{Inner, Monitor};
use crate::alert::{AlertGroups, AlertSink};
use crate::blocks::BlockSet;
use crate::clock::{Clock, SystemClock};
use crate::decider::{Decider, Limits};
use crate::error::StartError;
use crate::guard::Guard;
use crate::never_block::NeverBlock;
use crate::on_event::{MonitorEvent, OnMonitorEvent};
use crate::responder::Responder;
use crate::scenario::{Detector, Scenario};
use crate::store::{DecisionStore, MemoryDecisionStore};

/// How many stored decisions are read at the start.
const MAX_RESTORED: usize = 100_000;

/// Puts a [`Monitor`] together; see [`Monitor::builder`].
#[must_use = "a monitor watches nothing until it is started"]
pub struct MonitorBuilder {
    scenarios: Vec<Scenario>,
    never_block: NeverBlock,
    store: Arc<dyn DecisionStore>,
    responders: Vec<Arc<dyn Responder>>,
    sinks: Vec<Arc<dyn AlertSink>>,
    observers: Vec<Box<dyn OnMonitorEvent>>,
    clock: Arc<dyn Clock>,
    queue: usize,
    limits: Limits,
    alert_cool_down: Duration,
    keep_decisions: Duration,
}

impl MonitorBuilder {
    pub(super) fn new() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            scenarios: Vec::new(),
            never_block: NeverBlock::new(),
            store: Arc::new(MemoryDecisionStore::new()),
            responders: Vec::new(),
            sinks: Vec::new(),
            observers: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            queue: 8192,
            limits: Limits {
                max_block: DAY,
                escalation_memory: DAY * 7,
                blocks_per_minute: 60,
                max_blocks: 20_000,
            },
            alert_cool_down: Duration::from_secs(900),
            keep_decisions: DAY * 30,
        }
    }

    /// Adds a scenario. Default: none.
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.scenarios.push(scenario);
        self
    }

    /// Adds the built-in scenarios: [`Scenario::failed_authentications`] and
    /// [`Scenario::limit_refusals`].
    pub fn built_in_scenarios(self) -> Self {
        self.scenario(Scenario::failed_authentications())
            .scenario(Scenario::limit_refusals())
    }

    /// Who is never blocked. Default: loopback.
    pub fn never_block(mut self, never_block: NeverBlock) -> Self {
        self.never_block = never_block;
        self
    }

    /// Where decisions are kept. Default: a [`MemoryDecisionStore`], which ends with the process.
    pub fn store(mut self, store: impl DecisionStore) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// Adds a responder. Default: none.
    pub fn responder(mut self, responder: impl Responder) -> Self {
        self.responders.push(Arc::new(responder));
        self
    }

    /// Adds a sink for alerts. Default: none.
    pub fn alert_sink(mut self, sink: impl AlertSink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Adds an observer. Default: none.
    pub fn on_event(mut self, observer: impl OnMonitorEvent) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How many signals may wait; those beyond are dropped and counted. At least 1. Default: 8192.
    pub fn queue(mut self, queue: usize) -> Self {
        self.queue = queue.max(1);
        self
    }

    /// The longest block that escalation leads to. A scenario whose own block is longer keeps it.
    /// Default: a day.
    pub fn max_block(mut self, max_block: Duration) -> Self {
        self.limits.max_block = max_block;
        self
    }

    /// For how long after the end of a block the next one of the same target by the same scenario
    /// is twice as long. Default: 7 days.
    pub fn escalation_memory(mut self, escalation_memory: Duration) -> Self {
        self.limits.escalation_memory = escalation_memory;
        self
    }

    /// How many new blocks may be decided within any minute, so that a forged flood cannot lock out
    /// everybody; those beyond are dropped, counted, and alerted as critical. Default: 60.
    pub fn blocks_per_minute(mut self, blocks_per_minute: usize) -> Self {
        self.limits.blocks_per_minute = blocks_per_minute;
        self
    }

    /// How many blocks may hold at once; those beyond are dropped and counted. Default: 20 000.
    pub fn max_blocks(mut self, max_blocks: usize) -> Self {
        self.limits.max_blocks = max_blocks;
        self
    }

    /// How long an alert of the same scenario and scope is held back after one was sent; what comes
    /// meanwhile is one more alert at the end. Default: 15 minutes.
    pub fn alert_cool_down(mut self, alert_cool_down: Duration) -> Self {
        self.alert_cool_down = alert_cool_down;
        self
    }

    /// How long decisions stay in the store after their end. At least the escalation memory.
    /// Default: 30 days.
    pub fn keep_decisions(mut self, keep_decisions: Duration) -> Self {
        self.keep_decisions = keep_decisions;
        self
    }

    /// Reads the decisions of the last run and starts the tasks.
    ///
    /// # Errors
    /// [`StartError`] where two scenarios bear one name, or the store cannot be read: a service
    /// that cannot know whom it has blocked should not start.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with time enabled.
    pub async fn start(self) -> Result<Monitor, StartError> {
        let mut names = HashSet::new();
        if !self
            .scenarios
            .iter()
            .all(|s| names.insert(s.name().to_owned()))
        {
            return Err(StartError::DuplicateScenario);
        }

        let now = self.clock.now();
        let stored = self
            .store
            .active(now - self.limits.escalation_memory, MAX_RESTORED)
            .await?;
        let blocks = Arc::new(BlockSet::default());
        let keep_decisions = self.keep_decisions.max(self.limits.escalation_memory);
        let mut decider = Decider::new(
            self.scenarios.into_iter().map(Detector::new).collect(),
            self.never_block.clone(),
            Arc::clone(&blocks),
            self.limits,
        );
        let reporter = Arc::new(Reporter::new(self.observers));
        let count = decider.restore(stored, now);
        if count > 0 {
            reporter.tell(&MonitorEvent::DecisionsRestored { count });
        }

        let mut tasks = Vec::new();
        let mut outlet = || {
            let (outlet, task) = Outlet::spawn();
            tasks.push(task);
            outlet
        };
        let engine = Engine {
            decider,
            alerts: AlertGroups::new(self.alert_cool_down),
            reporter: Arc::clone(&reporter),
            clock: Arc::clone(&self.clock),
            store: (self.store, outlet()),
            responders: self.responders.into_iter().map(|r| (r, outlet())).collect(),
            sinks: self.sinks.into_iter().map(|s| (s, outlet())).collect(),
            keep_decisions,
            next_prune: self.clock.monotonic(),
        };
        let (queue, jobs) = mpsc::channel(self.queue);
        // The detector first: when it ends, the outlets follow.
        tasks.insert(0, tokio::spawn(engine.run(jobs)));

        Ok(Monitor {
            inner: Arc::new(Inner {
                queue,
                reporter,
                guard: Guard::new(blocks, self.never_block, Arc::clone(&self.clock)),
                clock: self.clock,
                tasks: tokio::sync::Mutex::new(tasks),
            }),
        })
    }
}

impl fmt::Debug for MonitorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorBuilder")
            .field("scenarios", &self.scenarios)
            .field("never_block", &self.never_block)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
