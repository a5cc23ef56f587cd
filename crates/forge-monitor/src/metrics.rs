//! What the monitor does, as metrics.

use http::request::Parts;

use crate::guard::{OnRefusal, RefusalReason};
use crate::on_event::{DropReason, MonitorEvent, OnMonitorEvent};

/// Counts events and refusals through the `metrics` facade: an observer for both
/// [`MonitorBuilder::on_event`](crate::MonitorBuilder::on_event) and
/// [`GuardLayer::on_refusal`](crate::GuardLayer::on_refusal).
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `forge_monitor_signals_total` | counter | `kind` |
/// | `forge_monitor_signals_dropped_total` | counter | `kind` |
/// | `forge_monitor_decisions_total` | counter | `scenario`; `outcome`: `made`, `simulated`, `rate_cap`, `full` |
/// | `forge_monitor_decisions_ended_total` | counter | `how`: `expired`, `lifted` |
/// | `forge_monitor_blocks` | gauge | |
/// | `forge_monitor_alerts_total` | counter | `scenario`, `severity` |
/// | `forge_monitor_failures_total` | counter | `part`: `alert_sink`, `responder`, `store`, `scenario` |
/// | `forge_monitor_guard_refusals_total` | counter | `reason`: `blocked`, `unknown_address` |
/// | `forge_monitor_inspections_total` | counter | `outcome`: `clean`, `suspicious`, `refused` |
/// | `forge_monitor_inspection_findings_total` | counter | `family` |
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMetrics;

impl OnMonitorEvent for RecordMetrics {
    fn on_event(&self, event: &MonitorEvent) {
        match event {
            MonitorEvent::SignalProcessed { class } => {
                metrics::counter!("forge_monitor_signals_total", "kind" => class.as_str())
                    .increment(1);
            }
            MonitorEvent::SignalDropped { class } => {
                metrics::counter!("forge_monitor_signals_dropped_total", "kind" => class.as_str())
                    .increment(1);
            }
            MonitorEvent::DecisionMade(decision) => {
                decided(&decision.scenario, "made");
                blocks().increment(1.0);
            }
            MonitorEvent::DecisionSimulated(decision) => decided(&decision.scenario, "simulated"),
            MonitorEvent::DecisionDropped {
                scenario, reason, ..
            } => decided(
                scenario,
                match reason {
                    DropReason::RateCap => "rate_cap",
                    DropReason::Full => "full",
                },
            ),
            MonitorEvent::DecisionsRestored { count } => blocks().increment(*count as f64),
            MonitorEvent::DecisionExpired(_) => ended("expired"),
            MonitorEvent::DecisionLifted(_) => ended("lifted"),
            MonitorEvent::AlertRaised(alert) => {
                metrics::counter!(
                    "forge_monitor_alerts_total",
                    "scenario" => alert.scenario.to_string(),
                    "severity" => alert.severity.as_str(),
                )
                .increment(1);
            }
            MonitorEvent::AlertFailed(_) => failed("alert_sink"),
            MonitorEvent::ResponderFailed(_) => failed("responder"),
            MonitorEvent::StoreFailed(_) => failed("store"),
            MonitorEvent::ScenarioPanicked { .. } => failed("scenario"),
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

fn blocks() -> metrics::Gauge {
    metrics::gauge!("forge_monitor_blocks")
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
    blocks().decrement(1.0);
}

fn failed(part: &'static str) {
    metrics::counter!("forge_monitor_failures_total", "part" => part).increment(1);
}
