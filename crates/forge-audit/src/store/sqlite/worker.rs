//! A thread that owns a connection: the database blocks it, never the async runtime.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::store::StoreFuture;

/// So long nothing is asked before the thread tends its state.
const IDLE: Duration = Duration::from_millis(5);

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// What a worker works on.
pub(super) trait State: 'static {
    /// Does a little of what can wait until nothing is asked. Whether there is more.
    fn tend(&mut self) -> bool {
        false
    }

    /// Whether it must be tended although there is no pause.
    fn is_overdue(&self) -> bool {
        false
    }
}

/// Runs jobs on its thread, one after the other, until it is dropped. Dropping it waits until all
/// that was queued is done and the connection is closed.
pub(super) struct Worker<S> {
    jobs: Option<mpsc::Sender<Job<S>>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: State> Worker<S> {
    /// Starts the thread, and waits until `open` has made the state on it.
    pub(super) async fn start(
        name: &str,
        open: impl FnOnce() -> Result<S, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel::<Job<S>>();
        let (opened, opening) = oneshot::channel();
        let serve = move || match open() {
            Ok(mut state) => {
                let _ = opened.send(Ok(()));
                let mut more = true;
                loop {
                    let job = if more {
                        queue.recv_timeout(IDLE)
                    } else {
                        queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
                    };
                    match job {
                        Ok(job) => {
                            job(&mut state);
                            more = true;
                            if state.is_overdue() {
                                state.tend();
                            }
                        }
                        Err(RecvTimeoutError::Timeout) => more = state.tend(),
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(serve)
            .map_err(StoreError::unavailable)?;
        opening.await.map_err(StoreError::unavailable)??;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Queues `job` at once, and resolves with what it returns. A job once queued runs, even if
    /// nobody waits for it any more.
    pub(super) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let (answer, waiting) = oneshot::channel();
        // If the thread is gone, `answer` goes with the job, and `waiting` says so.
        self.post(move |state| {
            let _ = answer.send(job(state));
        });
        Box::pin(async move { waiting.await.map_err(StoreError::unavailable)? })
    }
}

impl<S> Worker<S> {
    /// Queues `job`, which tells of its end itself.
    pub(super) fn post(&self, job: impl FnOnce(&mut S) + Send + 'static) {
        drop(self.jobs.as_ref().map(|jobs| jobs.send(Box::new(job))));
    }
}

impl<S> Drop for Worker<S> {
    fn drop(&mut self) {
        // Without a sender the thread comes to the end of its queue.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
