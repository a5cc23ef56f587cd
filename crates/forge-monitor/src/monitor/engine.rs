//! The one task that decides; all I/O is handed to outlets, so nothing slow delays it.

mod news;
mod outbox;
mod telling;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::courier::Bell;
use super::outlet::{Outlet, attempt};
use super::recorder::{Recorder, lost};
use super::reporter::{Reporter, count};
use super::spill::Spill;
use crate::alert::{Alert, AlertGroups, AlertSink, Severity, Silence};
use crate::clock::{Clock, Timestamp};
use crate::decider::{Decider, Outcome};
use crate::decision::{Action, Decision, Target};
use crate::error::{LiftError, StoreError};
use crate::guard::Guard;
use crate::on_event::{DropReason, MonitorEvent};
use crate::responder::Responder;
use crate::signal::Signal;
use crate::store::MonitorStore;
pub(super) use news::Asking;
use news::News;
pub(super) use outbox::Upkeep;
pub(super) use telling::Parked;

/// How often ended decisions, due alerts, and what other processes did are looked for.
const TICK: Duration = Duration::from_secs(1);
/// How often the store is asked at most because somebody says that something has changed.
const REFRESH_EVERY: Duration = Duration::from_millis(100);
/// How often old decisions and deliveries are deleted from the store.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// What waits in the monitor's queue.
pub(super) enum Job {
    /// A signal, and the monotonic time it was emitted at.
    Signal(Signal, Duration),
    Lift(Uuid, Arc<str>, Answer<Arc<Decision>>),
    Silence(Silence, Answer<()>),
    Unsilence(Uuid, Arc<str>, Answer<()>),
    Requeue(Uuid, Answer<()>),
    /// An alert that no scenario raised.
    Raise(Alert),
    /// What other processes did, as the store tells.
    News(News),
    /// Answered with the outlets, when all before it is decided.
    Flush(oneshot::Sender<Outlets>),
    Stop,
}

type Answer<T> = oneshot::Sender<Result<T, LiftError>>;

/// What has to be waited for until nothing is left to do.
#[derive(Default)]
pub(super) struct Outlets {
    pub(super) recorder: Option<Recorder>,
    pub(super) outlets: Vec<Outlet>,
    pub(super) bells: Vec<Bell>,
}

/// Where alerts go, by name.
pub(super) struct Sink {
    pub(super) name: Arc<str>,
    pub(super) sink: Arc<dyn AlertSink>,
    pub(super) bell: Bell,
}

pub(super) struct Engine {
    pub(super) decider: Decider,
    pub(super) alerts: AlertGroups,
    pub(super) reporter: Arc<Reporter>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) guard: Guard,
    /// The monitor's own queue, for what comes back from the outlets.
    pub(super) queue: mpsc::WeakSender<Job>,
    pub(super) recorder: Recorder,
    pub(super) store: Arc<dyn MonitorStore>,
    pub(super) spill: Arc<Spill>,
    /// Something has changed in the store, says whoever listens there.
    pub(super) changed: Arc<Notify>,
    pub(super) responders: Vec<(Arc<dyn Responder>, Outlet)>,
    pub(super) sinks: Vec<Sink>,
    pub(super) keep_decisions: Duration,
    pub(super) next_prune: Duration,
    pub(super) asking: Asking,
    pub(super) upkeep: Upkeep,
    pub(super) parked: Parked,
    /// How often a silence was made or ended here.
    pub(super) silenced_here: u64,
}

impl Engine {
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outcomes = Vec::new();
        let mut next_refresh = Instant::now();
        let changed = Arc::clone(&self.changed);
        loop {
            let is_early = Instant::now() < next_refresh;
            tokio::select! {
                job = jobs.recv() => match job {
                    None | Some(Job::Stop) => break,
                    Some(job) => self.guarded(job, &mut outcomes),
                },
                () = changed.notified(), if !is_early => {
                    next_refresh = Instant::now() + REFRESH_EVERY;
                    self.refresh();
                }
                () = tokio::time::sleep_until(next_refresh), if is_early => {}
                _ = tick.tick() => {
                    self.keep_house();
                    self.ask_for_news();
                    let depth = jobs.len();
                    let now = self.clock.now().as_micros();
                    let stats = self.reporter.stats(self.guard.count(), depth, now);
                    self.reporter.tell(&MonitorEvent::Vitals(stats));
                }
            }
        }
        // What was emitted before the end is still decided.
        jobs.close();
        while let Some(job) = jobs.recv().await {
            self.guarded(job, &mut outcomes);
        }
        for alert in self.alerts.drain() {
            self.send(alert);
        }
    }

    /// Whatever goes wrong with one job, the next one is taken.
    fn guarded(&mut self, job: Job, outcomes: &mut Vec<Outcome>) {
        if catch_unwind(AssertUnwindSafe(|| self.take(job, outcomes))).is_err() {
            outcomes.clear();
            count(&self.reporter.panics);
            tracing::error!("the monitor panicked, and goes on");
        }
    }

    fn take(&mut self, job: Job, outcomes: &mut Vec<Outcome>) {
        match job {
            Job::Signal(signal, elapsed) => self.observe(&signal, elapsed, outcomes),
            Job::Lift(id, by, answer) => self.lift(id, by, answer),
            Job::Silence(silence, answer) => self.silence(silence, answer),
            Job::Unsilence(id, by, answer) => self.unsilence(id, by, answer),
            Job::Requeue(id, answer) => self.requeue(id, answer),
            Job::Raise(alert) => self.raise(alert, false, Vec::new()),
            Job::News(news) => self.learn(news),
            Job::Flush(answer) => {
                self.keep_house();
                let outlets = self.responders.iter().map(|(_, outlet)| outlet);
                // Whoever asked may have gone.
                let _ = answer.send(Outlets {
                    recorder: Some(self.recorder.clone()),
                    outlets: outlets.cloned().collect(),
                    bells: self.sinks.iter().map(|sink| sink.bell.clone()).collect(),
                });
            }
            Job::Stop => {}
        }
    }

    fn observe(&mut self, signal: &Signal, elapsed: Duration, outcomes: &mut Vec<Outcome>) {
        let now = self.clock.now();
        let waited = self.clock.monotonic().saturating_sub(elapsed);
        let at = signal.at.unwrap_or(now - waited);
        self.decider.observe(signal, elapsed, now, outcomes);
        self.reporter.trends().signal(signal, elapsed);
        for outcome in outcomes.drain(..) {
            self.follow(outcome, at, elapsed);
        }
        let class = signal.kind.class();
        let took = self.clock.monotonic().saturating_sub(elapsed);
        self.reporter
            .tell(&MonitorEvent::SignalProcessed { class, took });
    }

    /// `at` is when the signal happened.
    fn follow(&mut self, outcome: Outcome, at: Timestamp, elapsed: Duration) {
        match outcome {
            Outcome::Met(scenario, target, decisions) => {
                self.met(scenario, &target, decisions, at);
            }
            Outcome::Simulated(scenario, target, decisions) => {
                if decisions.is_empty() {
                    let scenario = self.decider.scenario(scenario).shared_name();
                    self.reporter.tell(&MonitorEvent::Detected {
                        scenario,
                        target,
                        simulated: true,
                    });
                }
                for decision in decisions {
                    self.reporter
                        .tell(&MonitorEvent::DecisionSimulated(decision));
                }
            }
            Outcome::Over(scenario, target) => {
                let scenario = self.decider.scenario(scenario).shared_name();
                self.resolve(&scenario, &target);
            }
            Outcome::Suppressed => count(&self.reporter.suppressed),
            Outcome::Evicted => count(&self.reporter.evictions),
            Outcome::Dropped(scenario, target, reason) => {
                self.dropped(scenario, target, reason, at);
            }
            Outcome::Panicked(scenario) => {
                let scenario = self.decider.scenario(scenario).shared_name();
                tracing::error!(scenario = %scenario, "a scenario panicked; its state starts anew");
                let second = elapsed.as_secs() + 1;
                self.reporter.last_panic.store(second, Ordering::Relaxed);
                self.reporter
                    .tell(&MonitorEvent::ScenarioPanicked { scenario });
            }
        }
    }

    fn met(
        &mut self,
        scenario: usize,
        target: &Target,
        decisions: Vec<Arc<Decision>>,
        at: Timestamp,
    ) {
        for decision in &decisions {
            self.reporter.trends().decision(self.clock.monotonic());
            self.respond(decision);
        }
        let scenario = self.decider.scenario(scenario);
        if decisions.is_empty() {
            self.reporter.tell(&MonitorEvent::Detected {
                scenario: scenario.shared_name(),
                target: target.clone(),
                simulated: false,
            });
        }
        let summary = match &*decisions {
            [] => scenario.summary(),
            decisions => {
                let done: Vec<_> = decisions.iter().map(|of| done(of)).collect();
                format!("{}: {}", done.join(", "), scenario.summary())
            }
        };
        // A decision that holds for a time ends by itself, and that is told.
        let has_end = scenario.has_end() || decisions.iter().any(|of| of.until > of.since);
        let alert = Alert::new(
            scenario.shared_name(),
            &target.to_string(),
            scenario.grade(),
            &summary,
            at,
        );
        self.raise(alert, has_end, decisions);
    }

    fn respond(&self, decision: &Arc<Decision>) {
        for (responder, outlet) in &self.responders {
            let (responder, reporter) = (Arc::clone(responder), Arc::clone(&self.reporter));
            let the = Arc::clone(decision);
            let taken = outlet.offer(async move {
                match attempt(|| responder.respond(Arc::clone(&the))).await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, decision = %the.id, "a responder failed");
                    }
                    Err(why) => lost(&reporter, why, "a responder"),
                }
                reporter.tell(&MonitorEvent::ResponderFailed(the));
            });
            if !taken {
                self.reporter
                    .tell(&MonitorEvent::ResponderFailed(Arc::clone(decision)));
            }
        }
    }

    fn dropped(&mut self, scenario: usize, target: Target, reason: DropReason, at: Timestamp) {
        let scenario = self.decider.scenario(scenario).shared_name();
        let (scope, summary) = match reason {
            DropReason::RateCap => (
                "cap",
                "nothing was done: the cap on new decisions a minute is reached",
            ),
            DropReason::Full => (
                "full",
                "nothing was done: there is no room for another decision",
            ),
        };
        let name = Arc::clone(&scenario);
        let alert = Alert::new(name, scope, Severity::Critical, summary, at);
        self.raise(alert, false, Vec::new());
        self.reporter.tell(&MonitorEvent::DecisionDropped {
            scenario,
            target,
            reason,
        });
    }

    /// Ends decisions, sends alerts that are due, and prunes the store.
    fn keep_house(&mut self) {
        let (now, elapsed) = (self.clock.now(), self.clock.monotonic());
        for decision in self.decider.expire(now) {
            let (reporter, told) = (
                Arc::clone(&self.reporter),
                MonitorEvent::DecisionExpired(Arc::clone(&decision)),
            );
            let expired = told.clone();
            // Not before it is told that it was made.
            if !self.recorder.offer(async move { reporter.tell(&told) }) {
                self.reporter.tell(&expired);
            }
            self.resolve(&decision.scenario, &decision.target);
        }
        self.send_due();
        self.keep_outbox();
        let bytes = self.decider.bytes() as u64;
        self.reporter.state_bytes.store(bytes, Ordering::Relaxed);
        if elapsed >= self.next_prune {
            self.next_prune = elapsed + PRUNE_EVERY;
            let (store, reporter) = (Arc::clone(&self.store), Arc::clone(&self.reporter));
            let before = now - self.keep_decisions;
            // Where the queue is full the next hour will do.
            self.recorder.offer(async move {
                match attempt(|| store.prune(before)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "old decisions are not deleted"),
                    Err(why) => lost(&reporter, why, "the decision store"),
                }
                match attempt(|| store.forget(before)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "old alerts are not deleted"),
                    Err(why) => lost(&reporter, why, "the alert store"),
                }
            });
        }
    }
}

/// What a decision does, for people to read.
fn done(decision: &Decision) -> String {
    let seconds = decision.remaining(decision.since).as_secs();
    match decision.action {
        Action::Block => format!("blocked for {seconds} s"),
        Action::RevokeSessions => "sessions revoked".to_owned(),
        Action::TightenLimit => format!("limits tightened for {seconds} s"),
        Action::RequireSignIn => "has to sign in again".to_owned(),
    }
}

fn no_answer() -> StoreError {
    StoreError::Unavailable("no answer from the store".into())
}
