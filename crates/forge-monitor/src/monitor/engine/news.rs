//! Decisions that are lifted, and what other processes on the same store decide and lift.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::{Answer, Engine, Job, attempt};
use crate::alert::{Silence, StoredSilence};
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Lift, Stored, Target};
use crate::delivery::{OutboxStats, Requeued};
use crate::error::{LiftError, StoreError};
use crate::monitor::recorder::{Lifting, Sweep};
use crate::on_event::MonitorEvent;

/// How far before the last answer the store is asked for what others changed: their clocks may
/// differ, and a change may be seen some time after it was dated.
const OVERLAP: Duration = Duration::from_secs(30);
/// How far it is now and then, so that clocks may differ by more than that.
const LONG_OVERLAP: Duration = Duration::from_secs(3600);
/// How often that is.
const RELOAD_EVERY: Duration = Duration::from_secs(60);
/// For how long it is remembered that something was lifted, after it was last heard of.
const REMEMBERED: Duration = Duration::from_secs(2 * 3600);
/// How many changes are read at once: as many decisions as at the start.
const MAX_NEWS: usize = 100_000;
/// How many silences of others are told at once, and how many deliveries that they let wait again.
const MAX_UNTOLD: usize = 100;

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
    untold_silences: Vec<StoredSilence>,
    untold_requeues: Vec<Requeued>,
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
    /// What was lifted within the last hours, here or elsewhere: a decision of then may be stored
    /// long after that.
    lifted: HashMap<(Action, Target), Lifted>,
    /// The decisions whose lifting is dealt with, and when they were last heard of.
    known: HashMap<Uuid, Duration>,
}

#[derive(Debug)]
struct Lifted {
    at: Timestamp,
    by: Arc<str>,
    /// When that was last heard of, on the monotonic clock.
    heard: Duration,
}

impl Asking {
    /// Everything before `now` is known.
    pub(in crate::monitor) fn new(now: Timestamp) -> Self {
        Self {
            under_way: false,
            again: false,
            answered: now,
            next_reload: Duration::ZERO,
            lifted: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// Notes that what was decided like this until then is lifted.
    fn note(&mut self, decision: &Decision, lift: &Lift, heard: Duration) {
        let key = (decision.action, decision.target.clone());
        let noted = self.lifted.entry(key).or_insert_with(|| Lifted {
            at: lift.at,
            by: Arc::clone(&lift.by),
            heard,
        });
        if noted.at < lift.at {
            (noted.at, noted.by) = (lift.at, Arc::clone(&lift.by));
        }
        noted.heard = heard;
    }

    fn forget(&mut self, now: Duration) {
        let is_recent = |heard: Duration| now.saturating_sub(heard) < REMEMBERED;
        self.lifted.retain(|_, lifted| is_recent(lifted.heard));
        self.known.retain(|_, heard| is_recent(*heard));
    }

    /// How it, or what was decided of the same by then, was lifted.
    fn lift_of(&self, decision: &Decision) -> Option<Lift> {
        let key = (decision.action, decision.target.clone());
        let lifted = self.lifted.get(&key)?;
        let lift = Lift::new(lifted.at, Arc::clone(&lifted.by)).told(true);
        (decision.since <= lifted.at).then_some(lift)
    }
}

impl Engine {
    pub(super) fn lift(&mut self, id: Uuid, by: Arc<str>, answer: Answer<Arc<Decision>>) {
        let (now, elapsed) = (self.clock.now(), self.clock.monotonic());
        let Some(decision) = self.decider.lift(id, now) else {
            // It may be lifted here, but not in the store.
            if let Err(answer) = self.recorder.lift_again(id, answer) {
                let _ = answer.send(Err(LiftError::NotFound));
            }
            return;
        };
        // Whoever decided it may have a clock that is ahead.
        let lift = Lift::new(now.max(decision.since), by).told(true);
        self.asking.note(&decision, &lift, elapsed);
        self.asking.known.insert(id, elapsed);
        let lifting = Lifting {
            decision: Arc::clone(&decision),
            lift,
        };
        self.recorder.lift(lifting, answer);
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
                    untold_silences: store.untold_silences(MAX_UNTOLD).await?,
                    untold_requeues: store.untold_requeues(MAX_UNTOLD).await?,
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
            for stored in changed.untold_silences {
                self.tell_silence(stored);
            }
            for requeued in changed.untold_requeues {
                self.tell_requeue(requeued);
            }
            self.take_up(changed.decisions, now);
        }
        if self.asking.again {
            self.ask_for_news();
        }
    }

    fn take_up(&mut self, changed: Vec<Stored>, now: Timestamp) {
        let elapsed = self.clock.monotonic();
        let (mut sweep, mut fresh) = (Sweep::default(), Vec::new());
        for Stored { decision, lifted } in changed {
            let decision = Arc::new(decision);
            match lifted {
                None => self.made(decision, now, &mut sweep),
                Some(lift) => {
                    if let Some(heard) = self.asking.known.get_mut(&decision.id) {
                        *heard = elapsed;
                    } else {
                        fresh.push(decision.id);
                        self.lifted_elsewhere(&decision, &lift, now, &mut sweep);
                    }
                    if !lift.told {
                        self.tell_lifting(decision, lift);
                    }
                }
            }
        }
        let is_empty = sweep.lifted.is_empty() && sweep.stored.is_empty();
        // With a full queue the next answer will do.
        if is_empty || self.recorder.sweep(sweep) {
            let known = fresh.into_iter().map(|id| (id, elapsed));
            self.asking.known.extend(known);
        }
        self.asking.forget(elapsed);
    }

    /// It is stored, and not lifted there.
    fn made(&mut self, decision: Arc<Decision>, now: Timestamp, sweep: &mut Sweep) {
        let held = self.decider.held(decision.action, &decision.target, now);
        if held.is_some_and(|held| held.id == decision.id) {
            return;
        }
        match self.asking.lift_of(&decision) {
            Some(lift) if decision.is_active(now) => {
                // It was stored late, by a node that had not heard of it.
                sweep.stored.push(Lifting { decision, lift });
            }
            Some(_) => {}
            None => {
                if self.decider.adopt(&decision, now) {
                    self.reporter.tell(&MonitorEvent::DecisionAdopted(decision));
                }
            }
        }
    }

    /// Another process lifted it, and with it what was decided here at the same time.
    fn lifted_elsewhere(
        &mut self,
        decision: &Arc<Decision>,
        lift: &Lift,
        now: Timestamp,
        sweep: &mut Sweep,
    ) {
        // Whose clock is ahead does not lift what is decided here later.
        let at = lift.at.min(now).max(decision.since);
        let lift = Lift::new(at, Arc::clone(&lift.by)).told(true);
        self.asking.note(decision, &lift, self.clock.monotonic());
        let lifting = Lifting {
            decision: Arc::clone(decision),
            lift,
        };
        let alike = self.decider.held(decision.action, &decision.target, now);
        let alike = alike.filter(|of| of.since <= at && of.id != decision.id);
        if alike.is_some() {
            sweep.stored.push(lifting.clone());
        }
        sweep.lifted.push(lifting);
        for id in alike.map(|of| of.id).into_iter().chain([decision.id]) {
            if let Some(held) = self.decider.lift(id, now) {
                self.resolve(&held.scenario, &held.target);
            }
        }
    }

    /// Who lifted it in the store alone leaves it to us to tell.
    fn tell_lifting(&self, decision: Arc<Decision>, lift: Lift) {
        let (store, reporter) = (Arc::clone(&self.store), Arc::clone(&self.reporter));
        self.recorder.offer(async move {
            if let Ok(Ok(true)) = attempt(|| store.lift_told(decision.id)).await {
                reporter.tell(&MonitorEvent::DecisionLifted(decision, lift));
            }
        });
    }

    /// The same of who let it wait again.
    fn tell_requeue(&self, requeued: Requeued) {
        let (store, reporter) = (Arc::clone(&self.store), Arc::clone(&self.reporter));
        self.recorder.offer(async move {
            if let Ok(Ok(true)) = attempt(|| store.requeue_told(requeued.delivery.id)).await {
                reporter.tell(&MonitorEvent::AlertRequeued(Arc::new(requeued)));
            }
        });
    }

    /// Who made or ended it in the store alone leaves it to us to tell.
    fn tell_silence(&self, stored: StoredSilence) {
        let (store, reporter) = (Arc::clone(&self.store), Arc::clone(&self.reporter));
        let StoredSilence { silence, ended } = stored;
        let silence = Arc::new(silence);
        self.recorder.offer(async move {
            let claim = async |ended| {
                let told = attempt(|| store.silence_told(silence.id, ended)).await;
                matches!(told, Ok(Ok(true)))
            };
            if !silence.told && claim(false).await {
                reporter.tell(&MonitorEvent::SilenceMade(Arc::clone(&silence)));
            }
            if let Some(end) = ended.filter(|end| !end.told)
                && claim(true).await
            {
                reporter.tell(&MonitorEvent::SilenceEnded(silence, end));
            }
        });
    }
}
