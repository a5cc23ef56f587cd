//! What can go wrong.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::kind::Severity;

/// The error of a library below, of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An operation of a store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database could not be reached, or refused.
    #[error("audit store unavailable")]
    Unavailable(#[source] BoxError),
    /// There is no room left for more.
    #[error("audit store full")]
    Full(#[source] BoxError),
    /// The stored log does not end where the appended records begin: somebody else wrote.
    #[error("audit store was appended to by another writer")]
    Conflict,
    /// The stored log no longer holds what this log wrote: it was altered from outside.
    #[error("audit store no longer holds what was written to it")]
    Altered,
    /// The database bears a schema that this version does not know.
    #[error("audit store has schema version {found}, newer than {known}")]
    Schema {
        /// The version found.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// The database is of an older version. [`migrate`](crate::SqliteAuditStore::migrate) brings it up
    /// to date, which whoever only reads does not.
    #[error(
        "audit store is of an older version: let a server of this version open it once, or a copy of it"
    )]
    Outdated,
    /// The database has no audit log, or one in the tables of a version before the first release. A
    /// copy of a log that is being written has none either while all of it is in the `-wal` file
    /// beside it.
    #[error(
        "database holds no audit log of this layout, or was copied without the -wal file beside it"
    )]
    Layout,
}

impl StoreError {
    /// Wraps the error of a library below.
    pub fn unavailable(error: impl Into<BoxError>) -> Self {
        Self::Unavailable(error.into())
    }
}

/// An event was not recorded, or it is not known whether it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The queue stayed full until the deadline. The event is not recorded.
    #[error("audit queue full")]
    Full,
    /// The store did not answer until the deadline. The event is queued and may still be written.
    #[error("audit store did not answer in time")]
    Deadline,
    /// The store refused. The event is not recorded.
    #[error("audit store refused the event")]
    Store(#[source] Arc<StoreError>),
    /// The log is shut down. The event is not recorded.
    #[error("audit log is shut down")]
    Closed,
    /// More events in one call than the queue can ever take. None is recorded.
    #[error("more than {limit} events in one call")]
    TooMany {
        /// The most events one call may bring.
        limit: usize,
    },
}

/// An event could not be queued, and is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Dropped {
    /// The share of the queue for events of this severity is full. The loss is counted and will
    /// be recorded as an `audit.gap`.
    #[error("audit queue full for severity {0}")]
    Full(Severity),
    /// The log is shut down.
    #[error("audit log is shut down")]
    Closed,
}

/// The log closed with events it could not write.
#[derive(Clone, Debug, thiserror::Error)]
#[error("audit log closed with {lost} events unwritten")]
pub struct ShutdownError {
    /// How many events are lost: those that are not known to be durable.
    pub lost: u64,
    /// When the first of them occurred.
    pub since: Timestamp,
    /// Why the store refused.
    #[source]
    pub source: Arc<StoreError>,
}

/// A query could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The cursor is malformed, or belongs to a query with another filter or order.
    #[error("cursor does not belong to this query")]
    Cursor,
    /// The store failed.
    #[error("audit store failed")]
    Store(#[from] StoreError),
}

/// The stored log does not verify, or could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The log was altered.
    #[error("audit log altered")]
    Broken(#[from] crate::chain::Broken),
    /// The store failed.
    #[error("audit store failed")]
    Store(#[from] StoreError),
}

/// A checkpoint or its key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The origin cannot name a log.
    #[error("not the origin of a log")]
    Origin,
    /// The text is not a public key.
    #[error("not the public key of a log")]
    Key,
    /// The text is not a checkpoint of this log.
    #[error("not a checkpoint of this log")]
    Malformed,
    /// The checkpoint is not signed by the key.
    #[error("checkpoint not signed by the key")]
    Signature,
}

/// Records could not be pruned or erased.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The event that tells of it could not be recorded. Nothing was taken away.
    #[error("what was to be taken away could not be recorded")]
    Record(#[from] RecordError),
    /// The store failed. Part of it may be taken away; another run goes on.
    #[error("audit store failed")]
    Store(#[from] StoreError),
}

/// The outbox could not be emptied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The outbox could not be read or written.
    #[error("audit outbox failed")]
    Outbox(#[source] StoreError),
    /// The log refused the events.
    #[error("events of the audit outbox could not be recorded")]
    Record(#[from] RecordError),
    /// The log could not be asked what it has already.
    #[error("audit log could not be read")]
    Log(#[source] StoreError),
}

/// An archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file could not be read or written.
    #[error("audit archive could not be read or written")]
    Io(#[from] std::io::Error),
    /// A line is not what an archive has there.
    #[error("line {line} is not part of an audit archive")]
    Line {
        /// Its number, from 1.
        line: u64,
    },
    /// Of some of its records only hashes are left, which cannot be searched.
    #[error("records of the audit archive were pruned")]
    Pruned,
    /// The archived log was altered.
    #[error("audit archive altered")]
    Broken(#[from] crate::chain::Broken),
    /// The store failed.
    #[error("audit store failed")]
    Store(#[from] StoreError),
}

/// A text is not the name of a kind, an outcome or a severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown name")]
pub struct UnknownName;

/// Canonical bytes do not encode an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the canonical encoding of an event")]
pub struct DecodeError;
