//! Sessions in SQLite.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row, SqlSafeStr, Sqlite, SqlitePool};

use crate::clock::Timestamp;
use crate::error::{BoxError, StoreError};
use crate::kind::Kind;
use crate::policy::choose_evicted;
use crate::secret::SecretHash;
use crate::session::{ClientId, RevokeCause, Session, SessionId, UserId};
use crate::store::{Found, Matched, Rotation, Selector, SessionStore, StoreFuture, Touch};

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
        let sessions = Migration::new(
            1,
            Cow::Borrowed("sessions"),
            MigrationType::Simple,
            include_str!("../../migrations/sqlite/0001_sessions.sql").into_sql_str(),
            false,
        );
        let mut migrator = Migrator::with_migrations(vec![sessions]);
        migrator.dangerous_set_table_name("sessions_migrations");
        let migrated = migrator.run(&self.pool).await;
        migrated.map_err(|error| StoreError::Unavailable(error.into()))
    }
}

const LIVE: &str = "revoked_at IS NULL AND idle_expires_at > ? AND absolute_expires_at > ?";

impl SessionStore for SqliteSessionStore {
    fn create<'a>(
        &'a self,
        session: &'a Session,
        secret: SecretHash,
        max: NonZeroU32,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move {
            let now = session.created.as_micros();
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let live = sql(format!(
                "SELECT id, client_id FROM sessions \
                 WHERE user_id = ? AND kind = ? AND {LIVE} ORDER BY created_at, id"
            ))
            .bind(session.user.as_str())
            .bind(session.kind.as_str())
            .bind(now)
            .bind(now)
            .fetch_all(&mut *tx)
            .await?;
            let live = live.iter().map(|row| {
                let client = parsed(
                    row.try_get::<Option<String>, _>("client_id")?,
                    ClientId::new,
                )?;
                Ok((session_id(row)?, client))
            });
            let live = live.collect::<Result<Vec<_>, StoreError>>()?;

            let evicted = choose_evicted(&live, session.client.as_ref(), max);
            for id in &evicted {
                sqlx::query("UPDATE sessions SET revoked_at = ?, revoked_cause = ? WHERE id = ?")
                    .bind(now)
                    .bind(RevokeCause::Evicted.as_str())
                    .bind(id.to_string())
                    .execute(&mut *tx)
                    .await?;
            }
            sqlx::query(
                "INSERT INTO sessions (id, user_id, kind, client_id, current_hash, generation, \
                 created_at, last_used_at, idle_expires_at, absolute_expires_at, created_ip, \
                 last_ip, user_agent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(session.id.to_string())
            .bind(session.user.as_str())
            .bind(session.kind.as_str())
            .bind(session.client.as_ref().map(ClientId::as_str))
            .bind(secret.as_bytes().as_slice())
            .bind(session.generation)
            .bind(now)
            .bind(session.last_used.as_micros())
            .bind(session.idle_expires.as_micros())
            .bind(session.absolute_expires.as_micros())
            .bind(session.created_ip.map(|ip| ip.to_string()))
            .bind(session.last_ip.map(|ip| ip.to_string()))
            .bind(session.user_agent.as_deref())
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(evicted)
        })
    }

    fn find_by_secret(&self, secret: SecretHash) -> StoreFuture<'_, Option<Found>> {
        Box::pin(async move {
            let hash = secret.as_bytes().as_slice();
            let row =
                sqlx::query("SELECT * FROM sessions WHERE current_hash = ? OR previous_hash = ?")
                    .bind(hash)
                    .bind(hash)
                    .fetch_optional(&self.pool)
                    .await?;
            let Some(row) = row else { return Ok(None) };
            let matched = if row.try_get::<&[u8], _>("current_hash")? == hash {
                Matched::Current
            } else {
                Matched::Previous
            };
            let session = session(&row)?;
            Ok(Some(Found { session, matched }))
        })
    }

    fn find(&self, id: SessionId) -> StoreFuture<'_, Option<Session>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT * FROM sessions WHERE id = ?")
                .bind(id.to_string())
                .fetch_optional(&self.pool)
                .await?;
            row.as_ref().map(session).transpose()
        })
    }

    fn list<'a>(&'a self, user: &'a UserId, now: Timestamp) -> StoreFuture<'a, Vec<Session>> {
        Box::pin(async move {
            let rows = sql(format!(
                "SELECT * FROM sessions WHERE user_id = ? AND {LIVE} ORDER BY created_at DESC, id DESC"
            ))
            .bind(user.as_str())
            .bind(now.as_micros())
            .bind(now.as_micros())
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(session).collect()
        })
    }

    fn rotate<'a>(&'a self, rotation: &'a Rotation) -> StoreFuture<'a, Option<Session>> {
        Box::pin(async move {
            let at = rotation.at.as_micros();
            let row = sql(format!(
                "UPDATE sessions SET previous_hash = current_hash, current_hash = ?, \
                 generation = generation + 1, rotated_at = ?, \
                 last_used_at = MAX(last_used_at, ?), \
                 idle_expires_at = MAX(idle_expires_at, MIN(?, absolute_expires_at)), \
                 last_ip = COALESCE(?, last_ip), user_agent = COALESCE(?, user_agent) \
                 WHERE id = ? AND generation = ? AND current_hash = ? AND {LIVE} RETURNING *"
            ))
            .bind(rotation.secret.as_bytes().as_slice())
            .bind(at)
            .bind(at)
            .bind(rotation.idle_expires.as_micros())
            .bind(rotation.ip.map(|ip| ip.to_string()))
            .bind(rotation.user_agent.as_deref())
            .bind(rotation.id.to_string())
            .bind(rotation.expected_generation)
            .bind(rotation.expected_secret.as_bytes().as_slice())
            .bind(at)
            .bind(at)
            .fetch_optional(&self.pool)
            .await?;
            row.as_ref().map(session).transpose()
        })
    }

    fn touch<'a>(&'a self, touches: &'a [Touch]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let mut taken = 0;
            for touch in touches {
                let at = touch.at.as_micros();
                let done = sql(format!(
                    "UPDATE sessions SET last_used_at = ?, \
                     idle_expires_at = MAX(idle_expires_at, MIN(?, absolute_expires_at)), \
                     last_ip = COALESCE(?, last_ip), user_agent = COALESCE(?, user_agent) \
                     WHERE id = ? AND last_used_at < ? AND {LIVE}"
                ))
                .bind(at)
                .bind(touch.idle_expires.as_micros())
                .bind(touch.ip.map(|ip| ip.to_string()))
                .bind(touch.user_agent.as_deref())
                .bind(touch.id.to_string())
                .bind(at)
                .bind(at)
                .bind(at)
                .execute(&mut *tx)
                .await?;
                taken += done.rows_affected();
            }
            tx.commit().await?;
            Ok(taken)
        })
    }

    fn revoke<'a>(
        &'a self,
        selector: &'a Selector,
        cause: RevokeCause,
        at: Timestamp,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move {
            let (which, names) = match selector {
                Selector::Session(id) => ("id = ?", vec![id.to_string()]),
                Selector::SessionOf { user, session } => (
                    "id = ? AND user_id = ?",
                    vec![session.to_string(), user.to_string()],
                ),
                Selector::User(user) => ("user_id = ?", vec![user.to_string()]),
                Selector::Kind { user, kind } => (
                    "user_id = ? AND kind = ?",
                    vec![user.to_string(), kind.to_string()],
                ),
                Selector::Client { user, client } => (
                    "user_id = ? AND client_id = ?",
                    vec![user.to_string(), client.to_string()],
                ),
                Selector::AllBut { user, keep } => (
                    "user_id = ? AND id <> ?",
                    vec![user.to_string(), keep.to_string()],
                ),
                Selector::Everybody => ("TRUE", Vec::new()),
            };
            let mut query = sql(format!(
                "UPDATE sessions SET revoked_at = ?, revoked_cause = ? \
                 WHERE revoked_at IS NULL AND {which} RETURNING id"
            ))
            .bind(at.as_micros())
            .bind(cause.as_str());
            for name in names {
                query = query.bind(name);
            }
            let rows = query.fetch_all(&self.pool).await?;
            rows.iter().map(session_id).collect()
        })
    }

    fn sweep(&self, before: Timestamp, limit: NonZeroU32) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            // `idle_expires_at` is never after `absolute_expires_at` (a CHECK), so it decides alone.
            let done = sqlx::query(
                "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions \
                 WHERE idle_expires_at < ? OR revoked_at < ? LIMIT ?)",
            )
            .bind(before.as_micros())
            .bind(before.as_micros())
            .bind(i64::from(limit.get()))
            .execute(&self.pool)
            .await?;
            Ok(done.rows_affected())
        })
    }
}

/// A statement put together from constants of this file; every value is bound.
fn sql(text: String) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    sqlx::query(AssertSqlSafe(text))
}

fn session(row: &SqliteRow) -> Result<Session, StoreError> {
    let timestamp =
        |column: &str| Ok::<_, StoreError>(Timestamp::from_micros(row.try_get(column)?));
    let ip = |column: &str| {
        let text: Option<String> = row.try_get(column)?;
        parsed(text, |text| text.parse())
    };
    let revoked: Option<i64> = row.try_get("revoked_at")?;
    let cause: Option<String> = row.try_get("revoked_cause")?;
    let cause = parsed(cause, |text| RevokeCause::from_str(&text))?;
    Ok(Session {
        id: session_id(row)?,
        user: UserId::new(row.try_get::<String, _>("user_id")?).map_err(corrupt)?,
        kind: Kind::new(row.try_get::<String, _>("kind")?).map_err(corrupt)?,
        client: parsed(
            row.try_get::<Option<String>, _>("client_id")?,
            ClientId::new,
        )?,
        created: timestamp("created_at")?,
        last_used: timestamp("last_used_at")?,
        idle_expires: timestamp("idle_expires_at")?,
        absolute_expires: timestamp("absolute_expires_at")?,
        created_ip: ip("created_ip")?,
        last_ip: ip("last_ip")?,
        user_agent: row.try_get("user_agent")?,
        generation: row.try_get("generation")?,
        rotated: row
            .try_get::<Option<i64>, _>("rotated_at")?
            .map(Timestamp::from_micros),
        revoked: revoked.map(Timestamp::from_micros).zip(cause),
    })
}

fn session_id(row: &SqliteRow) -> Result<SessionId, StoreError> {
    row.try_get::<&str, _>("id")?.parse().map_err(corrupt)
}

/// Reads a column that may be absent, but not wrong.
fn parsed<T, E: Into<BoxError>>(
    text: Option<String>,
    parse: impl FnOnce(String) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    text.map(parse).transpose().map_err(corrupt)
}

fn corrupt(error: impl Into<BoxError>) -> StoreError {
    StoreError::Corrupt(error.into())
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => corrupt(error),
            other => Self::Unavailable(other.into()),
        }
    }
}

impl fmt::Debug for SqliteSessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSessionStore").finish_non_exhaustive()
    }
}
