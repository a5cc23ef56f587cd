//! The scenarios that come with the crate.

use std::time::Duration;

use super::{Distinct, Scenario, ScenarioBuilder, Scope, Weight};
use crate::alert::Severity;
use crate::decision::Action;
use crate::health::HealthStatus;
use crate::pattern::SignalPattern;
use crate::signal::SignalClass;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Tools that read, by how tools are named.
const READS: [&str; 8] = [
    "read*", "get*", "fetch*", "list*", "search*", "query*", "*_read", "*_search",
];
/// Tools that hand something out.
const SENDS: [&str; 10] = [
    "send*", "post*", "email*", "mail*", "upload*", "publish*", "share*", "http*", "*_send",
    "*_post",
];

impl Scenario {
    /// All of them, as they are by default.
    #[must_use]
    pub fn built_in() -> Vec<Self> {
        vec![
            Self::failed_authentications(),
            Self::limit_refusals(),
            Self::credential_stuffing(),
            Self::password_spraying(),
            Self::slow_brute_force(),
            Self::path_probing(),
            Self::suspicious_requests(),
            Self::session_anomaly(),
            Self::honeypath(),
            Self::tool_first_use(),
            Self::tool_burst(),
            Self::tool_read_then_send(),
            Self::tool_output_volume(),
            Self::health_degradation(),
        ]
    }

    /// `failed_authentications`: more than 5 failed authentications in 15 minutes from one address
    /// block it for 15 minutes.
    #[must_use]
    pub fn failed_authentications() -> Self {
        made(Self::count(
            "failed_authentications",
            SignalClass::AuthFailed,
        ))
    }

    /// `limit_refusals`: more than 10 refusals by a rate limit in 10 minutes to one address block
    /// it for 10 minutes.
    #[must_use]
    pub fn limit_refusals() -> Self {
        made(
            Self::count("limit_refusals", SignalClass::RateLimited)
                .threshold(10)
                .window(10 * MINUTE)
                .hold_for(10 * MINUTE),
        )
    }

    /// `credential_stuffing`: failed authentications of more than 4 different users in 10 minutes
    /// from one address block it for 30 minutes.
    #[must_use]
    pub fn credential_stuffing() -> Self {
        made(
            Self::distinct(
                "credential_stuffing",
                SignalClass::AuthFailed,
                Distinct::User,
            )
            .threshold(4)
            .window(10 * MINUTE)
            .hold_for(30 * MINUTE)
            .severity(Severity::Critical),
        )
    }

    /// `password_spraying`: failed authentications of one user from more than 9 different addresses
    /// in an hour raise an alert. The user is not blocked: that would be the attacker's success.
    #[must_use]
    pub fn password_spraying() -> Self {
        made(
            Self::distinct(
                "password_spraying",
                SignalClass::AuthFailed,
                Distinct::Address,
            )
            .scope(Scope::User)
            .threshold(9)
            .window(HOUR)
            .respond([]),
        )
    }

    /// `slow_brute_force`: more than 20 failed authentications in 24 hours from one address block
    /// it for 24 hours.
    #[must_use]
    pub fn slow_brute_force() -> Self {
        made(
            Self::count("slow_brute_force", SignalClass::AuthFailed)
                .threshold(20)
                .window(24 * HOUR)
                .hold_for(24 * HOUR),
        )
    }

    /// `path_probing`: more than 15 different paths that are not there in 5 minutes from one
    /// address block it for 30 minutes.
    #[must_use]
    pub fn path_probing() -> Self {
        made(
            Self::distinct("path_probing", SignalClass::PathMissing, Distinct::Name)
                .threshold(15)
                .window(5 * MINUTE)
                .hold_for(30 * MINUTE),
        )
    }

    /// `suspicious_requests`: requests that look like attacks, with more than 20 points of score at
    /// once, of which a point is forgiven in 30 seconds, block their address for 30 minutes.
    #[must_use]
    pub fn suspicious_requests() -> Self {
        made(
            Self::leaky_bucket("suspicious_requests", SignalClass::SuspiciousRequest)
                .burst(20)
                .drain(10 * MINUTE)
                .weight(Weight::Score)
                .hold_for(30 * MINUTE),
        )
    }

    /// `session_anomaly`: more than 2 anomalies in an hour with one user's sessions require a new
    /// sign-in.
    #[must_use]
    pub fn session_anomaly() -> Self {
        made(
            Self::count("session_anomaly", SignalClass::SessionAnomaly)
                .scope(Scope::User)
                .threshold(2)
                .window(HOUR)
                .respond([Action::RequireSignIn])
                .hold_for(24 * HOUR)
                .severity(Severity::Critical),
        )
    }

    /// `honeypath`: whoever asks for a path that only scanners look for is blocked for an hour.
    #[must_use]
    pub fn honeypath() -> Self {
        made(
            Self::count("honeypath", SignalClass::TrapTouched)
                .threshold(0)
                .hold_for(HOUR),
        )
    }

    /// `tool_first_use`: the first time within 30 days that a user calls a tool is a notice.
    #[must_use]
    pub fn tool_first_use() -> Self {
        made(
            Self::first("tool_first_use", SignalClass::ToolCall, Distinct::Name)
                .scope(Scope::User)
                .severity(Severity::Info),
        )
    }

    /// `tool_burst`: more than 60 tool calls of one user in a minute tighten the user's limits for
    /// 10 minutes.
    #[must_use]
    pub fn tool_burst() -> Self {
        made(
            Self::count("tool_burst", SignalClass::ToolCall)
                .scope(Scope::User)
                .threshold(60)
                .window(MINUTE)
                .respond([Action::TightenLimit])
                .hold_for(10 * MINUTE)
                .capacity(2048),
        )
    }

    /// `tool_read_then_send`: a user's agent calls a tool that reads, and within 2 minutes one that
    /// hands something out: what a prompt that was smuggled in would have it do. An alert.
    #[must_use]
    pub fn tool_read_then_send() -> Self {
        let named = |names: &[&'static str]| {
            SignalPattern::new(SignalClass::ToolCall).names(names.iter().copied())
        };
        made(
            Self::sequence("tool_read_then_send")
                .scope(Scope::User)
                .then(named(&READS))
                .then(named(&SENDS))
                .window(2 * MINUTE)
                .respond([]),
        )
    }

    /// `tool_output_volume`: more than 10 MiB of tools' output to one user at once, of which 1 MiB
    /// is forgiven in a minute, tightens the user's limits for 10 minutes.
    #[must_use]
    pub fn tool_output_volume() -> Self {
        made(
            Self::leaky_bucket("tool_output_volume", SignalClass::ToolOutput)
                .scope(Scope::User)
                .burst(10 << 20)
                .drain(10 * MINUTE)
                .weight(Weight::Bytes)
                .respond([Action::TightenLimit])
                .hold_for(10 * MINUTE),
        )
    }

    /// `health_degradation`: a component that is down or degraded raises an alert, which ends when
    /// it is up again. The registry's hysteresis has seen to it that it does not flutter.
    #[must_use]
    pub fn health_degradation() -> Self {
        let changed = |statuses: &[HealthStatus]| {
            SignalPattern::new(SignalClass::HealthChanged).statuses(statuses.iter().copied())
        };
        made(
            Self::count(
                "health_degradation",
                changed(&[HealthStatus::Down, HealthStatus::Degraded]),
            )
            .scope(Scope::Component)
            .threshold(0)
            .reset_on(changed(&[HealthStatus::Up]))
            .respond([])
            .severity(Severity::Critical)
            .capacity(1024),
        )
    }
}

/// What is built in is valid: a test builds each.
fn made(builder: ScenarioBuilder) -> Scenario {
    builder.unchecked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_built_in_scenarios_are_as_valid_as_any() {
        let mut names = HashSet::new();
        for scenario in Scenario::built_in() {
            assert!(names.insert(scenario.name().to_owned()));
            let name = scenario.name().to_owned();
            let again = ScenarioBuilder::of(scenario).build();
            assert!(again.is_ok(), "{name}: {again:?}");
        }
        assert_eq!(names.len(), 14);
    }
}
