//! The one task that decides; all I/O is handed to outlets, so nothing slow delays it.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::courier::Bell;
use super::outlet::{NoResult, Outlet, attempt};
use super::reporter::{Reporter, count};
use super::spill::Spill;
use crate::alert::{Alert, AlertGroups, AlertSink, Fingerprint, Raised, Severity, Silence};
use crate::clock::{Clock, Timestamp};
use crate::decider::{Decider, Outcome};
use crate::decision::{Action, Decision, Lift, Stored, Target};
use crate::delivery::{Delivery, OutboxStats};
use crate::error::{LiftError, StoreError};
use crate::guard::Guard;
use crate::on_event::{DropReason, MonitorEvent};
use crate::responder::Responder;
use crate::signal::Signal;
use crate::store::{AlertStore, DecisionStore};

/// How often ended decisions, due alerts, and what other processes did are looked for.
const TICK: Duration = Duration::from_secs(1);
/// How often old decisions and deliveries are deleted from the store.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// How far back the store is asked for what others changed: their clocks may differ, and a change
/// may be seen some time after it was dated.
const OVERLAP: Duration = Duration::from_secs(30);
/// How many changes are read at once.
const MAX_NEWS: usize = 10_000;

/// What waits in the monitor's queue.
pub(super) enum Job {
    /// A signal, and the monotonic time it was emitted at.
    Signal(Signal, Duration),
    Lift(Uuid, Arc<str>, Answer<Arc<Decision>>),
    Silence(Silence, Answer<()>),
    Unsilence(Uuid, Answer<()>),
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
    pub(super) outlets: Vec<Outlet>,
    pub(super) bells: Vec<Bell>,
}

pub(super) struct News {
    changed: Vec<Stored>,
    silences: Vec<Silence>,
    outbox: OutboxStats,
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
    pub(super) outlet: Outlet,
    pub(super) decisions: Arc<dyn DecisionStore>,
    pub(super) alert_store: Arc<dyn AlertStore>,
    pub(super) spill: Arc<Spill>,
    pub(super) responders: Vec<(Arc<dyn Responder>, Outlet)>,
    pub(super) sinks: Vec<Sink>,
    pub(super) keep_decisions: Duration,
    pub(super) next_prune: Duration,
    /// The store is being asked for news.
    pub(super) asking: bool,
    /// Decisions that are lifted here, until the store knows it.
    pub(super) lifted_here: HashSet<Uuid>,
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
                    Some(job) => self.guarded(job, &mut outcomes),
                },
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
            Job::Unsilence(id, answer) => self.unsilence(id, answer),
            Job::Raise(alert) => self.raise(alert, false),
            Job::News(news) => self.learn(news),
            Job::Flush(answer) => {
                self.keep_house();
                let outlets = std::iter::once(&self.outlet)
                    .chain(self.responders.iter().map(|(_, outlet)| outlet));
                // Whoever asked may have gone.
                let _ = answer.send(Outlets {
                    outlets: outlets.cloned().collect(),
                    bells: self.sinks.iter().map(|sink| sink.bell.clone()).collect(),
                });
            }
            Job::Stop => {}
        }
    }

    fn observe(&mut self, signal: &Signal, elapsed: Duration, outcomes: &mut Vec<Outcome>) {
        let now = self.clock.now();
        self.decider.observe(signal, elapsed, now, outcomes);
        self.reporter.trends().signal(signal, elapsed);
        for outcome in outcomes.drain(..) {
            self.follow(outcome, signal.at.unwrap_or(now), elapsed);
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
                self.met(scenario, &target, &decisions, at);
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
        decisions: &[Arc<Decision>],
        at: Timestamp,
    ) {
        for decision in decisions {
            self.reporter
                .tell(&MonitorEvent::DecisionMade(Arc::clone(decision)));
            self.reporter.trends().decision(self.clock.monotonic());
            self.persist(decision);
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
        let summary = match decisions {
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
        self.raise(alert, has_end);
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
        self.raise(alert, false);
        self.reporter.tell(&MonitorEvent::DecisionDropped {
            scenario,
            target,
            reason,
        });
    }

    fn persist(&self, decision: &Arc<Decision>) {
        let (store, reporter) = (Arc::clone(&self.decisions), Arc::clone(&self.reporter));
        let the = Arc::clone(decision);
        let taken = self.outlet.offer(async move {
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

    fn lift(&mut self, id: Uuid, by: Arc<str>, answer: Answer<Arc<Decision>>) {
        let now = self.clock.now();
        let Some(decision) = self.decider.lift(id, now) else {
            let _ = answer.send(Err(LiftError::NotFound));
            return;
        };
        let lift = Lift::new(now, by).told(true);
        self.lifted_here.insert(id);
        let the = Arc::clone(&decision);
        self.reporter
            .tell(&MonitorEvent::DecisionLifted(the, lift.clone()));
        self.resolve(&decision.scenario, &decision.target);
        // Through the same outlet as the insertion, so that it cannot overtake it.
        let (store, reporter) = (Arc::clone(&self.decisions), Arc::clone(&self.reporter));
        // A full queue drops the answer with the work; the caller then reads `Store`.
        self.outlet.offer(async move {
            let result = match attempt(|| store.lift(id, &lift)).await {
                Ok(Ok(_)) => Ok(decision),
                Ok(Err(error)) => Err(LiftError::Store(error)),
                Err(why) => {
                    lost(&reporter, why, "the decision store");
                    Err(LiftError::Store(no_answer()))
                }
            };
            let _ = answer.send(result);
        });
    }

    fn silence(&mut self, silence: Silence, answer: Answer<()>) {
        let mut silences = self.alerts.silences().to_vec();
        silences.push(silence.clone());
        self.alerts.set_silences(silences);
        let (store, reporter) = (Arc::clone(&self.alert_store), Arc::clone(&self.reporter));
        self.outlet.offer(async move {
            let result = match attempt(|| store.silence(&silence)).await {
                Ok(result) => result.map_err(LiftError::Store),
                Err(why) => {
                    lost(&reporter, why, "the alert store");
                    Err(LiftError::Store(no_answer()))
                }
            };
            let _ = answer.send(result);
        });
    }

    fn unsilence(&mut self, id: Uuid, answer: Answer<()>) {
        let mut silences = self.alerts.silences().to_vec();
        silences.retain(|silence| silence.id != id);
        self.alerts.set_silences(silences);
        let (store, reporter) = (Arc::clone(&self.alert_store), Arc::clone(&self.reporter));
        let now = self.clock.now();
        self.outlet.offer(async move {
            let result = match attempt(|| store.unsilence(id, now)).await {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(LiftError::NotFound),
                Ok(Err(error)) => Err(LiftError::Store(error)),
                Err(why) => {
                    lost(&reporter, why, "the alert store");
                    Err(LiftError::Store(no_answer()))
                }
            };
            let _ = answer.send(result);
        });
    }

    fn raise(&mut self, alert: Alert, has_end: bool) {
        let scenario = Arc::clone(&alert.scenario);
        let (elapsed, now) = (self.clock.monotonic(), self.clock.now());
        match self.alerts.raise(alert, has_end, elapsed, now) {
            Raised::Notice(alert) => self.send(alert),
            Raised::Held => {}
            raised => self.reporter.tell(&MonitorEvent::AlertSuppressed {
                scenario,
                silenced: raised == Raised::Silenced,
            }),
        }
    }

    /// What the alerts of a scenario about a target tell of is over.
    fn resolve(&mut self, scenario: &Arc<str>, target: &Target) {
        let now = self.clock.now();
        let goes_on = self
            .guard
            .decisions()
            .iter()
            .any(|held| held.scenario == *scenario && held.target == *target);
        if goes_on {
            return;
        }
        let scope = target.to_string().escape_debug().to_string();
        let fingerprint = Fingerprint::new(scenario, &scope);
        let elapsed = self.clock.monotonic();
        if let Some(alert) = self.alerts.resolve(&fingerprint, elapsed, now) {
            self.send(alert);
        }
    }

    /// Stores the alert for every sink it is for; where that fails it goes through the spill file.
    fn send(&self, alert: Alert) {
        let now = self.clock.now();
        let sinks = self.sinks.iter().filter(|sink| sink.sink.takes(&alert));
        let (deliveries, bells): (Vec<_>, Vec<_>) = sinks
            .map(|sink| {
                let delivery = Delivery::new(Arc::clone(&sink.name), alert.clone(), now);
                (delivery, sink.bell.clone())
            })
            .unzip();
        let alert = Arc::new(alert);
        self.reporter.trends().alert(self.clock.monotonic());
        self.reporter
            .tell(&MonitorEvent::AlertRaised(Arc::clone(&alert)));
        if deliveries.is_empty() {
            return;
        }
        let (store, reporter) = (Arc::clone(&self.alert_store), Arc::clone(&self.reporter));
        let (spill, the, to_spill) = (
            Arc::clone(&self.spill),
            Arc::clone(&alert),
            deliveries.clone(),
        );
        let taken = self.outlet.offer(async move {
            match attempt(|| store.enqueue(&deliveries)).await {
                Ok(Ok(())) => {}
                failed => {
                    match failed {
                        Ok(Err(error)) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::error!(error, "an alert is not stored");
                        }
                        Err(why) => lost(&reporter, why, "the alert store"),
                        Ok(Ok(())) => {}
                    }
                    let spilled = tokio::task::spawn_blocking(move || spill.push(deliveries));
                    told_of_spill(&reporter, the, spilled.await.unwrap_or(false));
                }
            }
            for bell in bells {
                bell.ring();
            }
        });
        if !taken {
            let spilled = self.spill.push(to_spill);
            told_of_spill(&self.reporter, alert, spilled);
            for sink in &self.sinks {
                sink.bell.ring();
            }
        }
    }

    /// Ends decisions, sends alerts that are due, and prunes the store.
    fn keep_house(&mut self) {
        let (now, elapsed) = (self.clock.now(), self.clock.monotonic());
        for decision in self.decider.expire(now) {
            let the = Arc::clone(&decision);
            self.reporter.tell(&MonitorEvent::DecisionExpired(the));
            self.resolve(&decision.scenario, &decision.target);
        }
        for alert in self.alerts.due(elapsed, now) {
            self.send(alert);
        }
        let bytes = self.decider.bytes() as u64;
        self.reporter.state_bytes.store(bytes, Ordering::Relaxed);
        if elapsed >= self.next_prune {
            self.next_prune = elapsed + PRUNE_EVERY;
            let (decisions, alerts) = (Arc::clone(&self.decisions), Arc::clone(&self.alert_store));
            let reporter = Arc::clone(&self.reporter);
            let before = now - self.keep_decisions;
            // Where the queue is full the next hour will do.
            self.outlet.offer(async move {
                match attempt(|| decisions.prune(before)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "old decisions are not deleted"),
                    Err(why) => lost(&reporter, why, "the decision store"),
                }
                match attempt(|| alerts.forget(before)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "old alerts are not deleted"),
                    Err(why) => lost(&reporter, why, "the alert store"),
                }
            });
        }
    }

    /// Asks the store what other processes decided, lifted and silenced, and what waits.
    fn ask_for_news(&mut self) {
        if self.asking {
            return;
        }
        let since = self.clock.now() - OVERLAP;
        let (decisions, alerts) = (Arc::clone(&self.decisions), Arc::clone(&self.alert_store));
        let (queue, now, spill) = (
            self.queue.clone(),
            self.clock.now(),
            Arc::clone(&self.spill),
        );
        self.asking = self.outlet.offer(async move {
            let news = attempt(|| async {
                let outbox = alerts.outbox().await?;
                let spilled = spill.stats();
                let oldest = outbox.oldest.into_iter().chain(spilled.oldest).min();
                let waiting = outbox.waiting + spilled.waiting;
                Ok::<_, StoreError>(News {
                    changed: decisions.changed(since, MAX_NEWS).await?,
                    silences: alerts.silences(now).await?,
                    outbox: OutboxStats::new(waiting, outbox.dead, oldest),
                })
            });
            // That the store is down is told by what needed it, and by the health check.
            let news = match news.await {
                Ok(Ok(news)) => news,
                _ => News {
                    changed: Vec::new(),
                    silences: Vec::new(),
                    outbox: spill.stats(),
                },
            };
            if let Some(queue) = queue.upgrade() {
                let _ = queue.send(Job::News(news)).await;
            }
        });
    }

    fn learn(&mut self, news: News) {
        self.asking = false;
        let now = self.clock.now();
        let OutboxStats {
            waiting, oldest, ..
        } = news.outbox;
        let oldest = oldest.map_or(0, |at| u64::try_from(at.as_micros()).unwrap_or(0));
        self.reporter.outbox_depth.store(waiting, Ordering::Relaxed);
        self.reporter.outbox_oldest.store(oldest, Ordering::Relaxed);
        let mut known: HashSet<Uuid> = HashSet::new();
        for silence in self.alerts.silences() {
            known.insert(silence.id);
        }
        if news.silences.iter().any(|of| !known.contains(&of.id))
            || news.silences.len() < known.len()
        {
            self.alerts.set_silences(news.silences);
        }
        let mut seen_lifted = HashSet::new();
        for Stored { decision, lifted } in news.changed {
            match lifted {
                None if self.lifted_here.contains(&decision.id) => {}
                None => {
                    let decision = Arc::new(decision);
                    if self.decider.adopt(&decision, now) {
                        self.reporter.tell(&MonitorEvent::DecisionAdopted(decision));
                    }
                }
                Some(lift) => {
                    seen_lifted.insert(decision.id);
                    self.lifted_elsewhere(decision, lift, now);
                }
            }
        }
        self.lifted_here.retain(|id| !seen_lifted.contains(id));
    }

    /// Another process lifted it. Who lifted it in the store alone leaves it to us to tell.
    fn lifted_elsewhere(&mut self, decision: Decision, lift: Lift, now: Timestamp) {
        if let Some(held) = self.decider.lift(decision.id, now) {
            self.resolve(&held.scenario, &held.target);
        }
        if lift.told {
            return;
        }
        let (store, reporter) = (Arc::clone(&self.decisions), Arc::clone(&self.reporter));
        self.outlet.offer(async move {
            if let Ok(Ok(true)) = attempt(|| store.lift_told(decision.id)).await {
                let decision = Arc::new(decision);
                reporter.tell(&MonitorEvent::DecisionLifted(decision, lift));
            }
        });
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

fn told_of_spill(reporter: &Reporter, alert: Arc<Alert>, spilled: bool) {
    reporter.tell(&if spilled {
        MonitorEvent::AlertSpilled(alert)
    } else {
        tracing::error!(id = %alert.id, "an alert is lost: neither stored nor spilled");
        MonitorEvent::AlertLost(alert)
    });
}

fn no_answer() -> StoreError {
    StoreError::Unavailable("no answer from the store".into())
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
