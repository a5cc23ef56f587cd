//! Stores what was decided in one transaction with the alerts that tell of it, and then tells.
//!
//! A decision is enforced before it comes here. Nobody is told of it before it is stored: what dies
//! with the process before that has left no trace but a few refused requests, and whoever goes on is
//! found again. As much as waits is stored at once, so that a slow disk and a store that hangs delay
//! a flood by one pause, not by one each.

mod pending;

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
use crate::decision::Decision;
use crate::delivery::Delivery;
use crate::error::{LiftError, StoreError};
use crate::on_event::MonitorEvent;
use crate::store::{Batch, MonitorStore, StoreFuture};
pub(super) use pending::Lifting;
use pending::Pending;

/// How many pieces of work may wait.
const CAPACITY: usize = 1024;
/// How many more where they lift something: what an administrator asks for is not refused because
/// of a flood.
const RESERVED: usize = 256;
/// How many of them are stored in one transaction.
const AT_ONCE: usize = 256;
/// How often what could not be stored is tried again.
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
    Lift(Box<Asked>),
    Sweep(Sweep),
    Work(Work),
}

/// A lifting that somebody waits for.
struct Asked {
    lifting: Lifting,
    /// Whether it was asked for before, and could not be stored.
    again: bool,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<Arc<Decision>, LiftError>>;

/// What other processes lifted.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// None of that is to be stored any more.
    pub(super) lifted: Vec<Lifting>,
    /// Some of that is stored, or may be by now.
    pub(super) stored: Vec<Lifting>,
}

/// The sending end; the task ends when the last clone is dropped and the queue is empty.
#[derive(Clone)]
pub(super) struct Recorder {
    queue: mpsc::Sender<Item>,
    unstored: Unstored,
    pending: Pending,
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
        let (queue, items) = mpsc::channel(CAPACITY + RESERVED);
        let pending = Pending::default();
        let unstored = Unstored {
            spill,
            reporter,
            clock: Arc::clone(&clock),
        };
        let keeper = Keeper {
            store,
            clock,
            unstored: unstored.clone(),
            pending: pending.clone(),
        };
        let task = tokio::spawn(keeper.run(items));
        let recorder = Self {
            queue,
            unstored,
            pending,
        };
        (recorder, task)
    }

    /// Queues it. Where the queue is full it is told as what could not be stored, its alert goes
    /// through the spill file, and its decisions are tried again.
    pub(super) fn record(&self, record: Record) {
        if record.is_empty() {
            return;
        }
        let Err(Item::Record(record)) = self.queue(Item::Record(record)) else {
            return;
        };
        record.tell(&self.unstored.reporter);
        // Written when the thread comes to it; nobody waits here.
        let _ = self.unstored.take(&record);
        self.pending.unsaved(&record.decisions);
        record.bells.iter().for_each(Bell::ring);
    }

    /// Queues work with the store, or says `false` where the queue is full.
    pub(super) fn offer(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        self.queue(Item::Work(Box::pin(work))).is_ok()
    }

    fn queue(&self, item: Item) -> Result<(), Item> {
        if self.queue.capacity() <= RESERVED {
            return Err(item);
        }
        self.queue
            .try_send(item)
            .map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Lifts a decision in the store, after what was queued before, and tells; nothing that it
    /// concerns is tried again afterwards. Where it cannot be stored it is tried again.
    pub(super) fn lift(&self, lifting: Lifting, answer: Answer) {
        let asked = Box::new(Asked {
            lifting,
            again: false,
            answer,
        });
        // With the item goes the answer; the caller then reads `Store`.
        if let Err(refused) = self.queue.try_send(Item::Lift(asked))
            && let Item::Lift(asked) = refused.into_inner()
        {
            asked.lifting.tell(&self.unstored.reporter);
            self.pending.unlifted(asked.lifting);
        }
    }

    /// Tries once more to lift what is lifted here but not in the store; the answer comes back where
    /// there is no such decision.
    pub(super) fn lift_again(&self, id: Uuid, answer: Answer) -> Result<(), Answer> {
        let Some(lifting) = self.pending.unlifted_of(id) else {
            return Err(answer);
        };
        let again = true;
        let asked = Asked {
            lifting,
            again,
            answer,
        };
        // It stays among those that are tried again.
        let _ = self.queue.try_send(Item::Lift(Box::new(asked)));
        Ok(())
    }

    /// Does away with what others lifted, after what was queued before; `false` where the queue is
    /// full.
    pub(super) fn sweep(&self, sweep: Sweep) -> bool {
        self.queue.try_send(Item::Sweep(sweep)).is_ok()
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

impl Lifting {
    fn tell(&self, reporter: &Reporter) {
        let (decision, lift) = (Arc::clone(&self.decision), self.lift.clone());
        reporter.tell(&MonitorEvent::DecisionLifted(decision, lift));
    }
}

impl Record {
    fn is_empty(&self) -> bool {
        self.decisions.is_empty()
            && self.alert.is_none()
            && self.deliveries.is_empty()
            && self.withdrawn.is_empty()
    }

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
        // They may wait there as well.
        self.spill.withdraw(&record.withdrawn);
        if record.deliveries.is_empty() {
            return None;
        }
        let written = self.spill.push(record.deliveries.clone());
        // One that is held back is told by its deliveries alone.
        let mut alerts: Vec<_> = record.deliveries.iter().map(|of| &of.alert).collect();
        alerts.dedup_by_key(|alert| alert.id);
        for alert in alerts {
            self.reporter.tell(&match written {
                Some(_) => MonitorEvent::AlertSpilled(Arc::new(alert.clone())),
                None => {
                    tracing::error!(
                        id = %alert.id,
                        scenario = %alert.scenario,
                        scope = %alert.scope,
                        summary = %alert.summary,
                        "an alert is lost: neither stored nor spilled"
                    );
                    self.reporter.lost(self.clock.monotonic());
                    MonitorEvent::AlertLost(Arc::new(alert.clone()))
                }
            });
        }
        written
    }
}

struct Keeper {
    store: Arc<dyn MonitorStore>,
    clock: Arc<dyn Clock>,
    unstored: Unstored,
    pending: Pending,
}

impl Keeper {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        let mut taken = Vec::with_capacity(AT_ONCE);
        let mut next_try = Instant::now();
        loop {
            let is_due = !self.pending.is_empty();
            tokio::select! {
                count = items.recv_many(&mut taken, AT_ONCE) => if count == 0 {
                    break;
                },
                () = tokio::time::sleep_until(next_try), if is_due => {
                    self.save_again(&items).await;
                    next_try = Instant::now() + RETRY_EVERY;
                },
            }
            let mut records = Vec::new();
            for item in taken.drain(..) {
                if let Item::Record(record) = item {
                    records.push(record);
                    continue;
                }
                self.keep(std::mem::take(&mut records)).await;
                match item {
                    Item::Record(_) => {}
                    Item::Lift(asked) => self.lift(*asked).await,
                    Item::Sweep(sweep) => self.sweep(sweep).await,
                    Item::Work(work) => work.await,
                }
            }
            self.keep(records).await;
        }
        self.save_again(&items).await;
    }

    async fn lift(&self, asked: Asked) {
        let Asked {
            lifting,
            again,
            answer,
        } = asked;
        self.pending.drop_lifted(&lifting);
        let Lifting { decision, lift } = &lifting;
        // The id may not be stored, and what another node decided at once is.
        let is_lifted = match again {
            true => Ok(false),
            false => self.ask(|| self.store.lift(decision.id, lift)).await,
        };
        let done = match is_lifted {
            Ok(true) => Ok(()),
            Ok(false) => self.lift_alike(&lifting).await,
            Err(error) => Err(error),
        };
        let result = match done {
            Ok(()) => {
                self.pending.lifted(&lifting);
                Ok(Arc::clone(decision))
            }
            Err(error) => {
                self.pending.unlifted(lifting.clone());
                Err(LiftError::Store(error))
            }
        };
        if !again {
            lifting.tell(&self.unstored.reporter);
        }
        // Whoever asked may have gone.
        let _ = answer.send(result);
    }

    async fn sweep(&self, sweep: Sweep) {
        let Sweep { lifted, mut stored } = sweep;
        for lifting in lifted {
            // A try that took too long may have stored it after all.
            if self.pending.drop_lifted(&lifting) {
                stored.push(lifting);
            }
        }
        for lifting in stored {
            if let Err(error) = self.lift_alike(&lifting).await {
                tracing::warn!(%error, decision = %lifting.decision.id, "a decision is not lifted");
                self.pending.unlifted(lifting);
            }
        }
    }

    async fn lift_alike(&self, lifting: &Lifting) -> Result<(), StoreError> {
        let Decision { action, target, .. } = &*lifting.decision;
        let lift = || self.store.lift_alike(*action, target, &lifting.lift);
        self.ask(lift).await.map(drop)
    }

    async fn ask<'a, T>(
        &self,
        question: impl FnOnce() -> StoreFuture<'a, T>,
    ) -> Result<T, StoreError> {
        attempt(question).await.unwrap_or_else(|why| {
            lost(&self.unstored.reporter, why, "the decision store");
            Err(StoreError::Unavailable("no answer from the store".into()))
        })
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
                    // It may wait there, from when it could not be stored.
                    self.unstored.spill.withdraw(&record.withdrawn);
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
                        written.wait_a_while().await;
                    }
                    record.bells.iter().for_each(Bell::ring);
                    self.pending.unsaved(&record.decisions);
                }
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

    /// Tries to store what holds or is lifted and could not be stored, as far as it goes.
    async fn save_again(&self, items: &mpsc::Receiver<Item>) {
        // What a lifting concerns may still be queued: it comes after that.
        while items.is_empty()
            && let Some(lifting) = self.pending.next_unlifted()
        {
            match self.lift_alike(&lifting).await {
                Err(StoreError::Unavailable(_)) => return,
                Err(error) => {
                    tracing::error!(%error, decision = %lifting.decision.id, "a decision is not lifted");
                }
                Ok(()) => {}
            }
            self.pending.lifted(&lifting);
        }
        while let Some(decision) = self.pending.next_unsaved(self.clock.now()) {
            match self.ask(|| self.store.insert(&decision)).await {
                Err(StoreError::Unavailable(_)) => return,
                // Stored after all, by the try that took too long.
                Ok(()) | Err(StoreError::Duplicate) => {}
                Err(error) => {
                    tracing::error!(%error, decision = %decision.id, "a decision is not stored");
                }
            }
            self.pending.saved(decision.id);
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
