//! Decisions and alerts in SQLite.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, SqlSafeStr, Sqlite, SqliteConnection, Transaction};
use uuid::Uuid;

use super::sql::{
    duplicate, number, sql_alert_store, sql_decision_store, sql_monitor_store, unavailable,
};
use super::{
    AlertStore, Batch, DecisionStore, MAX_MISSING_SINKS, MAX_SILENCES, MonitorStore, StoreFuture,
};
use crate::alert::{Silence, StoredSilence};
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Lift, Stored, Target};
use crate::delivery::{
    DeadLetter, DeadReason, Delivery, HORIZON, OutboxStats, Patience, Requeued, Settled,
};
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
const SCHEMA: [(&str, &str); 5] = [
    (
        "monitor",
        include_str!("../../migrations/sqlite/0001_monitor.sql"),
    ),
    (
        "alerts",
        include_str!("../../migrations/sqlite/0002_alerts.sql"),
    ),
    (
        "changes",
        include_str!("../../migrations/sqlite/0003_changes.sql"),
    ),
    (
        "bounds",
        include_str!("../../migrations/sqlite/0004_bounds.sql"),
    ),
    (
        "requeued",
        include_str!("../../migrations/sqlite/0005_requeued.sql"),
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

    /// Takes the writer's lock at once: a transaction that has read cannot wait for it.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        let begun = self.pool.begin_with("BEGIN IMMEDIATE").await;
        begun.map_err(unavailable)
    }
}

sql_monitor_store!(
    SqliteMonitorStore,
    SqliteRow,
    SqliteConnection,
    now: "CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)",
    lock: "",
    skip: ""
);
