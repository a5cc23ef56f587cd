//! Decisions and alerts in PostgreSQL.

mod follow;

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Postgres, Row, SqlSafeStr, Transaction};
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

/// The schema, a step after the other.
const SCHEMA: [(&str, &str); 3] = [
    (
        "monitor",
        include_str!("../../migrations/postgres/0001_monitor.sql"),
    ),
    (
        "bounds",
        include_str!("../../migrations/postgres/0002_bounds.sql"),
    ),
    (
        "requeued",
        include_str!("../../migrations/postgres/0003_requeued.sql"),
    ),
];

/// A store in the tables `monitor_…` of the search path of a PostgreSQL database, for several nodes.
///
/// The pool is yours. A delivery is leased to one node at a time, without waiting for those that
/// others have in their hands (`SKIP LOCKED`). What one node decides, lifts or silences the others
/// hear of at once where they [`follow`](Self::follow), and otherwise by asking once a second.
#[derive(Clone, Debug)]
pub struct PostgresMonitorStore {
    pool: PgPool,
}

impl PostgresMonitorStore {
    /// A store in this database. Call [`migrate`](Self::migrate) before its first use.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Brings the schema up to date; several nodes may do so at once. What was applied is kept in
    /// `monitor_migrations`, apart from that of others in the same database.
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

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        self.pool.begin().await.map_err(unavailable)
    }
}

sql_monitor_store!(
    PostgresMonitorStore,
    PgRow,
    PgConnection,
    now: "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    lock: " FOR UPDATE",
    skip: " FOR UPDATE SKIP LOCKED"
);
