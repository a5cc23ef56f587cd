//! Decisions in SQLite.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, SqlSafeStr};
use uuid::Uuid;

use super::{DecisionStore, StoreFuture};
use crate::clock::Timestamp;
use crate::decision::{Decision, Target};
use crate::error::StoreError;

/// A store in the table `monitor_decisions` of an SQLite database.
///
/// The pool is the caller's, and so are its settings: WAL, a busy time-out, and the number of
/// connections.
#[derive(Clone, Debug)]
pub struct SqliteDecisionStore {
    pool: SqlitePool,
}

impl SqliteDecisionStore {
    /// A store in this database. Call [`migrate`](Self::migrate) before its first use.
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// Brings the schema up to date. What was applied is kept in `monitor_migrations`, apart from
    /// that of others in the same database.
    ///
    /// # Errors
    /// [`StoreError::Migrate`] where the database refuses, or holds a schema from a later version.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut migrator = Migrator::with_migrations(vec![Migration::new(
            1,
            Cow::Borrowed("monitor"),
            MigrationType::Simple,
            include_str!("../../migrations/sqlite/0001_monitor.sql").into_sql_str(),
            false,
        )]);
        migrator.dangerous_set_table_name("monitor_migrations");
        migrator
            .run(&self.pool)
            .await
            .map_err(|e| StoreError::Migrate(Box::new(e)))
    }
}

impl DecisionStore for SqliteDecisionStore {
    fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            sqlx::query(
                "INSERT INTO monitor_decisions
                     (id, scenario, kind, target, action, since, until, escalation)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(decision.id.to_string())
            .bind(&*decision.scenario)
            .bind(decision.target.kind())
            .bind(stored_target(&decision.target))
            .bind(decision.action.as_str())
            .bind(decision.since.as_micros())
            .bind(decision.until.as_micros())
            .bind(i64::from(decision.escalation))
            .execute(&self.pool)
            .await
            .map_err(|e| match e {
                sqlx::Error::Database(e) if e.is_unique_violation() => StoreError::Duplicate,
                e => unavailable(e),
            })?;
            Ok(())
        })
    }

    fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>> {
        Box::pin(async move {
            sqlx::query(
                "SELECT id, scenario, kind, target, action, since, until, escalation
                 FROM monitor_decisions
                 WHERE until > ? AND lifted_at IS NULL
                 ORDER BY until DESC, id DESC
                 LIMIT ?",
            )
            .bind(at.as_micros())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?
            .iter()
            .map(read)
            .collect()
        })
    }

    fn lift(&self, id: Uuid, at: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let done = sqlx::query(
                "UPDATE monitor_decisions SET lifted_at = ?1
                 WHERE id = ?2 AND lifted_at IS NULL AND until > ?1",
            )
            .bind(at.as_micros())
            .bind(id.to_string())
            .execute(&self.pool)
            .await
            .map_err(unavailable)?;
            Ok(done.rows_affected() == 1)
        })
    }

    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let done = sqlx::query("DELETE FROM monitor_decisions WHERE until < ?")
                .bind(before.as_micros())
                .execute(&self.pool)
                .await
                .map_err(unavailable)?;
            Ok(done.rows_affected())
        })
    }
}

/// A network always with its prefix length, so that it reads back as it was.
fn stored_target(target: &Target) -> String {
    match target {
        Target::Network(network) => network.to_string(),
        Target::User(user) => user.to_string(),
    }
}

fn read(row: &SqliteRow) -> Result<Decision, StoreError> {
    let text = |column| row.try_get::<&str, _>(column).map_err(unavailable);
    let number = |column| row.try_get::<i64, _>(column).map_err(unavailable);
    let target = match text("kind")? {
        "network" => Target::Network(
            text("target")?
                .parse()
                .map_err(|_| StoreError::Corrupt("target"))?,
        ),
        "user" => Target::User(text("target")?.into()),
        _ => return Err(StoreError::Corrupt("kind")),
    };
    if text("action")? != "block" {
        return Err(StoreError::Corrupt("action"));
    }
    let id = Uuid::parse_str(text("id")?).map_err(|_| StoreError::Corrupt("id"))?;
    let escalation =
        u32::try_from(number("escalation")?).map_err(|_| StoreError::Corrupt("escalation"))?;
    Ok(Decision::block(
        text("scenario")?,
        target,
        Timestamp::from_micros(number("since")?),
        Timestamp::from_micros(number("until")?),
    )
    .id(id)
    .escalation(escalation))
}

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}
