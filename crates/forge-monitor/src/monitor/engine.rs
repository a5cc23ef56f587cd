//! The one task that decides; all I/O is handed to outlets, so nothing slow delays it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::outlet::{NoResult, Outlet, attempt};
use super::reporter::{Reporter, count};
use crate::alert::{Alert, AlertGroups, AlertSink, Severity};
use crate::clock::{Clock, Timestamp};
use crate::decider::{Decider, Outcome};
use crate::decision::{Decision, Target};
use crate::error::{LiftError, StoreError};
use crate::on_event::{DropReason, MonitorEvent};
use crate::responder::Responder;
use crate::signal::Signal;
use crate::store::DecisionStore;

/// How often ended blocks and due alerts are looked for.
const TICK: Duration = Duration::from_secs(1);
/// How often old decisions are deleted from the store.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// What waits in the monitor's queue.
pub(super) enum Job {
    /// A signal, and the monotonic time it was emitted at.
    Signal(Signal, Duration),
    Lift(Uuid, oneshot::Sender<Result<Arc<Decision>, LiftError>>),
    /// Answered with the outlets, when all before it is decided.
    Flush(oneshot::Sender<Vec<Outlet>>),
    Stop,
}

pub(super) struct Engine {
    pub(super) decider: Decider,
    pub(super) alerts: AlertGroups,
    pub(super) reporter: Arc<Reporter>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: (Arc<dyn DecisionStore>, Outlet),
    pub(super) responders: Vec<(Arc<dyn Responder>, Outlet)>,
    pub(super) sinks: Vec<(Arc<dyn AlertSink>, Outlet)>,
    pub(super) keep_decisions: Duration,
    pub(super) next_prune: Duration,
}

impl Engine {
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outcomes = Vec::new();
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    None | Some(Job::Stop) => break,
                    Some(job) => self.take(job, &mut outcomes),
                },
                _ = tick.tick() => self.keep_house(),
            }
        }
        // What was emitted before the end is still decided.
        jobs.close();
        while let Some(job) = jobs.recv().await {
            self.take(job, &mut outcomes);
        }
        for alert in self.alerts.drain() {
            self.send(alert);
        }
    }

    fn take(&mut self, job: Job, outcomes: &mut Vec<Outcome>) {
        match job {
            Job::Signal(signal, elapsed) => self.observe(&signal, elapsed, outcomes),
            Job::Lift(id, answer) => self.lift(id, answer),
            Job::Flush(answer) => {
                self.keep_house();
                let outlets = std::iter::once(&self.store.1)
                    .chain(self.responders.iter().map(|(_, outlet)| outlet))
                    .chain(self.sinks.iter().map(|(_, outlet)| outlet))
                    .cloned()
                    .collect();
                // Whoever asked may have gone.
                let _ = answer.send(outlets);
            }
            Job::Stop => {}
        }
    }

    fn observe(&mut self, signal: &Signal, elapsed: Duration, outcomes: &mut Vec<Outcome>) {
        let now = self.clock.now();
        self.decider.observe(signal, elapsed, now, outcomes);
        for outcome in outcomes.drain(..) {
            self.follow(outcome, signal.at.unwrap_or(now));
        }
        let class = signal.kind.class();
        self.reporter.tell(&MonitorEvent::SignalProcessed { class });
    }

    /// `at` is when the signal happened.
    fn follow(&mut self, outcome: Outcome, at: Timestamp) {
        match outcome {
            Outcome::Made(decision, scenario) => self.made(&decision, scenario, at),
            Outcome::Simulated(decision) => {
                self.reporter
                    .tell(&MonitorEvent::DecisionSimulated(decision));
            }
            Outcome::Suppressed => count(&self.reporter.suppressed),
            Outcome::Evicted => count(&self.reporter.evictions),
            Outcome::Dropped(scenario, target, reason) => {
                self.dropped(scenario, target, reason, at);
            }
            Outcome::Panicked(scenario) => {
                let scenario = self.scenario_name(scenario);
                tracing::error!(scenario = %scenario, "a scenario panicked; its counts start anew");
                self.reporter
                    .tell(&MonitorEvent::ScenarioPanicked { scenario });
            }
        }
    }

    fn made(&mut self, decision: &Arc<Decision>, scenario: usize, at: Timestamp) {
        self.reporter
            .tell(&MonitorEvent::DecisionMade(Arc::clone(decision)));
        self.persist(decision);
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
        let scenario = self.decider.detectors()[scenario].scenario();
        let summary = format!(
            "blocked for {} s: {}",
            decision.remaining(decision.since).as_secs(),
            scenario.summary()
        );
        let scope = decision.target.to_string();
        let alert = Alert::new(
            scenario.shared_name(),
            &scope,
            scenario.severity(),
            &summary,
            at,
        );
        self.raise(alert);
    }

    fn dropped(&mut self, scenario: usize, target: Target, reason: DropReason, at: Timestamp) {
        let scenario = self.scenario_name(scenario);
        let (scope, summary) = match reason {
            DropReason::RateCap => (
                "cap",
                "not blocked: the cap on new blocks a minute is reached",
            ),
            DropReason::Full => ("full", "not blocked: the set of active blocks is full"),
        };
        self.raise(Alert::new(
            Arc::clone(&scenario),
            scope,
            Severity::Critical,
            summary,
            at,
        ));
        self.reporter.tell(&MonitorEvent::DecisionDropped {
            scenario,
            target,
            reason,
        });
    }

    fn persist(&self, decision: &Arc<Decision>) {
        let (store, outlet) = &self.store;
        let (store, reporter) = (Arc::clone(store), Arc::clone(&self.reporter));
        let the = Arc::clone(decision);
        let taken = outlet.offer(async move {
            match attempt(|| store.insert(&the)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::error!(%error, decision = %the.id, "a decision is not stored");
                }
                Err(why) => lost(&reporter, why, "the decision store"),
            }
            reporter.tell(&MonitorEvent::StoreFailed(the));
        });
        if !taken {
            self.reporter
                .tell(&MonitorEvent::StoreFailed(Arc::clone(decision)));
        }
    }

    fn lift(&mut self, id: Uuid, answer: oneshot::Sender<Result<Arc<Decision>, LiftError>>) {
        let now = self.clock.now();
        let Some(decision) = self.decider.lift(id, now) else {
            let _ = answer.send(Err(LiftError::NotFound));
            return;
        };
        self.reporter
            .tell(&MonitorEvent::DecisionLifted(Arc::clone(&decision)));
        // Through the same outlet as the insertion, so that it cannot overtake it.
        let (store, outlet) = &self.store;
        let (store, reporter) = (Arc::clone(store), Arc::clone(&self.reporter));
        // A full queue drops the answer with the work; the caller then reads `Store`.
        outlet.offer(async move {
            let result = match attempt(|| store.lift(id, now)).await {
                Ok(Ok(_)) => Ok(decision),
                Ok(Err(error)) => Err(LiftError::Store(error)),
                Err(why) => {
                    lost(&reporter, why, "the decision store");
                    Err(LiftError::Store(StoreError::Unavailable(
                        "no answer from the store".into(),
                    )))
                }
            };
            let _ = answer.send(result);
        });
    }

    fn raise(&mut self, alert: Alert) {
        if let Some(alert) = self.alerts.raise(alert, self.clock.monotonic()) {
            self.send(alert);
        }
    }

    fn send(&self, alert: Alert) {
        let alert = Arc::new(alert);
        self.reporter
            .tell(&MonitorEvent::AlertRaised(Arc::clone(&alert)));
        for (sink, outlet) in &self.sinks {
            let (sink, reporter) = (Arc::clone(sink), Arc::clone(&self.reporter));
            let the = Arc::clone(&alert);
            let taken = outlet.offer(async move {
                match attempt(|| sink.send(Arc::clone(&the))).await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => tracing::warn!(%error, "an alert was not delivered"),
                    Err(why) => lost(&reporter, why, "an alert sink"),
                }
                reporter.tell(&MonitorEvent::AlertFailed(the));
            });
            if !taken {
                self.reporter
                    .tell(&MonitorEvent::AlertFailed(Arc::clone(&alert)));
            }
        }
    }

    /// Ends blocks, sends alerts that are due, and prunes the store.
    fn keep_house(&mut self) {
        let (now, elapsed) = (self.clock.now(), self.clock.monotonic());
        for decision in self.decider.expire(now) {
            self.reporter.tell(&MonitorEvent::DecisionExpired(decision));
        }
        for alert in self.alerts.due(elapsed) {
            self.send(alert);
        }
        if elapsed >= self.next_prune {
            self.next_prune = elapsed + PRUNE_EVERY;
            let (store, outlet) = &self.store;
            let (store, reporter) = (Arc::clone(store), Arc::clone(&self.reporter));
            let before = now - self.keep_decisions;
            // Where the queue is full the next hour will do.
            outlet.offer(async move {
                match attempt(|| store.prune(before)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "old decisions are not deleted"),
                    Err(why) => lost(&reporter, why, "the decision store"),
                }
            });
        }
    }

    fn scenario_name(&self, index: usize) -> Arc<str> {
        self.decider.detectors()[index].scenario().shared_name()
    }
}

fn lost(reporter: &Reporter, why: NoResult, whose: &'static str) {
    match why {
        NoResult::Panicked => {
            count(&reporter.panics);
            tracing::error!("{whose} panicked");
        }
        NoResult::TimedOut => tracing::warn!("{whose} took too long"),
    }
}
