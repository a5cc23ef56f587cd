//! Signals: what the rest of a service reports, typed, so that nothing is read out of logs.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::health::HealthStatus;

/// The longest user id, in bytes, that is counted; a longer one is treated as absent.
pub const MAX_USER_LEN: usize = 256;
/// The longest name of a tool, a component or a path, in bytes; a longer one is cut.
const MAX_NAME_LEN: usize = 256;

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
    /// A tool has answered.
    ToolOutput {
        /// The tool's name.
        tool: Cow<'static, str>,
        /// How long the answer is, in bytes.
        bytes: u64,
    },
    /// A path was asked for that is not there.
    PathMissing {
        /// The path, without its query.
        path: Cow<'static, str>,
    },
    /// A path was asked for that nothing leads to and only a scanner looks for.
    TrapTouched {
        /// The path, without its query.
        path: Cow<'static, str>,
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
            Self::ToolOutput { .. } => SignalClass::ToolOutput,
            Self::PathMissing { .. } => SignalClass::PathMissing,
            Self::TrapTouched { .. } => SignalClass::TrapTouched,
            Self::AdminAct => SignalClass::AdminAct,
            Self::HealthChanged { .. } => SignalClass::HealthChanged,
            Self::Custom(_) => SignalClass::Custom,
        }
    }
}

/// The kind of a signal without what it carries; matches every signal of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// [`SignalKind::ToolOutput`].
    ToolOutput,
    /// [`SignalKind::PathMissing`].
    PathMissing,
    /// [`SignalKind::TrapTouched`].
    TrapTouched,
    /// [`SignalKind::AdminAct`].
    AdminAct,
    /// [`SignalKind::HealthChanged`].
    HealthChanged,
    /// [`SignalKind::Custom`].
    Custom,
}

impl SignalClass {
    /// Every class, in the order of their definition.
    pub const ALL: [Self; 12] = [
        Self::AuthFailed,
        Self::AuthOk,
        Self::RateLimited,
        Self::SuspiciousRequest,
        Self::SessionAnomaly,
        Self::ToolCall,
        Self::ToolOutput,
        Self::PathMissing,
        Self::TrapTouched,
        Self::AdminAct,
        Self::HealthChanged,
        Self::Custom,
    ];

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
            Self::ToolOutput => "tool_output",
            Self::PathMissing => "path_missing",
            Self::TrapTouched => "trap_touched",
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
        self.bounded()
    }

    /// The same, to be dated later: who emits it is not to wait for one more clock.
    pub(crate) fn bounded(mut self) -> Self {
        self.address = self.address.map(|address| address.to_canonical());
        // No database keeps a zero byte in a text, and no user has one in an id.
        let is_id = |user: &String| user.len() <= MAX_USER_LEN && !user.contains('\0');
        self.user = self.user.filter(is_id);
        match &mut self.kind {
            SignalKind::ToolCall { tool } | SignalKind::ToolOutput { tool, .. } => cut(tool),
            SignalKind::PathMissing { path } | SignalKind::TrapTouched { path } => cut(path),
            SignalKind::HealthChanged { component, .. } => cut(component),
            _ => {}
        }
        self
    }
}

fn cut(name: &mut Cow<'static, str>) {
    if name.len() > MAX_NAME_LEN {
        let end = name.floor_char_boundary(MAX_NAME_LEN);
        *name = Cow::Owned(name[..end].to_owned());
    }
}

/// Which signals a scenario counts. Implemented for [`SignalClass`], [`SignalPattern`] and for
/// closures.
///
/// [`SignalPattern`]: crate::SignalPattern
pub trait MatchSignal: Send + Sync + 'static {
    /// Whether a signal of this kind counts.
    fn matches(&self, kind: &SignalKind) -> bool;

    /// The class, where every signal of one class matches and no other: scenarios that count the
    /// same then share what they remember of whoever was seen once.
    fn class(&self) -> Option<SignalClass> {
        None
    }
}

impl MatchSignal for SignalClass {
    fn matches(&self, kind: &SignalKind) -> bool {
        kind.class() == *self
    }

    fn class(&self) -> Option<SignalClass> {
        Some(*self)
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
    fn a_name_is_cut_between_characters() {
        let path = format!("{}\u{1f512}\u{1f512}", "x".repeat(MAX_NAME_LEN - 2));
        let signal = Signal::new(SignalKind::PathMissing { path: path.into() });
        let SignalKind::PathMissing { path } = signal.received(Timestamp::from_micros(0)).kind
        else {
            panic!("another kind");
        };
        assert_eq!(path, "x".repeat(MAX_NAME_LEN - 2));
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
