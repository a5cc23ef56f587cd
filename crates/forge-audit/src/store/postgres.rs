//! A store in a PostgreSQL database that several nodes share, each with a log of its own.

mod append;
mod keep;
mod merged;
mod read;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row, SqlSafeStr};
use tokio::sync::{Mutex, OnceCell};

use self::append::End;
pub use self::merged::{Merged, MergedPage};
use super::{AuditStore, Count, Rules, SignedNote, Span, StoreFuture};
use crate::chain::{Hash, Head};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::query::Selection;
use crate::record::{Record, Stored};
use crate::verify::Verifier;

/// How many records a partition has unless told otherwise.
const SEGMENT: u64 = 1 << 18;

/// Keeps the records of one log in a PostgreSQL database, beside those of other nodes.
///
/// Each node that writes has a log of its own, known by its `origin`: a chain, a tree and
/// checkpoints that nobody else appends to. [`merged`](Self::merged) reads all of them as one. Who
/// appends moves the end of the log by compare-and-set, so that two processes that take the same
/// origin by mistake cannot fork it: one of the two is told [`StoreError::Conflict`].
///
/// Records lie in partitions, one for each stretch of a log and so of its time; retention drops
/// those that are over as a whole. What [`append`](AuditStore::append) has answered is committed
/// with `synchronous_commit` at least at `on`.
///
/// The pool is yours. A role that may append and read and nothing else is made by
/// `CREATE ROLE …` and `SELECT audit_grant_append('…')`; pruning, erasing and
/// [`migrate`](Self::migrate) need the owner of the tables. Triggers refuse to change or delete a
/// record; they stop mistakes, not the owner, whom the chain and the checkpoints show. Erasing
/// overwrites rows and vacuums the table; it does not reach the database's own log and backups.
pub struct PostgresAuditStore {
    pool: PgPool,
    origin: String,
    segment: u64,
    id: OnceCell<i32>,
    /// The end, as this process wrote it last; read anew when it may not be what is stored.
    end: Mutex<Option<End>>,
}

impl PostgresAuditStore {
    /// The log `origin` in `pool`'s database. Call [`migrate`](Self::migrate) before the first use.
    #[must_use]
    pub fn new(pool: PgPool, origin: impl Into<String>) -> Self {
        Self {
            pool,
            origin: origin.into(),
            segment: SEGMENT,
            id: OnceCell::new(),
            end: Mutex::new(None),
        }
    }

    /// How many records a partition has from now on. The default is 262 144; brought to a multiple
    /// of 256.
    ///
    /// Retention drops partitions; a smaller one goes sooner, and more of them make queries slower.
    #[must_use]
    pub fn segment(mut self, records: u64) -> Self {
        self.segment = records.clamp(256, 1 << 24).next_multiple_of(256);
        self
    }

    /// Creates or brings up to date the tables, whose names begin with `audit_`. What has been
    /// applied is kept in `audit_migrations`, so that other crates can share the database.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when a statement fails, or when what was applied before is not
    /// what this version knows.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let audit = Migration::new(
            1,
            Cow::Borrowed("audit"),
            MigrationType::Simple,
            include_str!("../../migrations/postgres/0001_audit.sql").into_sql_str(),
            false,
        );
        let mut migrator = Migrator::with_migrations(vec![audit]);
        migrator.dangerous_set_table_name("audit_migrations");
        migrator
            .run(&self.pool)
            .await
            .map_err(StoreError::unavailable)
    }

    /// The name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What the tables know the log by.
    async fn id(&self) -> Result<i32, StoreError> {
        let open = || async {
            sqlx::query_scalar("SELECT audit_open($1)")
                .bind(&self.origin)
                .fetch_one(&self.pool)
                .await
        };
        Ok(*self.id.get_or_try_init(open).await?)
    }
}

impl AuditStore for PostgresAuditStore {
    fn append(&self, records: Arc<[Record]>) -> StoreFuture<'_, ()> {
        Box::pin(self.append_all(records))
    }

    fn tail(&self) -> StoreFuture<'_, Head> {
        Box::pin(self.read_tail())
    }

    fn query<'a>(&'a self, selection: &'a Selection) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(self.find(selection))
    }

    fn scan(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        Box::pin(self.walk(after, limit))
    }

    fn feed(&self, verifier: Verifier) -> StoreFuture<'_, Verifier> {
        Box::pin(self.show(verifier))
    }

    fn nodes(&self, level: u8, first: u64, count: usize) -> StoreFuture<'_, Vec<Hash>> {
        Box::pin(self.read_nodes(level, first, count as u64))
    }

    fn add_checkpoint(&self, checkpoint: SignedNote) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            sqlx::query(
                "INSERT INTO audit_checkpoints (log, size, text) VALUES ($1, $2, $3) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(self.id().await?)
            .bind(checkpoint.size.cast_signed())
            .bind(checkpoint.text)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
    }

    fn checkpoints(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<SignedNote>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT size, text FROM audit_checkpoints WHERE log = $1 AND size > $2 \
                 ORDER BY size LIMIT $3",
            )
            .bind(self.id().await?)
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
            let note = |row: &PgRow| {
                Ok(SignedNote {
                    size: row.try_get::<i64, _>(0)?.cast_unsigned(),
                    text: row.try_get(1)?,
                })
            };
            rows.iter().map(note).collect()
        })
    }

    fn counts(&self, during: Range<Timestamp>) -> StoreFuture<'_, Vec<Count>> {
        Box::pin(self.read_counts(during))
    }

    fn prunable<'a>(&'a self, rules: &'a Rules) -> StoreFuture<'a, Option<Span>> {
        Box::pin(self.find_prunable(rules))
    }

    fn prune<'a>(&'a self, rules: &'a Rules, span: Span) -> StoreFuture<'a, u64> {
        Box::pin(self.prune_span(rules, span))
    }

    fn erase<'a>(&'a self, sequences: &'a [u64]) -> StoreFuture<'a, u64> {
        Box::pin(self.erase_all(sequences))
    }
}

impl fmt::Debug for PostgresAuditStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresAuditStore")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // 53100: the disk is full.
        let is_full =
            matches!(&error, sqlx::Error::Database(db) if db.code().as_deref() == Some("53100"));
        if is_full {
            Self::Full(error.into())
        } else {
            Self::unavailable(error)
        }
    }
}
