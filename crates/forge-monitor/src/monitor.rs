//! The monitor: takes signals, decides, enforces, and tells.

mod builder;
mod courier;
mod engine;
mod outlet;
mod recorder;
mod reporter;
mod spill;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::alert::{Alert, Silence};
use crate::clock::Clock;
use crate::decision::Decision;
use crate::delivery::{DeadLetter, Delivery};
use crate::error::{LiftError, StoreError};
use crate::guard::Guard;
use crate::health::{Health, HealthCheck, HealthFuture};
use crate::on_event::MonitorEvent;
use crate::signal::Signal;
use crate::store::{AlertStore, MonitorStore};
use crate::trends::LastHour;
use engine::Job;

pub use builder::MonitorBuilder;
pub use reporter::MonitorStats;

use reporter::Reporter;
use spill::Spill;

/// For how long after a panic or a drop the monitor is degraded.
const DEGRADED_FOR: Duration = Duration::from_secs(300);
/// How long an alert may wait until the monitor is degraded.
const PATIENCE_WITH_ALERTS: Duration = Duration::from_secs(300);

/// A running monitor. Clones are handles to the same one.
///
/// When the last handle is dropped the monitor decides what is queued and ends;
/// [`shutdown`](Self::shutdown) also waits for that.
#[derive(Clone)]
pub struct Monitor {
    inner: Arc<Inner>,
}

struct Inner {
    queue: mpsc::Sender<Job>,
    reporter: Arc<Reporter>,
    guard: Guard,
    clock: Arc<dyn Clock>,
    store: Arc<dyn MonitorStore>,
    spill: Arc<Spill>,
    /// Something has changed in the store. It takes no place in the queue.
    changed: Arc<Notify>,
    tasks: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Monitor {
    /// A monitor to be put together, without scenarios.
    pub fn builder() -> MonitorBuilder {
        MonitorBuilder::new()
    }

    /// Reports a signal, without waiting. Where the queue is full, or after a shutdown, the signal
    /// is dropped, counted, and told as
    /// [`MonitorEvent::SignalDropped`](crate::MonitorEvent::SignalDropped).
    pub fn emit(&self, signal: Signal) {
        let Inner {
            queue,
            reporter,
            clock,
            ..
        } = &*self.inner;
        let class = signal.kind.class();
        let elapsed = clock.monotonic();
        let job = Job::Signal(signal.bounded(), elapsed);
        if queue.try_send(job).is_err() {
            let second = elapsed.as_secs() + 1;
            reporter.last_drop.store(second, Ordering::Relaxed);
            reporter.tell(&MonitorEvent::SignalDropped { class });
        }
    }

    /// The look-up that [`GuardLayer`](crate::GuardLayer) uses; cheap to clone.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.inner.guard.clone()
    }

    /// The decisions that hold now, oldest first: blocks, tightened limits, required sign-ins.
    #[must_use]
    pub fn blocks(&self) -> Vec<Arc<Decision>> {
        self.inner.guard.decisions()
    }

    /// Lifts a decision: its target is admitted before this returns. It does not make the next one
    /// longer, and what was counted against the target is forgotten. `by` is who wants it, for
    /// people to read.
    ///
    /// # Errors
    /// [`LiftError::NotFound`] where no active decision has this id; [`LiftError::Stopped`] after a
    /// shutdown; [`LiftError::Store`] where it is lifted here but may still be stored: that is tried
    /// again every few seconds while the monitor runs, and at once by calling this again.
    pub async fn lift(
        &self,
        id: Uuid,
        by: impl Into<Arc<str>>,
    ) -> Result<Arc<Decision>, LiftError> {
        let by = by.into();
        self.ask(|answer| Job::Lift(id, by, answer)).await
    }

    /// Adds a silence, at once. No event tells of it: whoever asks knows.
    ///
    /// # Errors
    /// [`LiftError::Stopped`] after a shutdown; [`LiftError::Store`] where it holds here but may not
    /// be stored.
    pub async fn silence(&self, silence: Silence) -> Result<(), LiftError> {
        self.ask(|answer| Job::Silence(silence, answer)).await
    }

    /// Ends a silence, at once. `by` is who wants it, for people to read.
    ///
    /// # Errors
    /// [`LiftError::NotFound`] where none that holds has this id; else as
    /// [`silence`](Self::silence).
    pub async fn unsilence(&self, id: Uuid, by: impl Into<Arc<str>>) -> Result<(), LiftError> {
        let by = by.into();
        self.ask(|answer| Job::Unsilence(id, by, answer)).await
    }

    /// The silences that hold, oldest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn silences(&self) -> Result<Vec<Silence>, StoreError> {
        self.inner.store.silences(self.inner.clock.now()).await
    }

    /// The deliveries that were given up, at most `limit`, the last first.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.inner.store.dead(limit).await
    }

    /// Lets a delivery that was given up be tried again, at once and as often as a new one.
    ///
    /// # Errors
    /// [`LiftError::NotFound`] where none that was given up has this id; [`LiftError::Stopped`]
    /// after a shutdown; [`LiftError::Store`] where the store does not answer.
    pub async fn requeue(&self, id: Uuid) -> Result<(), LiftError> {
        self.ask(|answer| Job::Requeue(id, answer)).await
    }

    /// Asks the store at once what other processes decided, lifted and silenced; otherwise that is
    /// done once a second. It does not wait for the answer. However often this is called, the store
    /// is asked ten times a second at most.
    pub fn refresh(&self) {
        self.inner.changed.notify_one();
    }

    /// Raises an alert that comes from no scenario, without waiting. Where the queue is full, or
    /// after a shutdown, it is dropped and counted as lost.
    pub fn raise(&self, alert: Alert) {
        if let Err(refused) = self.inner.queue.try_send(Job::Raise(alert))
            && let Job::Raise(alert) = refused.into_inner()
        {
            self.inner.reporter.lost(self.inner.clock.monotonic());
            let lost = MonitorEvent::AlertLost(Arc::new(alert));
            self.inner.reporter.tell(&lost);
        }
    }

    /// What was reported and done within the last hour.
    #[must_use]
    pub fn last_hour(&self) -> LastHour {
        let now = self.inner.clock.monotonic();
        self.inner.reporter.trends().last_hour(now)
    }

    /// Whether the monitor works: degraded for five minutes after a scenario panicked, a signal was
    /// dropped or an alert was lost, and while an alert waits for longer than that; down after a shutdown. It is a
    /// [`HealthCheck`] itself.
    #[must_use]
    pub fn health(&self) -> Health {
        let Inner {
            reporter,
            clock,
            queue,
            ..
        } = &*self.inner;
        if queue.is_closed() {
            return Health::down("the monitor has ended");
        }
        let now = clock.monotonic().as_secs() + 1;
        let recent = |at: u64| at > 0 && now.saturating_sub(at) < DEGRADED_FOR.as_secs();
        if recent(reporter.last_panic.load(Ordering::Relaxed)) {
            return Health::degraded("a scenario panicked and was started anew");
        }
        if recent(reporter.last_drop.load(Ordering::Relaxed)) {
            return Health::degraded("the queue was full and signals were dropped");
        }
        if recent(reporter.last_loss.load(Ordering::Relaxed)) {
            return Health::degraded("an alert was lost");
        }
        let waits = Duration::from_micros(self.stats().outbox_age_micros);
        if waits > PATIENCE_WITH_ALERTS {
            return Health::degraded("alerts are not delivered");
        }
        Health::up()
    }

    /// What the monitor has done since its start.
    #[must_use]
    pub fn stats(&self) -> MonitorStats {
        let Inner {
            queue,
            reporter,
            guard,
            ..
        } = &*self.inner;
        let waiting = queue.max_capacity() - queue.capacity();
        reporter.stats(guard.count(), waiting, self.inner.clock.now().as_micros())
    }

    /// Waits until every signal emitted before is decided, decisions that have ended are taken out,
    /// and the store, the responders and, for every alert that is due, the sinks have been called.
    pub async fn flush(&self) {
        let (answer, flushed) = oneshot::channel();
        if self.inner.queue.send(Job::Flush(answer)).await.is_err() {
            return;
        }
        let waiting = flushed.await.unwrap_or_default();
        if let Some(recorder) = waiting.recorder {
            recorder.flush().await;
        }
        for outlet in waiting.outlets {
            outlet.flush().await;
        }
        for bell in waiting.bells {
            bell.flush().await;
        }
        self.inner.spill.flush().await;
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, LiftError>>) -> Job,
    ) -> Result<T, LiftError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.inner.queue.send(job(answer)).await;
        sent.map_err(|_| LiftError::Stopped)?;
        answered.await.unwrap_or_else(|_| {
            let source = "the queue of the store is full".into();
            Err(LiftError::Store(StoreError::Unavailable(source)))
        })
    }

    /// Decides what is queued, sends the alerts that wait, writes what is to be stored, and ends.
    /// Signals emitted later are dropped and counted; the guard goes on enforcing what was decided.
    /// Calling it again waits for the same end.
    ///
    /// What could not be stored and waits in the spill file is waited for as well, for ten seconds.
    /// What is not on disk by then, or has no file to wait in, ends with the process: each such alert
    /// is told in the log, counted, and told as [`MonitorEvent::AlertLost`].
    pub async fn shutdown(&self) {
        // The queue may be closed already.
        let _ = self.inner.queue.send(Job::Stop).await;
        let mut tasks = self.inner.tasks.lock().await;
        while let Some(task) = tasks.first_mut() {
            // A task that panicked has nothing left to wait for.
            let _ = task.await;
            tasks.remove(0);
        }
        for delivery in self.inner.spill.end().await {
            let Delivery { sink, alert, .. } = delivery;
            tracing::error!(
                sink = %sink,
                id = %alert.id,
                scenario = %alert.scenario,
                scope = %alert.scope,
                summary = %alert.summary,
                "an alert is lost: neither delivered nor stored nor written to the spill file"
            );
            self.inner.reporter.lost(self.inner.clock.monotonic());
            let lost = MonitorEvent::AlertLost(Arc::new(alert));
            self.inner.reporter.tell(&lost);
        }
    }
}

impl HealthCheck for Monitor {
    fn check(&self) -> HealthFuture<'_> {
        Box::pin(std::future::ready(self.health()))
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
