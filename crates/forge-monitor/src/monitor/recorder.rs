//! Stores what was decided in one transaction with the alerts that tell of it, and then tells.
//!
//! A decision is enforced before it comes here. Nobody is told of it before it is stored: what dies
//! with the process before that has left no trace but a few refused requests, and whoever goes on is
//! found again. As much as waits is stored at once, so that a slow disk and a store that hangs delay
//! a flood by one pause, not by one each.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::courier::Bell;
use super::outlet::{NoResult, attempt};
use super::reporter::{Reporter, count};
use super::spill::Spill;
use crate::alert::Alert;
use crate::clock::Clock;
use crate::decision::{Action, Decision, Target};
use crate::delivery::Delivery;
use crate::error::StoreError;
use crate::on_event::MonitorEvent;
use crate::store::{Batch, MonitorStore};

/// How many pieces of work may wait.
const CAPACITY: usize = 1024;
/// How many of them are stored in one transaction.
const AT_ONCE: usize = 256;
/// How many decisions that could not be stored are tried again.
const MAX_UNSAVED: usize = 4096;
/// How often.
const RETRY_EVERY: Duration = Duration::from_secs(5);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something that happened: stored, then told, then brought to people.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) decisions: Vec<Arc<Decision>>,
    pub(super) alert: Option<Arc<Alert>>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) withdrawn: Vec<Uuid>,
    /// Of those who deliver.
    pub(super) bells: Vec<Bell>,
}

enum Item {
    Record(Record),
    /// Work that does away with what was decided about a target.
    Lift(Action, Target, Work),
    Work(Work),
}

/// The sending end; the task ends when the last clone is dropped and the queue is empty.
#[derive(Clone)]
pub(super) struct Recorder {
    queue: mpsc::Sender<Item>,
    unstored: Unstored,
}

/// What becomes of what is not stored.
#[derive(Clone)]
struct Unstored {
    spill: Arc<Spill>,
    reporter: Arc<Reporter>,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    pub(super) fn spawn(
        store: Arc<dyn MonitorStore>,
        spill: Arc<Spill>,
        clock: Arc<dyn Clock>,
        reporter: Arc<Reporter>,
    ) -> (Self, JoinHandle<()>) {
        let (queue, items) = mpsc::channel(CAPACITY);
        let unstored = Unstored {
            spill,
            reporter,
            clock: Arc::clone(&clock),
        };
        let keeper = Keeper {
            store,
            clock,
            unstored: unstored.clone(),
            unsaved: VecDeque::new(),
        };
        let task = tokio::spawn(keeper.run(items));
        (Self { queue, unstored }, task)
    }

    /// Queues it. Where the queue is full it is told as what could not be stored, and its alert goes
    /// through the spill file.
    pub(super) fn record(&self, record: Record) {
        if let Err(refused) = self.queue.try_send(Item::Record(record))
            && let Item::Record(record) = refused.into_inner()
        {
            record.tell(&self.unstored.reporter);
            // Written when the thread comes to it; nobody waits here.
            let _ = self.unstored.take(&record);
            record.bells.iter().for_each(Bell::ring);
        }
    }

    /// Queues work with the store, or says `false` where the queue is full.
    pub(super) fn offer(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        self.queue.try_send(Item::Work(Box::pin(work))).is_ok()
    }

    /// The same of work that lifts what was decided about a target: it comes after what was queued
    /// before, and nothing of that is tried again afterwards.
    pub(super) fn lift(
        &self,
        decision: &Decision,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> bool {
        let item = Item::Lift(decision.action, decision.target.clone(), Box::pin(work));
        self.queue.try_send(item).is_ok()
    }

    /// Completes when all that was queued before is done.
    pub(super) async fn flush(&self) {
        let (done, all_done) = oneshot::channel();
        let marker = Box::pin(async move {
            // The flush may have been given up.
            let _ = done.send(());
        });
        if self.queue.send(Item::Work(marker)).await.is_ok() {
            let _ = all_done.await;
        }
    }
}

impl Record {
    fn tell(&self, reporter: &Reporter) {
        for decision in &self.decisions {
            reporter.tell(&MonitorEvent::DecisionMade(Arc::clone(decision)));
        }
        if let Some(alert) = &self.alert {
            reporter.tell(&MonitorEvent::AlertRaised(Arc::clone(alert)));
        }
    }
}

impl Unstored {
    /// Tells what was not stored, and lets its alert wait elsewhere.
    #[must_use = "it may not be on disk yet"]
    fn take(&self, record: &Record) -> Option<super::spill::Written> {
        for decision in &record.decisions {
            self.reporter
                .tell(&MonitorEvent::StoreFailed(Arc::clone(decision)));
        }
        for id in &record.withdrawn {
            // It may wait there as well.
            drop(self.spill.settle(*id, crate::delivery::Settled::Delivered));
        }
        let alert = record
            .alert
            .as_ref()
            .filter(|_| !record.deliveries.is_empty())?;
        let written = self.spill.push(record.deliveries.clone());
        self.reporter.tell(&match written {
            Some(_) => MonitorEvent::AlertSpilled(Arc::clone(alert)),
            None => {
                tracing::error!(
                    id = %alert.id,
                    scenario = %alert.scenario,
                    scope = %alert.scope,
                    summary = %alert.summary,
                    "an alert is lost: neither stored nor spilled"
                );
                self.reporter.lost(self.clock.monotonic());
                MonitorEvent::AlertLost(Arc::clone(alert))
            }
        });
        written
    }
}

struct Keeper {
    store: Arc<dyn MonitorStore>,
    clock: Arc<dyn Clock>,
    unstored: Unstored,
    /// Decisions that hold here, but are not stored.
    unsaved: VecDeque<Arc<Decision>>,
}

impl Keeper {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        let mut taken = Vec::with_capacity(AT_ONCE);
        let mut next_try = Instant::now();
        loop {
            let has_unsaved = !self.unsaved.is_empty();
            tokio::select! {
                count = items.recv_many(&mut taken, AT_ONCE) => if count == 0 {
                    break;
                },
                () = tokio::time::sleep_until(next_try), if has_unsaved => {
                    self.save_again().await;
                    next_try = Instant::now() + RETRY_EVERY;
                },
            }
            let mut records = Vec::new();
            for item in taken.drain(..) {
                let work = match item {
                    Item::Record(record) => {
                        records.push(record);
                        continue;
                    }
                    Item::Lift(action, target, work) => {
                        self.keep(std::mem::take(&mut records)).await;
                        self.unsaved
                            .retain(|of| of.action != action || of.target != target);
                        work
                    }
                    Item::Work(work) => work,
                };
                self.keep(std::mem::take(&mut records)).await;
                work.await;
            }
            self.keep(records).await;
        }
        self.save_again().await;
    }

    /// Stores the records, tells, and rings.
    async fn keep(&mut self, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let mut batch = Batch::default();
        for record in &records {
            batch.decisions.extend(record.decisions.iter().cloned());
            batch.deliveries.extend(record.deliveries.iter().cloned());
            batch.withdrawn.extend(record.withdrawn.iter().copied());
        }
        match self.store(&batch).await {
            Ok(()) => {
                for record in records {
                    record.tell(&self.unstored.reporter);
                    record.bells.iter().for_each(Bell::ring);
                }
            }
            // One of them cannot be stored: the others can.
            Err(true) if records.len() > 1 => {
                for record in records {
                    Box::pin(self.keep(vec![record])).await;
                }
            }
            Err(_) => {
                for record in records {
                    record.tell(&self.unstored.reporter);
                    if let Some(written) = self.unstored.take(&record) {
                        written.wait().await;
                    }
                    record.bells.iter().for_each(Bell::ring);
                    self.unsaved.extend(record.decisions);
                }
                let excess = self.unsaved.len().saturating_sub(MAX_UNSAVED);
                self.unsaved.drain(..excess);
            }
        }
    }

    /// Whether it is about what was to be stored rather than about the store.
    async fn store(&self, batch: &Batch) -> Result<(), bool> {
        if batch.decisions.is_empty() && batch.deliveries.is_empty() && batch.withdrawn.is_empty() {
            return Ok(());
        }
        match attempt(|| self.store.record(batch)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let is_about_it = !matches!(error, StoreError::Unavailable(_));
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "decisions and alerts are not stored");
                Err(is_about_it)
            }
            Err(why) => {
                lost(&self.unstored.reporter, why, "the store");
                Err(false)
            }
        }
    }

    /// Tries to store what holds and could not be stored, as far as it goes.
    async fn save_again(&mut self) {
        let now = self.clock.now();
        self.unsaved.retain(|decision| decision.is_active(now));
        while let Some(decision) = self.unsaved.front() {
            match attempt(|| self.store.insert(decision)).await {
                // Stored after all, by the try that took too long.
                Ok(Ok(()) | Err(StoreError::Duplicate)) => {
                    self.unsaved.pop_front();
                }
                Ok(Err(StoreError::Unavailable(_))) => return,
                Ok(Err(error)) => {
                    tracing::error!(%error, decision = %decision.id, "a decision is not stored");
                    self.unsaved.pop_front();
                }
                Err(why) => return lost(&self.unstored.reporter, why, "the store"),
            }
        }
    }
}

pub(super) fn lost(reporter: &Reporter, why: NoResult, whose: &'static str) {
    match why {
        NoResult::Panicked => {
            count(&reporter.panics);
            tracing::error!("{whose} panicked");
        }
        NoResult::TimedOut => tracing::warn!("{whose} took too long"),
    }
}
