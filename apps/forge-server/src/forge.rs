//! The server: built from its configuration, served, drained.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use forge_crypto::Vault;
use forge_session::{AccessTokens, Kind, KindPolicy, Sessions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::app::App;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{Config, KindConfig};
use crate::database::Database;
use crate::device::DeviceLogins;
use crate::error::StartError;
use crate::github::Github;
use crate::limits::Limiters;
use crate::proxies::ProxyWatch;
use crate::sign_in::SignIns;
use crate::signing_keys::SigningKeys;
use crate::stores::{OtherNodes, Stores};
use crate::wiring::Wiring;
use crate::{database, membership, monitoring, routes, server, stack};

/// How often sessions that are over are deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// How long others may write between two steps of that.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
/// How often the uses of sessions are written.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether another key has to sign.
const TURN_KEYS_EVERY: Duration = Duration::from_secs(3600);
/// How often it is looked whose membership is to be asked about again.
const RECHECK_EVERY: Duration = Duration::from_secs(30);
/// How often samples of metrics are folded together.
const METRICS_UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// A server that is ready to serve.
#[derive(Debug)]
pub struct Forge {
    app: App,
    router: Router,
    first_start: bool,
    signing_keys: SigningKeys,
    audit: Audit,
    others: OtherNodes,
}

impl Forge {
    /// Opens the databases and puts the parts together.
    ///
    /// # Errors
    /// What keeps it from starting, with the fix where there is one.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let config = Arc::new(config);
        make_folder(&config.data)?;
        if config.database.is_none() {
            make_file(&config.data.join(database::FILE))?;
        }
        let audit = Audit::open(&config, &clock).await?;
        let wiring = Wiring::new(audit.log.clone(), &clock);

        let database = match &config.database {
            None => Database::open(&config.data).await?,
            Some(shared) => Database::connect(&shared.url, shared.connections).await?,
        };
        let pool = database.pool().clone();
        let vault = Vault::new(&config.keyring)
            .on_event((wiring.on_vault_event(), forge_crypto::RecordMetrics));
        let accounts = Accounts::new(pool.clone(), vault.clone(), clock.clone());
        let first_start = accounts
            .ensure_admin(config.first_admin)
            .await
            .map_err(|error| StartError::part("first admin")(error.into()))?;

        membership::keep_configured(&accounts, &config.allow_list)
            .await
            .map_err(|error| StartError::part("allow-list")(error.into()))?;

        let stores = Stores::open(&pool).await?;
        let signing_keys = SigningKeys::new(pool.clone(), vault.clone(), clock.clone());
        let keys = signing_keys.turn().await?;
        let tokens = AccessTokens::new(config.public(""), config.public("/mcp"), keys);
        let sessions = Sessions::builder(stores.sessions)
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
        let responding = Arc::new(sessions.clone());

        let monitor = monitoring::start(
            &config,
            (stores.monitor, &audit.log),
            &responding,
            &wiring,
            &clock,
        )
        .await?;
        wiring.attach(monitor.clone());

        let proxies = ProxyWatch::new(clock.clone());
        let limits = Limiters::new(&config.limits, &clock, &monitor.guard())?;
        let health = monitoring::health(
            &database,
            &audit,
            (&limits, &proxies),
            (&monitor, &wiring),
            &clock,
        );
        let github = Github::new(config.github.clone(), config.allow_list.scope())?;
        let app = App {
            device_logins: DeviceLogins::new(pool.clone(), vault.clone(), clock.clone()),
            sign_ins: SignIns::new(pool, clock.clone()),
            config,
            clock,
            database,
            vault,
            accounts,
            github,
            sessions,
            responding,
            audit: audit.log.clone(),
            audit_logs: audit.shared.clone(),
            monitor,
            health,
            limits,
            proxies,
            wiring,
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
        };
        let router = stack::around(routes::all(&app), &app)?;
        Ok(Self {
            app,
            router,
            first_start,
            signing_keys,
            audit,
            others: stores.others,
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
        let Self {
            app,
            router,
            signing_keys,
            audit,
            others,
            ..
        } = self;
        let housekeeping = [
            sweep(app.sessions.clone()),
            flush(app.sessions.clone()),
            others.follow(app.sessions.clone(), app.monitor.clone()),
            turn_keys(signing_keys, app.sessions.clone()),
            recheck_memberships(app.clone()),
            keep_metrics(),
            audit.prune(),
            audit.send_again(),
            audit.watch(app.wiring.clone()),
        ];
        let draining = app.draining.clone();
        let shutdown = async move {
            shutdown.await;
            draining.cancel();
        };
        let drained = server::serve(listener, router, &app.config, shutdown).await;
        app.tasks.close();
        let finished = tokio::time::timeout(app.config.bounds.drain_time, app.tasks.wait()).await;
        housekeeping.iter().for_each(JoinHandle::abort);
        drop(audit);
        flush_once(&app.sessions).await;
        app.monitor.shutdown().await;
        let audit = app.audit.shutdown().await;
        app.database.close().await;
        audit.map_err(|error| StartError::Serve(error.into()))?;
        if drained && finished.is_ok() {
            Ok(())
        } else {
            Err(StartError::Serve("open requests were cut off".into()))
        }
    }
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
pub(crate) fn make_file(path: &Path) -> Result<(), StartError> {
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

/// What metrics keep of each sample is folded together, whether or not anybody collects them.
fn keep_metrics() -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP_EVERY).await;
            routes::metrics_upkeep();
        }
    })
}

fn flush(sessions: Sessions) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            flush_once(&sessions).await;
        }
    })
}

/// What cannot be written now is kept for the next time.
async fn flush_once(sessions: &Sessions) {
    if let Err(error) = sessions.flush().await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "the uses of sessions could not be written");
    }
}

/// Who has left an organisation of the allow-list is out after a while.
fn recheck_memberships(app: App) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(RECHECK_EVERY).await;
            membership::recheck(&app).await;
        }
    })
}

fn turn_keys(keys: SigningKeys, sessions: Sessions) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TURN_KEYS_EVERY).await;
            match (keys.turn().await, sessions.access_tokens()) {
                (Ok(keys), Some(tokens)) => tokens.set_keys(keys),
                (Ok(_), None) => {}
                (Err(error), _) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the keys for access tokens could not be looked at");
                }
            }
        }
    })
}

/// A step, then a pause in which others write.
async fn sweep_all(sessions: &Sessions) -> Result<(), forge_session::StoreError> {
    while sessions.sweep_step().await?.is_some() {
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
    Ok(())
}

fn sweep(sessions: Sessions) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            if let Err(error) = sweep_all(&sessions).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "sessions that are over could not be deleted");
            }
        }
    })
}
