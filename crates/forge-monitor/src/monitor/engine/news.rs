//! Decisions that are lifted, and what other processes on the same store decide and lift.

use std::collections::{HashMap, HashSet};
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

/// How far before the last answer the store is asked for what others changed: their clocks may
/// differ, and a change may be seen some time after it was dated.
const OVERLAP: Duration = Duration::from_secs(30);
/// How far it is now and then, so that clocks may differ by more than that.
const LONG_OVERLAP: Duration = Duration::from_secs(3600);
/// How often that is.
const RELOAD_EVERY: Duration = Duration::from_secs(60);
/// How many changes are read at once.
const MAX_NEWS: usize = 10_000;

/// What the store told.
pub(in crate::monitor) struct News {
    /// Nothing where it did not answer.
    changed: Option<Changed>,
    outbox: OutboxStats,
}

struct Changed {
    /// When it was asked.
    asked: Timestamp,
    decisions: Vec<Stored>,
    silences: Vec<Silence>,
    /// As many silences were made and ended here by then.
    silenced_here: u64,
}

/// How the store is asked for news.
#[derive(Debug)]
pub(in crate::monitor) struct Asking {
    under_way: bool,
    /// Something has changed since it was asked.
    again: bool,
    /// When it was asked the last time that it answered.
    answered: Timestamp,
    next_reload: Duration,
    /// Decisions that are lifted here, and when, until the store knows it.
    lifted_here: HashMap<Uuid, (Arc<Decision>, Timestamp)>,
}

impl Asking {
    /// Everything before `now` is known.
    pub(in crate::monitor) fn new(now: Timestamp) -> Self {
        Self {
            under_way: false,
            again: false,
            answered: now,
            next_reload: Duration::ZERO,
            lifted_here: HashMap::new(),
        }
    }

    /// Whether it, or what was decided of the same at the same time elsewhere, is lifted here.
    fn is_lifted(&self, decision: &Decision) -> bool {
        self.lifted_here.values().any(|(lifted, at)| {
            let is_alike = lifted.target == decision.target && lifted.action == decision.action;
            lifted.id == decision.id || (is_alike && decision.since <= *at)
        })
    }
}

impl Engine {
    pub(super) fn lift(&mut self, id: Uuid, by: Arc<str>, answer: Answer<Arc<Decision>>) {
        let now = self.clock.now();
        let Some(decision) = self.decider.lift(id, now) else {
            let _ = answer.send(Err(LiftError::NotFound));
            return;
        };
        let lift = Lift::new(now, by).told(true);
        let here = (Arc::clone(&decision), now);
        self.asking.lifted_here.insert(id, here);
        let (store, reporter) = (Arc::clone(&self.store), Arc::clone(&self.reporter));
        let the = Arc::clone(&decision);
        let told = MonitorEvent::DecisionLifted(Arc::clone(&decision), lift.clone());
        // A full queue drops the answer with the work; the caller then reads `Store`.
        let work = async move {
            let result = match attempt(|| store.lift(id, &lift)).await {
                Ok(Ok(_)) => Ok(Arc::clone(&the)),
                Ok(Err(error)) => Err(LiftError::Store(error)),
                Err(why) => {
                    lost(&reporter, why, "the decision store");
                    Err(LiftError::Store(no_answer()))
                }
            };
            reporter.tell(&MonitorEvent::DecisionLifted(the, lift));
            let _ = answer.send(result);
        };
        if !self.recorder.lift(&decision, work) {
            self.reporter.tell(&told);
        }
        self.resolve(&decision.scenario, &decision.target);
    }

    /// Something has changed in the store.
    pub(super) fn refresh(&mut self) {
        self.asking.again = true;
        self.ask_for_news();
    }

    /// Asks the store what other processes decided, lifted and silenced, and what waits.
    pub(super) fn ask_for_news(&mut self) {
        if self.asking.under_way {
            return;
        }
        let elapsed = self.clock.monotonic();
        let overlap = match elapsed >= self.asking.next_reload {
            true => LONG_OVERLAP,
            false => OVERLAP,
        };
        // While it does not answer, what changes meanwhile is asked for when it does.
        let since = self.asking.answered.min(self.clock.now()) - overlap;
        let store = Arc::clone(&self.store);
        let (queue, clock) = (self.queue.clone(), Arc::clone(&self.clock));
        let (spill, silenced_here) = (Arc::clone(&self.spill), self.silenced_here);
        let asked = self.recorder.offer(async move {
            let now = clock.now();
            let news = attempt(|| async {
                let outbox = store.outbox().await?;
                let changed = Changed {
                    asked: now,
                    decisions: store.changed(since, MAX_NEWS).await?,
                    silences: store.silences(now).await?,
                    silenced_here,
                };
                Ok::<_, StoreError>((changed, outbox))
            });
            let spilled = spill.stats();
            // That the store is down is told by what needed it, and by the health check.
            let news = match news.await {
                Ok(Ok((changed, outbox))) => News {
                    changed: Some(changed),
                    outbox: OutboxStats::new(
                        outbox.waiting + spilled.waiting,
                        outbox.dead,
                        outbox.oldest.into_iter().chain(spilled.oldest).min(),
                    ),
                },
                _ => News {
                    changed: None,
                    outbox: spilled,
                },
            };
            if let Some(queue) = queue.upgrade() {
                let _ = queue.send(Job::News(news)).await;
            }
        });
        if asked {
            self.asking.under_way = true;
            self.asking.again = false;
            if overlap == LONG_OVERLAP {
                self.asking.next_reload = elapsed + RELOAD_EVERY;
            }
        }
    }

    pub(super) fn learn(&mut self, news: News) {
        self.asking.under_way = false;
        let now = self.clock.now();
        let OutboxStats {
            waiting, oldest, ..
        } = news.outbox;
        let oldest = oldest.map_or(0, |at| u64::try_from(at.as_micros()).unwrap_or(0));
        self.reporter.outbox_depth.store(waiting, Ordering::Relaxed);
        self.reporter.outbox_oldest.store(oldest, Ordering::Relaxed);
        if let Some(changed) = news.changed {
            self.asking.answered = changed.asked;
            // What was silenced here meanwhile is not in it.
            if changed.silenced_here == self.silenced_here {
                self.alerts.set_silences(changed.silences);
            }
            self.take_up(changed.decisions, now);
        }
        if self.asking.again {
            self.ask_for_news();
        }
    }

    fn take_up(&mut self, changed: Vec<Stored>, now: Timestamp) {
        let mut seen_lifted = HashSet::new();
        for Stored { decision, lifted } in changed {
            match lifted {
                None if self.asking.is_lifted(&decision) => {}
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
        let lifted_here = &mut self.asking.lifted_here;
        lifted_here.retain(|id, _| !seen_lifted.contains(id));
    }

    /// Another process lifted it. Who lifted it in the store alone leaves it to us to tell.
    fn lifted_elsewhere(&mut self, decision: Decision, lift: Lift, now: Timestamp) {
        if let Some(held) = self.decider.lift(decision.id, now) {
            self.resolve(&held.scenario, &held.target);
        }
        if lift.told {
            return;
        }
        let (store, reporter) = (Arc::clone(&self.store), Arc::clone(&self.reporter));
        self.recorder.offer(async move {
            if let Ok(Ok(true)) = attempt(|| store.lift_told(decision.id)).await {
                let decision = Arc::new(decision);
                reporter.tell(&MonitorEvent::DecisionLifted(decision, lift));
            }
        });
    }
}
