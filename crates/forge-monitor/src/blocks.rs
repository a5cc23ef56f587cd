//! The active decisions of one kind: looked up without a lock, changed by one writer.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::decision::{Decision, Target};
use crate::table::AsIs;

/// How many parts the set is in: a change copies one of them.
const SHARDS: usize = 64;

/// The active decisions of one kind. A look-up reads an immutable map; a change replaces it.
///
/// One target has at most one of them.
pub(crate) struct BlockSet {
    shards: Box<[ArcSwap<Shard>]>,
    secret: RandomState,
    len: AtomicUsize,
    /// The prefix lengths that were ever in use, as bits: a look-up tries each once.
    v4_lengths: AtomicU64,
    v6_lengths: [AtomicU64; 3],
}

type Shard = HashMap<u64, Vec<Arc<Decision>>, std::hash::BuildHasherDefault<AsIs>>;

impl Default for BlockSet {
    fn default() -> Self {
        Self {
            shards: std::iter::repeat_with(ArcSwap::default)
                .take(SHARDS)
                .collect(),
            secret: RandomState::new(),
            len: AtomicUsize::new(0),
            v4_lengths: AtomicU64::new(0),
            v6_lengths: Default::default(),
        }
    }
}

impl BlockSet {
    /// The decision that holds for the address at `now`.
    pub(crate) fn of_address(
        &self,
        address: IpAddr,
        now: impl Fn() -> Timestamp,
    ) -> Option<Arc<Decision>> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let lengths = self.v4_lengths.load(Ordering::Acquire);
                longest_first(lengths).find_map(|length| {
                    let network = masked_v4(u32::from(v4), length);
                    self.at(self.hash_v4(network, length), |target| match target {
                        Target::Network(IpNet::V4(net)) => {
                            net.prefix_len() == length && u32::from(net.network()) == network
                        }
                        _ => false,
                    })
                    .filter(|found| found.is_active(now()))
                })
            }
            IpAddr::V6(v6) => (0..3).rev().find_map(|word| {
                let lengths = self.v6_lengths[word].load(Ordering::Acquire);
                longest_first(lengths).find_map(|bit| {
                    let length = bit + 64 * word as u8;
                    let network = masked_v6(u128::from(v6), length);
                    self.at(self.hash_v6(network, length), |target| match target {
                        Target::Network(IpNet::V6(net)) => {
                            net.prefix_len() == length && u128::from(net.network()) == network
                        }
                        _ => false,
                    })
                    .filter(|found| found.is_active(now()))
                })
            }),
        }
    }

    /// The decision that holds for the user at `now`.
    pub(crate) fn of_user(&self, user: &str, now: impl Fn() -> Timestamp) -> Option<Arc<Decision>> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let is_it = |target: &Target| matches!(target, Target::User(id) if &**id == user);
        self.at(self.hash_user(user), is_it)
            .filter(|found| found.is_active(now()))
    }

    /// The decision about exactly this target that holds at `now`.
    pub(crate) fn of_target(&self, target: &Target, now: Timestamp) -> Option<Arc<Decision>> {
        self.at(self.hash(target), |held| held == target)
            .filter(|found| found.is_active(now))
    }

    /// All decisions that hold at `now`, oldest first.
    pub(crate) fn list(&self, now: Timestamp) -> Vec<Arc<Decision>> {
        let mut list = self.all();
        list.retain(|decision| decision.is_active(now));
        list.sort_by_key(|decision| (decision.since, decision.id));
        list
    }

    /// How many hold at `now`.
    pub(crate) fn count(&self, now: Timestamp) -> usize {
        let active = |decision: &&Arc<Decision>| decision.is_active(now);
        self.all().iter().filter(active).count()
    }

    /// How many are held, those included whose end has not been noticed yet.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Adds decisions; of two about the same target the one that ends later stays.
    pub(crate) fn insert(&self, decisions: impl IntoIterator<Item = Arc<Decision>>) {
        for decision in decisions {
            // Before it can be found, so that whoever looks for it looks at its length.
            match &decision.target {
                Target::Network(IpNet::V4(net)) => {
                    let bit = 1 << net.prefix_len();
                    self.v4_lengths.fetch_or(bit, Ordering::AcqRel);
                }
                Target::Network(IpNet::V6(net)) => {
                    let (word, bit) = (net.prefix_len() / 64, net.prefix_len() % 64);
                    self.v6_lengths[usize::from(word)].fetch_or(1 << bit, Ordering::AcqRel);
                }
                _ => {}
            }
            let hash = self.hash(&decision.target);
            self.change(hash, |held| {
                let same = held.iter_mut().find(|held| held.target == decision.target);
                match same {
                    Some(held) if held.until >= decision.until => {}
                    Some(held) => *held = decision,
                    None => held.push(decision),
                }
            });
        }
    }

    /// Takes the decision with this id out.
    pub(crate) fn remove(&self, id: Uuid) -> Option<Arc<Decision>> {
        let found = self.all().into_iter().find(|decision| decision.id == id)?;
        self.change(self.hash(&found.target), |held| {
            held.retain(|decision| decision.id != id);
        });
        Some(found)
    }

    /// Takes out those that have ended at `now`.
    pub(crate) fn expire(&self, now: Timestamp) -> Vec<Arc<Decision>> {
        if self.len() == 0 {
            return Vec::new();
        }
        let mut ended = self.all();
        ended.retain(|decision| !decision.is_active(now));
        for decision in &ended {
            self.change(self.hash(&decision.target), |held| {
                held.retain(|held| held.id != decision.id);
            });
        }
        ended.sort_by_key(|decision| (decision.until, decision.id));
        ended
    }

    fn all(&self) -> Vec<Arc<Decision>> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            all.extend(shard.load().values().flatten().cloned());
        }
        all
    }

    fn at(&self, hash: u64, is_it: impl Fn(&Target) -> bool) -> Option<Arc<Decision>> {
        let shard = self.shards[hash as usize % SHARDS].load();
        let found = shard.get(&hash)?.iter();
        let mut found = found.filter(|decision| is_it(&decision.target));
        found.next().cloned()
    }

    /// Replaces one part. Only the detector's task writes, so no change is lost between load and
    /// store.
    fn change(&self, hash: u64, change: impl FnOnce(&mut Vec<Arc<Decision>>)) {
        let shard = &self.shards[hash as usize % SHARDS];
        let mut next: Shard = (**shard.load()).clone();
        let held = next.entry(hash).or_default();
        let before = held.len();
        change(held);
        let after = held.len();
        if held.is_empty() {
            next.remove(&hash);
        }
        shard.store(Arc::new(next));
        if after > before {
            self.len.fetch_add(after - before, Ordering::AcqRel);
        } else {
            self.len.fetch_sub(before - after, Ordering::AcqRel);
        }
    }

    fn hash(&self, target: &Target) -> u64 {
        match target {
            Target::Network(IpNet::V4(net)) => {
                self.hash_v4(u32::from(net.network()), net.prefix_len())
            }
            Target::Network(IpNet::V6(net)) => {
                self.hash_v6(u128::from(net.network()), net.prefix_len())
            }
            Target::User(user) => self.hash_user(user),
            Target::Component(name) => self.secret.hash_one((1u8, &**name)),
        }
    }

    fn hash_v4(&self, network: u32, length: u8) -> u64 {
        self.secret
            .hash_one(u64::from(network) | (u64::from(length) << 32))
    }

    fn hash_v6(&self, network: u128, length: u8) -> u64 {
        self.secret.hash_one((network, length))
    }

    fn hash_user(&self, user: &str) -> u64 {
        self.secret.hash_one(user)
    }
}

/// The places of the bits that are set, highest first.
fn longest_first(mut bits: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let bit = bits.checked_ilog2()?;
        bits &= !(1 << bit);
        Some(bit as u8)
    })
}

fn masked_v4(address: u32, length: u8) -> u32 {
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    address & mask
}

fn masked_v6(address: u128, length: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    address & mask
}

impl std::fmt::Debug for BlockSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockSet")
            .field("len", &self.len())
            .finish_non_exhaustive()
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
        assert!(set.of_user("7", || at(9)).is_some());
        assert!(set.of_user("7", || at(10)).is_none());
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

    #[test]
    fn finds_a_network_of_every_length() {
        for length in 0..=128u8 {
            let set = BlockSet::default();
            let net = ipnet::Ipv6Net::new_assert("2001:db8:1:2:3:4:5:6".parse().unwrap(), length);
            set.insert([block(Target::Network(IpNet::V6(net.trunc())), 10)]);
            let found = |text: &str| set.of_address(address(text), || at(1)).is_some();
            assert!(found("2001:db8:1:2:3:4:5:6"), "{length}");
            assert_eq!(found("2001:db8:1:2:3:4:5:7"), length < 128, "{length}");
            assert_eq!(found("a001:db8:1:2:3:4:5:6"), length == 0, "{length}");
        }
        for length in 0..=32u8 {
            let set = BlockSet::default();
            let net = ipnet::Ipv4Net::new_assert([192, 0, 2, 1].into(), length);
            set.insert([block(Target::Network(IpNet::V4(net.trunc())), 10)]);
            let found = |text: &str| set.of_address(address(text), || at(1)).is_some();
            assert!(found("192.0.2.1"), "{length}");
            assert_eq!(found("192.0.2.0"), length < 32, "{length}");
            assert_eq!(found("64.0.2.1"), length == 0, "{length}");
        }
    }
}
