//! Threat detection, bans, alerts and health for Tower services: Axum, Tonic, or plain Hyper.
//!
//! A request whose client address cannot be told is refused by the guard, and a monitor that cannot
//! read its stored decisions does not start (fail closed). A full signal queue drops signals and
//! counts them: detection never makes a request wait.
//!
//! # Example
//!
//! ```
//! use std::net::{IpAddr, SocketAddr};
//!
//! use axum::{Router, routing::get};
//! use forge_monitor::{GuardLayer, LogSink, Monitor, PeerAddress, Signal, SignalKind};
//!
//! # #[cfg(feature = "axum")]
//! # async fn app() -> Result<(), forge_monitor::StartError> {
//! let monitor = Monitor::builder()
//!     .built_in_scenarios()
//!     .alert_sink("log", LogSink)
//!     .start()
//!     .await?;
//!
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(GuardLayer::new(monitor.guard(), PeerAddress));
//! let service = app.into_make_service_with_connect_info::<SocketAddr>();
//!
//! // Where a sign-in fails:
//! let client: IpAddr = [198, 51, 100, 7].into();
//! monitor.emit(Signal::new(SignalKind::AuthFailed).address(client));
//!
//! monitor.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Signal`]s come from the observers of other layers. Each [`Scenario`] looks at those it matches
//! by address or user; one too many makes a [`Decision`], which [`GuardLayer`] enforces from then
//! on, the [`MonitorStore`] keeps over a restart, and each [`Responder`] acts on. An [`Alert`] is
//! grouped with its like, stored in one transaction with what it tells of, and waits in the store
//! until each [`AlertSink`] has it, or it is given up with a [reason](DeadReason). A
//! [`HealthRegistry`] answers how well the service is.
//!
//! [`InspectLayer`] looks for attacks in requests themselves: SQL and script injection, path
//! traversal, commands, templates, scanners. It tells what it finds and why, and refuses where it is
//! asked to; it works without a monitor, and with one its findings are signals. An [`Inspector`] does
//! the same without a layer:
//!
//! ```
//! use forge_monitor::{Inspector, Level, Verdict};
//!
//! let found = Inspector::new().inspect_text(b"/item?id=1'%20or%20'1'='1", []);
//! assert_eq!(found.verdict(Level::Low), Verdict::Block);
//! for rule in found.matches() {
//!     println!("{}: {} saw {}", rule.rule, rule.explanation, rule.saw);
//! }
//! ```
//!
//! # Feature flags
//!
//! None is on by default.
//!
//! - `axum`: the guard and inspection on an [`axum`](https://docs.rs/axum) router, and `health_router`.
//! - `tonic`: the guard and inspection on a [`tonic`](https://docs.rs/tonic) server.
//! - `sqlite`: the store `SqliteMonitorStore`.
//! - `postgres`: the store `PostgresMonitorStore`, which several nodes share.
//! - `toml`: scenarios from TOML, `Scenarios`.
//! - `email`: the sink `EmailSink`, over SMTP with TLS.
//! - `webhook`: the sinks `WebhookSink` and `AlertmanagerSink`.
//! - `metrics`: the observer `RecordMetrics`, and `LapLayer`, which times the layers.
//!
//! # Security
//!
//! - Nobody on the [`NeverBlock`] list is blocked, whatever the scenarios find; the list is checked
//!   when deciding and again when enforcing. Put the trusted proxies on it.
//! - IPv6 is counted and blocked by /64, an IPv4 address mapped into IPv6 as IPv4.
//! - A flood cannot exhaust memory: counts, queues, decisions and alert groups are bounded, and so is
//!   the number of new decisions a minute. What is dropped is counted, see [`MonitorStats`]. With the
//!   built-in scenarios a million addresses take at most 16 MiB, and an attacker among them is
//!   still found.
//! - Inspection is a second line behind a service that escapes what it is given: it knows attacks by
//!   their shape, reads a bounded part of a request, and no bodies but forms.
//! - A response made by the guard bears [`RefusedByGuard`]; do not make a signal of it.
//! - Whoever can forge the client address can get others blocked: read it from the connection or
//!   from a layer that knows the trusted proxies.
//! - Windows run on the monotonic clock, blocks end by UTC: setting the time forward ends blocks
//!   early, setting it back keeps them longer.

mod alert;
mod blocks;
mod caught;
mod clock;
mod decider;
mod decision;
mod delivery;
mod error;
mod guard;
mod health;
mod inspect;
#[cfg(feature = "metrics")]
mod lap;
#[cfg(feature = "metrics")]
mod metrics;
mod monitor;
mod never_block;
mod on_event;
mod pattern;
mod refusal;
mod replay;
mod responder;
mod scenario;
mod seen;
mod signal;
#[cfg(any(feature = "email", feature = "webhook"))]
mod sink;
mod store;
mod table;
mod trends;

pub use alert::{
    Alert, AlertFuture, AlertSink, AlertState, AtLeast, Fingerprint, Inhibition, LogSink, Severity,
    Silence, StoredSilence,
};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use decision::{Action, Decision, Lift, Stored, Target};
pub use delivery::{DeadLetter, DeadReason, Delivery, OutboxStats, Patience, Requeued, Settled};
#[cfg(any(feature = "email", feature = "webhook"))]
pub use error::SinkError;
pub use error::{BoxError, BuildError, LiftError, StartError, StoreError};
pub use guard::{
    ClientAddress, Guard, GuardLayer, Guarded, OnRefusal, PeerAddress, RefusalReason,
    RefusedByGuard, ResponseFuture,
};
#[cfg(feature = "axum")]
pub use health::health_router;
pub use health::{
    ComponentHealth, Health, HealthCheck, HealthFuture, HealthGroup, HealthRegistry,
    HealthRegistryBuilder, HealthReport, HealthStatus, OnHealthChange,
};
pub use inspect::{
    Family, Forms, InspectFuture, InspectLayer, InspectMode, InspectOutcome, Inspected, Inspection,
    Inspector, Level, Match, NoForms, OnInspection, ParseLevelError, ParseModeError, Place,
    ReadForm, ReadForms, RefusedByInspection, ReplayBody, Replayed, Verdict,
};
#[cfg(feature = "metrics")]
pub use lap::{LapLayer, Lapped};
#[cfg(feature = "metrics")]
pub use metrics::RecordMetrics;
pub use monitor::{Monitor, MonitorBuilder, MonitorStats};
pub use never_block::NeverBlock;
pub use on_event::{DropReason, MonitorEvent, OnMonitorEvent};
pub use pattern::SignalPattern;
pub use refusal::{Problem, Refusal, RefusalBody, Respond};
pub use replay::{Replay, ReplayOutcome};
pub use responder::{Responder, ResponderFuture};
pub use scenario::{Distinct, Scenario, ScenarioBuilder, Scope, Weight};
#[cfg(feature = "toml")]
pub use scenario::{ScenarioError, Scenarios};
pub use signal::{MAX_USER_LEN, MatchSignal, Signal, SignalClass, SignalKind};
#[cfg(feature = "webhook")]
pub use sink::{AlertmanagerSink, WebhookForm, WebhookSink};
#[cfg(feature = "email")]
pub use sink::{EmailSink, EmailSinkBuilder, EmailTls};
#[cfg(feature = "postgres")]
pub use store::PostgresMonitorStore;
#[cfg(feature = "sqlite")]
pub use store::SqliteMonitorStore;
pub use store::{AlertStore, Batch, DecisionStore, MemoryMonitorStore, MonitorStore, StoreFuture};
pub use trends::LastHour;
