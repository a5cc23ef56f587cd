//! Hearing that another node decided, lifted or silenced something.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::timeout;

use super::PostgresMonitorStore;
use crate::error::StoreError;
use crate::monitor::Monitor;

/// As in `0001_monitor.sql`.
const CHANNEL: &str = "forge_monitor_changed";

/// After so long a silence it is asked whether the connection is still there.
const SILENCE: Duration = Duration::from_secs(10);

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pauses between two tries to listen.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl PostgresMonitorStore {
    /// Lets `monitor` [take up](Monitor::refresh) what is decided, lifted and silenced in this
    /// database, by whichever node or program, as soon as it is committed. Spawn it on each node; it
    /// never ends by itself.
    ///
    /// It has a connection of its own (`LISTEN`), made with the options of the store's pool. While
    /// that is lost, a monitor learns of changes by asking once a second, as it does anyway. A pooler
    /// between the two must hand out whole sessions of the database.
    pub async fn follow(&self, monitor: &Monitor) -> Infallible {
        self.on_change(|| monitor.refresh()).await
    }

    /// The same for whoever wants to know that something was decided, lifted or silenced: `hear` is
    /// called then, and whenever the connection was made anew, since something may have been missed.
    pub async fn on_change(&self, hear: impl Fn()) -> Infallible {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.listen(&hear, &mut pause).await {
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "what other nodes decide is not heard at once");
                }
                Ok(never) => match never {},
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn listen(
        &self,
        hear: &impl Fn(),
        pause: &mut Duration,
    ) -> Result<Infallible, StoreError> {
        // The store's pool may be small, and a listener needs its connection for good.
        let own = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with((*self.pool.connect_options()).clone());
        let schema = within(self.schema()).await?;
        let mut listener = within(PgListener::connect_with(&own)).await?;
        listener.eager_reconnect(false);
        within(listener.listen(CHANNEL)).await?;
        // What was decided while nobody listened.
        hear();
        *pause = FIRST_PAUSE;
        loop {
            match timeout(SILENCE, listener.try_recv()).await {
                Ok(heard) => {
                    let heard = heard.map_err(super::unavailable)?.ok_or_else(lost)?;
                    // Whoever may connect to the database can say this: all it does is to ask.
                    if heard.payload() == schema {
                        hear();
                    }
                }
                Err(_) => {
                    within(sqlx::query("SELECT 1").execute(&mut listener)).await?;
                }
            }
        }
    }

    /// The schema that the tables lie in.
    async fn schema(&self) -> Result<String, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT nspname::text FROM pg_class
             JOIN pg_namespace ON pg_namespace.oid = relnamespace
             WHERE pg_class.oid = 'monitor_decisions'::regclass",
        )
        .fetch_one(&self.pool)
        .await
    }
}

async fn within<T>(step: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match timeout(PATIENCE, step).await {
        Ok(done) => done.map_err(super::unavailable),
        Err(late) => Err(StoreError::Unavailable(late.into())),
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable("the connection was lost".into())
}
