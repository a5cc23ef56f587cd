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

    /// `network` or `user`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Network(_) => "network",
            Self::User(_) => "user",
        }
    }

    /// The target without its kind: an address without prefix length where it is a single IPv4
    /// address, a network in CIDR notation, or a user's id as it was given.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Network(IpNet::V4(net)) if net.prefix_len() == 32 => net.addr().to_string(),
            Self::Network(net) => net.to_string(),
            Self::User(user) => user.to_string(),
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
}

impl Action {
    /// The name in stores and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
        }
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
    /// How often the target was blocked by this scenario before and came back; each time doubles
    /// the length.
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
        Self {
            id: Uuid::now_v7(),
            scenario: scenario.into(),
            target,
            action: Action::Block,
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

/// The length of a block after `escalation` earlier ones: `base` doubled as often, at most `max`.
pub(crate) fn escalated(base: Duration, escalation: u32, max: Duration) -> Duration {
    // A base above the cap was asked for by the scenario and stays what it is.
    let max = max.max(base);
    2u32.checked_pow(escalation)
        .and_then(|factor| base.checked_mul(factor))
        .map_or(max, |length| length.min(max))
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
        let lengths: Vec<_> = (0..5).map(|n| escalated(base, n, max).as_secs()).collect();
        assert_eq!(lengths, [60, 120, 240, 300, 300]);
        assert_eq!(escalated(base, u32::MAX, max), max);
        assert_eq!(escalated(max, 3, base), max);
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
