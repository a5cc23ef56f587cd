//! The handle of the log: what records events, and asks for them.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{SetOnce, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::builder::AuditLogBuilder;
use crate::chain::{Content, Head};
use crate::clock::{Clock, Timestamp};
use crate::error::{
    Dropped, KeepError, QueryError, RecordError, RelayError, ShutdownError, StoreError, VerifyError,
};
use crate::event::Event;
use crate::flight::{Receipts, Stamped};
use crate::flood::Floods;
use crate::gap::{Gap, Losses};
use crate::kind::{Kind, Severity};
use crate::notary::Notary;
use crate::on_record::OnRecord;
use crate::outbox::{self, Outbox, OutboxEntry, OutboxTransaction};
use crate::query::{Filter, MAX_LIMIT, Order, Page, Query, Selection};
use crate::queue::{Entry, Events, Queue};
use crate::record::Stored;
use crate::retention::{self, Retention};
use crate::room::Room;
use crate::store::{AuditStore, Count, Span, StoreFuture};
use crate::tail::Tail;
use crate::verify::verify_store;

/// So long an event of medium severity waits for room.
const BRIEFLY: Duration = Duration::from_millis(100);

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
/// transaction, so that many events share one commit and a single one waits for nobody. What comes
/// while the store writes goes along, if the [store can](crate::AuditStore::depth).
///
/// # What is lost when
///
/// The queue has a bound. Events of low and medium severity may fill it but for a reserve, which
/// is kept for high and critical ones; a quarter of that is kept for critical ones alone.
/// - [`record`](Self::record) is an error unless the event is durable by the deadline: the caller
///   fails closed. High and critical events wait for room up to the deadline, medium ones a tenth
///   of a second, low ones not at all.
/// - [`enqueue`](Self::enqueue) never waits. Without room the event is lost, and counted.
/// - Many alike events handed to `enqueue`, if [told so](AuditLogBuilder::coalesce), are counted and
///   become one.
/// - When the store fails, what waits in `record` gets the error at once, and what was enqueued is
///   kept, in order, and tried again with growing pauses (50 ms to 5 s), however often it takes.
/// - What is lost or refused is itself recorded, as the event `audit.gap` with counts and the time
///   it spans, with the first batch that can be written after it.
#[derive(Clone)]
pub struct AuditLog {
    pub(crate) shared: Arc<Shared>,
    /// Dropped with the last handle.
    _open: Arc<Open>,
}

/// The log is open as long as there is one.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

/// What handles and the writer share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn AuditStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn OnRecord>,
    pub(crate) queue: Queue,
    pub(crate) room: Room,
    pub(crate) losses: Losses,
    pub(crate) head: Mutex<Head>,
    pub(crate) failing: AtomicBool,
    pub(crate) done: SetOnce<Result<(), ShutdownError>>,
    pub(crate) floods: Option<Floods>,
    pub(crate) notary: Option<Notary>,
    /// The sequence of the last durable record, for those who follow the log.
    pub(crate) written: watch::Sender<u64>,
    pub(crate) deadline: Duration,
}

impl Shared {
    /// Counts a loss, and wakes the writer to record it.
    fn lose(&self, gap: Gap) {
        self.losses.add(gap);
        self.queue.wake();
    }
}

impl AuditLog {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let open = Arc::new(Open(Arc::clone(&shared)));
        Self {
            shared,
            _open: open,
        }
    }

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
        let stamped = Stamped::new(event, self.shared.clock.now());
        match self.submit(Events::One(stamped)).await? {
            Receipts::One(receipt) => Ok(receipt),
            // The writer answers with a receipt for each event.
            Receipts::Many(_) => Err(RecordError::Closed),
        }
    }

    /// Records `events` in one transaction, all or none, and resolves when they are durable.
    ///
    /// They are as severe as the most severe of them.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record), and [`RecordError::TooMany`] for more than the queue can take.
    pub async fn record_all(&self, events: Vec<Event>) -> Result<Vec<Receipt>, RecordError> {
        let occurred = self.shared.clock.now();
        let stamped = events
            .into_iter()
            .map(|event| Stamped::new(event, occurred));
        self.record_stamped(stamped.collect()).await
    }

    pub(crate) async fn record_stamped(
        &self,
        events: Vec<Stamped>,
    ) -> Result<Vec<Receipt>, RecordError> {
        let receipts = self.submit(Events::Many(events)).await?;
        Ok(receipts.into_vec())
    }

    async fn submit(&self, mut events: Events) -> Result<Receipts, RecordError> {
        let shared = &*self.shared;
        let own = events.as_slice();
        let (count, severities) = (own.len(), own.iter().map(|e| e.event.severity));
        let (Some(first), Some(severity)) = (own.first(), severities.max()) else {
            return Ok(Receipts::Many(Vec::new()));
        };
        let limit = shared.room.most_at_once(severity);
        if count > limit {
            return Err(RecordError::TooMany { limit });
        }
        let due = Instant::now() + shared.deadline;
        let mut refusal = Refusal {
            shared,
            gap: Some(Gap::refused(count, first.occurred)),
        };
        let permit = match shared.room.try_take(count, severity) {
            Some(permit) => permit,
            None => {
                let patience = match severity {
                    Severity::Low => Duration::ZERO,
                    Severity::Medium => BRIEFLY.min(shared.deadline),
                    Severity::High | Severity::Critical => shared.deadline,
                };
                let room_due = Instant::now() + patience;
                let room = shared.room.take(count, severity);
                timeout_at(room_due, room)
                    .await
                    .map_err(|_| RecordError::Full)?
            }
        };
        // Here, where many can at once, and not on the task that writes.
        events.seal();
        let (ack, answer) = oneshot::channel();
        let entry = Entry {
            events,
            ack: Some(ack),
            permit: Some(permit),
        };
        if shared.queue.push(entry).is_some() {
            return Err(RecordError::Closed);
        }
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
        if let Some(floods) = &shared.floods
            && floods.absorbs(&event, occurred, shared.clock.monotonic())
        {
            shared.queue.wake();
            return Ok(());
        }
        let Some(permit) = shared.room.try_take(1, severity) else {
            let why = if shared.queue.is_closed() {
                Dropped::Closed
            } else {
                Dropped::Full(severity)
            };
            shared.lose(Gap::dropped(severity, occurred));
            shared.observer.on_drop(&event, why);
            return Err(why);
        };
        let entry = Entry {
            events: Events::One(Stamped::new(event, occurred)),
            ack: None,
            permit: Some(permit),
        };
        let Some(refused) = shared.queue.push(entry) else {
            return Ok(());
        };
        let events = refused.events.as_slice().iter();
        events.for_each(|e| shared.observer.on_drop(&e.event, Dropped::Closed));
        Err(Dropped::Closed)
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
            events: Events::Many(Vec::new()),
            ack: Some(ack),
            permit: None,
        };
        if self.shared.queue.push(entry).is_some() {
            return Err(RecordError::Closed);
        }
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
        self.shared.queue.close();
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

    /// Prunes what `retention` no longer keeps, as far as whole segments of the store have become
    /// old enough, and returns how many records. That it happens is itself recorded, before.
    ///
    /// # Errors
    ///
    /// See [`KeepError`].
    pub async fn prune(&self, retention: &Retention) -> Result<u64, KeepError> {
        let rules = retention.rules(self.shared.clock.now());
        let store = &self.shared.store;
        let Some(span) = store.prunable(&rules).await? else {
            return Ok(0);
        };
        let told = telling(retention::PRUNE, span, None);
        self.record(told.severity(Severity::High)).await?;
        Ok(store.prune(&rules, span).await?)
    }

    /// Prunes every so often, until the future is dropped.
    pub async fn retain(&self, retention: Retention, every: Duration) {
        loop {
            if let Err(error) = self.prune(&retention).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(target: crate::trace::TARGET, error, "audit records could not be pruned");
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Erases what tells of a person from the records that `filter` finds: everything but sequence,
    /// times, kind, action, outcome and severity. They still verify. What `retention` holds stays.
    /// That it happens is itself recorded, before; of whom, only as far as `why` says.
    ///
    /// # Errors
    ///
    /// See [`KeepError`].
    pub async fn erase(
        &self,
        filter: &Filter,
        retention: &Retention,
        why: impl AsRef<str>,
    ) -> Result<u64, KeepError> {
        let rules = retention.rules(self.shared.clock.now());
        let mut selection = Selection {
            filter: filter.clone(),
            order: Order::OldestFirst,
            beyond: None,
            limit: MAX_LIMIT,
        };
        let mut erased = 0;
        loop {
            let page = self.shared.store.query(&selection).await?;
            let Some(last) = page.last() else { break };
            selection.beyond = Some(last.seq);
            let free = |s: &&Stored| {
                let event = s.event();
                let held = event.is_some_and(|event| rules.holds(s.time, &event));
                matches!(s.content, Content::Whole { .. }) && !held
            };
            let sequences: Vec<u64> = page.iter().filter(free).map(|s| s.seq).collect();
            if let (Some(first), Some(last)) = (sequences.first(), sequences.last()) {
                let span = Span::new(*first, *last);
                let told = telling(retention::ERASE, span, Some(sequences.len()));
                let told = told.severity(Severity::High).resource(why.as_ref());
                self.record(told).await?;
                erased += self.shared.store.erase(&sequences).await?;
            }
        }
        Ok(erased)
    }

    /// The store that keeps the log, to ask for what the handle does not.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn AuditStore> {
        &self.shared.store
    }

    /// How many events of each sort there were in each minute that begins `during` that time.
    ///
    /// # Errors
    ///
    /// The store's error.
    pub async fn counts(&self, during: Range<Timestamp>) -> Result<Vec<Count>, StoreError> {
        self.shared.store.counts(during).await
    }

    /// Follows the log: all records after the sequence `after`, and then each as it becomes durable.
    #[must_use]
    pub fn tail(&self, after: u64) -> Tail {
        Tail::new(
            Arc::clone(&self.shared.store),
            self.shared.written.subscribe(),
            after,
        )
    }

    /// Writes `event` into the outbox of the caller's own database, in the transaction that makes
    /// the change it tells of: both are there, or neither. A [relay](Self::relay) brings it into the
    /// log.
    ///
    /// # Errors
    ///
    /// The database's error.
    pub fn record_in<'a>(
        &self,
        transaction: &'a mut (impl OutboxTransaction + ?Sized),
        event: &Event,
    ) -> StoreFuture<'a, ()> {
        transaction.put(OutboxEntry::of(event, self.shared.clock.now()))
    }

    /// Brings what is in `outbox` into this log, and returns how many events that were. Call it
    /// when there may be something, and from time to time; one relay for one outbox at a time.
    ///
    /// An event is recorded once, also if the process ended between the two steps before.
    ///
    /// # Errors
    ///
    /// See [`RelayError`]. What is not recorded stays in the outbox.
    pub async fn relay(&self, outbox: &dyn Outbox) -> Result<u64, RelayError> {
        outbox::relay(self, outbox).await
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
        !self.shared.queue.is_closed() && !self.shared.failing.load(Ordering::Relaxed)
    }

    /// How many events wait to be durable.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.shared.room.used()
    }

    /// The time, as the log has it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }
}

/// The event that tells that others are taken away.
fn telling(action: &'static str, span: Span, records: Option<usize>) -> Event {
    Event::new(Kind::System, action).details(&serde_json::json!({
        "first": span.first, "last": span.last, "records": records,
    }))
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
