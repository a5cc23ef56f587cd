//! Signals: what the rest of a service reports, typed, so that nothing is read out of logs.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::health::HealthStatus;

/// The longest user id, in bytes, that is counted; a longer one is treated as absent.
pub const MAX_USER_LEN: usize = 256;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SignalKind {
    /// A credential was wrong, expired, forged or not allowed.
    AuthFailed,
    /// A sign-in, or a first use of a credential, succeeded.
    AuthOk,
    /// A request was refused because a quota is used up.
    RateLimited,
    /// A request looks like an attack.
    SuspiciousRequest {
        /// How much, on the scale of the inspector that reports it.
        score: u32,
    },
    /// A session was used in a way its owner would not: a replayed token, a changed device.
    SessionAnomaly,
    /// A tool was called.
    ToolCall {
        /// The tool's name.
        tool: Cow<'static, str>,
    },
    /// An administrator changed something.
    AdminAct,
    /// A component came up, went down, or is degraded.
    HealthChanged {
        /// The component's name.
        component: Cow<'static, str>,
        /// What it is now.
        status: HealthStatus,
    },
    /// Something else, named by the service.
    Custom(&'static str),
}

impl SignalKind {
    /// The kind without what it carries.
    #[must_use]
    pub fn class(&self) -> SignalClass {
        match self {
            Self::AuthFailed => SignalClass::AuthFailed,
            Self::AuthOk => SignalClass::AuthOk,
            Self::RateLimited => SignalClass::RateLimited,
            Self::SuspiciousRequest { .. } => SignalClass::SuspiciousRequest,
            Self::SessionAnomaly => SignalClass::SessionAnomaly,
            Self::ToolCall { .. } => SignalClass::ToolCall,
            Self::AdminAct => SignalClass::AdminAct,
            Self::HealthChanged { .. } => SignalClass::HealthChanged,
            Self::Custom(_) => SignalClass::Custom,
        }
    }
}

/// The kind of a signal without what it carries; matches every signal of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalClass {
    /// [`SignalKind::AuthFailed`].
    AuthFailed,
    /// [`SignalKind::AuthOk`].
    AuthOk,
    /// [`SignalKind::RateLimited`].
    RateLimited,
    /// [`SignalKind::SuspiciousRequest`].
    SuspiciousRequest,
    /// [`SignalKind::SessionAnomaly`].
    SessionAnomaly,
    /// [`SignalKind::ToolCall`].
    ToolCall,
    /// [`SignalKind::AdminAct`].
    AdminAct,
    /// [`SignalKind::HealthChanged`].
    HealthChanged,
    /// [`SignalKind::Custom`].
    Custom,
}

impl SignalClass {
    /// The name in metrics and configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthFailed => "auth_failed",
            Self::AuthOk => "auth_ok",
            Self::RateLimited => "rate_limited",
            Self::SuspiciousRequest => "suspicious_request",
            Self::SessionAnomaly => "session_anomaly",
            Self::ToolCall => "tool_call",
            Self::AdminAct => "admin_act",
            Self::HealthChanged => "health_changed",
            Self::Custom => "custom",
        }
    }
}

/// One report, with whom it concerns as far as that is known.
///
/// ```
/// use forge_monitor::{Signal, SignalKind};
///
/// let signal = Signal::new(SignalKind::AuthFailed)
///     .address("198.51.100.7".parse::<std::net::IpAddr>()?)
///     .user("583231");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Signal {
    /// What happened.
    pub kind: SignalKind,
    /// The client's address. An IPv4 address mapped into IPv6 counts as IPv4.
    pub address: Option<IpAddr>,
    /// The user's stable id, not a name that can change hands; at most [`MAX_USER_LEN`] bytes.
    pub user: Option<String>,
    /// When it happened; the monitor fills in the time of `emit` where it is absent.
    pub at: Option<Timestamp>,
}

impl Signal {
    /// A signal about nobody in particular, as of now.
    #[must_use]
    pub fn new(kind: SignalKind) -> Self {
        Self {
            kind,
            address: None,
            user: None,
            at: None,
        }
    }

    /// Sets the client's address, where there is one.
    #[must_use]
    pub fn address(mut self, address: impl Into<Option<IpAddr>>) -> Self {
        self.address = address.into();
        self
    }

    /// Sets the user's id.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets when it happened.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// The signal as the monitor takes it: dated, with a canonical address, in bounded memory.
    pub(crate) fn received(mut self, now: Timestamp) -> Self {
        self.at.get_or_insert(now);
        self.address = self.address.map(|address| address.to_canonical());
        self.user = self.user.filter(|user| user.len() <= MAX_USER_LEN);
        self
    }
}

/// Which signals a scenario counts. Implemented for [`SignalClass`] and for closures.
pub trait MatchSignal: Send + Sync + 'static {
    /// Whether a signal of this kind counts.
    fn matches(&self, kind: &SignalKind) -> bool;
}

impl MatchSignal for SignalClass {
    fn matches(&self, kind: &SignalKind) -> bool {
        kind.class() == *self
    }
}

impl<F> MatchSignal for F
where
    F: Fn(&SignalKind) -> bool + Send + Sync + 'static,
{
    fn matches(&self, kind: &SignalKind) -> bool {
        self(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_received_signal_is_dated_canonical_and_bounded() {
        let now = Timestamp::from_micros(7);
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let signal = Signal::new(SignalKind::AuthFailed)
            .address(mapped)
            .user("u".repeat(MAX_USER_LEN + 1))
            .received(now);
        assert_eq!(signal.at, Some(now));
        assert_eq!(signal.address, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(signal.user, None);

        let earlier = Timestamp::from_micros(3);
        let signal = Signal::new(SignalKind::AuthOk).at(earlier).received(now);
        assert_eq!(signal.at, Some(earlier));
    }

    #[test]
    fn a_class_matches_whatever_the_kind_carries() {
        let kind = SignalKind::SuspiciousRequest { score: 3 };
        assert!(SignalClass::SuspiciousRequest.matches(&kind));
        assert!(!SignalClass::AuthFailed.matches(&kind));
        let high = |kind: &SignalKind| matches!(kind, SignalKind::SuspiciousRequest { score } if *score > 5);
        assert!(!high.matches(&kind));
    }
}
