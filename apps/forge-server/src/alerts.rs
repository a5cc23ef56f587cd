//! Where alerts go, and `forge alerts`: whether they get there, and what is not to be told.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use forge_monitor::{
    Alert, AlertSink, AlertStore, AtLeast, BoxError, Clock as _, Lift, LogSink, MonitorBuilder,
    Severity, Silence, Target,
};
use uuid::Uuid;

use crate::cli::Settings;
use crate::clock::Clock;
use crate::config::{AlertsConfig, parse};
use crate::error::chain;
use crate::routes::rfc3339;

/// How long a sink may take for a test.
const PATIENCE: Duration = Duration::from_secs(15);
/// Who silences from here; a server that runs, or the next one, puts it on record.
const BY: &str = "the command line";
/// How many alerts that were given up are listed.
pub(crate) const MAX_DEAD: usize = 1000;

/// `forge alerts`
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Sends a test alert through each way that is configured, and says what came of it.
    Test(Settings),
    /// Lists the silences, and what waits in the outbox.
    List(Settings),
    /// Sends no alert that fits for a while; a running server takes note within two seconds.
    Silence(SilenceAlerts),
    /// Lists the alerts that were given up, and why: a way did not take them for hours, is not
    /// configured any more, or they waited for too long.
    Dead(Settings),
    /// Tries an alert that was given up again, or all of them; a running server does so within
    /// fifteen seconds, and puts it on record.
    Retry {
        /// The id from the list, or `all`.
        what: String,
        /// Where the data is.
        #[command(flatten)]
        settings: Settings,
    },
    /// Ends a silence.
    Unsilence {
        /// The id from the list.
        id: Uuid,
        /// Where the data is.
        #[command(flatten)]
        settings: Settings,
    },
}

/// `forge alerts silence`
#[derive(Args, Debug)]
pub struct SilenceAlerts {
    /// Which scenarios; `*` stands for any characters.
    pub scenario: String,
    /// Which scopes, such as `network 192.0.2.*`.
    #[arg(long, default_value = "*")]
    pub scope: String,
    /// For how long, such as 2h.
    #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
    pub length: String,
    /// Why.
    #[arg(long, default_value = "")]
    pub comment: String,
    /// Where the data is.
    #[command(flatten)]
    pub settings: Settings,
}

/// The ways that are configured, by the names under which alerts wait for them.
fn sinks(config: &AlertsConfig) -> Vec<(String, Arc<dyn AlertSink>)> {
    let mut sinks: Vec<(String, Arc<dyn AlertSink>)> = Vec::new();
    if let Some(email) = &config.email {
        sinks.push(("email".to_owned(), Arc::new(email.clone())));
    }
    if let Some(manager) = &config.alertmanager {
        sinks.push(("alertmanager".to_owned(), Arc::new(manager.clone())));
    }
    for (name, webhook) in &config.webhooks {
        sinks.push((format!("webhook:{name}"), Arc::new(webhook.clone())));
    }
    sinks
}

/// Gives them to a monitor, and the log besides.
pub(crate) fn into_monitor(builder: MonitorBuilder, config: &AlertsConfig) -> MonitorBuilder {
    let builder = builder
        .alert_cool_down(config.cool_down)
        .alert_max_age(config.max_age)
        .missing_sink_grace(config.sink_grace)
        .alert_sink("log", LogSink);
    let at_least = config.at_least;
    sinks(config)
        .into_iter()
        .fold(builder, |builder, (name, sink)| {
            builder.alert_sink(name, AtLeast::new(at_least, sink))
        })
}

/// Sends a test alert through each way.
///
/// # Errors
/// One of them did not take it, or there is none.
pub async fn test(config: &AlertsConfig, out: &mut impl Write) -> Result<(), BoxError> {
    let now = Clock::system().now();
    let summary = "this is a test: nothing has happened";
    let alert = Arc::new(Alert::new(
        "test",
        "this server",
        Severity::Info,
        summary,
        now,
    ));
    let mut failed = 0;
    let sinks = sinks(config);
    if sinks.is_empty() {
        return Err("no way is configured: see `alerts.*` in `forge config reference`".into());
    }
    for (name, sink) in sinks {
        let sent = tokio::time::timeout(PATIENCE, sink.send(Arc::clone(&alert))).await;
        match sent {
            Ok(Ok(())) => writeln!(out, "{name}: sent")?,
            Ok(Err(error)) => {
                failed += 1;
                let told = chain(&*error);
                writeln!(out, "{name}: failed: {}", forge_audit::escape(&told))?;
            }
            Err(_) => {
                failed += 1;
                writeln!(out, "{name}: failed: no answer in {} s", PATIENCE.as_secs())?;
            }
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(format!("{n} of the ways did not take the alert").into()),
    }
}

/// Lists silences and what waits.
///
/// # Errors
/// The database cannot be read.
pub async fn list(
    store: &(impl AlertStore + ?Sized),
    out: &mut impl Write,
) -> Result<(), BoxError> {
    let now = Clock::system().now();
    let outbox = store.outbox().await?;
    writeln!(
        out,
        "{} waiting{}, {} given up",
        outbox.waiting,
        outbox.oldest.map_or_else(String::new, |at| format!(
            " {} {}",
            // What a cool-down holds back waits from its end on.
            if at > now { "until" } else { "since" },
            rfc3339(at.as_micros())
        )),
        outbox.dead
    )?;
    for silence in store.silences(now).await? {
        writeln!(
            out,
            "{}  {} / {}  until {}  {} {}",
            silence.id,
            forge_audit::escape(&silence.scenario),
            forge_audit::escape(&silence.scope),
            rfc3339(silence.until.as_micros()),
            forge_audit::escape(&silence.by),
            forge_audit::escape(&silence.comment),
        )?;
    }
    Ok(())
}

/// Lists what was given up, the last first.
///
/// # Errors
/// The database cannot be read.
pub async fn dead(
    store: &(impl AlertStore + ?Sized),
    out: &mut impl Write,
) -> Result<(), BoxError> {
    let dead = store.dead(MAX_DEAD).await?;
    if dead.is_empty() {
        writeln!(out, "nothing was given up")?;
    }
    for letter in dead {
        let alert = &letter.delivery.alert;
        writeln!(
            out,
            "{}  {}  {}  ({})  {}  {}",
            letter.delivery.id,
            forge_audit::escape(&letter.delivery.sink),
            rfc3339(letter.at.as_micros()),
            letter.reason,
            forge_audit::escape(&alert.title()),
            forge_audit::escape(&alert.summary),
        )?;
    }
    Ok(())
}

/// Lets what was given up wait again: one, or all.
///
/// # Errors
/// The database cannot be written, or nothing was given up that is meant.
pub async fn retry(
    store: &(impl AlertStore + ?Sized),
    what: &str,
    out: &mut impl Write,
) -> Result<(), BoxError> {
    let by = Lift::new(Clock::system().now(), BY);
    let ids: Vec<Uuid> = match what {
        "all" => {
            let dead = store.dead(MAX_DEAD).await?;
            dead.iter().map(|letter| letter.delivery.id).collect()
        }
        id => vec![
            id.parse()
                .map_err(|_| "name an id from `forge alerts dead`, or all")?,
        ],
    };
    let mut again = 0;
    for id in ids {
        again += u32::from(store.requeue(id, &by).await?);
    }
    match again {
        0 => Err("nothing was given up that this means: see `forge alerts dead`".into()),
        again => {
            writeln!(out, "{again} to be tried again")?;
            Ok(())
        }
    }
}

/// Adds a silence.
///
/// # Errors
/// The database cannot be written, or the duration is none.
pub async fn silence(
    store: &(impl AlertStore + ?Sized),
    wanted: &SilenceAlerts,
    out: &mut impl Write,
) -> Result<(), BoxError> {
    let length = parse::duration(&wanted.length).map_err(|what| format!("--for {what}"))?;
    let now = Clock::system().now();
    let silence = Silence::new(wanted.scenario.as_str(), now, now + length)
        .scope(scope(&wanted.scope)?)
        .by(BY, wanted.comment.as_str());
    store.silence(&silence).await?;
    writeln!(
        out,
        "{}  {} / {}  is silenced until {}",
        silence.id,
        forge_audit::escape(&silence.scenario),
        forge_audit::escape(&silence.scope),
        rfc3339(silence.until.as_micros()),
    )?;
    let again = "`forge alerts unsilence ID`, with the same settings, ends it before";
    writeln!(out, "{}", again.replace("ID", &silence.id.to_string()))?;
    Ok(())
}

/// The pattern of scopes that somebody means: a bare address or network is one, and what no alert is
/// about is refused.
///
/// # Errors
/// How a scope is written.
pub(crate) fn scope(text: &str) -> Result<String, &'static str> {
    if let Ok(address) = text.parse() {
        return Ok(Target::of_address(address).to_string());
    }
    if let Ok(network) = text.parse() {
        return Ok(Target::Network(network).to_string());
    }
    let kinds = ["network ", "user ", "component ", "sink "];
    let is_known = text.starts_with('*') || text == "several";
    match is_known || kinds.iter().any(|kind| text.starts_with(kind)) {
        true => Ok(text.to_owned()),
        false => Err(
            "a scope is `network 192.0.2.*`, `user 1002`, `component store`, `several`, an address or `*`",
        ),
    }
}

/// Ends a silence.
///
/// # Errors
/// The database cannot be written, or there is none of this id.
pub async fn unsilence(store: &(impl AlertStore + ?Sized), id: Uuid) -> Result<(), BoxError> {
    let end = Lift::new(Clock::system().now(), BY);
    match store.unsilence(id, &end).await? {
        true => Ok(()),
        false => Err("no silence that holds has this id".into()),
    }
}
