//! The audit log as the server keeps it: opened, signed for, pruned, and watched so that its disk
//! does not fill unnoticed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forge_audit::{
    AuditLog, AuditStore, CheckpointFile, CheckpointKey, CheckpointLine, Event, Filter, Kind,
    OnCheckpoint, Outcome, PostgresAuditStore, Retention, Severity, SignedNote, Space,
    SqliteAuditStore,
};
use forge_monitor::{BoxError, Health, HealthStatus, SignalKind};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::checkpoint_post::CheckpointPost;
use crate::clock::Clock;
use crate::config::{AuditConfig, Config, audit_secret};
use crate::database::OpenFile;
use crate::error::StartError;
use crate::forge::make_file;
use crate::shared_audit;
use crate::wiring::{Cause, Wiring};

/// A checkpoint is signed after so many events, and when there are new ones after so long.
const CHECKPOINT_EVENTS: u64 = 10_000;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// Beyond so many alike events of little weight in so long, the others become one with their number.
const BURST: u32 = 100;
const BURST_WINDOW: Duration = Duration::from_secs(10);
/// How often what need not be kept any more is dropped.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// How often the room on the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// So much room a drop of segments needs at least.
const TO_PRUNE: u64 = 4 << 20;
/// Pages given back to the file system at a time, while nothing is written.
const PAGES: u32 = 256;

/// The log with what lies below it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    pub(crate) log: AuditLog,
    /// The file that it lies in; none where it lies in the shared database.
    own: Option<(Arc<SqliteAuditStore>, OpenFile)>,
    /// The shared database, with the logs of all nodes.
    pub(crate) shared: Option<Arc<PostgresAuditStore>>,
    post: Option<CheckpointPost>,
    retention: Retention,
    low_water: u64,
    ballast: u64,
}

/// How much room there is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Enough,
    Low,
    /// Events cannot be recorded.
    None,
}

impl Audit {
    /// Opens the log in the data folder.
    ///
    /// # Errors
    /// The database or the key cannot be used.
    pub(crate) async fn open(config: &Config, clock: &Clock) -> Result<Self, StartError> {
        let host = config.public_url.host_str().unwrap_or("localhost");
        if let Some(shared) = config.database.as_ref().filter(|shared| shared.audit) {
            let name =
                shared_audit::origin(host, &config.data).map_err(StartError::part("audit log"));
            let name = name?;
            let store = shared_audit::open(shared, &name).await?;
            let log = open_log(Arc::clone(&store) as _, &name, config, clock).await;
            let log = log.map_err(StartError::DatabaseUrl)?;
            return Ok(Self {
                shared: Some(store),
                ..Self::with(config, log, None)
            });
        }
        let path = config.data.join("audit.db");
        make_file(&path)?;
        match Self::open_at(&path, config, clock).await {
            Ok(opened) => Ok(opened),
            Err(source) => Err(StartError::Database { path, source }),
        }
    }

    async fn open_at(path: &Path, config: &Config, clock: &Clock) -> Result<Self, BoxError> {
        let settings = &config.audit;
        let store = SqliteAuditStore::builder(path).segment(settings.segment);
        let store = Arc::new(store.open().await?);
        store.migrate().await?;
        let host = config.public_url.host_str().unwrap_or("localhost");
        let name = format!("{host}/audit");
        let log = open_log(Arc::clone(&store) as _, &name, config, clock).await?;
        if settings.ballast > 0
            && let Err(error) = store.take_ballast(settings.ballast)
        {
            tracing::warn!(%error, "there is no room for the ballast of the audit log");
        }
        let own = (store, OpenFile::at(path).await?);
        Ok(Self::with(config, log, Some(own)))
    }

    fn with(
        config: &Config,
        (log, post): (AuditLog, Option<CheckpointPost>),
        own: Option<(Arc<SqliteAuditStore>, OpenFile)>,
    ) -> Self {
        let settings = &config.audit;
        Self {
            log,
            own,
            shared: None,
            post,
            retention: retention(settings),
            low_water: settings.low_water,
            ballast: settings.ballast,
        }
    }

    /// What is free and used on the disk of its file.
    fn space(&self) -> Option<Space> {
        let (store, _) = self.own.as_ref()?;
        store.space().ok()
    }

    /// What a probe is told.
    pub(crate) async fn health(&self) -> Health {
        if let Some((_, file)) = &self.own
            && file.check().await.is_err()
        {
            return Health::down("the audit log cannot be written");
        }
        match self.room() {
            Room::Enough if self.post.as_ref().is_some_and(CheckpointPost::is_stuck) => {
                Health::degraded("audit checkpoints do not reach who keeps them")
            }
            Room::Enough => Health::up(),
            Room::Low => Health::degraded("the disk of the audit log is nearly full"),
            Room::None => Health::down("the audit log cannot be written"),
        }
    }

    fn room(&self) -> Room {
        let free = self.space().map_or(u64::MAX, |space| space.free);
        match (self.log.is_healthy(), free < self.low_water) {
            (false, _) => Room::None,
            (true, true) => Room::Low,
            (true, false) => Room::Enough,
        }
    }

    /// Drops what need not be kept, now and every hour.
    pub(crate) fn prune(&self) -> JoinHandle<()> {
        let audit = self.clone();
        tokio::spawn(async move {
            loop {
                audit.prune_once().await;
                tokio::time::sleep(PRUNE_EVERY).await;
            }
        })
    }

    async fn prune_once(&self) {
        let error: BoxError = match self.log.prune(&self.retention).await {
            Ok(0) => return,
            Ok(events) => {
                tracing::info!(events, "audit events whose time was over were dropped");
                let Some((store, _)) = &self.own else { return };
                loop {
                    match store.vacuum(PAGES).await {
                        Ok(0) => return,
                        Ok(_) => tokio::task::yield_now().await,
                        Err(error) => break error.into(),
                    }
                }
            }
            Err(error) => error.into(),
        };
        let error = &*error as &dyn std::error::Error;
        tracing::error!(error, "the audit log could not be pruned");
    }

    /// Sends checkpoints that did not arrive again.
    pub(crate) fn send_again(&self) -> JoinHandle<()> {
        match &self.post {
            Some(post) => post.retry(),
            None => tokio::spawn(async {}),
        }
    }

    /// Looks at the room on the disk, tells when it changes, and makes some when there is none.
    pub(crate) fn watch(&self, wiring: Wiring) -> JoinHandle<()> {
        let audit = self.clone();
        tokio::spawn(async move {
            let mut before = Room::Enough;
            loop {
                let room = audit.room();
                if room != before {
                    audit.tell(room, &wiring);
                    before = room;
                }
                if room == Room::None {
                    audit.make_room().await;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        })
    }

    fn tell(&self, room: Room, wiring: &Wiring) {
        let space = self.space();
        let (free, used) = (space.map(|s| s.free), space.map(|s| s.used));
        let (severity, outcome, status) = match room {
            Room::Enough => (Severity::Low, Outcome::Success, HealthStatus::Up),
            Room::Low => (Severity::High, Outcome::Failure, HealthStatus::Degraded),
            Room::None => (Severity::Critical, Outcome::Error, HealthStatus::Down),
        };
        match room {
            Room::Enough => tracing::info!(free, used, "the audit log has room again"),
            Room::Low => tracing::error!(free, used, "the disk of the audit log is nearly full"),
            Room::None => tracing::error!(free, used, "the audit log cannot be written"),
        }
        let event = Event::new(Kind::System, "audit.room")
            .severity(severity)
            .outcome(outcome)
            .details(&json!({ "free": free, "used": used, "low_water": self.low_water }));
        wiring.audit(event);
        let signal = SignalKind::HealthChanged {
            component: "audit".into(),
            status,
        };
        wiring.signal(signal, &Cause::default());
    }

    /// Where the disk is full: spends the ballast on dropping what need not be kept, if there is
    /// such. If not, it is left for whoever comes to help.
    async fn make_room(&self) {
        let rules = self.retention.rules(self.log.now());
        let can = self.log.store().prunable(&rules).await;
        if !matches!(can, Ok(Some(_))) {
            return;
        }
        let Some((store, _)) = &self.own else {
            return self.prune_once().await;
        };
        if store.space().is_ok_and(|space| space.free < TO_PRUNE) {
            tracing::warn!("the ballast of the audit log is spent");
            if let Err(error) = store.drop_ballast() {
                tracing::error!(%error, "the ballast of the audit log could not be deleted");
            }
        }
        self.prune_once().await;
        if self.ballast > 0
            && let Err(error) = store.take_ballast(self.ballast)
        {
            tracing::warn!(%error, "there is no room for the ballast of the audit log");
        }
    }
}

/// The log `name` in that store, signed for.
async fn open_log(
    store: Arc<dyn AuditStore>,
    name: &str,
    config: &Config,
    clock: &Clock,
) -> Result<(AuditLog, Option<CheckpointPost>), BoxError> {
    let settings = &config.audit;
    let signer = checkpoint_key(config, name)?;
    tracing::info!(key = %signer.verifier(), "audit checkpoints are signed");
    let elsewhere = settings.checkpoint_file.clone();
    let elsewhere = elsewhere.unwrap_or_else(|| config.data.join("audit.checkpoints"));
    // Lines of the log leave the machine wherever logs do.
    let told = (CheckpointLine, CheckpointFile::new(elsewhere));
    let post = settings.checkpoint_url.clone();
    let post = post.map(|url| CheckpointPost::new(url, &config.data));
    let post = post.transpose()?;
    if let Some(post) = &post {
        post.resume(&*store).await?;
    }
    let sent = post.clone();
    let sent = move |checkpoint: &SignedNote| {
        if let Some(post) = &sent {
            post.on_checkpoint(checkpoint);
        }
    };
    let log = AuditLog::builder(store)
        .clock(clock.clone())
        .on_record(forge_audit::RecordMetrics)
        .coalesce(BURST, BURST_WINDOW)
        .checkpoints(signer, CHECKPOINT_EVENTS, CHECKPOINT_EVERY, (told, sent));
    Ok((log.open().await?, post))
}

/// How long events are kept, as the configuration says.
fn retention(settings: &AuditConfig) -> Retention {
    let times = Severity::ALL.iter().zip(settings.keep);
    let retention = times.fold(Retention::new(), |retention, (severity, time)| match time {
        Some(time) => retention.keep(*severity, time),
        None => retention,
    });
    settings.hold.iter().fold(retention, |retention, account| {
        let mut filter = Filter::default();
        filter.actor = Some(account.to_string());
        retention.hold(filter)
    })
}

/// The key that signs checkpoints: the one that is set, or one in the data folder, made at the first
/// start.
fn checkpoint_key(config: &Config, name: &str) -> Result<CheckpointKey, BoxError> {
    let secret = match &config.audit.key {
        Some(set) => audit_secret(set.expose_secret()),
        None => {
            let path = config.data.join("audit.key");
            if !path.exists() {
                make_key(&path)?;
            }
            audit_secret(&Zeroizing::new(fs::read_to_string(&path)?))
        }
    };
    let secret = Zeroizing::new(secret.ok_or("audit.key is not 64 hexadecimal digits")?);
    Ok(CheckpointKey::new(name, &secret)?)
}

fn make_key(path: &Path) -> Result<(), BoxError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret)?;
    let digits = secret.iter().map(|byte| format!("{byte:02x}"));
    let digits = Zeroizing::new(digits.collect::<String>() + "\n");
    // Whole or not at all: half a key would keep the server from starting.
    let new = path.with_extension("key.new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(digits.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(())
}
