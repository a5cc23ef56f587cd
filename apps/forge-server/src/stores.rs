//! The crates' stores, over whichever database it is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forge_monitor::{BoxError, Monitor, MonitorStore, PostgresMonitorStore, SqliteMonitorStore};
use forge_session::{PostgresSessionStore, SessionStore, Sessions, SqliteSessionStore};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tokio::task::JoinHandle;

use crate::config::{Config, Inputs};
use crate::database::{self, Pool};
use crate::error::StartError;

/// What the crates keep.
pub(crate) struct Stores {
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) monitor: Arc<dyn MonitorStore>,
    pub(crate) others: OtherNodes,
}

/// Where it is heard what other nodes do; nowhere, where there are none.
#[derive(Debug)]
pub(crate) struct OtherNodes(Option<(Box<PostgresSessionStore>, PostgresMonitorStore)>);

impl Stores {
    /// Brings the schemas of the stores in that database up to date.
    pub(crate) async fn open(pool: &Pool) -> Result<Self, StartError> {
        let sessions = StartError::part("session store");
        let monitor = StartError::part("decision store");
        match pool {
            Pool::Sqlite(pool) => {
                let store = SqliteSessionStore::new(pool.clone());
                store
                    .migrate()
                    .await
                    .map_err(|error| sessions(error.into()))?;
                let decisions = SqliteMonitorStore::new(pool.clone());
                let migrated = decisions.migrate().await;
                migrated.map_err(|error| monitor(error.into()))?;
                Ok(Self {
                    sessions: Arc::new(store),
                    monitor: Arc::new(decisions),
                    others: OtherNodes(None),
                })
            }
            Pool::Postgres(pool) => {
                let store = PostgresSessionStore::new(pool.clone());
                store
                    .migrate()
                    .await
                    .map_err(|error| sessions(error.into()))?;
                let decisions = PostgresMonitorStore::new(pool.clone());
                let migrated = decisions.migrate().await;
                migrated.map_err(|error| monitor(error.into()))?;
                Ok(Self {
                    sessions: Arc::new(store.clone()),
                    monitor: Arc::new(decisions.clone()),
                    others: OtherNodes(Some((Box::new(store), decisions))),
                })
            }
        }
    }
}

impl OtherNodes {
    /// Lets `sessions` hear of what they revoke, and `monitor` of what they decide, until the task
    /// is aborted.
    pub(crate) fn follow(self, sessions: Sessions, monitor: Monitor) -> JoinHandle<()> {
        tokio::spawn(async move {
            if let Some((revocations, decisions)) = self.0 {
                tokio::join!(revocations.follow(&sessions), decisions.follow(&monitor));
            }
        })
    }
}

/// What the monitor of a server keeps, for the command line: the shared database where one is
/// configured, as for the server, else the one in the data folder. The server need not run, and
/// nothing is changed by this.
///
/// # Errors
/// There is no database, or it cannot be opened.
pub async fn open_monitor_store(inputs: &Inputs) -> Result<Arc<dyn MonitorStore>, BoxError> {
    // A folder may hold what was before the database was shared.
    if let Some(shared) = Config::database(inputs)? {
        let options = database::postgres::options(&shared.url)?;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(options);
        let pool = pool.await;
        let pool = pool.map_err(|error| format!("the shared database: {error}"))?;
        return Ok(Arc::new(PostgresMonitorStore::new(pool)));
    }
    let data = Config::data(inputs);
    let data = data.ok_or(
        "name the folder of the server's data with --data, or the configuration with --config",
    )?;
    Ok(Arc::new(open_file(&data).await?))
}

async fn open_file(data: &Path) -> Result<SqliteMonitorStore, BoxError> {
    let path = data.join(database::FILE);
    if !path.exists() {
        let path = path.display();
        return Err(format!(
            "there is no database {path}: the server makes it when it starts; --data names another \
             folder"
        )
        .into());
    }
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .busy_timeout(Duration::from_secs(5));
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect_with(options).await?;
    Ok(SqliteMonitorStore::new(pool))
}
