//! Where decisions and alerts outlive the process.

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use uuid::Uuid;

use crate::alert::{Silence, StoredSilence};
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Lift, Stored, Target};
use crate::delivery::{DeadLetter, Delivery, OutboxStats, Patience, Requeued, Settled};
use crate::error::StoreError;

pub use memory::MemoryMonitorStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresMonitorStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteMonitorStore;

/// What a store's methods return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps decisions. Object-safe; the monitor holds an `Arc<dyn DecisionStore>`.
///
/// Several processes may share one: each sees what the others decided and lifted by
/// [`changed`](Self::changed).
pub trait DecisionStore: Send + Sync + 'static {
    /// Stores a new decision; [`StoreError::Duplicate`] where its id is stored already.
    fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()>;

    /// The decisions that were not lifted and end after `at`, at most `limit`, those that end last
    /// first. With the present this is what holds; with a time in the past also what has ended
    /// since, from which a monitor that starts knows the escalation.
    fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>>;

    /// What was stored or lifted here at `since` or later by the clock of the store, however long ago
    /// it was decided, and what is lifted and not [told](Lift::told) yet: at most `limit`, what is
    /// lifted first, and then what changed last.
    fn changed(&self, since: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Stored>>;

    /// Lifts the decision, and what else of the same action holds for the same target: two nodes may
    /// have decided the same at once. `false` where there is none of this id, it is lifted already,
    /// or it has ended; then nothing is lifted. Of several callers at once exactly one is told `true`.
    fn lift<'a>(&'a self, id: Uuid, lift: &'a Lift) -> StoreFuture<'a, bool>;

    /// Lifts what holds for the target of that action and was decided no later than the lift; how
    /// many those were.
    fn lift_alike<'a>(
        &'a self,
        action: Action,
        target: &'a Target,
        lift: &'a Lift,
    ) -> StoreFuture<'a, u64>;

    /// Notes that a lifting was told to the observers; `false` where it was so already. Of several
    /// callers at once exactly one is told `true`.
    fn lift_told(&self, id: Uuid) -> StoreFuture<'_, bool>;

    /// Deletes the decisions that ended before `before`; how many those were.
    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64>;
}

/// Keeps alerts on their way, and silences. Object-safe.
pub trait AlertStore: Send + Sync + 'static {
    /// Stores new deliveries, all or none.
    fn enqueue<'a>(&'a self, deliveries: &'a [Delivery]) -> StoreFuture<'a, ()>;

    /// The delivery of that sink that is due at `now` and has waited longest, counted as tried once
    /// more; nobody else is given it before `until`, unless it is settled earlier. Of several
    /// callers at once one gets it. A time more than an hour ahead counts as past: the clock was
    /// set back.
    fn lease<'a>(
        &'a self,
        sink: &'a str,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreFuture<'a, Option<Delivery>>;

    /// Notes what came of the try number `attempts`; `false` where another try has begun since.
    fn settle<'a>(
        &'a self,
        id: Uuid,
        attempts: u32,
        settled: Settled,
        at: Timestamp,
    ) -> StoreFuture<'a, bool>;

    /// Notes that the caller delivers to these sinks. What waits for any other misses its sink from
    /// `now` on, until somebody says that it delivers there; those of which that was not known yet. A
    /// time more than an hour ahead is put right: the clock was set back.
    fn attend<'a>(
        &'a self,
        sinks: &'a [Arc<str>],
        now: Timestamp,
    ) -> StoreFuture<'a, Vec<Arc<str>>>;

    /// Gives up at `now` what waits for longer than `patience` has it and nobody is trying, at most
    /// `limit`, the oldest first; what that was. Of several callers at once one is told of each.
    fn give_up(
        &self,
        now: Timestamp,
        patience: Patience,
        limit: usize,
    ) -> StoreFuture<'_, Vec<DeadLetter>>;

    /// The deliveries that were given up, at most `limit`, the last first.
    fn dead(&self, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>>;

    /// Lets a delivery that was given up wait again, as if it were new at the time of `by`; `false`
    /// where none that was has this id.
    fn requeue<'a>(&'a self, id: Uuid, by: &'a Lift) -> StoreFuture<'a, bool>;

    /// The deliveries that somebody let wait again, which is not [told](Lift::told) yet: at most
    /// `limit`, the oldest first.
    fn untold_requeues(&self, limit: usize) -> StoreFuture<'_, Vec<Requeued>>;

    /// Notes that this was told to the observers; `false` where it was so already. Of several callers
    /// at once exactly one is told `true`.
    fn requeue_told(&self, id: Uuid) -> StoreFuture<'_, bool>;

    /// What waits and what was given up.
    fn outbox(&self) -> StoreFuture<'_, OutboxStats>;

    /// Deletes the deliveries that were settled for good before `before`, and the silences that ended
    /// by then, where they are [told](Silence::told); how many of the deliveries those were.
    fn forget(&self, before: Timestamp) -> StoreFuture<'_, u64>;

    /// Stores a new silence; [`StoreError::Duplicate`] where its id is stored already.
    fn silence<'a>(&'a self, silence: &'a Silence) -> StoreFuture<'a, ()>;

    /// Ends a silence; `false` where there is none of this id, or it has ended.
    fn unsilence<'a>(&'a self, id: Uuid, end: &'a Lift) -> StoreFuture<'a, bool>;

    /// The silences that were made or ended and are not told, at most `limit`, the oldest first.
    fn untold_silences(&self, limit: usize) -> StoreFuture<'_, Vec<StoredSilence>>;

    /// Notes that a silence was told to the observers, or that it was `ended`; `false` where it was
    /// so already. Of several callers at once exactly one is told `true`.
    fn silence_told(&self, id: Uuid, ended: bool) -> StoreFuture<'_, bool>;

    /// The silences that have not ended at `at`, oldest first, at most 1000.
    fn silences(&self, at: Timestamp) -> StoreFuture<'_, Vec<Silence>>;
}

/// What a monitor has to store at once.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Batch {
    /// New decisions.
    pub decisions: Vec<Arc<Decision>>,
    /// New deliveries: of the alerts that tell of the decisions, and of others.
    pub deliveries: Vec<Delivery>,
    /// The ids of deliveries that others take the place of. One that was tried already stays.
    pub withdrawn: Vec<Uuid>,
}

/// Keeps decisions and alerts in one place, so that no decision is stored without the alert that
/// tells of it. Object-safe; the monitor holds an `Arc<dyn MonitorStore>`.
pub trait MonitorStore: DecisionStore + AlertStore {
    /// Stores and withdraws all of the batch or nothing, whatever dies meanwhile;
    /// [`StoreError::Duplicate`] where a decision or a delivery of one of the ids is stored already.
    fn record<'a>(&'a self, batch: &'a Batch) -> StoreFuture<'a, ()>;
}

/// How many silences are read.
pub(crate) const MAX_SILENCES: usize = 1000;
/// How many sinks are looked at that something waits for.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) const MAX_MISSING_SINKS: usize = 1000;

impl<S: DecisionStore + ?Sized> DecisionStore for Arc<S> {
    fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()> {
        (**self).insert(decision)
    }

    fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>> {
        (**self).active(at, limit)
    }

    fn changed(&self, since: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        (**self).changed(since, limit)
    }

    fn lift<'a>(&'a self, id: Uuid, lift: &'a Lift) -> StoreFuture<'a, bool> {
        (**self).lift(id, lift)
    }

    fn lift_alike<'a>(
        &'a self,
        action: Action,
        target: &'a Target,
        lift: &'a Lift,
    ) -> StoreFuture<'a, u64> {
        (**self).lift_alike(action, target, lift)
    }

    fn lift_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
        (**self).lift_told(id)
    }

    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        (**self).prune(before)
    }
}

impl<S: AlertStore + ?Sized> AlertStore for Arc<S> {
    fn enqueue<'a>(&'a self, deliveries: &'a [Delivery]) -> StoreFuture<'a, ()> {
        (**self).enqueue(deliveries)
    }

    fn lease<'a>(
        &'a self,
        sink: &'a str,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreFuture<'a, Option<Delivery>> {
        (**self).lease(sink, now, until)
    }

    fn settle<'a>(
        &'a self,
        id: Uuid,
        attempts: u32,
        settled: Settled,
        at: Timestamp,
    ) -> StoreFuture<'a, bool> {
        (**self).settle(id, attempts, settled, at)
    }

    fn attend<'a>(
        &'a self,
        sinks: &'a [Arc<str>],
        now: Timestamp,
    ) -> StoreFuture<'a, Vec<Arc<str>>> {
        (**self).attend(sinks, now)
    }

    fn give_up(
        &self,
        now: Timestamp,
        patience: Patience,
        limit: usize,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        (**self).give_up(now, patience, limit)
    }

    fn dead(&self, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        (**self).dead(limit)
    }

    fn requeue<'a>(&'a self, id: Uuid, by: &'a Lift) -> StoreFuture<'a, bool> {
        (**self).requeue(id, by)
    }

    fn untold_requeues(&self, limit: usize) -> StoreFuture<'_, Vec<Requeued>> {
        (**self).untold_requeues(limit)
    }

    fn requeue_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
        (**self).requeue_told(id)
    }

    fn outbox(&self) -> StoreFuture<'_, OutboxStats> {
        (**self).outbox()
    }

    fn forget(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        (**self).forget(before)
    }

    fn silence<'a>(&'a self, silence: &'a Silence) -> StoreFuture<'a, ()> {
        (**self).silence(silence)
    }

    fn unsilence<'a>(&'a self, id: Uuid, end: &'a Lift) -> StoreFuture<'a, bool> {
        (**self).unsilence(id, end)
    }

    fn untold_silences(&self, limit: usize) -> StoreFuture<'_, Vec<StoredSilence>> {
        (**self).untold_silences(limit)
    }

    fn silence_told(&self, id: Uuid, ended: bool) -> StoreFuture<'_, bool> {
        (**self).silence_told(id, ended)
    }

    fn silences(&self, at: Timestamp) -> StoreFuture<'_, Vec<Silence>> {
        (**self).silences(at)
    }
}

impl<S: MonitorStore + ?Sized> MonitorStore for Arc<S> {
    fn record<'a>(&'a self, batch: &'a Batch) -> StoreFuture<'a, ()> {
        (**self).record(batch)
    }
}
