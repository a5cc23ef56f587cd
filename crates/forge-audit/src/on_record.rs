//! Observers: who hears what the log does.

use std::time::Duration;

use crate::error::{Dropped, StoreError};
use crate::event::Event;
use crate::record::Record;

/// Hears what the log does.
///
/// Implemented for closures over [`Record`], for `()`, which does nothing, and for pairs, of which
/// both hear. Methods must not block: those about records run on the task that writes the log, the
/// one about a loss where the event was handed over. A panic in a method is caught and logged.
pub trait OnRecord: Send + Sync + 'static {
    /// A record is durable.
    fn on_record(&self, record: &Record);

    /// An event handed to [`enqueue`](crate::AuditLog::enqueue) is lost.
    fn on_drop(&self, event: &Event, why: Dropped) {
        let _ = (event, why);
    }

    /// A batch is durable.
    fn on_commit(&self, commit: &Commit) {
        let _ = commit;
    }

    /// The store refused a batch. It will be tried again with what may be kept.
    fn on_failure(&self, error: &StoreError) {
        let _ = error;
    }
}

/// How a batch became durable.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Commit {
    /// How many records it had.
    pub records: usize,
    /// How long the store took.
    pub took: Duration,
    /// How many events wait behind it.
    pub queue_depth: usize,
}

impl OnRecord for () {
    fn on_record(&self, _: &Record) {}
}

impl<F: Fn(&Record) + Send + Sync + 'static> OnRecord for F {
    fn on_record(&self, record: &Record) {
        self(record);
    }
}

impl<A: OnRecord, B: OnRecord> OnRecord for (A, B) {
    fn on_record(&self, record: &Record) {
        self.0.on_record(record);
        self.1.on_record(record);
    }

    fn on_drop(&self, event: &Event, why: Dropped) {
        self.0.on_drop(event, why);
        self.1.on_drop(event, why);
    }

    fn on_commit(&self, commit: &Commit) {
        self.0.on_commit(commit);
        self.1.on_commit(commit);
    }

    fn on_failure(&self, error: &StoreError) {
        self.0.on_failure(error);
        self.1.on_failure(error);
    }
}
