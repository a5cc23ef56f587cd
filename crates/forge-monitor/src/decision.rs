//! Decisions: who is blocked, by which scenario, since when and until when.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::clock::Timestamp;

/// Whom a decision concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// Every address of a network: one IPv4 address, or the /64 of an IPv6 address.
    Network(IpNet),
    /// A user, by id.
    User(Arc<str>),
    /// A component of the service, by name: alerts concern it, decisions never do.
    Component(Arc<str>),
}

impl Target {
    /// The network that stands for one client: the IPv4 address itself, or the /64 an IPv6 address
    /// lies in, since whoever has one address of a /64 has them all.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V4(v4) => IpNet::V4(v4.into()),
            IpAddr::V6(v6) => IpNet::V6(ipnet::Ipv6Net::new_assert(v6, 64).trunc()),
        })
    }

    /// `network`, `user` or `component`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Network(_) => "network",
            Self::User(_) => "user",
            Self::Component(_) => "component",
        }
    }

    /// The target without its kind: an address without prefix length where it is a single IPv4
    /// address, a network in CIDR notation, or a user's id as it was given.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Network(IpNet::V4(net)) if net.prefix_len() == 32 => net.addr().to_string(),
            Self::Network(net) => net.to_string(),
            Self::User(name) | Self::Component(name) => name.to_string(),
        }
    }

    /// The same as text that [`parse`](Self::parse) reads back as it was: a network always with
    /// its prefix length.
    #[must_use]
    pub fn stored(&self) -> String {
        match self {
            Self::Network(network) => network.to_string(),
            other => other.value(),
        }
    }

    /// The target of that kind and [`stored`](Self::stored) text.
    #[must_use]
    pub fn parse(kind: &str, stored: &str) -> Option<Self> {
        match kind {
            "network" => stored.parse().ok().map(Self::Network),
            "user" => Some(Self::User(stored.into())),
            "component" => Some(Self::Component(stored.into())),
            _ => None,
        }
    }
}

/// `network 192.0.2.1`; control characters of a user's id are escaped.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.value().escape_debug())
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.kind(), &self.value())?;
        map.end()
    }
}

/// What is done about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// It is refused.
    Block,
    /// A user's sessions are ended, once, by a [`Responder`](crate::Responder).
    RevokeSessions,
    /// Its limits are smaller; see [`Guard::is_tightened`](crate::Guard::is_tightened).
    TightenLimit,
    /// A user has to sign in again: sessions that began before the decision are not accepted; see
    /// [`Guard::must_sign_in`](crate::Guard::must_sign_in).
    RequireSignIn,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] = [
        Self::Block,
        Self::RevokeSessions,
        Self::TightenLimit,
        Self::RequireSignIn,
    ];

    /// The name in stores, events and configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::RevokeSessions => "revoke_sessions",
            Self::TightenLimit => "tighten_limit",
            Self::RequireSignIn => "require_sign_in",
        }
    }

    /// The action of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// One decision: an action on a target for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Decision {
    /// The id, a UUIDv7.
    #[serde(serialize_with = "as_text")]
    pub id: Uuid,
    /// The name of the scenario that decided.
    pub scenario: Arc<str>,
    /// Whom it concerns.
    pub target: Target,
    /// What is done.
    pub action: Action,
    /// When it was decided.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// How often the scenario decided this about the target before; each time doubles the length.
    pub escalation: u32,
}

impl Decision {
    /// A block of `target` with a new id and no escalation.
    #[must_use]
    pub fn block(
        scenario: impl Into<Arc<str>>,
        target: Target,
        since: Timestamp,
        until: Timestamp,
    ) -> Self {
        Self::new(Action::Block, scenario, target, since, until)
    }

    /// A decision with a new id and no escalation.
    #[must_use]
    pub fn new(
        action: Action,
        scenario: impl Into<Arc<str>>,
        target: Target,
        since: Timestamp,
        until: Timestamp,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            scenario: scenario.into(),
            target,
            action,
            since,
            until,
            escalation: 0,
        }
    }

    /// Sets the id, for stores that read a decision back.
    #[must_use]
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// Sets the escalation count.
    #[must_use]
    pub fn escalation(mut self, escalation: u32) -> Self {
        self.escalation = escalation;
        self
    }

    /// Whether the decision still holds at `now`; at the very moment of `until` it does not.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// How long it still holds.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Duration {
        self.until.saturating_since(now)
    }
}

fn as_text<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// That a decision was lifted before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lift {
    /// When.
    pub at: Timestamp,
    /// By whom, as far as it is known; for people to read.
    pub by: Arc<str>,
    /// Whether the observers of a monitor know of it. Who lifts it in the store alone, beside a
    /// running monitor, leaves it to that monitor to notice and to tell.
    pub told: bool,
}

impl Lift {
    /// A lift that no observer knows of yet.
    #[must_use]
    pub fn new(at: Timestamp, by: impl Into<Arc<str>>) -> Self {
        Self {
            at,
            by: by.into(),
            told: false,
        }
    }

    /// Sets whether the observers know of it.
    #[must_use]
    pub fn told(mut self, told: bool) -> Self {
        self.told = told;
        self
    }
}

/// A decision as a store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The decision.
    pub decision: Decision,
    /// Whether it was lifted.
    pub lifted: Option<Lift>,
}

impl Stored {
    /// A decision, and whether it was lifted.
    #[must_use]
    pub fn new(decision: Decision, lifted: Option<Lift>) -> Self {
        Self { decision, lifted }
    }
}

/// The length of a decision after `escalation` earlier ones: `base` doubled as often, at most `max`,
/// and of a repeated one up to `jitter` percent less, by `chance`: who comes back is not to know to
/// the second when the door opens.
pub(crate) fn escalated(
    base: Duration,
    escalation: u32,
    max: Duration,
    jitter: u8,
    chance: u32,
) -> Duration {
    // A base above the cap was asked for by the scenario and stays what it is.
    let max = max.max(base);
    let length = 2u32
        .checked_pow(escalation)
        .and_then(|factor| base.checked_mul(factor))
        .map_or(max, |length| length.min(max));
    if escalation == 0 {
        return length;
    }
    let part = f64::from(jitter.min(100)) / 100.0 * (f64::from(chance) / f64::from(u32::MAX));
    length.mul_f64(1.0 - part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_a_slash_64_and_mapped_ipv4_is_ipv4() {
        let one = Target::of_address("2001:db8:0:1:aaaa::1".parse().unwrap());
        let two = Target::of_address("2001:db8:0:1:bbbb::2".parse().unwrap());
        assert_eq!(one, two);
        assert_eq!(one.value(), "2001:db8:0:1::/64");
        let mapped = Target::of_address("::ffff:192.0.2.1".parse().unwrap());
        assert_eq!(mapped.value(), "192.0.2.1");
    }

    #[test]
    fn each_repetition_doubles_the_block_up_to_the_cap() {
        let (base, max) = (Duration::from_secs(60), Duration::from_secs(300));
        let exact = |base, n, max| escalated(base, n, max, 0, u32::MAX);
        let lengths: Vec<_> = (0..5).map(|n| exact(base, n, max).as_secs()).collect();
        assert_eq!(lengths, [60, 120, 240, 300, 300]);
        assert_eq!(exact(base, u32::MAX, max), max);
        assert_eq!(exact(max, 3, base), max);
    }

    #[test]
    fn jitter_shortens_a_repeated_block_and_never_passes_the_cap() {
        let (base, max) = (Duration::from_secs(100), Duration::from_secs(200));
        let length = |n, chance| escalated(base, n, max, 10, chance).as_secs();
        assert_eq!(length(0, u32::MAX), 100);
        assert_eq!(length(1, 0), 200);
        assert_eq!(length(1, u32::MAX / 2), 190);
        assert_eq!(length(1, u32::MAX), 180);
        assert_eq!(escalated(base, 1, max, 255, u32::MAX), Duration::ZERO);
    }

    #[test]
    fn a_target_reads_back_as_it_was_stored() {
        for target in [
            Target::of_address("192.0.2.1".parse().unwrap()),
            Target::of_address("2001:db8::1".parse().unwrap()),
            Target::User("7".into()),
            Target::Component("database".into()),
        ] {
            let read = Target::parse(target.kind(), &target.stored());
            assert_eq!(read, Some(target));
        }
        assert_eq!(Target::parse("network", "x"), None);
        assert_eq!(Target::parse("city", "x"), None);
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
    }

    #[test]
    fn serializes_as_an_administrator_reads_it() {
        let decision = Decision::block(
            "failed_authentications",
            Target::User("a\nb".into()),
            Timestamp::from_micros(1),
            Timestamp::from_micros(2),
        )
        .id(Uuid::nil());
        assert_eq!(
            serde_json::to_string(&decision).unwrap(),
            r#"{"id":"00000000-0000-0000-0000-000000000000","scenario":"failed_authentications","target":{"user":"a\nb"},"action":"block","since":1,"until":2,"escalation":0}"#
        );
        assert_eq!(decision.target.to_string(), "user a\\nb");
    }

    #[test]
    fn ends_at_the_moment_it_names() {
        let (since, until) = (Timestamp::from_micros(1), Timestamp::from_micros(5));
        let decision = Decision::block("x", Target::User("7".into()), since, until);
        assert!(decision.is_active(Timestamp::from_micros(4)));
        assert!(!decision.is_active(until));
        assert_eq!(decision.remaining(since), Duration::from_micros(4));
    }
}
