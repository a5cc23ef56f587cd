//! `/api/health/detailed` and `/api/health/security`: how the server is, for admins.
//!
//! Every figure is measured when it is asked for. One that cannot be had is absent.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use forge_monitor::{ComponentHealth, HealthGroup, SignalClass};
use http::HeaderName;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use serde_json::{Value, json};

use super::alerts::silence_view;
use super::rfc3339;
use crate::app::App;
use crate::database::Pool;
use crate::principal::Admin;
use crate::problem::Problem;

type Answer = ([(HeaderName, &'static str); 1], Json<Value>);

/// How long the database may take for one figure.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/health/detailed", get(detailed))
        .route("/api/health/security", get(security))
}

fn answer(json: Value) -> Answer {
    ([(CACHE_CONTROL, "no-store")], Json(json))
}

/// What the process takes of the machine.
#[derive(Default, Serialize)]
struct Process {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_files: Option<u64>,
}

impl Process {
    fn measured() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |field: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let files = std::fs::read_dir("/proc/self/fd").ok();
        Self {
            memory_bytes: number("VmRSS:").map(|kilobytes| kilobytes * 1024),
            cpu_seconds: cpu_seconds(),
            threads: number("Threads:"),
            // One of them is that of the folder that is read here.
            open_files: files.map(|files| (files.count() as u64).saturating_sub(1)),
        }
    }
}

/// Of all threads, in user and kernel mode (`proc_pid_stat(5)`: fields 14 and 15, in ticks of which
/// Linux tells programs that there are a hundred a second).
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name that may hold anything; what follows its last parenthesis begins
    // with the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / 100.0)
}

/// The load of the machine over a minute, and its memory.
fn machine() -> Value {
    let mut machine = json!({});
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    if let Some(load) = load {
        machine["load_1m"] = load.into();
    }
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    for (field, name) in [
        ("MemTotal:", "memory_total_bytes"),
        ("MemAvailable:", "memory_available_bytes"),
    ] {
        let mut lines = memory.lines();
        let line = lines.find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        if let Some(kilobytes) = number {
            machine[name] = (kilobytes * 1024).into();
        }
    }
    machine
}

fn disk(data: &Path) -> Option<Value> {
    let found = rustix::fs::statvfs(data).ok()?;
    Some(json!({
        "total_bytes": found.f_blocks.checked_mul(found.f_frsize)?,
        "free_bytes": found.f_bavail.checked_mul(found.f_frsize)?,
    }))
}

async fn database(app: &App) -> Value {
    let mut database = json!({});
    let bytes = match app.database.pool() {
        Pool::Sqlite(_) => {
            let mut bytes = 0;
            for file in ["forge.db", "forge.db-wal"] {
                let meta = tokio::fs::metadata(app.config.data.join(file)).await;
                bytes += meta.map_or(0, |meta| meta.len());
            }
            Some(bytes).filter(|bytes| *bytes > 0)
        }
        Pool::Postgres(pool) => {
            let size = sqlx::query_scalar::<_, i64>("SELECT pg_database_size(current_database())");
            let size = tokio::time::timeout(PATIENCE, size.fetch_one(pool)).await;
            size.ok()
                .and_then(Result::ok)
                .and_then(|size| u64::try_from(size).ok())
        }
    };
    if let Some(bytes) = bytes {
        database["bytes"] = bytes.into();
    }
    let began = Instant::now();
    if let Ok(Ok(())) = tokio::time::timeout(PATIENCE, app.database.check()).await {
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        database["latency_micros"] = took.into();
    }
    database
}

async fn detailed(State(app): State<App>, Admin(_): Admin) -> Result<Answer, Problem> {
    let report = app.health.report(HealthGroup::All).await;
    let components = report.components.iter().map(component);
    let stats = app.monitor.stats();
    let up = app.clock.since_start();
    let since = i64::try_from(up.as_micros()).unwrap_or(i64::MAX);
    let mut health = json!({
        "status": report.status.as_str(),
        "version": env!("CARGO_PKG_VERSION"),
        "started": rfc3339(app.clock.now_micros().saturating_sub(since)),
        "uptime_seconds": up.as_secs(),
        "process": Process::measured(),
        "machine": machine(),
        "database": database(&app).await,
        "queues": {
            "monitor": stats.queue_depth,
            "alerts": stats.outbox_depth,
        },
        "components": components.collect::<Vec<_>>(),
    });
    if let Some(disk) = disk(&app.config.data) {
        health["disk"] = disk;
    }
    Ok(answer(health))
}

fn component(component: &ComponentHealth) -> Value {
    let mut view = json!({
        "name": &*component.name,
        "status": component.status.as_str(),
        "checked": rfc3339(component.checked_at.as_micros()),
        "latency_micros": component.latency_micros,
    });
    if let Some(detail) = &component.detail {
        view["detail"] = detail.as_ref().into();
    }
    view
}

/// Sessions that are not over.
async fn live_sessions(app: &App) -> Option<i64> {
    const COUNT: &str = "SELECT count(*) FROM sessions
         WHERE revoked_at IS NULL AND idle_expires_at > $1
           AND epoch = (SELECT max(epoch) FROM sessions_epochs)";
    let now = app.clock.now_micros();
    let count = async {
        match app.database.pool() {
            Pool::Sqlite(pool) => {
                let count = sqlx::query_scalar::<_, i64>(COUNT).bind(now);
                count.fetch_one(pool).await
            }
            Pool::Postgres(pool) => {
                let count = sqlx::query_scalar::<_, i64>(COUNT).bind(now);
                count.fetch_one(pool).await
            }
        }
    };
    let count = tokio::time::timeout(PATIENCE, count).await;
    count.ok()?.ok()
}

async fn security(State(app): State<App>, Admin(_): Admin) -> Result<Answer, Problem> {
    let hour = app.monitor.last_hour();
    let stats = app.monitor.stats();
    let events = [
        SignalClass::SuspiciousRequest,
        SignalClass::SessionAnomaly,
        SignalClass::TrapTouched,
    ];
    let sources = hour.top_sources.iter();
    let sources = sources.map(|(source, count)| json!({ "source": source, "signals": count }));
    let mut security = json!({
        "last_hour": {
            "failed_sign_ins": hour.count(SignalClass::AuthFailed),
            "limit_refusals": hour.count(SignalClass::RateLimited),
            "security_events": events.map(|class| hour.count(class)).iter().sum::<u64>(),
            "decisions": hour.decisions,
            "alerts": hour.alerts,
            "top_sources": sources.collect::<Vec<_>>(),
        },
        "blocks": app.monitor.blocks().len(),
        "alerts": {
            "waiting": stats.outbox_depth,
            "oldest_waits_seconds": stats.outbox_age_micros / 1_000_000,
            "delivered": stats.alerts_delivered,
            "given_up": stats.alerts_dead,
            "suppressed": stats.alerts_suppressed,
        },
        "monitor": stats,
    });
    if let Some(sessions) = live_sessions(&app).await {
        security["live_sessions"] = sessions.into();
    }
    if let Ok(silences) = app.monitor.silences().await {
        security["alerts"]["silences"] = silences.iter().map(silence_view).collect();
    }
    Ok(answer(security))
}
