//! The crates' stores, over whichever database it is.

use std::path::Path;
use std::sync::Arc;

use forge_monitor::{BoxError, SqliteMonitorStore};
use forge_session::{PostgresSessionStore, SessionStore, Sessions, SqliteSessionStore};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::database::{self, Pool};
use crate::error::StartError;

/// The file with a node's own decisions, in the data folder, where the database is shared.
pub(crate) const DECISIONS: &str = "decisions.db";

/// The database file that this node has to itself.
pub(crate) fn own_file(config: &Config) -> &'static str {
    match config.database {
        None => database::FILE,
        Some(_) => DECISIONS,
    }
}

/// What the crates keep.
pub(crate) struct Stores {
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) decisions: SqliteMonitorStore,
    pub(crate) revocations: Revocations,
}

/// Where it is heard what other nodes revoke; nowhere, where there are none.
#[derive(Debug)]
pub(crate) struct Revocations(Option<PostgresSessionStore>);

impl Stores {
    /// Brings the schemas of the stores in that database up to date.
    pub(crate) async fn open(pool: &Pool, data: &Path) -> Result<Self, StartError> {
        let (sessions, revocations) = open_sessions(pool)
            .await
            .map_err(|error| StartError::part("session store")(error.into()))?;
        let decisions = open_decisions(pool, data)
            .await
            .map_err(StartError::part("decision store"))?;
        Ok(Self {
            sessions,
            decisions,
            revocations,
        })
    }
}

impl Revocations {
    /// Lets `sessions` hear of them, until the task is aborted.
    pub(crate) fn follow(self, sessions: Sessions) -> JoinHandle<()> {
        tokio::spawn(async move {
            if let Some(store) = self.0 {
                store.follow(&sessions).await;
            }
        })
    }
}

async fn open_sessions(
    pool: &Pool,
) -> Result<(Arc<dyn SessionStore>, Revocations), forge_session::StoreError> {
    match pool {
        Pool::Sqlite(pool) => {
            let store = SqliteSessionStore::new(pool.clone());
            store.migrate().await?;
            Ok((Arc::new(store), Revocations(None)))
        }
        Pool::Postgres(pool) => {
            let store = PostgresSessionStore::new(pool.clone());
            store.migrate().await?;
            Ok((Arc::new(store.clone()), Revocations(Some(store))))
        }
    }
}

/// Where the database is shared, decisions stay with the node that took them.
async fn open_decisions(pool: &Pool, data: &Path) -> Result<SqliteMonitorStore, BoxError> {
    let pool = match pool {
        Pool::Sqlite(pool) => pool.clone(),
        Pool::Postgres(_) => database::sqlite::open(&data.join(DECISIONS)).await?,
    };
    let store = SqliteMonitorStore::new(pool);
    store.migrate().await?;
    Ok(store)
}
