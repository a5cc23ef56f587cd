//! The monitor of the server: its scenarios, what it does about a decision, and the health checks.

use std::sync::{Arc, Weak};

use forge_audit::AuditLog;
use forge_monitor::{
    Action, BoxError, Decision, Health, HealthGroup, HealthRegistry, Inhibition, Monitor,
    MonitorStore, NeverBlock, Signal, SignalKind, Target,
};
use forge_session::{RevokeCause, Selector, Sessions};
use ipnet::IpNet;

use crate::alerts;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::database::Database;
use crate::error::StartError;
use crate::limits::Limiters;
use crate::principal::user_id;
use crate::proxies::ProxyWatch;
use crate::wiring::Wiring;

/// Starts the monitor with what the database knows of earlier runs.
///
/// `sessions` is held weakly: they hold the wiring, which holds the monitor.
///
/// # Errors
/// The database cannot be read.
pub(crate) async fn start(
    config: &Config,
    (store, audit): (Arc<dyn MonitorStore>, &AuditLog),
    sessions: &Arc<Sessions>,
    wiring: &Wiring,
    clock: &Clock,
) -> Result<Monitor, StartError> {
    let sessions = Arc::downgrade(sessions);
    let builder = Monitor::builder()
        .scenarios(config.monitor.scenarios.clone())
        .blocks_per_minute(config.monitor.blocks_per_minute)
        .max_block(config.monitor.max_block)
        .never_block(never_block(
            config.never_block.iter().chain(&config.trusted_proxies),
        ))
        .history(tool_calls(audit).await)
        .store(store)
        .spill_file(config.data.join("alerts.spill"))
        .spill_bytes(config.alerts.spill)
        .responder(move |decision| respond(Weak::clone(&sessions), decision))
        // With the database down, whoever is told of it knows why the rest is.
        .inhibit(Inhibition::new(
            ("health_degradation", "component database"),
            ("health_degradation", "*"),
        ))
        .on_event((wiring.on_monitor_event(), forge_monitor::RecordMetrics))
        .clock(clock.clone());
    alerts::into_monitor(builder, &config.alerts)
        .start()
        .await
        .map_err(|error| StartError::part("monitor")(error.into()))
}

/// The last tool calls on record: what was used before a start is not used for the first time after.
/// Where they cannot be read, there are a few notices too many.
async fn tool_calls(audit: &AuditLog) -> Vec<Signal> {
    let query = forge_audit::Query::new()
        .action("tool.call")
        .order(forge_audit::Order::NewestFirst)
        .limit(forge_audit::MAX_LIMIT);
    let page = match audit.query(&query).await {
        Ok(page) => page,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "earlier tool calls cannot be read");
            return Vec::new();
        }
    };
    let calls = page.records.iter().filter_map(|record| {
        let tool = record.event.target()?.to_owned().into();
        let user = record.event.who().id()?;
        Some(Signal::new(SignalKind::ToolCall { tool }).user(user))
    });
    calls.collect()
}

/// Ends a user's sessions where that was decided. What else is decided, the layers look up.
async fn respond(sessions: Weak<Sessions>, decision: Arc<Decision>) -> Result<(), BoxError> {
    let (Action::RevokeSessions, Target::User(user)) = (decision.action, &decision.target) else {
        return Ok(());
    };
    let Some(sessions) = sessions.upgrade() else {
        return Ok(());
    };
    let selector = Selector::User(user_id(user.parse()?));
    sessions.revoke(selector, RevokeCause::Threat).await?;
    Ok(())
}

/// Who is never banned: what is configured, and the trusted proxies, as given.
#[must_use]
pub fn never_block<'a>(networks: impl IntoIterator<Item = &'a IpNet>) -> NeverBlock {
    networks
        .into_iter()
        .fold(NeverBlock::dangerous_empty(), |list, network| {
            list.network(*network)
        })
}

/// The checks of the server.
pub(crate) fn health(
    database: &Database,
    audit: &Audit,
    (limits, proxies): (&Limiters, &ProxyWatch),
    (monitor, wiring): (&Monitor, &Wiring),
    clock: &Clock,
) -> HealthRegistry {
    let limits = limits.clone();
    let (database, audit) = (database.clone(), audit.clone());
    let proxies = proxies.clone();
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
            async move { audit.health().await }
        })
        // Not of the readiness: where it is shared, it is gone for all nodes at once, and what then
        // holds is configured.
        .check("limits", HealthGroup::All, move || {
            let limits = limits.clone();
            async move {
                match limits.by_class.store().check().await {
                    Ok(()) => Health::up(),
                    Err(_) => {
                        Health::degraded("the limits that nodes share are not counted together")
                    }
                }
            }
        })
        .check("proxies", HealthGroup::All, move || {
            let health = proxies.health();
            async move { health }
        })
        .check("monitor", HealthGroup::All, monitor.clone())
        .on_change(wiring.on_health_change())
        .clock(clock.clone())
        .build()
}
