//! The monitor: takes signals, decides, enforces, and tells.

mod builder;
mod engine;
mod outlet;
mod reporter;

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::clock::Clock;
use crate::decision::Decision;
use crate::error::{LiftError, StoreError};
use crate::guard::Guard;
use crate::on_event::MonitorEvent;
use crate::signal::Signal;
use engine::Job;

pub use builder::MonitorBuilder;
pub use reporter::MonitorStats;

use reporter::Reporter;

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
        let job = Job::Signal(signal.received(clock.now()), clock.monotonic());
        if queue.try_send(job).is_err() {
            reporter.tell(&MonitorEvent::SignalDropped { class });
        }
    }

    /// The look-up that [`GuardLayer`](crate::GuardLayer) uses; cheap to clone.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.inner.guard.clone()
    }

    /// The blocks that hold now, oldest first.
    #[must_use]
    pub fn blocks(&self) -> Vec<Arc<Decision>> {
        self.inner.guard.blocks()
    }

    /// Lifts a block: its target is admitted before this returns. The block does not make the next
    /// one longer.
    ///
    /// # Errors
    /// [`LiftError::NotFound`] where no active block has this id; [`LiftError::Stopped`] after a
    /// shutdown; [`LiftError::Store`] where the block is lifted here but may still be stored.
    pub async fn lift(&self, id: Uuid) -> Result<Arc<Decision>, LiftError> {
        let (answer, lifted) = oneshot::channel();
        let job = Job::Lift(id, answer);
        self.inner
            .queue
            .send(job)
            .await
            .map_err(|_| LiftError::Stopped)?;
        lifted.await.unwrap_or_else(|_| {
            let source = "the queue of the store is full".into();
            Err(LiftError::Store(StoreError::Unavailable(source)))
        })
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
        reporter.stats(guard.count(), waiting)
    }

    /// Waits until every signal emitted before is decided, blocks that have ended are taken out,
    /// and the store, the responders and the sinks have been called.
    pub async fn flush(&self) {
        let (answer, flushed) = oneshot::channel();
        if self.inner.queue.send(Job::Flush(answer)).await.is_err() {
            return;
        }
        for outlet in flushed.await.unwrap_or_default() {
            outlet.flush().await;
        }
    }

    /// Decides what is queued, sends the alerts that wait, writes what is to be stored, and ends.
    /// Signals emitted later are dropped and counted; the guard goes on enforcing what was decided.
    /// Calling it again waits for the same end.
    pub async fn shutdown(&self) {
        // The queue may be closed already.
        let _ = self.inner.queue.send(Job::Stop).await;
        let mut tasks = self.inner.tasks.lock().await;
        while let Some(task) = tasks.first_mut() {
            // A task that panicked has nothing left to wait for.
            let _ = task.await;
            tasks.remove(0);
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
