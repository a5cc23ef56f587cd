//! Alerts: what a person should know, grouped so that a storm stays a few lines.

mod groups;
mod silence;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::BoxError;

pub(crate) use groups::{AlertGroups, GroupLimits, Raised};
pub use silence::{Inhibition, Silence, StoredSilence};

/// How grave an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// The fingerprint of a scenario and a scope.
    #[must_use]
    pub fn new(scenario: &str, scope: &str) -> Self {
        Self(format!("{scenario}/{scope}").into())
    }

    /// That of the notice about all those of a scenario that have none of their own.
    pub(crate) fn of_several(scenario: &str) -> Self {
        Self::new(scenario, SEVERAL)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The scope of a notice about more than have one of their own.
const SEVERAL: &str = "several";

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether what an alert tells of goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertState {
    /// It goes on, or has just happened.
    Firing,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// `firing` or `resolved`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One notice to a person, for one or more occurrences of the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Alert {
    /// The notice's id, the same however often its delivery is tried.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub id: Uuid,
    /// What it is grouped by.
    pub fingerprint: Fingerprint,
    /// Whether it goes on.
    pub state: AlertState,
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
    /// The last occurrence this notice stands for; of one that is resolved, its end.
    pub last: Timestamp,
    /// How many occurrences this notice stands for; of one that is resolved, those not told yet.
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
            id: Uuid::now_v7(),
            fingerprint: Fingerprint::new(&scenario, &scope),
            state: AlertState::Firing,
            scenario,
            scope,
            severity,
            summary: summary.escape_debug().to_string(),
            first: at,
            last: at,
            count: 1,
        }
    }

    /// The one line a person reads first: `[warning] failed_authentications: network 192.0.2.1`.
    #[must_use]
    pub fn title(&self) -> String {
        let state = match self.state {
            AlertState::Firing => self.severity.as_str(),
            AlertState::Resolved => "resolved",
        };
        let title = format!("[{state}] {}: {}", self.scenario, self.scope);
        plain(&title)
    }
}

pub(crate) fn as_text<S: serde::Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

pub(crate) fn from_text<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Uuid, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| serde::de::Error::custom("an id is no UUID"))
}

/// Without control characters. The fields of an alert are public: one made elsewhere may not be
/// escaped yet, and escaping twice must not double a backslash.
pub(crate) fn plain(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "\u{fffd}")
}

/// What a sink's `send` returns.
pub type AlertFuture<'a> = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;

/// Where alerts go. Implemented for async closures that take an `Arc<Alert>`.
///
/// Each sink is called from a task of its own, one alert at a time, so that a slow sink delays no
/// other; it is given ten seconds for each. What it does not take is tried again, under the same
/// id, so a sink may see an alert twice.
pub trait AlertSink: Send + Sync + 'static {
    /// Delivers one alert.
    fn send(&self, alert: Arc<Alert>) -> AlertFuture<'_>;

    /// Whether this alert is for this sink. Default: every one is.
    fn takes(&self, alert: &Alert) -> bool {
        let _ = alert;
        true
    }
}

/// A sink for alerts of at least some severity.
#[derive(Clone, Copy, Debug)]
pub struct AtLeast<S> {
    severity: Severity,
    sink: S,
}

impl<S: AlertSink> AtLeast<S> {
    /// `sink`, for alerts that are at least so grave.
    pub fn new(severity: Severity, sink: S) -> Self {
        Self { severity, sink }
    }
}

impl<S: AlertSink> AlertSink for AtLeast<S> {
    fn send(&self, alert: Arc<Alert>) -> AlertFuture<'_> {
        self.sink.send(alert)
    }

    fn takes(&self, alert: &Alert) -> bool {
        alert.severity >= self.severity && self.sink.takes(alert)
    }
}

impl<S: AlertSink + ?Sized> AlertSink for Arc<S> {
    fn send(&self, alert: Arc<Alert>) -> AlertFuture<'_> {
        (**self).send(alert)
    }

    fn takes(&self, alert: &Alert) -> bool {
        (**self).takes(alert)
    }
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

/// Writes each alert as one line through `tracing`, target `forge_monitor::alert`, at the level of
/// its severity: info, warning, and critical as an error.
///
/// What a client can influence is escaped, so that it cannot forge a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSink;

impl AlertSink for LogSink {
    fn send(&self, alert: Arc<Alert>) -> AlertFuture<'_> {
        macro_rules! say {
            ($level:ident) => {
                tracing::$level!(target: "forge_monitor::alert", "{}", Self::line(&alert))
            };
        }
        match alert.severity {
            Severity::Info => say!(info),
            Severity::Warning => say!(warn),
            Severity::Critical => say!(error),
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl LogSink {
    fn line(alert: &Alert) -> String {
        format!(
            "{} alert {}: {}: {} ({}), count {}",
            alert.severity.as_str(),
            alert.state.as_str(),
            alert.scenario,
            plain(&alert.summary),
            plain(&alert.scope),
            alert.count,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_forge_a_log_line() {
        let at = Timestamp::from_micros(0);
        let scope = "user x\nERROR all is lost\u{1b}[2J";
        let mut alert = Alert::new("x", scope, Severity::Warning, "too many", at);
        assert!(!LogSink::line(&alert).contains('\n'));
        assert!(LogSink::line(&alert).contains("x\\nERROR"));
        alert.scope = "raw\nline".to_owned();
        alert.summary = "raw\u{1b}".to_owned();
        assert!(!LogSink::line(&alert).contains(|c: char| c.is_control()));
        assert!(!alert.title().contains(|c: char| c.is_control()));
    }

    /// Keeps the levels of what it is told.
    #[derive(Clone, Default)]
    struct Levels(Arc<std::sync::Mutex<Vec<tracing::Level>>>);

    impl tracing::Subscriber for Levels {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == "forge_monitor::alert"
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            self.0.lock().unwrap().push(*event.metadata().level());
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn the_log_tells_of_an_alert_at_the_level_of_its_severity() {
        let (levels, at) = (Levels::default(), Timestamp::from_micros(0));
        tracing::subscriber::with_default(levels.clone(), || {
            for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
                drop(LogSink.send(Arc::new(Alert::new("x", "y", severity, "z", at))));
            }
        });
        let expected = [
            tracing::Level::INFO,
            tracing::Level::WARN,
            tracing::Level::ERROR,
        ];
        assert_eq!(*levels.0.lock().unwrap(), expected);
    }

    #[test]
    fn an_alert_reads_back_as_it_was_written() {
        let at = Timestamp::from_micros(7);
        let alert = Alert::new("x", "user \"7\"", Severity::Critical, "too many", at);
        let json = serde_json::to_string(&alert).unwrap();
        assert_eq!(serde_json::from_str::<Alert>(&json).unwrap(), alert);
    }

    #[test]
    fn a_sink_may_be_for_grave_alerts_alone() {
        let sink = AtLeast::new(Severity::Warning, LogSink);
        let at = Timestamp::from_micros(0);
        let alert = |severity| Alert::new("x", "y", severity, "z", at);
        assert!(!sink.takes(&alert(Severity::Info)));
        assert!(sink.takes(&alert(Severity::Critical)));
    }
}
