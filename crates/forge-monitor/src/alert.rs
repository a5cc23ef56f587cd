//! Alerts: what a person should know, grouped so that a storm stays a few lines.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::error::BoxError;

/// How many fingerprints are grouped at once.
const MAX_GROUPS: usize = 4096;

/// How grave an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be looked at during the day.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// The name in alerts and configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What alerts are grouped by: the scenario and whom it concerns, `scenario/kind value`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// The fingerprint of a scenario and a scope.
    #[must_use]
    pub fn new(scenario: &str, scope: &str) -> Self {
        Self(format!("{scenario}/{scope}").into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One notice to a person, for one or more occurrences of the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Alert {
    /// What it is grouped by.
    pub fingerprint: Fingerprint,
    /// The scenario that raised it.
    pub scenario: Arc<str>,
    /// Whom it concerns, control characters escaped.
    pub scope: String,
    /// How grave it is.
    pub severity: Severity,
    /// What happened, in one line of plain text.
    pub summary: String,
    /// The first occurrence this notice stands for.
    pub first: Timestamp,
    /// The last occurrence this notice stands for.
    pub last: Timestamp,
    /// How many occurrences this notice stands for.
    pub count: u64,
}

impl Alert {
    /// A notice of one occurrence.
    #[must_use]
    pub fn new(
        scenario: impl Into<Arc<str>>,
        scope: &str,
        severity: Severity,
        summary: &str,
        at: Timestamp,
    ) -> Self {
        let scenario = scenario.into();
        let scope = scope.escape_debug().to_string();
        Self {
            fingerprint: Fingerprint::new(&scenario, &scope),
            scenario,
            scope,
            severity,
            summary: summary.escape_debug().to_string(),
            first: at,
            last: at,
            count: 1,
        }
    }
}

/// What a sink's `send` returns.
pub type AlertFuture<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

/// Where alerts go. Implemented for async closures that take an `Arc<Alert>`.
///
/// Each sink is called from a task of its own, one alert at a time, so that a slow sink delays no
/// other; it is given ten seconds for each.
pub trait AlertSink: Send + Sync + 'static {
    /// Delivers one alert.
    fn send(&self, alert: Arc<Alert>) -> AlertFuture<'_>;
}

impl<F, Fut> AlertSink for F
where
    F: Fn(Arc<Alert>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    fn send(&self, alert: Arc<Alert>) -> AlertFuture<'_> {
        Box::pin(self(alert))
    }
}

/// Writes each alert as one warning through `tracing`, target `forge_monitor::alert`.
///
/// What a client can influence is escaped, so that it cannot forge a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSink;

impl AlertSink for LogSink {
    fn send(&self, alert: Arc<Alert>) -> AlertFuture<'_> {
        tracing::warn!(target: "forge_monitor::alert", "{}", Self::line(&alert));
        Box::pin(std::future::ready(Ok(())))
    }
}

impl LogSink {
    fn line(alert: &Alert) -> String {
        // The fields are public: an alert made elsewhere may not be escaped yet. Escaping twice
        // must not double a backslash, so only control characters are replaced here.
        let plain = |text: &str| text.replace(|c: char| c.is_control(), "\u{fffd}");
        format!(
            "{} alert: {}: {} ({}), count {}",
            alert.severity.as_str(),
            alert.scenario,
            plain(&alert.summary),
            plain(&alert.scope),
            alert.count,
        )
    }
}

/// Decides which occurrences become a notice at once, and which wait for the end of the cool-down.
#[derive(Debug)]
pub(crate) struct AlertGroups {
    cool_down: Duration,
    groups: HashMap<Fingerprint, Group>,
}

#[derive(Debug)]
struct Group {
    quiet_until: Duration,
    waiting: Option<Alert>,
}

impl AlertGroups {
    pub(crate) fn new(cool_down: Duration) -> Self {
        Self {
            cool_down,
            groups: HashMap::new(),
        }
    }

    /// Takes one occurrence at the monotonic time `now`. The first of its fingerprint is a notice;
    /// those within the cool-down are collected into one that [`due`](Self::due) hands out.
    pub(crate) fn raise(&mut self, alert: Alert, now: Duration) -> Option<Alert> {
        if let Some(group) = self.groups.get_mut(&alert.fingerprint) {
            let waiting = match group.waiting.take() {
                Some(earlier) => Alert {
                    first: earlier.first.min(alert.first),
                    last: earlier.last.max(alert.last),
                    count: earlier.count.saturating_add(alert.count),
                    severity: earlier.severity.max(alert.severity),
                    ..alert
                },
                None => alert,
            };
            if now < group.quiet_until {
                group.waiting = Some(waiting);
                return None;
            }
            group.quiet_until = now.saturating_add(self.cool_down);
            return Some(waiting);
        }
        if self.groups.len() >= MAX_GROUPS {
            self.groups
                .retain(|_, group| now < group.quiet_until || group.waiting.is_some());
        }
        // With every place taken the notice goes out ungrouped: too many rather than none.
        if self.groups.len() < MAX_GROUPS {
            let quiet_until = now.saturating_add(self.cool_down);
            self.groups.insert(
                alert.fingerprint.clone(),
                Group {
                    quiet_until,
                    waiting: None,
                },
            );
        }
        Some(alert)
    }

    /// The notices whose cool-down has ended at `now`, each of which begins a new one. A group with
    /// nothing waiting is forgotten.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<Alert> {
        let mut due = Vec::new();
        let cool_down = self.cool_down;
        self.groups.retain(|_, group| {
            if now < group.quiet_until {
                return true;
            }
            group.quiet_until = now.saturating_add(cool_down);
            let waiting = group.waiting.take();
            let renewed = waiting.is_some();
            due.extend(waiting);
            renewed
        });
        due
    }

    /// All notices that wait, for a shutdown.
    pub(crate) fn drain(&mut self) -> Vec<Alert> {
        self.groups
            .drain()
            .filter_map(|(_, group)| group.waiting)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(scope: &str, at: i64) -> Alert {
        let at = Timestamp::from_micros(at);
        Alert::new(
            "failed_authentications",
            scope,
            Severity::Warning,
            "too many",
            at,
        )
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_storm_gives_one_notice_at_once_and_one_after_the_cool_down() {
        let mut groups = AlertGroups::new(secs(60));
        let sent = (0..100_000)
            .filter_map(|n| groups.raise(alert("a", n), secs(1)))
            .count();
        assert_eq!(sent, 1);
        assert!(groups.due(secs(60)).is_empty());
        let due = groups.due(secs(61));
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].count, 99_999);
        assert_eq!(due[0].first.as_micros(), 1);
        assert_eq!(due[0].last.as_micros(), 99_999);
        assert!(groups.due(secs(120)).is_empty());
        assert!(groups.groups.contains_key(&due[0].fingerprint));
        assert!(groups.due(secs(121)).is_empty());
        assert!(groups.groups.is_empty());
    }

    #[test]
    fn another_scope_is_another_notice() {
        let mut groups = AlertGroups::new(secs(60));
        assert!(groups.raise(alert("a", 0), secs(0)).is_some());
        assert!(groups.raise(alert("b", 0), secs(0)).is_some());
        assert!(groups.raise(alert("a", 0), secs(59)).is_none());
        let after = groups.raise(alert("a", 0), secs(60)).unwrap();
        assert_eq!(after.count, 2);
    }

    #[test]
    fn more_fingerprints_than_places_are_still_notices() {
        let mut groups = AlertGroups::new(secs(60));
        for n in 0..MAX_GROUPS + 10 {
            assert!(groups.raise(alert(&n.to_string(), 0), secs(0)).is_some());
        }
        assert_eq!(groups.groups.len(), MAX_GROUPS);
        assert!(groups.raise(alert("later", 0), secs(60)).is_some());
        assert_eq!(groups.groups.len(), 1);
    }

    #[test]
    fn a_shutdown_hands_out_what_waits() {
        let mut groups = AlertGroups::new(secs(60));
        groups.raise(alert("a", 0), secs(0));
        assert!(groups.drain().is_empty());
        groups.raise(alert("a", 0), secs(0));
        groups.raise(alert("a", 1), secs(1));
        assert_eq!(groups.drain().len(), 1);
    }

    #[test]
    fn a_client_cannot_forge_a_log_line() {
        let mut alert = alert("user x\nERROR all is lost\u{1b}[2J", 0);
        assert!(!LogSink::line(&alert).contains('\n'));
        assert!(LogSink::line(&alert).contains("x\\nERROR"));
        alert.scope = "raw\nline".to_owned();
        alert.summary = "raw\u{1b}".to_owned();
        assert!(!LogSink::line(&alert).contains(|c: char| c.is_control()));
    }
}
