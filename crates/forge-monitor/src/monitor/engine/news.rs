//! Decisions that are lifted, and what other processes on the same store decide and lift.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::{Answer, Engine, Job, attempt, lost, no_answer};
use crate::alert::Silence;
use crate::clock::Timestamp;
use crate::decision::{Decision, Lift, Stored};
use crate::delivery::OutboxStats;
use crate::error::{LiftError, StoreError};
use crate::on_event::MonitorEvent;

/// How far back the store is asked for what others changed: their clocks may differ, and a change
/// may be seen some time after it was dated.
const OVERLAP: Duration = Duration::from_secs(30);
/// How many changes are read at once.
const MAX_NEWS: usize = 10_000;

pub(in crate::monitor) struct News {
    changed: Vec<Stored>,
    silences: Vec<Silence>,
    outbox: OutboxStats,
}

impl Engine {
    pub(super) fn lift(&mut self, id: Uuid, by: Arc<str>, answer: Answer<Arc<Decision>>) {
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

    /// Asks the store what other processes decided, lifted and silenced, and what waits.
    pub(super) fn ask_for_news(&mut self) {
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

    pub(super) fn learn(&mut self, news: News) {
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
    pub(super) fn lifted_elsewhere(&mut self, decision: Decision, lift: Lift, now: Timestamp) {
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
