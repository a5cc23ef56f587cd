//! What the monitor decides and tells people, as events.

use std::sync::Arc;

use forge_audit::{Event, Kind, Outcome, Severity};
use forge_monitor::{Action, Delivery, MonitorEvent, Requeued, Silence};
use serde_json::{Value, json};

use super::{Cause, Wiring};
use crate::routes::rfc3339;

impl Wiring {
    /// forge-monitor decided: an event. It came from signals, so it makes none.
    pub fn on_monitor_event(&self) -> impl Fn(&MonitorEvent) + Send + Sync + 'static {
        // Not a clone, which would hold the monitor that holds this: neither would ever be dropped,
        // nor would the audit log be closed.
        let wiring = Self {
            monitor: Arc::default(),
            ..self.clone()
        };
        move |event| {
            let (action, severity, decision) = match event {
                MonitorEvent::DecisionMade(decision) => {
                    (made(decision.action), Severity::High, decision)
                }
                MonitorEvent::DecisionExpired(decision) => {
                    ("monitor.expire", Severity::Low, decision)
                }
                MonitorEvent::DecisionLifted(decision, _) => {
                    ("monitor.lift", Severity::Medium, decision)
                }
                MonitorEvent::Detected {
                    scenario,
                    target,
                    simulated: false,
                } => {
                    wiring.audit(
                        Cause::default()
                            .event(Kind::SecurityViolation, "monitor.detect")
                            .severity(Severity::Medium)
                            .resource(target.to_string())
                            .details(&json!({ "scenario": &**scenario })),
                    );
                    return;
                }
                MonitorEvent::AlertRaised(alert) => {
                    wiring.audit(
                        Cause::default()
                            .event(Kind::SecurityViolation, "monitor.alert")
                            .severity(Severity::Low)
                            .resource(alert.scope.clone())
                            .details(&json!({
                                "alert": alert.id.to_string(),
                                "scenario": &*alert.scenario,
                                "state": alert.state.as_str(),
                                "severity": alert.severity.as_str(),
                            })),
                    );
                    return;
                }
                MonitorEvent::AlertDelivered { delivery, .. } => {
                    wiring.audit(delivery_event("monitor.alert.deliver", delivery));
                    return;
                }
                MonitorEvent::AlertDead(letter) => {
                    let mut details = delivery_details(&letter.delivery);
                    details["reason"] = letter.reason.as_str().into();
                    wiring.audit(
                        delivery_event("monitor.alert.give_up", &letter.delivery)
                            .outcome(Outcome::Failure)
                            .severity(Severity::High)
                            .details(&details),
                    );
                    return;
                }
                // As `/api/admin/silences` has it on record; this is by whoever runs `forge alerts`.
                MonitorEvent::SilenceMade(silence) => {
                    let event = silence_event("admin.silences.add", silence, &silence.by);
                    wiring.audit(event.severity(Severity::High));
                    return;
                }
                MonitorEvent::SilenceEnded(silence, end) => {
                    let event = silence_event("admin.silences.end", silence, &end.by);
                    wiring.audit(event.severity(Severity::Medium));
                    return;
                }
                // As `/api/admin/alerts/dead/{id}/retry` has it on record.
                MonitorEvent::AlertRequeued(requeued) => {
                    let Requeued { delivery, by, .. } = &**requeued;
                    wiring.audit(
                        Cause::default()
                            .event(Kind::DataAccess, "admin.alerts.retry")
                            .severity(Severity::Medium)
                            .resource(delivery.id.to_string())
                            .details(&json!({
                                "alert": delivery.alert.id.to_string(),
                                "sink": &*delivery.sink,
                                "by": &*by.by,
                            })),
                    );
                    return;
                }
                _ => return,
            };
            let mut details = json!({
                "decision": decision.id.to_string(),
                "scenario": &*decision.scenario,
                "action": decision.action.as_str(),
                "escalation": decision.escalation,
            });
            if let MonitorEvent::DecisionLifted(_, lift) = event {
                details["by"] = (*lift.by).into();
            }
            wiring.audit(
                Cause::current()
                    .event(Kind::SecurityViolation, action)
                    .severity(severity)
                    .resource(decision.target.to_string())
                    .details(&details),
            );
        }
    }
}

fn made(action: Action) -> &'static str {
    match action {
        Action::Block => "monitor.block",
        Action::RevokeSessions => "monitor.revoke_sessions",
        Action::TightenLimit => "monitor.tighten_limit",
        Action::RequireSignIn => "monitor.require_sign_in",
        _ => "monitor.decide",
    }
}

fn delivery_event(action: &'static str, delivery: &Delivery) -> Event {
    Cause::default()
        .event(Kind::SecurityViolation, action)
        .severity(Severity::Low)
        .resource(delivery.alert.scope.clone())
        .details(&delivery_details(delivery))
}

fn delivery_details(delivery: &Delivery) -> Value {
    json!({
        "alert": delivery.alert.id.to_string(),
        "sink": &*delivery.sink,
        "attempts": delivery.attempts,
    })
}

fn silence_event(action: &'static str, silence: &Silence, by: &str) -> Event {
    Cause::default()
        .event(Kind::ConfigurationChange, action)
        .resource(silence.id.to_string())
        .details(&json!({
            "scenario": &*silence.scenario,
            "scope": &*silence.scope,
            "until": rfc3339(silence.until.as_micros()),
            "by": by,
        }))
}
