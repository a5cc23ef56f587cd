//! A durable, ordered, tamper-evident audit log for Tower services.
//!
//! [`AuditLog`] writes events to an [`AuditStore`], each with its sequence, its time and a SHA-256
//! hash over itself and the record before it. [`AuditLayer`] makes one event of each request.
//!
//! What fails closed: [`AuditLog::record`] is an error unless the event is durable, and a request
//! whose [`Policy`] is `Required` is refused when it cannot be recorded. What does not:
//! [`AuditLog::enqueue`], and requests of which only the metadata is recorded, go on when the queue
//! is full; the loss is counted, and recorded itself as `audit.gap`.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use forge_audit::{Actor, AuditLog, Event, Kind, MemoryAuditStore, Outcome, Query, Severity};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A `SqliteAuditStore` (feature `sqlite`) keeps the log in a file.
//! let log = AuditLog::open(Arc::new(MemoryAuditStore::new())).await?;
//!
//! // Durable when it returns.
//! let receipt = log
//!     .record(Event::new(Kind::Session, "session.revoke").actor(Actor::new("583231")))
//!     .await?;
//! assert_eq!(receipt.seq, 1);
//!
//! // Durable soon.
//! log.enqueue(
//!     Event::new(Kind::Authentication, "auth.sign_in")
//!         .outcome(Outcome::Denied)
//!         .severity(Severity::High),
//! )?;
//! log.flush().await?;
//!
//! let denied = log.query(&Query::new().outcome(Outcome::Denied)).await?;
//! assert_eq!(denied.records[0].event.action(), "auth.sign_in");
//! assert_eq!(log.verify().await?.seq, 2);
//! log.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The layer goes on `axum::Router::layer` and on `tonic::transport::Server::builder().layer(…)`
//! alike:
//!
//! ```
//! use forge_audit::{Actor, AuditLayer, AuditLog, Policy};
//! use http::request::Parts;
//!
//! # fn layer(log: AuditLog) {
//! let layer = AuditLayer::new(log)
//!     // From what the layer that authenticates has put there.
//!     .identify(|parts: &Parts| parts.extensions.get::<Actor>().cloned().unwrap_or_default())
//!     .policy(|parts: &Parts| match parts.uri.path() {
//!         "/livez" | "/readyz" => Policy::None,
//!         path if path.starts_with("/api/admin/") => Policy::Required,
//!         _ => Policy::Metadata,
//!     });
//! # let _: AuditLayer<_, _> = layer;
//! # }
//! ```
//!
//! # Feature flags
//!
//! | feature | adds |
//! |---|---|
//! | `axum` | [`AuditContext`] as an extractor, the bodies of Axum |
//! | `tonic` | the body of Tonic |
//! | `sqlite` | `SqliteAuditStore` |
//! | `archive` | `write_compressed_archive`, `archive_lines`: archives in Zstandard |
//! | `postgres` | `PostgresAuditStore`: the logs of several nodes in one database, each a chain of its own, read as one |
//! | `checkpoint` | `CheckpointKey` and `verify_signed`: checkpoints signed with Ed25519; needs no database |
//! | `subscriber` | `AuditTracing`, a layer that makes events of marked events of `tracing` |
//! | `metrics` | `RecordMetrics`, an observer that feeds the `metrics` recorder |
//!
//! # Security
//!
//! - **Secrets.** Details lose the values of keys that usually name secrets, and values that look
//!   like one ([`Redaction`]), and [pseudonyms](Pseudonyms) stand for persons where told; paths are
//!   recorded without their query. What stands in a path, a resource or an action is recorded as it
//!   is: put no secret there.
//! - **Hostile input.** Every part of an event is bounded, and characters that forge lines, drive
//!   terminals or reorder text are written as escapes when it is set ([`escape`]).
//! - **Tampering.** The chain shows what was changed, removed, added or swapped, and where
//!   ([`AuditLog::verify`]). Somebody who can write the database can compute the whole chain anew,
//!   or cut off its end: have [checkpoints signed](AuditLogBuilder::checkpoints) and take them
//!   elsewhere; who has one can show it, with the public key alone. The running log does so with the
//!   end it has in memory, and does not continue a log that no longer holds what it wrote.
//! - **Forgetting.** Retention and erasure take records, or what tells of a person, away and keep
//!   what the rest is proved with. They are events themselves: what is missing without one is shown
//!   as altered. Words of a segment that no record uses any more go too, and erased pages are
//!   overwritten; copies of the file, and what a file system keeps, are not within reach.
//! - **Damage.** A record that does not fit its hash is shown by queries as the critical event
//!   `audit.damaged`, neither hidden nor believed.

mod archive;
mod body;
mod builder;
mod canonical;
mod chain;
#[cfg(feature = "checkpoint")]
mod checkpoint;
mod clock;
mod commit;
mod context;
mod details;
mod error;
mod escape;
mod event;
mod exchange;
mod export;
mod flight;
mod flood;
mod future;
mod gap;
mod identify;
mod kind;
mod layer;
mod log;
#[cfg(feature = "metrics")]
mod metrics;
mod notary;
mod on_checkpoint;
mod on_record;
mod outbox;
mod owasp;
mod policy;
mod pseudonym;
mod query;
mod queue;
mod record;
mod redact;
mod refusal;
mod retention;
mod room;
mod service;
mod short;
mod source_of;
mod store;
#[cfg(feature = "subscriber")]
mod subscriber;
mod tail;
mod trace;
mod tree;
mod verify;
mod view;
mod writer;

#[cfg(feature = "metrics")]
pub use self::metrics::RecordMetrics;
#[cfg(feature = "archive")]
pub use archive::{archive_lines, write_compressed_archive};
#[cfg(feature = "checkpoint")]
pub use checkpoint::{
    Checkpoint, CheckpointKey, CheckpointVerifier, stored_checkpoints, verify_signed,
};
#[cfg(feature = "axum")]
pub use context::NotRecorded;
#[cfg(feature = "postgres")]
pub use store::postgres::{Merged, MergedPage, PostgresAuditStore};
#[cfg(feature = "sqlite")]
pub use store::sqlite::{Space, SqliteAuditStore, SqliteAuditStoreBuilder};
#[cfg(feature = "subscriber")]
pub use subscriber::AuditTracing;
pub use {
    archive::{ARCHIVE_STEP, Archive, Entry, import_archive, verify_archive, write_archive},
    body::{AuditBody, Watch, Watched},
    builder::AuditLogBuilder,
    chain::{Broken, Chain, Content, Fault, Hash, Head, Link, verify},
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    context::AuditContext,
    error::{
        ArchiveError, BoxError, CheckpointError, DecodeError, Dropped, KeepError, QueryError,
        RecordError, RelayError, ShutdownError, StoreError, UnknownName, VerifyError,
    },
    escape::escape,
    event::{Actor, Event, Source},
    export::{Export, Format, OCSF_VERSION, Piece},
    future::ResponseFuture,
    identify::Identify,
    kind::{Kind, Outcome, Severity},
    layer::AuditLayer,
    log::{AuditLog, Receipt},
    on_checkpoint::{CheckpointFile, CheckpointLine, OnCheckpoint, Sign, split_notes},
    on_record::{Commit, OnRecord},
    outbox::{OUTBOX_POSTGRES, OUTBOX_SQLITE, Outbox, OutboxEntry, OutboxTransaction},
    owasp::Owasp,
    policy::{AuditPolicy, Policy},
    pseudonym::Pseudonyms,
    query::{Cursor, Filter, MAX_LIMIT, Order, Page, Query, Selection},
    record::{Record, Stored},
    redact::{MAX_DETAILS, Redaction},
    refusal::{Problem, Refusal, RefusalBody, Respond},
    retention::Retention,
    service::Audit,
    source_of::SourceOf,
    store::memory::MemoryAuditStore,
    store::{
        AuditStore, Count, Rules, SignedNote, Span, StoreFuture, prove_consistency,
        prove_inclusion, tree_of,
    },
    tail::{Next, Tail},
    tree::{Proof, Tree},
    verify::{Verified, Verifier, verify_store, verify_with},
};
