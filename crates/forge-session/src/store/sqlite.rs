//! Sessions in SQLite.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlSafeStr, Sqlite, SqlitePool, Transaction};

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::kind::Kind;
use crate::policy::choose_evicted;
use crate::scopes::Scopes;
use crate::secret::{FamilyHash, RotationSalt, SecretHash};
use crate::session::{ClientId, RevokeCause, Session, SessionId, UserId};
use crate::store::sql::{
    bytes, corrupt, live, names, parsed, revocation, revoke_where, sql_session_store,
};
use crate::store::{Found, Matched, Rotation, Selector, SessionStore, StoreFuture, Touch};

/// The schema, a step after the other.
const SCHEMA: [(&str, &str); 2] = [
    (
        "sessions",
        include_str!("../../migrations/sqlite/0001_sessions.sql"),
    ),
    (
        "user agents",
        include_str!("../../migrations/sqlite/0002_user_agents.sql"),
    ),
];

/// Sessions in a SQLite database, in the table `sessions`.
///
/// The pool is yours, and so are its options: write-ahead log, a busy time-out of a few seconds,
/// foreign keys as you like. Changes take the writer at their beginning (`BEGIN IMMEDIATE`), so
/// that two of them queue instead of failing.
#[derive(Clone)]
pub struct SqliteSessionStore {
    pool: SqlitePool,
}

impl SqliteSessionStore {
    /// A store in `pool`'s database. Call [`migrate`](Self::migrate) before the first use.
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// Creates or brings up to date the tables, whose names begin with `sessions`. What has been
    /// applied is kept in `sessions_migrations`, so that other crates can share the database.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when a statement fails, or when what was applied before is not
    /// what this version knows.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let steps = SCHEMA.into_iter().zip(1..).map(|((name, text), version)| {
            let (name, text) = (Cow::Borrowed(name), text.into_sql_str());
            Migration::new(version, name, MigrationType::Simple, text, false)
        });
        let mut migrator = Migrator::with_migrations(steps.collect());
        migrator.dangerous_set_table_name("sessions_migrations");
        let migrated = migrator.run(&self.pool).await;
        migrated.map_err(|error| StoreError::Unavailable(error.into()))
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// The writer is held already.
    async fn lock(&self, _: &mut Transaction<'static, Sqlite>, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

sql_session_store!(SqliteSessionStore, SqliteRow, greatest: "MAX", least: "MIN", lock: "", limit: " LIMIT $2");
