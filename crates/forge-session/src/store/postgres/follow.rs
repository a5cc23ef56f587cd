//! Hearing what other nodes revoke.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::timeout;

use super::PostgresSessionStore;
use crate::error::StoreError;
use crate::sessions::Sessions;
use crate::store::Selector;

/// As in `0002_revocations.sql`.
const CHANNEL: &str = "forge_sessions_revoked";

/// After so long a silence it is asked whether the connection is still there.
const SILENCE: Duration = Duration::from_secs(10);

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pauses between two tries to listen.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl PostgresSessionStore {
    /// Tells `sessions` what is revoked in this database, by whichever node or program, as soon as
    /// it is committed: then what is remembered of it is
    /// [invalidated](crate::Sessions::invalidate). Spawn it on each node; it never ends by itself.
    ///
    /// It has a connection of its own (`LISTEN`), made with the options of the store's pool. While
    /// that is lost, a node learns of revocations when what it remembers is over (see
    /// [`SessionsBuilder::cache`](crate::SessionsBuilder::cache)); as soon as it is back,
    /// everything remembered is forgotten and whoever waits for an end is looked up
    /// ([`recheck`](crate::Sessions::recheck)). A connection that died without a word is noticed
    /// within 15 seconds. A pooler between the two must hand out whole sessions of the database.
    pub async fn follow(&self, sessions: &Sessions) -> Infallible {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.listen(sessions, &mut pause).await {
                Err(error) => warn(&error),
                Ok(never) => match never {},
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn listen(
        &self,
        sessions: &Sessions,
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
        // What was revoked while nobody listened.
        sessions.recheck().await?;
        *pause = FIRST_PAUSE;
        loop {
            match timeout(SILENCE, listener.try_recv()).await {
                Ok(heard) => {
                    let heard = heard?.ok_or_else(lost)?;
                    if let Some(selector) = selector(heard.payload(), &schema) {
                        sessions.invalidate(&selector);
                    }
                }
                Err(_) => {
                    within(sqlx::query("SELECT 1").execute(&mut listener)).await?;
                }
            }
        }
    }

    /// The schema that the table lies in.
    async fn schema(&self) -> Result<String, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace \
             WHERE pg_class.oid = 'sessions'::regclass",
        )
        .fetch_one(&self.pool)
        .await
    }
}

async fn within<T>(step: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match timeout(PATIENCE, step).await {
        Ok(done) => Ok(done?),
        Err(late) => Err(StoreError::Unavailable(late.into())),
    }
}

fn warn(error: &StoreError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "what other nodes revoke is not heard");
}

fn lost() -> StoreError {
    StoreError::Unavailable("the connection was lost".into())
}

/// What is told by `payload`, if it is about the table in `schema`. Whoever may connect to the
/// database can send one: what cannot be read is passed over.
fn selector(payload: &str, schema: &str) -> Option<Selector> {
    let (of, what) = payload.rsplit_once(' ')?;
    match what {
        _ if of != schema => None,
        "*" => Some(Selector::Everybody),
        id => id.parse().ok().map(Selector::Session),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionId;

    #[test]
    fn what_is_of_another_schema_or_makes_no_sense_is_passed_over() {
        let id = SessionId::new();
        let of = |payload: &str| selector(payload, "my schema");
        assert_eq!(of(&format!("my schema {id}")), Some(Selector::Session(id)));
        assert_eq!(of("my schema *"), Some(Selector::Everybody));
        for other in [
            String::new(),
            "*".to_owned(),
            format!("schema {id}"),
            "other *".to_owned(),
            "my schema x".to_owned(),
            format!("my schema {id} "),
        ] {
            assert_eq!(of(&other), None, "{other:?}");
        }
    }
}
