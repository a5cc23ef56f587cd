//! `forge monitor replay`: what the scenarios would have decided about what is on record.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use forge_audit::{AuditStore, Event, Outcome, Severity, Stored};
use forge_monitor::{
    BoxError, HealthStatus, NeverBlock, Replay, ReplayOutcome, Scenario, Signal, SignalKind,
    Timestamp,
};

use crate::audit_command;
use crate::routes::rfc3339;
use crate::wiring::is_forged_reason;

/// Records that are read at once.
const BATCH: usize = 1000;
/// How many refusals that were left out of the log are made up for at most.
const MAX_LEFT_OUT: u64 = 10_000;
/// Policies that count by address.
const BY_ADDRESS: [&str; 6] = [
    "address",
    "network",
    "auth",
    "callback",
    "health",
    "anonymous",
];

/// Reads the log in `file` from its beginning and prints what would have been decided.
///
/// # Errors
/// The log cannot be read.
pub async fn replay(
    file: &Path,
    scenarios: Vec<Scenario>,
    never_block: NeverBlock,
    out: &mut impl Write,
) -> Result<(), BoxError> {
    let store = audit_command::read(file).await?;
    let mut replay = Replay::new(scenarios, never_block);
    let mut by_scenario: BTreeMap<String, u64> = BTreeMap::new();
    let (mut after, mut records) = (0, 0u64);
    loop {
        let batch = store.scan(after, BATCH).await?;
        let Some(last) = batch.last() else {
            break;
        };
        after = last.seq;
        for stored in batch {
            records += 1;
            for signal in signals(&stored) {
                for what in replay.show(signal) {
                    let name = tell(&what, out)?;
                    *by_scenario.entry(name).or_default() += 1;
                }
            }
        }
    }
    writeln!(
        out,
        "{records} records, {} signals, {} more that a ban would have prevented",
        replay.shown(),
        replay.prevented()
    )?;
    for (scenario, times) in by_scenario {
        writeln!(out, "{scenario}: {times}")?;
    }
    Ok(())
}

fn tell(what: &ReplayOutcome, out: &mut impl Write) -> Result<String, BoxError> {
    match what {
        ReplayOutcome::Decided(decision) => {
            writeln!(
                out,
                "{}  {}  {}  for {} s  {}",
                rfc3339(decision.since.as_micros()),
                decision.action.as_str(),
                decision.target,
                decision.remaining(decision.since).as_secs(),
                decision.scenario
            )?;
            Ok(decision.scenario.to_string())
        }
        ReplayOutcome::Alerted {
            scenario,
            target,
            at,
            ..
        } => {
            let at = rfc3339(at.as_micros());
            writeln!(out, "{at}  alert  {target}  {scenario}")?;
            Ok(scenario.to_string())
        }
        _ => Ok("other".to_owned()),
    }
}

/// What the monitor was told when the record was made, and of those that were left out before it.
fn signals(stored: &Stored) -> Vec<Signal> {
    let Some(event) = stored.event() else {
        return Vec::new();
    };
    let Some(kind) = kind_of(&event) else {
        return Vec::new();
    };
    let details = event.details_value();
    let detail = |name: &str| details.as_ref().and_then(|details| details.get(name));
    let user = detail("user").and_then(|user| user.as_str());
    let user = user.and_then(|user| user.strip_prefix("github:"));
    let user = user.or(event.who().id()).map(str::to_owned);
    let mut signal = Signal::new(kind)
        .address(event.origin().ip())
        .at(Timestamp::from_micros(stored.occurred.as_micros()));
    if let Some(user) = user {
        signal = signal.user(user);
    }
    let left_out = detail("left_out_before").and_then(serde_json::Value::as_u64);
    let times = 1 + left_out.unwrap_or(0).min(MAX_LEFT_OUT);
    vec![signal; usize::try_from(times).unwrap_or(1)]
}

/// As `wiring.rs` tells it.
fn kind_of(event: &Event) -> Option<SignalKind> {
    let details = event.details_value();
    let detail = |name: &str| details.as_ref().and_then(|details| details.get(name));
    let reason = detail("reason").and_then(|reason| reason.as_str());
    let failed = event.result() == Outcome::Failure;
    match event.action() {
        "auth.credential" | "auth.refresh" if failed => {
            let is_forged = reason.is_some_and(is_forged_reason);
            is_forged.then_some(SignalKind::AuthFailed)
        }
        "auth.sign_in" | "auth.device" if failed => match reason {
            Some("cancelled") | None => None,
            Some(_) => Some(SignalKind::AuthFailed),
        },
        "auth.sign_in" | "auth.device" if event.result() == Outcome::Denied => {
            (reason != Some("membership_hidden")).then_some(SignalKind::AuthFailed)
        }
        "rate_limit.exceed" => {
            let policies = detail("policies").and_then(|policies| policies.as_array())?;
            let mut names = policies.iter().filter_map(|name| name.as_str());
            names
                .any(|name| BY_ADDRESS.contains(&name))
                .then_some(SignalKind::RateLimited)
        }
        "auth.sign_in" | "auth.device" if event.result() == Outcome::Success => {
            Some(SignalKind::AuthOk)
        }
        // What is of less weight is on record, and no signal.
        "request.inspect" if event.level() >= Severity::High => {
            let score = detail("score").and_then(serde_json::Value::as_u64)?;
            let score = u32::try_from(score).unwrap_or(u32::MAX);
            Some(SignalKind::SuspiciousRequest { score })
        }
        "health.change" => Some(SignalKind::HealthChanged {
            component: event.target()?.to_owned().into(),
            status: status_of(detail("status")?.as_str()?)?,
        }),
        "tool.call" => Some(SignalKind::ToolCall {
            tool: event.target()?.to_owned().into(),
        }),
        "session.reuse" if event.result() == Outcome::Denied => Some(SignalKind::SessionAnomaly),
        "session.threat" if detail("response").and_then(|of| of.as_str()) != Some("note") => {
            Some(SignalKind::SessionAnomaly)
        }
        _ => None,
    }
}

fn status_of(name: &str) -> Option<HealthStatus> {
    let all = [HealthStatus::Up, HealthStatus::Degraded, HealthStatus::Down];
    all.into_iter().find(|status| status.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use forge_audit::Kind;
    use serde_json::json;

    #[test]
    fn what_was_a_signal_is_one_again() {
        let of = |action, outcome, severity, details| {
            let event = Event::new(Kind::SecurityViolation, action).outcome(outcome);
            kind_of(
                &event
                    .severity(severity)
                    .resource("database")
                    .details(&details),
            )
        };
        let (success, failure) = (Outcome::Success, Outcome::Failure);
        let none = || json!({});
        let signed_in = of("auth.sign_in", success, Severity::Low, none());
        assert_eq!(signed_in, Some(SignalKind::AuthOk));
        let cancelled = json!({ "reason": "cancelled" });
        assert_eq!(
            of("auth.sign_in", failure, Severity::Medium, cancelled),
            None
        );
        let guessed = json!({ "reason": "state" });
        let guessed = of("auth.sign_in", failure, Severity::Medium, guessed);
        assert_eq!(guessed, Some(SignalKind::AuthFailed));
        let score = json!({ "score": 12 });
        let attack = of(
            "request.inspect",
            Outcome::Denied,
            Severity::High,
            score.clone(),
        );
        assert_eq!(attack, Some(SignalKind::SuspiciousRequest { score: 12 }));
        assert_eq!(
            of("request.inspect", success, Severity::Medium, score),
            None
        );
        let down = json!({ "status": "down" });
        let down = of("health.change", Outcome::Error, Severity::High, down);
        let component = "database".into();
        let status = HealthStatus::Down;
        assert_eq!(down, Some(SignalKind::HealthChanged { component, status }));
        assert_eq!(of("admin.access", failure, Severity::High, none()), None);
    }
}
