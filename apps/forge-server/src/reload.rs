//! What a running server takes over from its configuration when it is told to read it again.
//!
//! On SIGHUP everything the process was given is read as at the start. A configuration with a
//! problem changes nothing, and the problems are told as `forge config check` tells them. What
//! cannot be taken over while the server runs is named, and holds from the next start on. Each
//! reload is on record.

use std::io;
use std::pin::Pin;

use forge_audit::{Event, Kind, Outcome, Severity};
use forge_monitor::BoxError;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::config::{Config, Inputs, Texts};
use crate::keys;

/// A part of a running server that takes over its keys. An error says that it goes on as before.
type Part = for<'a> fn(&'a App, &'a Config) -> Taking<'a>;
type Taking<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

/// The parts, and the keys each of them takes over.
const PARTS: &[(&[&str], Part)] = &[
    (LIMITS, |app, config| {
        Box::pin(async { limits(app, config) })
    }),
    (&["keyring"], |app, config| Box::pin(keyring(app, config))),
];

const LIMITS: &[&str] = &[
    "limits.web",
    "limits.mcp",
    "limits.admin",
    "limits.auth",
    "limits.callback",
    "limits.anonymous",
    "limits.health",
    "limits.address",
    "limits.network",
    "limits.concurrent",
    "limits.redis_failure",
];

/// The quotas; what is owed, and what is under way, stays.
fn limits(app: &App, config: &Config) -> Result<(), BoxError> {
    Ok(app.limits.reload(&config.limits)?)
}

/// The keys that seal and open, where what is stored still opens with them.
async fn keyring(app: &App, config: &Config) -> Result<(), BoxError> {
    keys::ensure_none_is_lost(&app.database, &app.vault, &config.keyring).await?;
    app.vault.reload(&config.keyring);
    Ok(())
}

/// Listens for SIGHUP from now on, and reloads with each, one after the other.
///
/// # Errors
/// The signal cannot be listened to.
pub fn on_hangup(app: App, inputs: Inputs) -> io::Result<JoinHandle<()>> {
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(tokio::spawn(async move {
        let mut reload = Reload::new(app, inputs);
        while hangups.recv().await.is_some() {
            reload.again().await;
        }
    }))
}

/// A running server and where its configuration comes from.
#[derive(Debug)]
pub struct Reload {
    app: App,
    inputs: Inputs,
    /// What the server runs on.
    running: Texts,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Keys whose new values hold from now on.
    pub changed: Vec<&'static str>,
    /// Keys whose new values hold from the next start on.
    pub at_next_start: Vec<&'static str>,
    /// Keys whose new values could not be taken over; the old ones still hold.
    pub failed: Vec<&'static str>,
}

impl Reload {
    /// Of that server, which was started with the same inputs.
    #[must_use]
    pub fn new(app: App, inputs: Inputs) -> Self {
        let running = app.config.texts.clone();
        Self {
            app,
            inputs,
            running,
        }
    }

    /// Reads the configuration and takes over what can be; nothing where it has a problem. What
    /// came of it goes to the log and on record.
    pub async fn again(&mut self) -> Option<Reloaded> {
        let inputs = self.inputs.clone();
        // Files are read.
        let read = tokio::task::spawn_blocking(move || Config::read(&inputs)).await;
        let config = match read {
            Ok(Ok(config)) => config,
            Ok(Err(problems)) => return self.refused(&problems).await,
            Err(error) => return self.refused(&error).await,
        };
        let mut done = Reloaded::default();
        let mut left = self.running.changed(&config.texts);
        for (keys, part) in PARTS {
            let theirs: Vec<_> = left.extract_if(.., |key| keys.contains(key)).collect();
            if theirs.is_empty() {
                continue;
            }
            match part(&self.app, &config).await {
                Ok(()) => {
                    for key in &theirs {
                        self.running.take_over(key, &config.texts);
                    }
                    done.changed.extend(theirs);
                }
                Err(error) => {
                    let error = &*error as &(dyn std::error::Error + 'static);
                    tracing::error!(error, keys = ?theirs, "could not be taken over");
                    done.failed.extend(theirs);
                }
            }
        }
        done.at_next_start = left;
        self.done(&done, &config).await;
        Some(done)
    }

    async fn done(&self, done: &Reloaded, config: &Config) {
        if !done.at_next_start.is_empty() {
            let keys = done.at_next_start.join(", ");
            tracing::warn!(%keys, "changed, and holds from the next start on");
        }
        let value = |key: &&'static str| {
            let text = config.texts.plain(key);
            ((*key).to_owned(), text.map_or(Value::Null, Value::from))
        };
        let changed: serde_json::Map<_, _> = done.changed.iter().map(value).collect();
        let outcome = match done.failed.is_empty() {
            true => Outcome::Success,
            false => Outcome::Error,
        };
        let details = json!({
            "changed": changed,
            "at_next_start": done.at_next_start,
            "failed": done.failed,
        });
        self.record(event(outcome).details(&details)).await;
        let keys = done.changed.join(", ");
        tracing::info!(%keys, "the configuration was read again");
    }

    async fn refused(&self, why: &(dyn std::error::Error + Sync)) -> Option<Reloaded> {
        for problem in why.to_string().lines() {
            let problem = problem.trim_start_matches(['-', ' ']);
            tracing::error!(problem, "the configuration was not taken over");
        }
        self.record(event(Outcome::Failure)).await;
        None
    }

    async fn record(&self, event: Event) {
        if let Err(error) = self.app.audit.record(event).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a reload is not on record");
        }
    }
}

/// Without an actor: whoever may send the process a signal asked for it.
fn event(outcome: Outcome) -> Event {
    Event::new(Kind::ConfigurationChange, "config.reload")
        .severity(Severity::High)
        .outcome(outcome)
}
