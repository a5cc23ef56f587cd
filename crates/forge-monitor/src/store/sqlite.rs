//! Decisions and alerts in SQLite.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, SqlSafeStr};
use uuid::Uuid;

use super::{AlertStore, DecisionStore, MAX_SILENCES, StoreFuture};
use crate::alert::Silence;
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Lift, Stored, Target};
use crate::delivery::{Delivery, HORIZON, OutboxStats, Settled};
use crate::error::StoreError;

/// A store in the tables `monitor_…` of an SQLite database.
///
/// The pool is the caller's, and so are its settings: WAL, a busy time-out, and the number of
/// connections.
#[derive(Clone, Debug)]
pub struct SqliteMonitorStore {
    pool: SqlitePool,
}

/// The schema, a step after the other.
const SCHEMA: [(&str, &str); 2] = [
    (
        "monitor",
        include_str!("../../migrations/sqlite/0001_monitor.sql"),
    ),
    (
        "alerts",
        include_str!("../../migrations/sqlite/0002_alerts.sql"),
    ),
];

impl SqliteMonitorStore {
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
        let migrations = SCHEMA.into_iter().zip(1..).map(|((name, text), version)| {
            let text = text.into_sql_str();
            let name = Cow::Borrowed(name);
            Migration::new(version, name, MigrationType::Simple, text, false)
        });
        let mut migrator = Migrator::with_migrations(migrations.collect());
        migrator.dangerous_set_table_name("monitor_migrations");
        migrator
            .run(&self.pool)
            .await
            .map_err(|e| StoreError::Migrate(Box::new(e)))
    }
}

impl DecisionStore for SqliteMonitorStore {
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
            .bind(decision.target.stored())
            .bind(decision.action.as_str())
            .bind(decision.since.as_micros())
            .bind(decision.until.as_micros())
            .bind(i64::from(decision.escalation))
            .execute(&self.pool)
            .await
            .map_err(duplicate)?;
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
            .bind(number(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?
            .iter()
            .map(decision)
            .collect()
        })
    }

    fn changed(&self, since: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        Box::pin(async move {
            sqlx::query(
                "SELECT id, scenario, kind, target, action, since, until, escalation,
                        lifted_at, lifted_by, lift_told
                 FROM monitor_decisions WHERE since >= ?1
                 UNION
                 SELECT id, scenario, kind, target, action, since, until, escalation,
                        lifted_at, lifted_by, lift_told
                 FROM monitor_decisions
                 WHERE lifted_at IS NOT NULL AND (lifted_at >= ?1 OR lift_told = 0)
                 LIMIT ?2",
            )
            .bind(since.as_micros())
            .bind(number(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?
            .iter()
            .map(stored)
            .collect()
        })
    }

    fn lift<'a>(&'a self, id: Uuid, lift: &'a Lift) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let done = sqlx::query(
                "UPDATE monitor_decisions SET lifted_at = ?1, lifted_by = ?3, lift_told = ?4
                 WHERE id = ?2 AND lifted_at IS NULL AND until > ?1",
            )
            .bind(lift.at.as_micros())
            .bind(id.to_string())
            .bind(&*lift.by)
            .bind(lift.told)
            .execute(&self.pool)
            .await
            .map_err(unavailable)?;
            Ok(done.rows_affected() == 1)
        })
    }

    fn lift_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let done = sqlx::query(
                "UPDATE monitor_decisions SET lift_told = 1
                 WHERE id = ? AND lifted_at IS NOT NULL AND lift_told = 0",
            )
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

impl AlertStore for SqliteMonitorStore {
    fn enqueue<'a>(&'a self, deliveries: &'a [Delivery]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut transaction = self.pool.begin().await.map_err(unavailable)?;
            for delivery in deliveries {
                let alert = serde_json::to_string(&delivery.alert)
                    .map_err(|_| StoreError::Corrupt("alert"))?;
                sqlx::query(
                    "INSERT INTO monitor_deliveries (id, sink, alert, created, due, attempts)
                     VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
                )
                .bind(delivery.id.to_string())
                .bind(&*delivery.sink)
                .bind(alert)
                .bind(delivery.created.as_micros())
                .bind(i64::from(delivery.attempts))
                .execute(&mut *transaction)
                .await
                .map_err(duplicate)?;
            }
            transaction.commit().await.map_err(unavailable)
        })
    }

    fn lease<'a>(
        &'a self,
        sink: &'a str,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreFuture<'a, Option<Delivery>> {
        Box::pin(async move {
            let row = sqlx::query(
                "UPDATE monitor_deliveries SET attempts = attempts + 1, leased_until = ?3
                 WHERE id = (
                     SELECT id FROM monitor_deliveries
                     WHERE sink = ?1 AND state = 'waiting'
                       AND (due <= ?2 OR due > ?4)
                       AND (leased_until IS NULL OR leased_until <= ?2 OR leased_until > ?4)
                     ORDER BY due, id LIMIT 1)
                 RETURNING id, alert, created, attempts",
            )
            .bind(sink)
            .bind(now.as_micros())
            .bind(until.as_micros())
            .bind((now + HORIZON).as_micros())
            .fetch_optional(&self.pool)
            .await
            .map_err(unavailable)?;
            row.map(|row| delivery(sink, &row)).transpose()
        })
    }

    fn settle<'a>(
        &'a self,
        id: Uuid,
        attempts: u32,
        settled: Settled,
        at: Timestamp,
    ) -> StoreFuture<'a, bool> {
        let (state, settled_at, due) = match settled {
            Settled::Delivered => ("delivered", Some(at), None),
            Settled::Dead => ("dead", Some(at), None),
            Settled::Again(due) => ("waiting", None, Some(due)),
        };
        Box::pin(async move {
            let done = sqlx::query(
                "UPDATE monitor_deliveries
                 SET state = ?3, settled_at = ?4, due = coalesce(?5, due), leased_until = NULL
                 WHERE id = ?1 AND attempts = ?2 AND state = 'waiting'",
            )
            .bind(id.to_string())
            .bind(i64::from(attempts))
            .bind(state)
            .bind(settled_at.map(Timestamp::as_micros))
            .bind(due.map(Timestamp::as_micros))
            .execute(&self.pool)
            .await
            .map_err(unavailable)?;
            Ok(done.rows_affected() == 1)
        })
    }

    fn outbox(&self) -> StoreFuture<'_, OutboxStats> {
        Box::pin(async move {
            let row = sqlx::query(
                "SELECT (SELECT count(*) FROM monitor_deliveries WHERE state = 'waiting') AS waiting,
                        (SELECT count(*) FROM monitor_deliveries WHERE state = 'dead') AS dead,
                        (SELECT min(created) FROM monitor_deliveries WHERE state = 'waiting') AS oldest",
            )
            .fetch_one(&self.pool)
            .await
            .map_err(unavailable)?;
            let number = |column| row.try_get::<i64, _>(column).map_err(unavailable);
            let oldest: Option<i64> = row.try_get("oldest").map_err(unavailable)?;
            Ok(OutboxStats::new(
                u64::try_from(number("waiting")?).unwrap_or(0),
                u64::try_from(number("dead")?).unwrap_or(0),
                oldest.map(Timestamp::from_micros),
            ))
        })
    }

    fn forget(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let done = sqlx::query(
                "DELETE FROM monitor_deliveries WHERE state <> 'waiting' AND settled_at < ?",
            )
            .bind(before.as_micros())
            .execute(&self.pool)
            .await
            .map_err(unavailable)?;
            sqlx::query("DELETE FROM monitor_silences WHERE until < ?")
                .bind(before.as_micros())
                .execute(&self.pool)
                .await
                .map_err(unavailable)?;
            Ok(done.rows_affected())
        })
    }

    fn silence<'a>(&'a self, silence: &'a Silence) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            sqlx::query(
                "INSERT INTO monitor_silences (id, scenario, scope, since, until, made_by, comment)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(silence.id.to_string())
            .bind(&*silence.scenario)
            .bind(&*silence.scope)
            .bind(silence.since.as_micros())
            .bind(silence.until.as_micros())
            .bind(&*silence.by)
            .bind(&*silence.comment)
            .execute(&self.pool)
            .await
            .map_err(duplicate)?;
            Ok(())
        })
    }

    fn unsilence(&self, id: Uuid, at: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let done =
                sqlx::query("UPDATE monitor_silences SET until = ?2 WHERE id = ?1 AND until > ?2")
                    .bind(id.to_string())
                    .bind(at.as_micros())
                    .execute(&self.pool)
                    .await
                    .map_err(unavailable)?;
            Ok(done.rows_affected() == 1)
        })
    }

    fn silences(&self, at: Timestamp) -> StoreFuture<'_, Vec<Silence>> {
        Box::pin(async move {
            sqlx::query(
                "SELECT id, scenario, scope, since, until, made_by, comment
                 FROM monitor_silences WHERE until > ? ORDER BY since, id LIMIT ?",
            )
            .bind(at.as_micros())
            .bind(number(MAX_SILENCES))
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?
            .iter()
            .map(silence)
            .collect()
        })
    }
}

fn decision(row: &SqliteRow) -> Result<Decision, StoreError> {
    let (text, number) = (text(row), integer(row));
    let target = Target::parse(text("kind")?, text("target")?);
    let action = Action::parse(text("action")?).ok_or(StoreError::Corrupt("action"))?;
    let escalation =
        u32::try_from(number("escalation")?).map_err(|_| StoreError::Corrupt("escalation"))?;
    Ok(Decision::new(
        action,
        text("scenario")?,
        target.ok_or(StoreError::Corrupt("target"))?,
        Timestamp::from_micros(number("since")?),
        Timestamp::from_micros(number("until")?),
    )
    .id(id(row)?)
    .escalation(escalation))
}

fn stored(row: &SqliteRow) -> Result<Stored, StoreError> {
    let lifted_at: Option<i64> = row.try_get("lifted_at").map_err(unavailable)?;
    let lifted = match lifted_at {
        None => None,
        Some(at) => {
            let by: Option<&str> = row.try_get("lifted_by").map_err(unavailable)?;
            let told = row.try_get("lift_told").map_err(unavailable)?;
            Some(Lift::new(Timestamp::from_micros(at), by.unwrap_or_default()).told(told))
        }
    };
    Ok(Stored::new(decision(row)?, lifted))
}

fn delivery(sink: &str, row: &SqliteRow) -> Result<Delivery, StoreError> {
    let (text, number) = (text(row), integer(row));
    let alert = serde_json::from_str(text("alert")?).map_err(|_| StoreError::Corrupt("alert"))?;
    let attempts =
        u32::try_from(number("attempts")?).map_err(|_| StoreError::Corrupt("attempts"))?;
    let created = Timestamp::from_micros(number("created")?);
    Ok(Delivery::new(sink, alert, created).stored(id(row)?, attempts))
}

fn silence(row: &SqliteRow) -> Result<Silence, StoreError> {
    let (text, number) = (text(row), integer(row));
    let since = Timestamp::from_micros(number("since")?);
    let until = Timestamp::from_micros(number("until")?);
    Ok(Silence::new(text("scenario")?, since, until)
        .id(id(row)?)
        .scope(text("scope")?)
        .by(text("made_by")?, text("comment")?))
}

fn id(row: &SqliteRow) -> Result<Uuid, StoreError> {
    Uuid::parse_str(text(row)("id")?).map_err(|_| StoreError::Corrupt("id"))
}

fn text<'r>(row: &'r SqliteRow) -> impl Fn(&'static str) -> Result<&'r str, StoreError> {
    move |column| row.try_get::<&str, _>(column).map_err(unavailable)
}

fn integer(row: &SqliteRow) -> impl Fn(&'static str) -> Result<i64, StoreError> {
    move |column| row.try_get::<i64, _>(column).map_err(unavailable)
}

fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn duplicate(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(e) if e.is_unique_violation() => StoreError::Duplicate,
        e => unavailable(e),
    }
}

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}
