//! The server: built from its configuration, served, drained.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use forge_audit::{AuditLog, SqliteAuditStore};
use forge_crypto::Vault;
use forge_monitor::{
    Health, HealthGroup, HealthRegistry, LogSink, Monitor, NeverBlock, SqliteDecisionStore,
};
use forge_session::{AccessTokens, Kind, KindPolicy, Sessions, SqliteSessionStore};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::accounts::Accounts;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, KindConfig};
use crate::database::Database;
use crate::error::StartError;
use crate::github::Github;
use crate::limits::Limiters;
use crate::sign_in::SignIns;
use crate::wiring::Wiring;
use crate::{routes, server, signing_keys, stack};

/// How often sessions that are over are deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// A server that is ready to serve.
#[derive(Debug)]
pub struct Forge {
    app: App,
    router: Router,
    first_start: bool,
}

impl Forge {
    /// Opens the databases and puts the parts together.
    ///
    /// # Errors
    /// What keeps it from starting, with the fix where there is one.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let config = Arc::new(config);
        make_folder(&config.data)?;
        for file in ["forge.db", "audit.db"] {
            make_file(&config.data.join(file))?;
        }
        let audit = open_audit(&config, &clock).await?;
        let wiring = Wiring::new(audit.clone());

        let database = Database::open(&config.data).await?;
        let pool = database.pool().clone();
        let vault = Vault::new(&config.keyring)
            .on_event((wiring.on_vault_event(), forge_crypto::RecordMetrics));
        let accounts = Accounts::new(pool.clone(), vault.clone(), clock.clone());
        let first_start = accounts
            .ensure_admin(config.first_admin)
            .await
            .map_err(|error| StartError::part("first admin")(error.into()))?;

        let session_store = SqliteSessionStore::new(pool.clone());
        session_store
            .migrate()
            .await
            .map_err(|error| StartError::part("session store")(error.into()))?;
        let keys = signing_keys::load(&pool, &vault, &clock).await?;
        let tokens = AccessTokens::new(config.public(""), config.public("/mcp"), keys);
        let sessions = Sessions::builder(session_store)
            .policy(
                Kind::WEB,
                policy(KindPolicy::cookie(), &config.sessions.web),
            )
            .policy(
                Kind::MCP,
                policy(KindPolicy::bearer(), &config.sessions.mcp)
                    .access_ttl(config.sessions.access_token),
            )
            .access_tokens(tokens)
            .clock(clock.clone())
            .on_event((wiring.on_session_event(), forge_session::RecordMetrics))
            .build()
            .map_err(|error| StartError::part("sessions")(error.into()))?;

        let decisions = SqliteDecisionStore::new(pool.clone());
        decisions
            .migrate()
            .await
            .map_err(|error| StartError::part("decision store")(error.into()))?;
        let monitor = Monitor::builder()
            .built_in_scenarios()
            .never_block(never_block(&config))
            .store(decisions)
            .alert_sink(LogSink)
            .on_event((wiring.on_monitor_event(), forge_monitor::RecordMetrics))
            .clock(clock.clone())
            .start()
            .await
            .map_err(|error| StartError::part("monitor")(error.into()))?;
        wiring.attach(monitor.clone());

        let health = health(&database, &audit, &clock);
        let github = Github::new(config.github.clone())?;
        let limiters = Limiters::new(&config.limits, &clock)
            .map_err(|error| StartError::part("limits")(error.into()))?;
        let app = App {
            sign_ins: SignIns::new(pool, clock.clone()),
            config,
            clock,
            database,
            accounts,
            github,
            sessions,
            audit,
            monitor,
            health,
            wiring,
        };
        let router = stack::around(routes::all(&app), &app, limiters)?;
        Ok(Self {
            app,
            router,
            first_start,
        })
    }

    /// The parts, for tests and for whoever embeds the server.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Whether there was no admin before: the database is new.
    #[must_use]
    pub fn is_first_start(&self) -> bool {
        self.first_start
    }

    /// Serves until `shutdown` ends; then lets open requests finish and puts every queued event on
    /// disk.
    ///
    /// # Errors
    /// Something of that did not succeed.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), StartError> {
        let Self { app, router, .. } = self;
        let sweeper = sweep(app.sessions.clone());
        let drained = server::serve(listener, router, &app.config.bounds, shutdown).await;
        sweeper.abort();
        app.monitor.shutdown().await;
        let audit = app.audit.shutdown().await;
        app.database.close().await;
        audit.map_err(|error| StartError::Serve(error.into()))?;
        if drained {
            Ok(())
        } else {
            Err(StartError::Serve("open requests were cut off".into()))
        }
    }
}

async fn open_audit(config: &Config, clock: &Clock) -> Result<AuditLog, StartError> {
    let path = config.data.join("audit.db");
    let open = async {
        let store = SqliteAuditStore::open(&path).await?;
        store.migrate().await?;
        AuditLog::builder(Arc::new(store))
            .clock(clock.clone())
            .on_record(forge_audit::RecordMetrics)
            .open()
            .await
    };
    let opened: Result<_, forge_audit::StoreError> = open.await;
    opened.map_err(|error| StartError::Database {
        path,
        source: error.into(),
    })
}

/// Makes the folder for the databases, for this user alone, where it is missing.
pub(crate) fn make_folder(data: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data);
    made.map_err(|source| StartError::Data {
        path: data.to_owned(),
        source,
    })
}

/// Makes a database's file, for this user alone, where it is missing. SQLite gives the files beside
/// it the same mode.
fn make_file(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::OpenOptionsExt;
    let made = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    made.map(drop).map_err(|source| StartError::Data {
        path: path.to_owned(),
        source,
    })
}

fn policy(base: KindPolicy, config: &KindConfig) -> KindPolicy {
    base.max_per_user(config.max)
        .idle(config.idle)
        .absolute(config.absolute)
}

fn never_block(config: &Config) -> NeverBlock {
    let networks = config.never_block.iter().chain(&config.trusted_proxies);
    networks.fold(NeverBlock::dangerous_empty(), |list, network| {
        list.network(*network)
    })
}

fn health(database: &Database, audit: &AuditLog, clock: &Clock) -> HealthRegistry {
    let (database, audit) = (database.clone(), audit.clone());
    HealthRegistry::builder()
        .check("database", HealthGroup::Readiness, move || {
            let database = database.clone();
            async move {
                match database.check().await {
                    Ok(()) => Health::up(),
                    Err(error) => {
                        tracing::error!(
                            error = &*error as &dyn std::error::Error,
                            "the database is down"
                        );
                        Health::down("the database cannot be read and written")
                    }
                }
            }
        })
        .check("audit", HealthGroup::Readiness, move || {
            let audit = audit.clone();
            async move {
                if audit.is_healthy() {
                    Health::up()
                } else {
                    Health::down("the audit log cannot be written")
                }
            }
        })
        .clock(clock.clone())
        .build()
}

fn sweep(sessions: Sessions) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            if let Err(error) = sessions.sweep().await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "sessions that are over could not be deleted");
            }
        }
    })
}
