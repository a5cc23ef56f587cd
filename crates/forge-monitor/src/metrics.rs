//! What the monitor does, as metrics.

use http::request::Parts;

use crate::guard::{OnRefusal, RefusalReason};
use crate::monitor::MonitorStats;
use crate::on_event::{DropReason, MonitorEvent, OnMonitorEvent};
use crate::scenario::Scenario;
use crate::signal::SignalClass;

/// Counts events and refusals through the `metrics` facade: an observer for both
/// [`MonitorBuilder::on_event`](crate::MonitorBuilder::on_event) and
/// [`GuardLayer::on_refusal`](crate::GuardLayer::on_refusal).
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `forge_monitor_signals_total` | counter | `kind` |
/// | `forge_monitor_signals_dropped_total` | counter | `kind` |
/// | `forge_monitor_detector_seconds` | histogram | from the emission of a signal until it is decided |
/// | `forge_monitor_queue_depth` | gauge | signals that wait |
/// | `forge_monitor_evictions_total` | counter | keys displaced while they were counted |
/// | `forge_monitor_state_bytes` | gauge | memory of what was counted |
/// | `forge_monitor_panics_total` | counter | of scenarios, observers, responders, sinks and stores |
/// | `forge_monitor_decisions_total` | counter | `scenario`; `outcome`: `made`, `alert`, `simulated`, `rate_cap`, `full` |
/// | `forge_monitor_decisions_ended_total` | counter | `how`: `expired`, `lifted` |
/// | `forge_monitor_blocks` | gauge | decisions that hold |
/// | `forge_monitor_alerts_total` | counter | `scenario`, `severity` |
/// | `forge_monitor_alerts_suppressed_total` | counter | `why`: `silenced`, `inhibited` |
/// | `forge_monitor_alert_deliveries_total` | counter | `sink`; `outcome`: `delivered`, `failed`, `dead` |
/// | `forge_monitor_alert_delivery_seconds` | histogram | `sink`; from the raising of an alert |
/// | `forge_monitor_outbox_depth` | gauge | deliveries that wait |
/// | `forge_monitor_outbox_age_seconds` | gauge | for how long the oldest waits |
/// | `forge_monitor_failures_total` | counter | `part`: `alert_store`, `alert_spill`, `responder`, `decision_store`, `scenario` |
/// | `forge_monitor_layer_seconds` | histogram | `layer`; see [`LapLayer`](crate::LapLayer) |
/// | `forge_monitor_guard_refusals_total` | counter | `reason`: `blocked`, `unknown_address` |
/// | `forge_monitor_inspections_total` | counter | `outcome`: `clean`, `suspicious`, `refused` |
/// | `forge_monitor_inspection_findings_total` | counter | `family` |
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMetrics;

impl RecordMetrics {
    /// Begins every counter at zero, so that it is there before what it counts happens for the
    /// first time and its increase can be told. `sinks` are the names of the alert sinks. The
    /// recorder must be installed by now.
    pub fn begin(sinks: &[&str]) {
        for class in SignalClass::ALL {
            metrics::counter!("forge_monitor_signals_total", "kind" => class.as_str()).increment(0);
            metrics::counter!("forge_monitor_signals_dropped_total", "kind" => class.as_str())
                .increment(0);
        }
        for part in [
            "alert_store",
            "alert_spill",
            "responder",
            "decision_store",
            "scenario",
        ] {
            metrics::counter!("forge_monitor_failures_total", "part" => part).increment(0);
        }
        for how in ["expired", "lifted"] {
            metrics::counter!("forge_monitor_decisions_ended_total", "how" => how).increment(0);
        }
        for why in ["silenced", "inhibited"] {
            metrics::counter!("forge_monitor_alerts_suppressed_total", "why" => why).increment(0);
        }
        for reason in ["blocked", "unknown_address"] {
            metrics::counter!("forge_monitor_guard_refusals_total", "reason" => reason)
                .increment(0);
        }
        for scenario in Scenario::built_in() {
            for outcome in ["made", "alert", "rate_cap", "full"] {
                metrics::counter!(
                    "forge_monitor_decisions_total",
                    "scenario" => scenario.name().to_owned(),
                    "outcome" => outcome,
                )
                .increment(0);
            }
            metrics::counter!(
                "forge_monitor_alerts_total",
                "scenario" => scenario.name().to_owned(),
                "severity" => scenario.grade().as_str(),
            )
            .increment(0);
        }
        for sink in sinks {
            for outcome in ["delivered", "failed", "dead"] {
                metrics::counter!(
                    "forge_monitor_alert_deliveries_total",
                    "sink" => (*sink).to_owned(),
                    "outcome" => outcome,
                )
                .increment(0);
            }
        }
        vitals(&MonitorStats::default());
    }
}

impl OnMonitorEvent for RecordMetrics {
    fn on_event(&self, event: &MonitorEvent) {
        match event {
            MonitorEvent::SignalProcessed { class, took } => {
                metrics::counter!("forge_monitor_signals_total", "kind" => class.as_str())
                    .increment(1);
                metrics::histogram!("forge_monitor_detector_seconds").record(*took);
            }
            MonitorEvent::SignalDropped { class } => {
                metrics::counter!("forge_monitor_signals_dropped_total", "kind" => class.as_str())
                    .increment(1);
            }
            MonitorEvent::DecisionMade(decision) => decided(&decision.scenario, "made"),
            MonitorEvent::DecisionSimulated(decision) => decided(&decision.scenario, "simulated"),
            MonitorEvent::Detected {
                scenario,
                simulated,
                ..
            } => decided(scenario, if *simulated { "simulated" } else { "alert" }),
            MonitorEvent::DecisionDropped {
                scenario, reason, ..
            } => decided(
                scenario,
                match reason {
                    DropReason::RateCap => "rate_cap",
                    DropReason::Full => "full",
                },
            ),
            MonitorEvent::DecisionsRestored { .. }
            | MonitorEvent::DecisionAdopted(_)
            | MonitorEvent::SilenceMade(_)
            | MonitorEvent::SilenceEnded(..)
            | MonitorEvent::AlertRequeued(_) => {}
            MonitorEvent::DecisionExpired(_) => ended("expired"),
            MonitorEvent::DecisionLifted(..) => ended("lifted"),
            MonitorEvent::AlertRaised(alert) => {
                metrics::counter!(
                    "forge_monitor_alerts_total",
                    "scenario" => alert.scenario.to_string(),
                    "severity" => alert.severity.as_str(),
                )
                .increment(1);
            }
            MonitorEvent::AlertSuppressed { silenced, .. } => {
                let why = if *silenced { "silenced" } else { "inhibited" };
                metrics::counter!("forge_monitor_alerts_suppressed_total", "why" => why)
                    .increment(1);
            }
            MonitorEvent::AlertDelivered { delivery, took } => {
                delivery_of(&delivery.sink, "delivered");
                let sink = delivery.sink.to_string();
                metrics::histogram!("forge_monitor_alert_delivery_seconds", "sink" => sink)
                    .record(*took);
            }
            MonitorEvent::AlertFailed(delivery) => delivery_of(&delivery.sink, "failed"),
            MonitorEvent::AlertDead(letter) => delivery_of(&letter.delivery.sink, "dead"),
            MonitorEvent::AlertSpilled(_) => failed("alert_store"),
            MonitorEvent::AlertLost(_) => failed("alert_spill"),
            MonitorEvent::ResponderFailed(_) => failed("responder"),
            MonitorEvent::StoreFailed(_) => failed("decision_store"),
            MonitorEvent::ScenarioPanicked { .. } => failed("scenario"),
            MonitorEvent::Vitals(stats) => vitals(stats),
        }
    }
}

impl OnRefusal for RecordMetrics {
    fn on_refusal(&self, _: &Parts, reason: &RefusalReason) {
        let reason = match reason {
            RefusalReason::Blocked(_) => "blocked",
            RefusalReason::UnknownAddress => "unknown_address",
        };
        metrics::counter!("forge_monitor_guard_refusals_total", "reason" => reason).increment(1);
    }
}

fn vitals(stats: &MonitorStats) {
    let gauges = [
        ("forge_monitor_blocks", stats.blocks as f64),
        ("forge_monitor_queue_depth", stats.queue_depth as f64),
        ("forge_monitor_state_bytes", stats.state_bytes as f64),
        ("forge_monitor_outbox_depth", stats.outbox_depth as f64),
        (
            "forge_monitor_outbox_age_seconds",
            stats.outbox_age_micros as f64 / 1e6,
        ),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name).set(value);
    }
    let totals = [
        ("forge_monitor_evictions_total", stats.evictions),
        ("forge_monitor_panics_total", stats.panics),
    ];
    for (name, value) in totals {
        metrics::counter!(name).absolute(value);
    }
}

fn delivery_of(sink: &str, outcome: &'static str) {
    metrics::counter!(
        "forge_monitor_alert_deliveries_total",
        "sink" => sink.to_owned(),
        "outcome" => outcome,
    )
    .increment(1);
}

fn decided(scenario: &str, outcome: &'static str) {
    metrics::counter!(
        "forge_monitor_decisions_total",
        "scenario" => scenario.to_owned(),
        "outcome" => outcome,
    )
    .increment(1);
}

fn ended(how: &'static str) {
    metrics::counter!("forge_monitor_decisions_ended_total", "how" => how).increment(1);
}

fn failed(part: &'static str) {
    metrics::counter!("forge_monitor_failures_total", "part" => part).increment(1);
}
