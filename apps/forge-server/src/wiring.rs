//! The way of an event: what one crate tells, as the others understand it.
//!
//! Every observer of the server stands here. A refusal, a sign-in, a revocation becomes an event of
//! the audit log and, where it may mean an attack, a signal to the monitor. None of them blocks:
//! events go into the log's bounded queue, signals into the monitor's.

mod cause;
mod decisions;

use std::sync::{Arc, OnceLock};

use forge_audit::{AuditLog, Event, Kind, Outcome, Severity};
use forge_crypto::VaultEvent;
use forge_monitor::{
    ComponentHealth, HealthStatus, InspectOutcome, Inspection, Level, Monitor, RefusalReason,
    Signal, SignalKind, Verdict,
};
use forge_ratelimit::{ConcurrencyDecision, ConcurrencyOutcome, Decision, KeyClass};
use forge_session::{Rejection, SessionEvent, ThreatResponse};
use http::request::Parts;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::principal::github_id;
use crate::refusals::RefusalBudget;

pub(crate) use cause::{Cause, actor_of, caller, client_ip, resource};

/// As many rules of an inspection stand in its event.
const MAX_RULES: usize = 8;

/// Whether another site's page can make a browser do what a signal is about. None makes it use a
/// secret twice, or become another browser.
const fn may_be_excused(kind: &SignalKind) -> bool {
    !matches!(kind, SignalKind::AuthOk | SignalKind::SessionAnomaly)
}

/// Whether something was found where another site's page can put nothing: in headers of its own, in
/// `User-Agent`, in cookies.
fn is_of_the_client(inspection: &Inspection) -> bool {
    use forge_monitor::Place::{Cookie, Header, UserAgent};
    let own = |place| matches!(place, UserAgent | Header | Cookie);
    inspection
        .matches()
        .iter()
        .any(|found| own(found.place) && found.score >= Level::High.threshold())
}

/// Translates between the crates. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Wiring {
    audit: AuditLog,
    refusals: RefusalBudget,
    suspicions: RefusalBudget,
    excuses: RefusalBudget,
    monitor: Arc<OnceLock<Monitor>>,
}

impl Wiring {
    /// Into that log; signals follow once a monitor is [attached](Self::attach).
    #[must_use]
    pub fn new(audit: AuditLog, clock: &Clock) -> Self {
        Self {
            audit,
            refusals: RefusalBudget::new(clock),
            suspicions: RefusalBudget::signals(clock),
            excuses: RefusalBudget::excuses(clock),
            monitor: Arc::default(),
        }
    }

    /// Signals go to this monitor from now on.
    pub fn attach(&self, monitor: Monitor) {
        let _ = self.monitor.set(monitor);
    }

    /// An event into the log, without waiting. What the queue cannot take is counted there.
    pub fn audit(&self, event: Event) {
        if let Err(dropped) = self.audit.enqueue(event) {
            tracing::warn!(%dropped, "an audit event was not queued");
        }
    }

    /// A refusal into the log, as far as the budget for refusals goes.
    fn audit_refusal(&self, event: Event, cause: &Cause, mut details: Value) {
        if let Some(left_out) = self.refusals.take(event.action(), cause.address) {
            if left_out > 0 {
                details["left_out_before"] = left_out.into();
            }
            self.audit(event.details(&details));
        }
    }

    /// A signal to the monitor. What another site's page makes a browser do is none, up to ten a
    /// minute from an address: a planted link gets no visitor banned. Beyond that it counts, since
    /// the headers that say so are the client's own, and would save whoever sends them from any ban.
    pub fn signal(&self, kind: SignalKind, cause: &Cause) {
        self.signal_about(kind, cause, None);
    }

    /// The same about a user whom the cause does not name: `user` is the id of a GitHub account.
    fn signal_about(&self, kind: SignalKind, cause: &Cause, user: Option<u64>) {
        let foreign = cause.foreign && may_be_excused(&kind);
        if foreign && self.excuses.take("foreign", cause.address).is_some() {
            return;
        }
        if let Some(monitor) = self.monitor.get() {
            let mut signal = Signal::new(kind).address(cause.address);
            let user = user.map(|user| user.to_string());
            let user = user.or_else(|| cause.actor.id().map(str::to_owned));
            // What somebody was made to do is held against no account.
            if let Some(user) = user.filter(|_| !foreign) {
                signal = signal.user(user);
            }
            monitor.emit(signal);
        }
    }

    /// A component is well or ill: an event, and a signal.
    pub fn on_health_change(&self) -> impl Fn(&ComponentHealth) + Send + Sync + 'static {
        let wiring = self.clone();
        move |component| {
            let (severity, outcome) = match component.status {
                HealthStatus::Up => (Severity::Low, Outcome::Success),
                HealthStatus::Degraded => (Severity::Medium, Outcome::Error),
                HealthStatus::Down => (Severity::High, Outcome::Error),
            };
            let cause = Cause::default();
            wiring.audit(
                cause
                    .event(Kind::SecurityViolation, "health.change")
                    .outcome(outcome)
                    .severity(severity)
                    .resource(&component.name)
                    .details(&json!({
                        "status": component.status.as_str(),
                        "detail": component.detail,
                    })),
            );
            let kind = SignalKind::HealthChanged {
                component: component.name.to_string().into(),
                status: component.status,
            };
            wiring.signal(kind, &cause);
        }
    }

    /// forge-headers refused: an event. These are mistakes more often than attacks.
    pub fn on_headers_refusal(
        &self,
    ) -> impl Fn(&Parts, &forge_headers::Refusal) + Clone + Send + Sync + 'static {
        let wiring = self.clone();
        move |parts, refusal| {
            let cause = Cause::of(parts);
            let event = cause
                .event(Kind::SecurityViolation, "request.refuse")
                .outcome(Outcome::Denied)
                .severity(Severity::Medium)
                .resource(resource(parts));
            let details = json!({ "reason": refusal.kind().as_str() });
            wiring.audit_refusal(event, &cause, details);
        }
    }

    /// A browser reported what it blocked: an event, and never a signal, for anyone can make one up.
    pub fn on_browser_report(
        &self,
    ) -> impl Fn(&Parts, &[forge_headers::Report]) + Send + Sync + 'static {
        let wiring = self.clone();
        move |parts, reports| {
            let cause = Cause::of(parts);
            let event = cause
                .event(Kind::SecurityViolation, "browser.report")
                .severity(Severity::Low)
                .resource(resource(parts));
            let details = match reports.first() {
                Some(forge_headers::Report::CspViolation(violation)) => json!({
                    "type": "csp-violation",
                    "directive": violation.effective_directive,
                    "blocked": violation.blocked_url,
                    "page": violation.document_url,
                    "script": violation.source_file,
                    "line": violation.line_number,
                    "disposition": violation.disposition.as_str(),
                    "reports": reports.len(),
                }),
                Some(forge_headers::Report::Other(other)) => json!({
                    "type": other.kind,
                    "page": other.url,
                    "reports": reports.len(),
                }),
                _ => return,
            };
            wiring.audit_refusal(event, &cause, details);
        }
    }

    /// forge-ratelimit refused: an event and a signal.
    pub fn on_limit_decision(&self) -> impl Fn(&Parts, &Decision) + Clone + Send + Sync + 'static {
        let wiring = self.clone();
        move |parts, decision| {
            if decision.is_admitted() {
                return;
            }
            let cause = Cause::of(parts);
            let policies: Vec<&str> = decision.violated().map(|of| &*of.policy).collect();
            let event = cause
                .event(Kind::RateLimit, "rate_limit.exceed")
                .outcome(Outcome::Denied)
                .severity(Severity::Medium)
                .resource(resource(parts));
            wiring.audit_refusal(event, &cause, json!({ "policies": policies }));
            // A user's own quota says nothing against the address, which others may share.
            if decision
                .violated()
                .any(|of| of.key_class == KeyClass::Address)
            {
                wiring.signal(SignalKind::RateLimited, &cause);
            }
        }
    }

    /// A user has as many requests under way as may be: an event. It says nothing against the
    /// address, which others may share.
    pub fn on_concurrency(
        &self,
    ) -> impl Fn(&Parts, &ConcurrencyDecision) + Clone + Send + Sync + 'static {
        let wiring = self.clone();
        move |parts, decision| {
            if decision.outcome == ConcurrencyOutcome::Granted {
                return;
            }
            let cause = Cause::of(parts);
            let event = cause
                .event(Kind::RateLimit, "rate_limit.concurrency")
                .outcome(Outcome::Denied)
                .severity(Severity::Medium)
                .resource(resource(parts));
            let details = json!({ "policies": [&*decision.policy], "at_once": decision.max });
            wiring.audit_refusal(event, &cause, details);
        }
    }

    /// forge-session would not accept a credential: an event, and a signal where it was made up.
    pub fn on_session_rejection(
        &self,
    ) -> impl Fn(&Parts, Rejection) + Clone + Send + Sync + 'static {
        let wiring = self.clone();
        move |parts, rejection| {
            if matches!(rejection, Rejection::Absent) {
                return;
            }
            let cause = Cause::of(parts);
            let event = cause
                .event(Kind::Authentication, "auth.credential")
                .outcome(Outcome::Failure)
                .severity(Severity::Medium)
                .resource(resource(parts));
            wiring.audit_refusal(event, &cause, json!({ "reason": rejection.as_str() }));
            if is_forged(rejection) {
                wiring.signal(SignalKind::AuthFailed, &cause);
            }
        }
    }

    /// forge-session made, ended or replaced a session: an event; reuse is a signal too.
    pub fn on_session_event(&self) -> impl Fn(&SessionEvent) + Send + Sync + 'static {
        let wiring = self.clone();
        move |event| wiring.session_event(event)
    }

    fn session_event(&self, event: &SessionEvent) {
        let cause = Cause::current();
        let of = |action| cause.event(Kind::Session, action);
        match event {
            SessionEvent::Created { session } => {
                let details =
                    json!({ "kind": session.kind.as_str(), "user": session.user.as_str() });
                self.audit(
                    of("session.create")
                        .resource(session.id.to_string())
                        .details(&details),
                );
            }
            SessionEvent::Evicted { session, by } => {
                let details = json!({ "by": by.id.to_string(), "user": by.user.as_str() });
                self.audit(
                    of("session.evict")
                        .resource(session.to_string())
                        .details(&details),
                );
            }
            SessionEvent::Rotated { session } => {
                let event = cause.event(Kind::TokenRotation, "session.rotate");
                let details = json!({ "user": session.user.as_str() });
                self.audit(event.resource(session.id.to_string()).details(&details));
            }
            SessionEvent::Revoked {
                cause: why,
                sessions,
                ..
            } => {
                for session in sessions {
                    self.audit(
                        of("session.revoke")
                            .severity(Severity::Medium)
                            .resource(session.to_string())
                            .details(&json!({ "cause": why.as_str() })),
                    );
                }
            }
            SessionEvent::ReuseDetected { session, .. } => {
                self.audit(
                    cause
                        .event(Kind::SecurityViolation, "session.reuse")
                        .outcome(Outcome::Denied)
                        .severity(Severity::High)
                        .resource(session.id.to_string())
                        .details(&json!({ "user": session.user.as_str() })),
                );
                let user = github_id(&session.user);
                self.signal_about(SignalKind::SessionAnomaly, &cause, user);
            }
            SessionEvent::RefreshRejected {
                rejection, session, ..
            } => {
                let event = cause
                    .event(Kind::Authentication, "auth.refresh")
                    .outcome(Outcome::Failure)
                    .severity(Severity::Medium)
                    .details(&json!({ "reason": rejection.as_str() }));
                self.audit(match session {
                    Some(session) => event.resource(session.to_string()),
                    None => event,
                });
                if is_forged(*rejection) {
                    self.signal(SignalKind::AuthFailed, &cause);
                }
            }
            SessionEvent::ReuseTolerated { session, .. } => {
                let event = cause.event(Kind::SecurityViolation, "session.reuse");
                self.audit(
                    event
                        .severity(Severity::Medium)
                        .resource(session.id.to_string())
                        .details(&json!({ "user": session.user.as_str(), "tolerated": true })),
                );
            }
            SessionEvent::Threat {
                assessment,
                response,
            } => {
                let signals: Vec<_> = assessment.signals.iter().map(|s| s.as_str()).collect();
                let event = cause.event(Kind::SecurityViolation, "session.threat");
                let severity = match response {
                    ThreatResponse::Note => Severity::Low,
                    _ => Severity::High,
                };
                let details = json!({
                    "user": assessment.session.user.as_str(),
                    "signals": signals,
                    "score": assessment.score,
                    "response": response.as_str(),
                });
                self.audit(
                    event
                        .severity(severity)
                        .resource(assessment.session.id.to_string())
                        .details(&details),
                );
                if *response != ThreatResponse::Note {
                    let user = github_id(&assessment.session.user);
                    self.signal_about(SignalKind::SessionAnomaly, &cause, user);
                }
            }
            // Housekeeping, and what is added later.
            _ => {}
        }
    }

    /// forge-crypto could not open what it sealed, since somebody changed a row, or a key is
    /// missing; or it goes on with other keys.
    pub fn on_vault_event(&self) -> impl Fn(&VaultEvent<'_>) + Send + Sync + 'static {
        let wiring = self.clone();
        move |event| match event {
            VaultEvent::OpenFailed {
                context, reason, ..
            } => wiring.audit(
                Cause::current()
                    .event(Kind::SecurityViolation, "vault.open")
                    .outcome(Outcome::Error)
                    .severity(Severity::High)
                    .resource(format!("{}.{}", context.table(), context.column()))
                    .details(&json!({ "reason": reason.as_str() })),
            ),
            VaultEvent::Reloaded { primary, keys } => wiring.audit(
                Cause::current()
                    .event(Kind::ConfigurationChange, "vault.reload")
                    .severity(Severity::High)
                    .resource(format!("key:{primary}"))
                    .details(&json!({ "keys": keys })),
            ),
            _ => {}
        }
    }

    /// forge-monitor inspected: an event and a signal where it found something. What it saw stays
    /// out of both, for a query may hold a secret; `forge inspect` shows it.
    pub fn on_inspection(
        &self,
    ) -> impl Fn(&Parts, &Inspection, InspectOutcome) + Clone + Send + Sync + 'static {
        let wiring = self.clone();
        move |parts, inspection, outcome| {
            if outcome == InspectOutcome::Clean {
                return;
            }
            let mut cause = Cause::of(parts);
            cause.foreign &= !is_of_the_client(inspection);
            let event = cause
                .event(Kind::SecurityViolation, "request.inspect")
                .outcome(match outcome {
                    InspectOutcome::Refused => Outcome::Denied,
                    _ => Outcome::Success,
                })
                .severity(match inspection.verdict(Level::Low) {
                    Verdict::Block => Severity::High,
                    _ => Severity::Medium,
                })
                .resource(resource(parts));
            let matches = inspection.matches().iter().take(MAX_RULES);
            let rules: Vec<Value> = matches
                .map(|found| json!({ "rule": found.rule, "place": found.place.as_str() }))
                .collect();
            let details = json!({ "score": inspection.score(), "rules": rules });
            wiring.audit_refusal(event, &cause, details);
            // A flood is one thing to know, and not worth the queue.
            let score = inspection.score();
            let coalesced = || wiring.suspicions.take("request.inspect", cause.address);
            if inspection.verdict(Level::Low) == Verdict::Block && coalesced().is_some() {
                wiring.signal(SignalKind::SuspiciousRequest { score }, &cause);
            }
        }
    }

    /// The guard refused: an event and never a signal, or a ban would feed itself.
    pub fn on_guard_refusal(
        &self,
    ) -> impl Fn(&Parts, &RefusalReason) + Clone + Send + Sync + 'static {
        let wiring = self.clone();
        move |parts, reason| {
            let reason = match reason {
                RefusalReason::Blocked(decision) => decision.scenario.to_string(),
                _ => "unknown_address".to_owned(),
            };
            let cause = Cause::of(parts);
            let event = cause
                .event(Kind::SecurityViolation, "monitor.refuse")
                .outcome(Outcome::Denied)
                .severity(Severity::Low)
                .resource(resource(parts));
            wiring.audit_refusal(event, &cause, json!({ "reason": reason }));
        }
    }
}

/// A credential that nobody was given, rather than one that is over.
fn is_forged(rejection: Rejection) -> bool {
    is_forged_reason(rejection.as_str())
}

/// The same by the reason that is on record.
pub(crate) fn is_forged_reason(reason: &str) -> bool {
    match reason {
        "malformed" | "unknown" | "reused" | "wrong_client" => true,
        "token_expired" => false,
        token => token.starts_with("token_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_header_excuses_that_a_session_is_stolen() {
        assert!(!may_be_excused(&SignalKind::SessionAnomaly));
        assert!(!may_be_excused(&SignalKind::AuthOk));
        assert!(may_be_excused(&SignalKind::AuthFailed));
        assert!(may_be_excused(&SignalKind::RateLimited));
    }

    #[test]
    fn what_is_found_in_headers_of_its_own_is_the_clients() {
        let inspect = |target: &'static str, name: &'static str, value: &'static str| {
            let headers = [(name.as_bytes(), value.as_bytes())];
            forge_monitor::Inspector::new().inspect_text(target.as_bytes(), headers)
        };
        assert!(is_of_the_client(&inspect("/", "user-agent", "sqlmap/1.7")));
        assert!(is_of_the_client(&inspect("/", "x-any", "1' or '1'='1")));
        assert!(is_of_the_client(&inspect("/", "cookie", "a=1' or '1'='1")));
        let planted = "/?q=1'%20or%20'1'='1";
        assert!(!is_of_the_client(&inspect(planted, "accept", "*/*")));
        assert!(!is_of_the_client(&inspect(
            "/",
            "referer",
            "http://h/?q=1'%20or%20'1'='1"
        )));
    }
}
