//! Sessions in PostgreSQL.

mod follow;

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, Row, SqlSafeStr, Transaction};

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
const SCHEMA: [(&str, &str); 3] = [
    (
        "sessions",
        include_str!("../../migrations/postgres/0001_sessions.sql"),
    ),
    (
        "revocations",
        include_str!("../../migrations/postgres/0002_revocations.sql"),
    ),
    (
        "user agents",
        include_str!("../../migrations/postgres/0003_user_agents.sql"),
    ),
];

/// Sessions in a PostgreSQL database, in the table `sessions` of the search path, for several
/// nodes.
///
/// The pool is yours. Sessions of one user are made one after the other, whichever nodes make
/// them (an advisory lock for the length of the transaction); rows are locked in the order of
/// their ids, so that no two statements wait for each other. What one node revokes the others hear
/// of at once where they [`follow`](Self::follow).
#[derive(Clone)]
pub struct PostgresSessionStore {
    pool: PgPool,
}

impl PostgresSessionStore {
    /// A store in `pool`'s database. Call [`migrate`](Self::migrate) before the first use.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
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

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        Ok(self.pool.begin().await?)
    }

    /// Held until the transaction ends. Two names with the same hash wait for each other, no more.
    async fn lock(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        name: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 7213705571912))")
            .bind(name)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

sql_session_store!(
    PostgresSessionStore,
    PgRow,
    greatest: "GREATEST",
    least: "LEAST",
    lock: " ORDER BY id FOR UPDATE",
    limit: " ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED"
);
