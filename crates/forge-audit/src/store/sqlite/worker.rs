//! A thread that owns a connection: the database blocks it, never the async runtime.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::store::StoreFuture;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Runs jobs on its thread, one after the other, until it is dropped. Dropping it waits until all
/// that was queued is done and the connection is closed.
pub(super) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, and waits until `open` has opened the connection on it.
    pub(super) async fn start(
        name: &str,
        open: impl FnOnce() -> rusqlite::Result<Connection> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (opened, opening) = oneshot::channel();
        let serve = move || match open() {
            Ok(mut db) => {
                let _ = opened.send(Ok(()));
                for job in queue {
                    job(&mut db);
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
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let (answer, waiting) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            let _ = answer.send(job(db));
        });
        // If the thread is gone, `answer` goes with the job, and `waiting` says so.
        drop(self.jobs.as_ref().map(|jobs| jobs.send(job)));
        Box::pin(async move { waiting.await.map_err(StoreError::unavailable)? })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without a sender the thread comes to the end of its queue.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
