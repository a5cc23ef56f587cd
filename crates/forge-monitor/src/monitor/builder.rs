//! Puts a monitor together and starts it.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::courier::Courier;
use super::engine::{Asking, Engine, Parked, Sink, Upkeep};
use super::outlet::Outlet;
use super::recorder::Recorder;
use super::reporter::Reporter;
use super::spill::Spill;
use super::{Inner, Monitor};
use crate::alert::{Alert, AlertGroups, AlertSink, GroupLimits, Inhibition, Severity};
use crate::clock::{Clock, SystemClock};
use crate::decider::{Active, Decider, Limits};
use crate::delivery::Patience;
use crate::error::StartError;
use crate::guard::Guard;
use crate::never_block::NeverBlock;
use crate::on_event::{MonitorEvent, OnMonitorEvent};
use crate::responder::Responder;
use crate::scenario::Scenario;
use crate::signal::Signal;
use crate::store::{AlertStore, DecisionStore, MemoryMonitorStore, MonitorStore};

/// How many stored decisions are read at the start.
const MAX_RESTORED: usize = 100_000;

/// Puts a [`Monitor`] together; see [`Monitor::builder`].
#[must_use = "a monitor watches nothing until it is started"]
pub struct MonitorBuilder {
    scenarios: Vec<Scenario>,
    never_block: NeverBlock,
    store: Arc<dyn MonitorStore>,
    spill: Option<PathBuf>,
    spill_bytes: usize,
    responders: Vec<Arc<dyn Responder>>,
    sinks: Vec<(Arc<str>, Arc<dyn AlertSink>)>,
    inhibitions: Vec<Inhibition>,
    observers: Vec<Box<dyn OnMonitorEvent>>,
    clock: Arc<dyn Clock>,
    queue: usize,
    limits: Limits,
    groups: GroupLimits,
    patience: Patience,
    keep_decisions: Duration,
    history: Vec<Signal>,
}

impl MonitorBuilder {
    pub(super) fn new() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            scenarios: Vec::new(),
            never_block: NeverBlock::new(),
            store: Arc::new(MemoryMonitorStore::new()),
            spill: None,
            spill_bytes: 4 << 20,
            responders: Vec::new(),
            sinks: Vec::new(),
            inhibitions: Vec::new(),
            observers: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            queue: 8192,
            limits: Limits {
                max_block: DAY,
                jitter: 10,
                escalation_memory: DAY * 7,
                blocks_per_minute: 60,
                max_blocks: 20_000,
                strangers: 1 << 20,
            },
            groups: GroupLimits {
                cool_down: Duration::from_secs(900),
                individually: 10,
            },
            patience: Patience::new(DAY * 3, DAY),
            keep_decisions: DAY * 30,
            history: Vec::new(),
        }
    }

    /// Adds a scenario. Default: none.
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.scenarios.push(scenario);
        self
    }

    /// Adds scenarios.
    pub fn scenarios(mut self, scenarios: impl IntoIterator<Item = Scenario>) -> Self {
        self.scenarios.extend(scenarios);
        self
    }

    /// Adds the built-in scenarios, [`Scenario::built_in`].
    pub fn built_in_scenarios(self) -> Self {
        self.scenarios(Scenario::built_in())
    }

    /// Who is never blocked. Default: loopback.
    pub fn never_block(mut self, never_block: NeverBlock) -> Self {
        self.never_block = never_block;
        self
    }

    /// Where decisions, alerts on their way and silences are kept. Default: a
    /// [`MemoryMonitorStore`], which ends with the process.
    pub fn store(mut self, store: impl MonitorStore) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// A file in which alerts wait that could not be stored, so that they survive the process as
    /// well. It is made when it is needed, for this user alone. Default: none, they wait in memory.
    pub fn spill_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.spill = Some(path.into());
        self
    }

    /// How many bytes of alerts may wait that could not be stored, some 600 each and for each sink; what
    /// is beyond is lost, counted and told in the log. The file is at most twice as large. Default:
    /// 4 MiB.
    pub fn spill_bytes(mut self, spill_bytes: usize) -> Self {
        self.spill_bytes = spill_bytes;
        self
    }

    /// Adds a responder. Default: none.
    pub fn responder(mut self, responder: impl Responder) -> Self {
        self.responders.push(Arc::new(responder));
        self
    }

    /// Adds a sink for alerts, under a name that stays the same from start to start: what waits
    /// for it in the store waits for that name. Default: none.
    pub fn alert_sink(mut self, name: impl Into<Arc<str>>, sink: impl AlertSink) -> Self {
        self.sinks.push((name.into(), Arc::new(sink)));
        self
    }

    /// Adds an inhibition. Default: none.
    pub fn inhibit(mut self, inhibition: Inhibition) -> Self {
        self.inhibitions.push(inhibition);
        self
    }

    /// Signals of the past, from which scenarios about first times know what is not new. No other
    /// scenario is shown them. Default: none.
    pub fn history(mut self, signals: impl IntoIterator<Item = Signal>) -> Self {
        self.history.extend(signals);
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

    /// How much shorter than doubled a repeated decision may be, in percent, by chance. At most 100.
    /// Default: 10.
    pub fn escalation_jitter(mut self, percent: u8) -> Self {
        self.limits.jitter = percent.min(100);
        self
    }

    /// How many addresses and users that were seen once are remembered, at 8 bytes each: who comes
    /// again among so many others is known. Default: 1 048 576, which is 8 MiB.
    pub fn remember_strangers(mut self, strangers: usize) -> Self {
        self.limits.strangers = strangers;
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
        self.groups.cool_down = alert_cool_down;
        self
    }

    /// How many addresses or users of one scenario have an alert each within a cool-down; those
    /// beyond are one alert together at its end. Default: 10.
    pub fn alerts_individually(mut self, individually: usize) -> Self {
        self.groups.individually = individually;
        self
    }

    /// How long an alert may wait for a sink that is there; then it is given up, and kept among the
    /// [dead letters](Monitor::dead_letters) with its reason. A sink that answers, and takes nothing,
    /// is given up earlier, after some six hours. At least ten minutes. Default: 3 days.
    pub fn alert_max_age(mut self, alert_max_age: Duration) -> Self {
        self.patience.max_age = alert_max_age;
        self
    }

    /// How long an alert may wait for a sink that neither this nor another monitor on the same store
    /// has, because it was renamed or taken out; then it is given up. The time begins when that is
    /// noticed, and ends when a monitor with that sink runs. Whatever was given up is one alert for
    /// each sink, of the scenario `undelivered_alerts`. Nothing is given up in the first ten minutes
    /// after a start, after the store was away, or after the clock leapt. At least ten minutes, since
    /// monitors say once a minute which sinks they have. Default: a day.
    pub fn missing_sink_grace(mut self, missing_sink_grace: Duration) -> Self {
        self.patience.without_sink = missing_sink_grace;
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
        let mut names = HashSet::new();
        if !self.sinks.iter().all(|(name, _)| names.insert(name)) {
            return Err(StartError::DuplicateSink);
        }

        let now = self.clock.now();
        let stored = self
            .store
            .active(now - self.limits.escalation_memory, MAX_RESTORED)
            .await?;
        let silences = self.store.silences(now).await?;
        let active = Arc::new(Active::default());
        let keep_decisions = self.keep_decisions.max(self.limits.escalation_memory);
        let mut decider = Decider::new(
            self.scenarios,
            self.never_block.clone(),
            Arc::clone(&active),
            self.limits,
        );
        for signal in self.history {
            decider.prime(&signal.received(now), self.clock.monotonic());
        }
        let guard = Guard::new(active, self.never_block, Arc::clone(&self.clock));
        let reporter = Arc::new(Reporter::new(self.observers));
        let count = decider.restore(stored, now);
        if count > 0 {
            reporter.tell(&MonitorEvent::DecisionsRestored { count });
        }
        let mut alerts = AlertGroups::new(self.groups, self.inhibitions);
        alerts.set_silences(silences);
        for held in guard.decisions() {
            // Their end is to be told, as their beginning was.
            let (scenario, scope) = (Arc::clone(&held.scenario), held.target.to_string());
            let summary = "of an earlier run";
            let alert = Alert::new(scenario, &scope, Severity::Warning, summary, held.since);
            alerts.adopt(&alert, self.clock.monotonic());
        }
        let (path, bytes) = (self.spill, self.spill_bytes);
        let spill = tokio::task::spawn_blocking(move || Spill::open(path, bytes));
        let spill = Arc::new(spill.await.unwrap_or_else(|_| Spill::open(None, bytes)));

        let mut tasks = Vec::new();
        let (recorder, task) = Recorder::spawn(
            Arc::clone(&self.store),
            Arc::clone(&spill),
            Arc::clone(&self.clock),
            Arc::clone(&reporter),
        );
        tasks.push(task);
        let mut outlet = || {
            let (outlet, task) = Outlet::spawn();
            tasks.push(task);
            outlet
        };
        let responders = self.responders.into_iter().map(|r| (r, outlet())).collect();
        let mut sinks = Vec::new();
        for (name, sink) in self.sinks {
            let courier = Courier {
                name: Arc::clone(&name),
                sink: Arc::clone(&sink),
                store: Arc::clone(&self.store),
                spill: Arc::clone(&spill),
                clock: Arc::clone(&self.clock),
                reporter: Arc::clone(&reporter),
                next_look: None,
            };
            let (bell, task) = courier.spawn();
            tasks.push(task);
            sinks.push(Sink { name, sink, bell });
        }
        let (queue, jobs) = mpsc::channel(self.queue);
        let changed = Arc::new(Notify::new());
        let engine = Engine {
            changed: Arc::clone(&changed),
            decider,
            alerts,
            reporter: Arc::clone(&reporter),
            clock: Arc::clone(&self.clock),
            guard: guard.clone(),
            queue: queue.downgrade(),
            recorder,
            store: Arc::clone(&self.store),
            spill: Arc::clone(&spill),
            responders,
            sinks,
            keep_decisions,
            next_prune: self.clock.monotonic(),
            asking: Asking::new(now),
            upkeep: Upkeep::new(self.patience, now, self.clock.monotonic()),
            parked: Parked::default(),
            silenced_here: 0,
        };
        // The detector first: when it ends, the outlets follow.
        tasks.insert(0, tokio::spawn(engine.run(jobs)));

        Ok(Monitor {
            inner: Arc::new(Inner {
                queue,
                reporter,
                guard,
                clock: self.clock,
                store: self.store,
                spill,
                changed,
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
