//! Decisions and alerts in the memory of the process.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use uuid::Uuid;

use super::{AlertStore, Batch, DecisionStore, MAX_SILENCES, MonitorStore, StoreFuture};
use crate::alert::{Silence, StoredSilence};
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Lift, Stored, Target};
use crate::delivery::{
    DeadLetter, DeadReason, Delivery, HORIZON, OutboxStats, Patience, Requeued, Settled,
};
use crate::error::StoreError;

/// How many deliveries are kept; one more displaces the oldest that is settled, or is refused.
const MAX_DELIVERIES: usize = 10_000;

/// A store that ends with the process, for tests and for services that need no more. Clones share
/// what is stored.
#[derive(Clone, Debug, Default)]
pub struct MemoryMonitorStore {
    rows: Arc<Mutex<Rows>>,
}

#[derive(Debug, Default)]
struct Rows {
    decisions: HashMap<Uuid, Kept>,
    /// In the order in which they came.
    deliveries: Vec<Row>,
    silences: Vec<StoredSilence>,
    /// Sinks that nobody has and something waits for, and since when that is known.
    missing: HashMap<Arc<str>, Timestamp>,
}

#[derive(Debug)]
struct Kept {
    decision: Decision,
    lifted: Option<Lift>,
    /// When it was stored or lifted.
    changed: Timestamp,
}

impl Kept {
    fn lift(&mut self, lift: &Lift) {
        self.lifted = Some(lift.clone());
        self.changed = SystemTime::now().into();
    }
}

#[derive(Debug)]
struct Row {
    delivery: Delivery,
    leased_until: Timestamp,
    state: State,
    /// Who let it wait again, where that is not told.
    requeued: Option<Lift>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Delivered(Timestamp),
    Dead(Timestamp, DeadReason),
}

impl Rows {
    /// All or nothing.
    fn put(
        &mut self,
        decisions: &[&Decision],
        deliveries: &[Delivery],
        withdrawn: &[Uuid],
    ) -> Result<(), StoreError> {
        let known = |id| self.deliveries.iter().any(|row| row.delivery.id == id);
        if decisions
            .iter()
            .any(|of| self.decisions.contains_key(&of.id))
            || deliveries.iter().any(|of| known(of.id))
        {
            return Err(StoreError::Duplicate);
        }
        let is_withdrawn = |row: &Row| {
            let id = &row.delivery.id;
            row.state == State::Waiting && row.delivery.attempts == 0 && withdrawn.contains(id)
        };
        let is_settled = |row: &Row| row.state != State::Waiting;
        let rows = self.deliveries.iter();
        let stay = rows.filter(|row| !is_withdrawn(row) && !is_settled(row));
        if stay.count() + deliveries.len() > MAX_DELIVERIES {
            return Err(StoreError::Unavailable("the outbox is full".into()));
        }
        if !withdrawn.is_empty() {
            self.deliveries.retain(|row| !is_withdrawn(row));
        }
        while self.deliveries.len() + deliveries.len() > MAX_DELIVERIES {
            let Some(oldest) = self.deliveries.iter().position(is_settled) else {
                break;
            };
            self.deliveries.remove(oldest);
        }
        for decision in decisions {
            let kept = Kept {
                decision: (*decision).clone(),
                lifted: None,
                changed: SystemTime::now().into(),
            };
            self.decisions.insert(decision.id, kept);
        }
        self.deliveries
            .extend(deliveries.iter().map(|delivery| Row {
                delivery: delivery.clone(),
                leased_until: Timestamp::from_micros(i64::MIN),
                state: State::Waiting,
                requeued: None,
            }));
        Ok(())
    }
}

impl MemoryMonitorStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // No code that can panic runs while the lock is held.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DecisionStore for MemoryMonitorStore {
    fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.rows().put(&[decision], &[], &[]) })
    }

    fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>> {
        Box::pin(async move {
            let mut active: Vec<_> = self
                .rows()
                .decisions
                .values()
                .filter(|row| row.lifted.is_none() && row.decision.until > at)
                .map(|row| row.decision.clone())
                .collect();
            active.sort_by_key(|decision| Reverse((decision.until, decision.id)));
            active.truncate(limit);
            Ok(active)
        })
    }

    fn changed(&self, since: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        Box::pin(async move {
            let rows = self.rows();
            let mut changed: Vec<_> = rows
                .decisions
                .values()
                .filter(|row| {
                    let is_untold = row.lifted.as_ref().is_some_and(|lift| !lift.told);
                    is_untold || row.changed >= since
                })
                .collect();
            changed.sort_by_key(|row| (row.lifted.is_none(), Reverse(row.changed)));
            changed.truncate(limit);
            let stored = |row: &Kept| Stored::new(row.decision.clone(), row.lifted.clone());
            Ok(changed.into_iter().map(stored).collect())
        })
    }

    fn lift<'a>(&'a self, id: Uuid, lift: &'a Lift) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let mut rows = self.rows();
            let holds = |row: &Kept| row.lifted.is_none() && row.decision.until > lift.at;
            let Some(of) = rows.decisions.get(&id).filter(|row| holds(row)) else {
                return Ok(false);
            };
            let (target, action) = (of.decision.target.clone(), of.decision.action);
            for row in rows.decisions.values_mut() {
                let is_meant = row.decision.target == target && row.decision.action == action;
                if is_meant && holds(row) {
                    row.lift(lift);
                }
            }
            Ok(true)
        })
    }

    fn lift_alike<'a>(
        &'a self,
        action: Action,
        target: &'a Target,
        lift: &'a Lift,
    ) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut lifted = 0;
            for row in self.rows().decisions.values_mut() {
                let Decision { since, until, .. } = row.decision;
                let is_meant = row.decision.target == *target && row.decision.action == action;
                if is_meant && row.lifted.is_none() && since <= lift.at && until > lift.at {
                    row.lift(lift);
                    lifted += 1;
                }
            }
            Ok(lifted)
        })
    }

    fn lift_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let mut rows = self.rows();
            let lift = rows.decisions.get_mut(&id);
            let lift = lift.and_then(|row| row.lifted.as_mut());
            Ok(match lift {
                Some(lift) => !std::mem::replace(&mut lift.told, true),
                None => false,
            })
        })
    }

    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let mut rows = self.rows();
            let held = rows.decisions.len();
            rows.decisions.retain(|_, row| row.decision.until >= before);
            Ok((held - rows.decisions.len()) as u64)
        })
    }
}

impl MonitorStore for MemoryMonitorStore {
    fn record<'a>(&'a self, batch: &'a Batch) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let decisions: Vec<_> = batch.decisions.iter().map(|of| &**of).collect();
            let mut rows = self.rows();
            rows.put(&decisions, &batch.deliveries, &batch.withdrawn)
        })
    }
}

impl AlertStore for MemoryMonitorStore {
    fn enqueue<'a>(&'a self, deliveries: &'a [Delivery]) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.rows().put(&[], deliveries, &[]) })
    }

    fn lease<'a>(
        &'a self,
        sink: &'a str,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreFuture<'a, Option<Delivery>> {
        Box::pin(async move {
            let is_past = |time: Timestamp| time <= now || time > now + HORIZON;
            let mut rows = self.rows();
            let due = rows
                .deliveries
                .iter_mut()
                .filter(|row| &*row.delivery.sink == sink && row.state == State::Waiting)
                .filter(|row| is_past(row.delivery.due) && is_past(row.leased_until))
                .min_by_key(|row| (row.delivery.due, row.delivery.id));
            Ok(due.map(|row| {
                row.leased_until = until;
                row.delivery.attempts += 1;
                row.delivery.clone()
            }))
        })
    }

    fn settle<'a>(
        &'a self,
        id: Uuid,
        attempts: u32,
        settled: Settled,
        at: Timestamp,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let mut rows = self.rows();
            let row = rows.deliveries.iter_mut().find(|row| {
                row.delivery.id == id
                    && row.delivery.attempts == attempts
                    && row.state == State::Waiting
            });
            let Some(row) = row else {
                return Ok(false);
            };
            row.leased_until = Timestamp::from_micros(i64::MIN);
            match settled {
                Settled::Delivered => row.state = State::Delivered(at),
                Settled::Again(due) => row.delivery.due = due,
                Settled::Dead => row.state = State::Dead(at, DeadReason::NotTaken),
            }
            Ok(true)
        })
    }

    fn attend<'a>(
        &'a self,
        sinks: &'a [Arc<str>],
        now: Timestamp,
    ) -> StoreFuture<'a, Vec<Arc<str>>> {
        Box::pin(async move {
            let mut rows = self.rows();
            let Rows {
                deliveries,
                missing,
                ..
            } = &mut *rows;
            let waiting = deliveries.iter().filter(|row| row.state == State::Waiting);
            let strange = waiting.map(|row| &row.delivery.sink);
            let strange: HashSet<_> = strange.filter(|sink| !sinks.contains(sink)).collect();
            missing.retain(|sink, since| strange.contains(sink) && *since <= now + HORIZON);
            let mut fresh: Vec<_> = strange.into_iter().cloned().collect();
            fresh.retain(|sink| !missing.contains_key(sink));
            fresh.sort();
            missing.extend(fresh.iter().map(|sink| (Arc::clone(sink), now)));
            Ok(fresh)
        })
    }

    fn give_up(
        &self,
        now: Timestamp,
        patience: Patience,
        limit: usize,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        Box::pin(async move {
            let (old, alone) = (now - patience.max_age, now - patience.without_sink);
            let mut rows = self.rows();
            let Rows {
                deliveries,
                missing,
                ..
            } = &mut *rows;
            let mut meant: Vec<_> = deliveries
                .iter_mut()
                .filter(|row| row.state == State::Waiting)
                .filter(|row| row.leased_until <= now || row.leased_until > now + HORIZON)
                .filter_map(|row| {
                    let created = row.delivery.created;
                    let since = missing.get(&row.delivery.sink);
                    let is_missing = since.is_some_and(|since| *since <= alone);
                    let is_over = created <= alone || created > now + HORIZON;
                    match is_missing {
                        true if is_over || created <= old => Some((row, DeadReason::NoSink)),
                        false if created <= old => Some((row, DeadReason::TooOld)),
                        _ => None,
                    }
                })
                .collect();
            meant.sort_by_key(|(row, _)| (row.delivery.created, row.delivery.id));
            meant.truncate(limit);
            let dead = meant.into_iter().map(|(row, reason)| {
                row.state = State::Dead(now, reason);
                row.leased_until = Timestamp::from_micros(i64::MIN);
                DeadLetter::new(row.delivery.clone(), now).reason(reason)
            });
            Ok(dead.collect())
        })
    }

    fn dead(&self, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        Box::pin(async move {
            let rows = self.rows();
            let dead = rows.deliveries.iter().filter_map(|row| match row.state {
                State::Dead(at, reason) => {
                    Some(DeadLetter::new(row.delivery.clone(), at).reason(reason))
                }
                _ => None,
            });
            let mut dead: Vec<_> = dead.collect();
            dead.sort_by_key(|of| Reverse((of.at, of.delivery.id)));
            dead.truncate(limit);
            Ok(dead)
        })
    }

    fn requeue<'a>(&'a self, id: Uuid, by: &'a Lift) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let mut rows = self.rows();
            let is_it = |row: &&mut Row| row.delivery.id == id;
            let row = rows.deliveries.iter_mut().find(is_it);
            Ok(match row {
                Some(row) if matches!(row.state, State::Dead(..)) => {
                    row.state = State::Waiting;
                    (
                        row.delivery.attempts,
                        row.delivery.created,
                        row.delivery.due,
                    ) = (0, by.at, by.at);
                    row.requeued = Some(by.clone()).filter(|by| !by.told);
                    true
                }
                _ => false,
            })
        })
    }

    fn untold_requeues(&self, limit: usize) -> StoreFuture<'_, Vec<Requeued>> {
        Box::pin(async move {
            let rows = self.rows();
            let untold = rows.deliveries.iter().filter_map(|row| {
                let by = row.requeued.clone()?;
                Some(Requeued::new(row.delivery.clone(), by))
            });
            let mut untold: Vec<_> = untold.collect();
            untold.sort_by_key(|of| (of.by.at, of.delivery.id));
            untold.truncate(limit);
            Ok(untold)
        })
    }

    fn requeue_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let mut rows = self.rows();
            let row = rows.deliveries.iter_mut().find(|row| row.delivery.id == id);
            Ok(row.is_some_and(|row| row.requeued.take().is_some()))
        })
    }

    fn outbox(&self) -> StoreFuture<'_, OutboxStats> {
        Box::pin(async move {
            let rows = self.rows();
            let waiting = |row: &&Row| row.state == State::Waiting;
            let dead = |row: &&Row| matches!(row.state, State::Dead(..));
            let oldest = rows.deliveries.iter().filter(waiting);
            Ok(OutboxStats::new(
                rows.deliveries.iter().filter(waiting).count() as u64,
                rows.deliveries.iter().filter(dead).count() as u64,
                oldest.map(|row| row.delivery.created).min(),
            ))
        })
    }

    fn forget(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let mut rows = self.rows();
            let held = rows.deliveries.len();
            rows.deliveries.retain(|row| match row.state {
                State::Waiting => true,
                State::Delivered(at) | State::Dead(at, _) => at >= before || row.requeued.is_some(),
            });
            let forgotten = (held - rows.deliveries.len()) as u64;
            rows.silences.retain(|of| {
                let is_told = of.silence.told && of.ended.as_ref().is_none_or(|end| end.told);
                of.silence.until >= before || !is_told
            });
            Ok(forgotten)
        })
    }

    fn silence<'a>(&'a self, silence: &'a Silence) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut rows = self.rows();
            if rows.silences.iter().any(|of| of.silence.id == silence.id) {
                return Err(StoreError::Duplicate);
            }
            rows.silences
                .push(StoredSilence::new(silence.clone(), None));
            Ok(())
        })
    }

    fn unsilence<'a>(&'a self, id: Uuid, end: &'a Lift) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let mut rows = self.rows();
            let mut silences = rows.silences.iter_mut();
            let meant = silences.find(|of| of.silence.id == id && of.silence.until > end.at);
            Ok(match meant {
                Some(of) => {
                    of.silence.until = end.at;
                    of.ended = Some(end.clone());
                    true
                }
                None => false,
            })
        })
    }

    fn untold_silences(&self, limit: usize) -> StoreFuture<'_, Vec<StoredSilence>> {
        Box::pin(async move {
            let rows = self.rows();
            let untold = rows.silences.iter().filter(|of| {
                let is_end_untold = of.ended.as_ref().is_some_and(|end| !end.told);
                !of.silence.told || is_end_untold
            });
            let mut untold: Vec<_> = untold.cloned().collect();
            untold.sort_by_key(|of| (of.silence.since, of.silence.id));
            untold.truncate(limit);
            Ok(untold)
        })
    }

    fn silence_told(&self, id: Uuid, ended: bool) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let mut rows = self.rows();
            let of = rows.silences.iter_mut().find(|of| of.silence.id == id);
            let told = of.and_then(|of| match ended {
                false => Some(&mut of.silence.told),
                true => of.ended.as_mut().map(|end| &mut end.told),
            });
            Ok(told.is_some_and(|told| !std::mem::replace(told, true)))
        })
    }

    fn silences(&self, at: Timestamp) -> StoreFuture<'_, Vec<Silence>> {
        Box::pin(async move {
            let rows = self.rows();
            let active = rows.silences.iter().map(|of| &of.silence);
            let mut active: Vec<_> = active.filter(|of| of.until > at).cloned().collect();
            active.sort_by_key(|of| (of.since, of.id));
            active.truncate(MAX_SILENCES);
            Ok(active)
        })
    }
}
