//! The handle of the log: what records events, and asks for them.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, SetOnce, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::chain::{Chain, Head};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Dropped, QueryError, RecordError, ShutdownError, StoreError, VerifyError};
use crate::event::Event;
use crate::gap::{Gap, Losses};
use crate::kind::Severity;
use crate::on_record::OnRecord;
use crate::query::{Page, Query};
use crate::room::Room;
use crate::store::{AuditStore, verify_store};
use crate::writer::{Entry, Message, Stamped, Writer};

/// That an event is durable, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Receipt {
    /// The sequence of its record.
    pub seq: u64,
    /// The time of its record.
    pub time: Timestamp,
}

/// The audit log. Clones are handles of the same log.
///
/// One task writes: it takes all that is queued, chains it and gives it to the store as one
/// transaction, so that many events share one commit and a single one waits for nobody.
///
/// # What is lost when
///
/// The queue has a bound. Events of low and medium severity may fill it but for a reserve, which
/// is kept for high and critical ones.
/// - [`record`](Self::record) waits for room and for the commit, up to the deadline, and is an error
///   after that: the caller fails closed.
/// - [`enqueue`](Self::enqueue) never waits. Without room the event is lost, and counted.
/// - When the store fails, what waits in `record` gets the error at once, and what was enqueued is
///   kept, in order, and tried again with growing pauses (50 ms to 5 s), however often it takes.
/// - What is lost or refused is itself recorded, as the event `audit.gap` with counts and the time
///   it spans, with the first batch that can be written after it.
#[derive(Clone)]
pub struct AuditLog {
    queue: mpsc::UnboundedSender<Message>,
    shared: Arc<Shared>,
}

/// What handles and the writer share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn AuditStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn OnRecord>,
    pub(crate) room: Room,
    pub(crate) losses: Losses,
    pub(crate) lost: Notify,
    pub(crate) head: Mutex<Head>,
    pub(crate) failing: AtomicBool,
    pub(crate) done: SetOnce<Result<(), ShutdownError>>,
    deadline: Duration,
}

impl Shared {
    /// Counts a loss, and wakes the writer to record it.
    fn lose(&self, gap: Gap) {
        self.losses.add(gap);
        self.lost.notify_one();
    }
}

impl AuditLog {
    /// Opens the log that `store` holds, with the defaults of [`AuditLogBuilder`].
    ///
    /// # Errors
    ///
    /// The store's error when its end cannot be read.
    pub async fn open(store: Arc<dyn AuditStore>) -> Result<Self, StoreError> {
        Self::builder(store).open().await
    }

    /// A log in `store`, with settings of your own.
    pub fn builder(store: Arc<dyn AuditStore>) -> AuditLogBuilder {
        AuditLogBuilder::new(store)
    }

    /// Records `event`, and resolves when it is durable.
    ///
    /// Once it is queued, dropping the future does not withdraw the event.
    ///
    /// # Errors
    ///
    /// See [`RecordError`]: only after [`RecordError::Deadline`] the event may be recorded.
    pub async fn record(&self, event: Event) -> Result<Receipt, RecordError> {
        // The writer answers with a receipt for each event.
        self.record_all(vec![event])
            .await?
            .pop()
            .ok_or(RecordError::Closed)
    }

    /// Records `events` in one transaction, all or none, and resolves when they are durable.
    ///
    /// They are as severe as the most severe of them.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record), and [`RecordError::TooMany`] for more than the queue can take.
    pub async fn record_all(&self, events: Vec<Event>) -> Result<Vec<Receipt>, RecordError> {
        let shared = &*self.shared;
        let Some(severity) = events.iter().map(|event| event.severity).max() else {
            return Ok(Vec::new());
        };
        let occurred = shared.clock.now();
        let limit = shared.room.most_at_once(severity);
        if events.len() > limit {
            return Err(RecordError::TooMany { limit });
        }
        let due = Instant::now() + shared.deadline;
        let mut refusal = Refusal {
            shared,
            gap: Some(Gap::refused(events.len(), occurred)),
        };
        let taken = timeout_at(due, shared.room.take(events.len(), severity)).await;
        let permit = taken.map_err(|_| RecordError::Full)?;
        let events = events
            .into_iter()
            .map(|event| Stamped { event, occurred })
            .collect();
        let (ack, answer) = oneshot::channel();
        let entry = Entry {
            events,
            ack: Some(ack),
            permit: Some(permit),
        };
        self.queue
            .send(Message::Entry(entry))
            .map_err(|_| RecordError::Closed)?;
        refusal.gap = None;
        match timeout_at(due, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RecordError::Closed),
            Err(_) => Err(RecordError::Deadline),
        }
    }

    /// Queues `event`, at once; it will be durable with one of the next commits.
    ///
    /// # Errors
    ///
    /// [`Dropped`] if the event is lost: the queue is full for its severity, or the log is closed.
    pub fn enqueue(&self, event: Event) -> Result<(), Dropped> {
        let shared = &*self.shared;
        let (severity, occurred) = (event.severity, shared.clock.now());
        let Some(permit) = shared.room.try_take(1, severity) else {
            let why = if self.queue.is_closed() {
                Dropped::Closed
            } else {
                Dropped::Full(severity)
            };
            shared.lose(Gap::dropped(severity, occurred));
            shared.observer.on_drop(&event, why);
            return Err(why);
        };
        let events = vec![Stamped { event, occurred }];
        let entry = Entry {
            events,
            ack: None,
            permit: Some(permit),
        };
        self.queue
            .send(Message::Entry(entry))
            .map_err(|mpsc::error::SendError(message)| {
                if let Message::Entry(Entry { events, .. }) = message {
                    events
                        .iter()
                        .for_each(|e| shared.observer.on_drop(&e.event, Dropped::Closed));
                }
                Dropped::Closed
            })
    }

    /// Resolves when all that was queued before is durable and observers have heard of it.
    ///
    /// # Errors
    ///
    /// [`RecordError::Store`] if the store refuses, though what was enqueued is kept and tried
    /// again; [`RecordError::Closed`] after the shutdown.
    pub async fn flush(&self) -> Result<(), RecordError> {
        let (ack, answer) = oneshot::channel();
        let entry = Entry {
            events: Vec::new(),
            ack: Some(ack),
            permit: None,
        };
        self.queue
            .send(Message::Entry(entry))
            .map_err(|_| RecordError::Closed)?;
        answer.await.map_err(|_| RecordError::Closed)?.map(drop)
    }

    /// Closes the log for new events, and resolves when all that was queued is durable.
    ///
    /// May be called more than once, with the same answer. Queries still work.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] with what is lost, when the store has refused five times in a row.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        // When the queue is closed, a shutdown is under way or done.
        let _ = self.queue.send(Message::Shutdown);
        self.shared.done.wait().await.clone()
    }

    /// Asks for one page of records.
    ///
    /// # Errors
    ///
    /// [`QueryError::Cursor`] if the cursor is not of this query, or the store's error.
    pub async fn query(&self, query: &Query) -> Result<Page, QueryError> {
        query.run(&*self.shared.store).await
    }

    /// Verifies the stored log from its first record to at least the last one this log wrote.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Broken`] with the first position that is wrong, or the store's error.
    pub async fn verify(&self) -> Result<Head, VerifyError> {
        verify_store(&*self.shared.store, self.head()).await
    }

    /// The end of the log, as far as it is durable.
    #[must_use]
    pub fn head(&self) -> Head {
        *self
            .shared
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether events can be recorded: the log is open, and the store took the last batch.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.queue.is_closed() && !self.shared.failing.load(Ordering::Relaxed)
    }

    /// How many events wait to be durable.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.shared.room.used()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog")
            .field("head", &self.head())
            .field("queue_depth", &self.queue_depth())
            .finish_non_exhaustive()
    }
}

/// Counts events as refused unless they get into the queue, also when the caller stops waiting.
struct Refusal<'a> {
    shared: &'a Shared,
    gap: Option<Gap>,
}

impl Drop for Refusal<'_> {
    fn drop(&mut self) {
        if let Some(gap) = self.gap.take() {
            self.shared.lose(gap);
        }
    }
}

/// Settings of an [`AuditLog`].
#[must_use]
pub struct AuditLogBuilder {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn OnRecord>,
    capacity: usize,
    reserve: usize,
    deadline: Duration,
}

impl AuditLogBuilder {
    /// A log in `store`, with the defaults.
    pub fn new(store: Arc<dyn AuditStore>) -> Self {
        Self {
            store,
            clock: Arc::new(SystemClock::new()),
            observer: Arc::new(()),
            capacity: 6144,
            reserve: 2048,
            deadline: Duration::from_secs(5),
        }
    }

    /// The time. The default is the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Who hears what the log does. The default is nobody; a pair is heard by both.
    pub fn on_record(mut self, observer: impl OnRecord) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// How many events of any severity may wait. The default is 6144, the least is 1.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events.max(1);
        self
    }

    /// How many more events of high and critical severity may wait when the capacity is used up.
    /// The default is 2048, the least is 1.
    pub fn reserve(mut self, events: usize) -> Self {
        self.reserve = events.max(1);
        self
    }

    /// How long `record` waits for room and the commit together. The default is 5 seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Reads the end of the stored log, and starts the task that writes on from there.
    ///
    /// Must be called on a Tokio runtime with time enabled, which has to live until the
    /// [shutdown](AuditLog::shutdown).
    ///
    /// # Errors
    ///
    /// The store's error when its end cannot be read.
    pub async fn open(self) -> Result<AuditLog, StoreError> {
        let head = self.store.tail().await?;
        let (queue, messages) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            store: self.store,
            clock: self.clock,
            observer: self.observer,
            room: Room::new(self.capacity, self.reserve),
            losses: Losses::default(),
            lost: Notify::new(),
            head: Mutex::new(head),
            failing: AtomicBool::new(false),
            done: SetOnce::new(),
            deadline: self.deadline,
        });
        tokio::spawn(Writer::new(Arc::clone(&shared), messages, Chain::resume(head)).run());
        Ok(AuditLog { queue, shared })
    }
}

impl fmt::Debug for AuditLogBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLogBuilder")
            .field("capacity", &self.capacity)
            .field("reserve", &self.reserve)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Whether events of this severity may use the reserve.
pub(crate) fn is_reserved(severity: Severity) -> bool {
    severity >= Severity::High
}
