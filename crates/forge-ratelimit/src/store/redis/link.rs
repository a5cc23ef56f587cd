//! The connection, and what becomes of it when the server does not answer.
//!
//! Requests use the connection while there is one and never make one: an error, or several answers
//! in a row that did not come in time, take it away, and from then on nobody waits. One task brings
//! it back, trying until the server answers.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, Script};

use crate::clock::{Clock, SystemClock};
use crate::error::{BoxError, StoreError};

/// Answers in a row that may be late until the connection is given up.
const LATE: u32 = 3;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// Between two tries to make one: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// What [`Link::offset`] is before the server's time is known.
const UNKNOWN: i64 = i64::MIN;

pub(super) struct Link {
    client: Client,
    scripts: Vec<Script>,
    connection: ArcSwapOption<MultiplexedConnection>,
    connecting: AtomicBool,
    late: AtomicU32,
    pub(super) deadline: Duration,
    /// Microseconds that the server's time is ahead of ours.
    offset: AtomicI64,
    clock: SystemClock,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gone {
    #[error("not connected")]
    NotConnected,
    #[error("no answer in time")]
    Late,
}

impl Link {
    pub(super) fn new(client: Client, scripts: Vec<Script>, deadline: Duration) -> Self {
        Self {
            client,
            scripts,
            connection: ArcSwapOption::empty(),
            connecting: AtomicBool::new(false),
            late: AtomicU32::new(0),
            deadline,
            offset: AtomicI64::new(UNKNOWN),
            clock: SystemClock::new(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn micros(&self) -> i64 {
        i64::try_from(self.now().as_micros()).unwrap_or(i64::MAX)
    }

    /// The server's time after which an answer to a question asked now is of no use; zero before
    /// that can be said. What waits in a server that was stopped is then not charged late.
    pub(super) fn expires(&self) -> i64 {
        match self.offset.load(Ordering::Relaxed) {
            UNKNOWN => 0,
            offset => {
                let time = i64::try_from(self.deadline.as_micros()).unwrap_or(i64::MAX);
                let from = self.micros().saturating_add(offset);
                from.saturating_add(time.saturating_mul(2))
            }
        }
    }

    /// Asks, and waits until the deadline and no longer. `ask` runs a script.
    pub(super) async fn ask<F>(
        self: &Arc<Self>,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<Vec<i64>, StoreError>
    where
        F: Future<Output = RedisResult<Vec<i64>>>,
    {
        let Some(connection) = self.connection.load_full() else {
            self.recover();
            return Err(unavailable(Gone::NotConnected));
        };
        let answer = tokio::time::timeout(self.deadline, ask((*connection).clone())).await;
        match answer {
            Ok(Ok(answer)) => {
                if let Some(time) = answer.first() {
                    self.offset.store(time - self.micros(), Ordering::Relaxed);
                }
                if answer.len() < 2 {
                    // It came too late, and the server said so.
                    return Err(unavailable(Gone::Late));
                }
                self.late.store(0, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(Err(error)) => {
                if error.is_io_error() || error.is_unrecoverable_error() || !is_answer(&error) {
                    self.give_up(&connection, &error);
                }
                Err(unavailable(error))
            }
            Err(_) => {
                if self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE {
                    self.give_up(&connection, &Gone::Late);
                }
                Err(unavailable(Gone::Late))
            }
        }
    }

    fn give_up(
        self: &Arc<Self>,
        connection: &Arc<MultiplexedConnection>,
        why: &(dyn std::error::Error + 'static),
    ) {
        // Only the one that failed: another may be there already.
        let given_up = self.connection.compare_and_swap(connection, None);
        if given_up
            .as_ref()
            .is_some_and(|was| Arc::ptr_eq(was, connection))
        {
            tracing::error!(error = why, "the rate limit store does not answer");
            self.recover();
        }
    }

    /// Sees to it that one task tries to connect.
    pub(super) fn recover(self: &Arc<Self>) {
        if !self.connecting.swap(true, Ordering::AcqRel) {
            tokio::spawn(recover(Arc::downgrade(self)));
        }
    }

    async fn connect(&self) -> Result<(), BoxError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(CONNECT));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let mut connection = tokio::time::timeout(CONNECT, connecting).await??;
        for script in &self.scripts {
            tokio::time::timeout(CONNECT, script.load_async(&mut connection)).await??;
        }
        let time = redis::cmd("TIME");
        let (seconds, micros): (i64, i64) =
            tokio::time::timeout(CONNECT, time.query_async(&mut connection)).await??;
        let server = seconds.saturating_mul(1_000_000).saturating_add(micros);
        self.offset.store(server - self.micros(), Ordering::Relaxed);
        self.late.store(0, Ordering::Relaxed);
        self.connection.store(Some(Arc::new(connection)));
        Ok(())
    }
}

async fn recover(link: Weak<Link>) {
    let mut pause = RETRY.0;
    let mut said = false;
    loop {
        // Ends with the store.
        let Some(link) = link.upgrade() else { return };
        match link.connect().await {
            Ok(()) => {
                link.connecting.store(false, Ordering::Release);
                tracing::info!("connected to the rate limit store");
                return;
            }
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    let error = &*error as &(dyn std::error::Error + 'static);
                    tracing::warn!(error, "the rate limit store cannot be reached; trying on");
                }
            }
        }
        drop(link);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

/// Whether the server itself said no: the connection is sound.
fn is_answer(error: &RedisError) -> bool {
    error.code().is_some()
}

pub(super) fn unavailable(error: impl Into<BoxError>) -> StoreError {
    StoreError::Unavailable(error.into())
}
