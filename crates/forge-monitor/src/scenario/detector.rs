//! A scenario and its state.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use super::{Distinct, Rule, Scenario, Scope};
use crate::pattern::name_of;
use crate::seen::Earlier;
use crate::signal::{MatchSignal, Signal, SignalClass, SignalKind};
use crate::table::Table;

/// Hashes with a secret of the process, so that nobody can choose keys that meet in one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher(RandomState);

/// What a signal is counted by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashed {
    address: Option<u64>,
    user: Option<u64>,
    name: Option<u64>,
    component: Option<u64>,
}

impl Hasher {
    pub(crate) fn signal(&self, signal: &Signal) -> Hashed {
        let name = name_of(&signal.kind).map(|name| self.0.hash_one((2u8, name)));
        let component = match &signal.kind {
            SignalKind::HealthChanged { .. } => name,
            _ => None,
        };
        Hashed {
            address: signal.address.map(|address| self.address(address)),
            user: signal.user.as_deref().map(|user| self.user(user)),
            name,
            component,
        }
    }

    /// IPv6 by /64.
    fn address(&self, address: IpAddr) -> u64 {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.0.hash_one((0u8, u64::from(u32::from(v4)))),
            IpAddr::V6(v6) => self.0.hash_one((1u8, (u128::from(v6) >> 64) as u64)),
        }
    }

    fn user(&self, user: &str) -> u64 {
        self.0.hash_one((3u8, user))
    }

    pub(crate) fn target(&self, target: &crate::Target) -> u64 {
        match target {
            crate::Target::Network(network) => self.address(network.addr()),
            crate::Target::User(user) => self.user(user),
            crate::Target::Component(name) => self.0.hash_one((2u8, &**name)),
        }
    }
}

impl Hashed {
    pub(crate) fn key(&self, scope: Scope) -> Option<u64> {
        match scope {
            Scope::Address => self.address,
            Scope::User => self.user,
            Scope::Component => self.component,
        }
    }

    fn member(&self, of: Option<Distinct>) -> Option<u64> {
        match of {
            None => Some(0),
            Some(Distinct::User) => self.user,
            Some(Distinct::Address) => self.address,
            Some(Distinct::Name) => self.name,
        }
    }
}

/// What a signal did to its key's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The rule is met.
    pub(crate) met: bool,
    /// A key whose state still meant something had to go.
    pub(crate) evicted: bool,
}

/// What is counted. Who was seen once is remembered for all scenarios of a lane together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneKind {
    /// None of a closure: nobody knows what it matches.
    class: Option<SignalClass>,
    scope: Scope,
    of: Option<Distinct>,
}

impl LaneKind {
    /// Takes another one in, where both are about the same signals and nothing is mixed up.
    pub(crate) fn join(&mut self, other: Self) -> bool {
        let same = self.class.is_some() && self.class == other.class && self.scope == other.scope;
        let fits = same && (self.of == other.of || self.of.is_none() || other.of.is_none());
        if fits {
            self.of = self.of.or(other.of);
        }
        fits
    }

    /// What is noted of the member; zero is none.
    pub(crate) fn member(self, hashed: &Hashed) -> u64 {
        match self.of {
            None => 0,
            of => hashed.member(of).unwrap_or(0),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Detector {
    scenario: Scenario,
    table: Table,
    /// Which of the lanes, where one sighting needs no place in the table.
    pub(crate) lane: Option<usize>,
}

impl Detector {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let rule = &scenario.rule;
        let table = Table::new(rule.width(), rule.max_rank(), scenario.capacity);
        Self {
            scenario,
            table,
            lane: None,
        }
    }

    /// Its state starts anew.
    pub(crate) fn restart(&mut self) {
        let lane = self.lane;
        *self = Self::new(self.scenario.clone());
        self.lane = lane;
    }

    pub(crate) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// What it counts, where one sighting needs no place in the table.
    pub(crate) fn lane_kind(&self) -> Option<LaneKind> {
        let matcher: &Arc<dyn MatchSignal> = self.scenario.rule.remembered_apart()?;
        Some(LaneKind {
            class: matcher.class(),
            scope: self.scenario.scope,
            of: self.scenario.rule.distinct(),
        })
    }

    /// Whether the signal ends what was counted of its key.
    pub(crate) fn resets(&self, kind: &SignalKind) -> bool {
        let reset_on = self.scenario.reset_on.as_ref();
        reset_on.is_some_and(|reset_on| reset_on.matches(kind))
    }

    /// What the signal is counted by and as, where the rule is about it.
    pub(crate) fn concerns(&self, kind: &SignalKind, hashed: &Hashed) -> Option<(u64, u64)> {
        if !self.scenario.rule.matches(kind) {
            return None;
        }
        let key = hashed.key(self.scenario.scope)?;
        let member = hashed.member(self.scenario.rule.distinct())?;
        Some((key, member))
    }

    pub(crate) fn observe(
        &mut self,
        kind: &SignalKind,
        (key, member): (u64, u64),
        earlier: Option<Earlier>,
        now: u64,
    ) -> Observed {
        let rule = &self.scenario.rule;
        let place = match rule {
            // What is new is the pair.
            Rule::First { .. } => key ^ member.rotate_left(32),
            _ => key,
        };
        if self.lane.is_some() && earlier.is_none() && !self.table.contains(place) {
            return Observed {
                met: false,
                evicted: false,
            };
        }
        let mut met = false;
        let evicted = self.table.change(place, now, |mut state| {
            let (is_met, kept) = rule.take(kind, member, earlier, now, &mut state);
            met = is_met;
            kept
        });
        Observed { met, evicted }
    }

    /// Starts the state of `key` anew.
    pub(crate) fn clear(&mut self, key: u64) {
        self.table.remove(key);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes()
    }
}
