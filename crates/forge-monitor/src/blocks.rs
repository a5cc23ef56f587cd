//! The active blocks: looked up without a lock, changed by one writer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::decision::{Decision, Target};

/// The active blocks of a monitor. A look-up reads an immutable map; a change replaces it.
///
/// One target has at most one block.
#[derive(Debug, Default)]
pub(crate) struct BlockSet {
    current: ArcSwap<Blocks>,
}

#[derive(Clone, Debug, Default)]
struct Blocks {
    by_target: HashMap<Target, Arc<Decision>>,
    /// The prefix lengths in use, longest first, so that a look-up tries each once.
    v4_lengths: Vec<u8>,
    v6_lengths: Vec<u8>,
    soonest: Option<Timestamp>,
}

impl BlockSet {
    /// The block that holds for the address at `now`.
    pub(crate) fn of_address(
        &self,
        address: IpAddr,
        now: impl Fn() -> Timestamp,
    ) -> Option<Arc<Decision>> {
        let address = address.to_canonical();
        let blocks = self.current.load();
        let lengths = match address {
            IpAddr::V4(_) => &blocks.v4_lengths,
            IpAddr::V6(_) => &blocks.v6_lengths,
        };
        lengths
            .iter()
            .filter_map(|&length| {
                let network = IpNet::new(address, length).ok()?.trunc();
                blocks.by_target.get(&Target::Network(network))
            })
            // The clock is read for a hit only.
            .find(|found| found.is_active(now()))
            .cloned()
    }

    /// The block that holds for the user at `now`.
    pub(crate) fn of_user(&self, user: &str, now: Timestamp) -> Option<Arc<Decision>> {
        self.of_target(&Target::User(user.into()), now)
    }

    /// The block of exactly this target that holds at `now`.
    pub(crate) fn of_target(&self, target: &Target, now: Timestamp) -> Option<Arc<Decision>> {
        let blocks = self.current.load();
        let found = blocks.by_target.get(target)?;
        found.is_active(now).then(|| Arc::clone(found))
    }

    /// All blocks that hold at `now`, oldest first.
    pub(crate) fn list(&self, now: Timestamp) -> Vec<Arc<Decision>> {
        let blocks = self.current.load();
        let mut list: Vec<_> = blocks
            .by_target
            .values()
            .filter(|decision| decision.is_active(now))
            .cloned()
            .collect();
        list.sort_by_key(|decision| (decision.since, decision.id));
        list
    }

    /// How many blocks hold at `now`.
    pub(crate) fn count(&self, now: Timestamp) -> usize {
        let blocks = self.current.load();
        let held = blocks.by_target.values();
        held.filter(|decision| decision.is_active(now)).count()
    }

    /// How many blocks are held, those included whose end has not been noticed yet.
    pub(crate) fn len(&self) -> usize {
        self.current.load().by_target.len()
    }

    /// Adds blocks; of two for the same target the one that ends later stays.
    pub(crate) fn insert(&self, decisions: impl IntoIterator<Item = Arc<Decision>>) {
        self.change(|by_target| {
            for decision in decisions {
                match by_target.get(&decision.target) {
                    Some(held) if held.until >= decision.until => {}
                    _ => {
                        by_target.insert(decision.target.clone(), decision);
                    }
                }
            }
        });
    }

    /// Takes the block with this id out.
    pub(crate) fn remove(&self, id: Uuid) -> Option<Arc<Decision>> {
        let found = self
            .current
            .load()
            .by_target
            .values()
            .find(|decision| decision.id == id)
            .cloned()?;
        self.change(|by_target| {
            by_target.remove(&found.target);
        });
        Some(found)
    }

    /// Takes out those that have ended at `now`.
    pub(crate) fn expire(&self, now: Timestamp) -> Vec<Arc<Decision>> {
        if self
            .current
            .load()
            .soonest
            .is_none_or(|soonest| now < soonest)
        {
            return Vec::new();
        }
        let mut ended = Vec::new();
        self.change(|by_target| {
            by_target.retain(|_, decision| {
                let active = decision.is_active(now);
                if !active {
                    ended.push(Arc::clone(decision));
                }
                active
            });
        });
        ended.sort_by_key(|decision| (decision.until, decision.id));
        ended
    }

    /// Replaces the map. Only the detector's task writes, so no change is lost between load and
    /// store.
    fn change(&self, change: impl FnOnce(&mut HashMap<Target, Arc<Decision>>)) {
        let mut by_target = self.current.load().by_target.clone();
        change(&mut by_target);
        let mut next = Blocks::default();
        for (target, decision) in &by_target {
            next.soonest = Some(
                next.soonest
                    .map_or(decision.until, |soonest| soonest.min(decision.until)),
            );
            let (lengths, length) = match target {
                Target::Network(IpNet::V4(net)) => (&mut next.v4_lengths, net.prefix_len()),
                Target::Network(IpNet::V6(net)) => (&mut next.v6_lengths, net.prefix_len()),
                Target::User(_) => continue,
            };
            if !lengths.contains(&length) {
                lengths.push(length);
            }
        }
        next.v4_lengths.sort_unstable_by(|a, b| b.cmp(a));
        next.v6_lengths.sort_unstable_by(|a, b| b.cmp(a));
        next.by_target = by_target;
        self.current.store(Arc::new(next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn block(target: Target, until: i64) -> Arc<Decision> {
        Arc::new(Decision::block("test", target, at(0), at(until)))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn finds_an_address_by_the_network_it_lies_in() {
        let set = BlockSet::default();
        set.insert([
            block(Target::of_address(address("192.0.2.1")), 10),
            block(Target::of_address(address("2001:db8::1")), 10),
            block(Target::Network("198.51.100.0/24".parse().unwrap()), 10),
        ]);
        for blocked in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "2001:db8::ffff",
            "198.51.100.9",
        ] {
            assert!(
                set.of_address(address(blocked), || at(1)).is_some(),
                "{blocked}"
            );
        }
        for free in ["192.0.2.2", "2001:db8:0:1::1", "198.51.101.9"] {
            assert!(set.of_address(address(free), || at(1)).is_none(), "{free}");
        }
    }

    #[test]
    fn a_block_that_has_ended_is_not_found_even_before_it_is_taken_out() {
        let set = BlockSet::default();
        set.insert([block(Target::User("7".into()), 10)]);
        assert!(set.of_user("7", at(9)).is_some());
        assert!(set.of_user("7", at(10)).is_none());
        assert!(set.list(at(10)).is_empty());
        assert_eq!(set.len(), 1);
        assert!(set.expire(at(9)).is_empty());
        assert_eq!(set.expire(at(10)).len(), 1);
        assert_eq!(set.len(), 0);
        assert!(set.expire(at(11)).is_empty());
    }

    #[test]
    fn an_ended_block_does_not_hide_that_of_a_wider_network() {
        let set = BlockSet::default();
        set.insert([
            block(Target::of_address(address("192.0.2.1")), 10),
            block(Target::Network("192.0.2.0/24".parse().unwrap()), 20),
        ]);
        assert!(set.of_address(address("192.0.2.1"), || at(15)).is_some());
    }

    #[test]
    fn of_two_blocks_of_one_target_the_longer_stays() {
        let set = BlockSet::default();
        let target = Target::of_address(address("192.0.2.1"));
        set.insert([block(target.clone(), 10), block(target.clone(), 20)]);
        set.insert([block(target.clone(), 15)]);
        assert_eq!(set.of_target(&target, at(1)).unwrap().until, at(20));
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn a_block_is_taken_out_by_its_id() {
        let set = BlockSet::default();
        let decision = block(Target::of_address(address("192.0.2.1")), 10);
        set.insert([Arc::clone(&decision)]);
        assert!(set.remove(Uuid::nil()).is_none());
        assert_eq!(set.remove(decision.id), Some(decision));
        assert!(set.of_address(address("192.0.2.1"), || at(1)).is_none());
    }
}
