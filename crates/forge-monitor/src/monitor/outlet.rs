//! A bounded queue of I/O and the task that does it, one piece after the other.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::caught::caught;

/// How long one piece of work may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many pieces of work may wait.
const CAPACITY: usize = 1024;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The sending end; the task ends when the last clone is dropped and the queue is empty.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    queue: mpsc::Sender<Work>,
}

impl Outlet {
    pub(crate) fn spawn() -> (Self, JoinHandle<()>) {
        let (queue, mut waiting) = mpsc::channel::<Work>(CAPACITY);
        let task = tokio::spawn(async move {
            while let Some(work) = waiting.recv().await {
                work.await;
            }
        });
        (Self { queue }, task)
    }

    /// Queues `work`, or says `false` where the queue is full. The work bounds and guards itself,
    /// see [`attempt`].
    pub(crate) fn offer(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        self.queue.try_send(Box::pin(work)).is_ok()
    }

    /// Queues something that completes when all that was queued before it is done.
    pub(crate) async fn flush(&self) {
        let (done, all_done) = oneshot::channel();
        let marker = Box::pin(async move {
            // The flush may have been given up.
            let _ = done.send(());
        });
        if self.queue.send(marker).await.is_ok() {
            let _ = all_done.await;
        }
    }
}

/// Why a piece of work has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoResult {
    Panicked,
    TimedOut,
}

/// Does a piece of the caller's work, within ten seconds, and survives its panic.
pub(crate) async fn attempt<F: Future>(start: impl FnOnce() -> F) -> Result<F::Output, NoResult> {
    match tokio::time::timeout(PATIENCE, caught(start)).await {
        Ok(done) => done.map_err(|_| NoResult::Panicked),
        Err(_) => Err(NoResult::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_and_a_hang_are_results() {
        let fine = attempt(|| async { 7 }).await;
        assert_eq!(fine, Ok(7));
        let broken = attempt(|| async { panic!("on purpose") }).await;
        assert_eq!(broken, Err::<(), _>(NoResult::Panicked));
        let at_once = attempt(|| -> std::future::Ready<()> { panic!("on purpose") }).await;
        assert_eq!(at_once, Err(NoResult::Panicked));
        // Paused time stands still but for what is waited for.
        let started = tokio::time::Instant::now();
        let hung = attempt(std::future::pending::<()>).await;
        assert_eq!(hung, Err(NoResult::TimedOut));
        assert_eq!(started.elapsed().as_secs(), 10);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_flush_waits_for_what_was_taken() {
        let (outlet, task) = Outlet::spawn();
        // The task of this single-threaded runtime does not run before the first await.
        let taken = (0..CAPACITY + 5).filter(|_| outlet.offer(async {})).count();
        assert_eq!(taken, CAPACITY);
        outlet.flush().await;
        assert!(outlet.offer(async {}));
        drop(outlet);
        task.await.unwrap();
    }
}
