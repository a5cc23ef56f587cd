//! Debts in a table of fixed size, in this process.
//!
//! The table is set-associative: a key's hash names its set of eight slots, and a slot is sixteen
//! bytes, the hash and the theoretical arrival time. A new key in a full set takes the slot of a
//! key that owes nothing, or else of the one that owes least; so a flood of new keys cannot free
//! the one that is throttled. Nothing is ever allocated after construction, and there is nothing
//! to clean up: a slot whose debt is paid is as good as an empty one.

use std::fmt;
use std::future::{Ready, ready};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrayvec::ArrayVec;

use crate::MAX_POLICIES;
use crate::clock::{Clock, SystemClock};
use crate::error::StoreError;
use crate::gcra::{self, Outcome};
use crate::store::{Charge, Charges, Store, Verdict, Verdicts};

/// Slots in a set, the places one key may stand in.
const WAYS: usize = 8;
/// Parts of the table that are locked by themselves.
const SHARDS: usize = 64;

#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u64,
    tat: u64,
}

type Shard = Box<[[Slot; WAYS]]>;

/// A [`Store`] in the memory of this process, of fixed capacity.
///
/// Sixteen bytes a key, allocated at construction; it never grows.
pub struct MemoryStore<C = SystemClock> {
    shards: Box<[Mutex<Shard>]>,
    /// Secret of this process: nobody can choose keys that fall into one set.
    hasher: RandomState,
    clock: C,
}

impl MemoryStore {
    /// A store for at least `capacity` keys.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::with_clock(capacity, SystemClock::new())
    }
}

impl<C: Clock> MemoryStore<C> {
    /// As [`new`](MemoryStore::new), with a clock of your own.
    #[must_use]
    pub fn with_clock(capacity: usize, clock: C) -> Self {
        let sets = capacity.div_ceil(SHARDS * WAYS).max(1);
        let shard = || Mutex::new(vec![[Slot::default(); WAYS]; sets].into_boxed_slice());
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
            clock,
        }
    }

    /// The most keys it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let sets = self.shards.iter().map(|shard| lock(shard).len());
        sets.sum::<usize>() * WAYS
    }

    /// Keys in debt right now. Reads the whole table.
    #[must_use]
    pub fn len(&self) -> usize {
        let now = self.now();
        let in_debt = |shard: &Mutex<Shard>| {
            lock(shard)
                .iter()
                .flatten()
                .filter(|slot| slot.tat > now)
                .count()
        };
        self.shards.iter().map(in_debt).sum()
    }

    /// Whether no key is in debt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }

    fn decide(&self, charges: &[Charge]) -> Verdicts {
        let hashes: ArrayVec<u64, MAX_POLICIES> = charges
            .iter()
            .map(|charge| self.hasher.hash_one((charge.policy, &charge.key)).max(1))
            .collect();
        let mut table = Locked::new(&self.shards, &hashes);
        // Read after the locks are held, so that time does not go back within a shard.
        let now = self.now();
        let outcomes: ArrayVec<Outcome, MAX_POLICIES> = charges
            .iter()
            .zip(&hashes)
            .map(|(charge, hash)| {
                gcra::decide(&charge.quota, table.find(*hash), now, charge.weight)
            })
            .collect();
        let fits = outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Fits { .. }));
        for (outcome, hash) in outcomes.iter().zip(&hashes) {
            match *outcome {
                Outcome::Fits { tat, .. } if fits => table.put(*hash, tat, now),
                Outcome::Exceeds { tat, .. } => table.put(*hash, tat, now),
                Outcome::Fits { .. } => {}
            }
        }
        charges
            .iter()
            .zip(outcomes)
            .map(|(charge, outcome)| match outcome {
                // Not charged after all: the units it would have cost are still there.
                Outcome::Fits {
                    remaining,
                    next_unit,
                    ..
                } => Verdict {
                    allowed: true,
                    remaining: if fits {
                        remaining
                    } else {
                        remaining.saturating_add(charge.weight.get())
                    },
                    wait: Duration::from_nanos(next_unit),
                },
                Outcome::Exceeds {
                    remaining, wait, ..
                } => Verdict {
                    allowed: false,
                    remaining,
                    wait: Duration::from_nanos(wait),
                },
            })
            .collect()
    }
}

impl<C: Clock> Store for MemoryStore<C> {
    type Future = Ready<Result<Verdicts, StoreError>>;

    fn charge(&self, charges: Charges) -> Self::Future {
        ready(Ok(self.decide(&charges)))
    }
}

impl<C> fmt::Debug for MemoryStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("shards", &self.shards.len())
            .finish_non_exhaustive()
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // No code that can panic runs under the lock, and a slot is valid whatever it holds.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shards of one decision, locked in ascending order so that no two decisions wait for each
/// other in a ring.
struct Locked<'a> {
    shards: ArrayVec<(usize, MutexGuard<'a, Shard>), MAX_POLICIES>,
}

impl<'a> Locked<'a> {
    fn new(shards: &'a [Mutex<Shard>], hashes: &[u64]) -> Self {
        let mut wanted: ArrayVec<usize, MAX_POLICIES> =
            hashes.iter().map(|hash| shard_of(*hash)).collect();
        wanted.sort_unstable();
        let mut locked = ArrayVec::<(usize, MutexGuard<'a, Shard>), MAX_POLICIES>::new();
        for index in wanted {
            if locked.last().is_none_or(|(last, _)| *last != index) {
                locked.push((index, lock(&shards[index])));
            }
        }
        Self { shards: locked }
    }

    fn set(&mut self, hash: u64) -> &mut [Slot; WAYS] {
        let index = shard_of(hash);
        let shard = self.shards.iter_mut().find(|(at, _)| *at == index);
        let (_, shard) = shard.expect("the shard of every hash was locked");
        let sets = shard.len() as u64;
        // The low bits chose the shard; the high ones, multiplied into range, choose the set.
        let set = (u128::from(hash) * u128::from(sets)) >> 64;
        &mut shard[set as usize]
    }

    fn find(&mut self, hash: u64) -> u64 {
        self.set(hash)
            .iter()
            .find(|slot| slot.hash == hash)
            .map_or(0, |slot| slot.tat)
    }

    fn put(&mut self, hash: u64, tat: u64, now: u64) {
        let set = self.set(hash);
        let place = set.iter().position(|slot| slot.hash == hash);
        let place = place.or_else(|| {
            let debt = |slot: &Slot| slot.tat.saturating_sub(now);
            (0..WAYS).min_by_key(|way| debt(&set[*way]))
        });
        if let Some(place) = place {
            set[place] = Slot { hash, tat };
        }
    }
}

fn shard_of(hash: u64) -> usize {
    (hash % SHARDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::clock::ManualClock;
    use crate::key::Key;
    use crate::quota::Quota;

    fn charge(policy: u8, key: &Key, quota: Quota) -> Charge {
        Charge {
            policy,
            key: key.clone(),
            quota,
            weight: NonZeroU32::MIN,
        }
    }

    #[test]
    fn charges_all_or_nothing() {
        let store = MemoryStore::with_clock(1000, ManualClock::new());
        let (narrow, wide) = (
            Quota::per_minute(1, 1).unwrap(),
            Quota::per_minute(10, 10).unwrap(),
        );
        let (user, address) = (Key::user("1"), Key::address([192, 0, 2, 1].into()));
        let both = [charge(0, &user, narrow), charge(1, &address, wide)];
        assert!(store.decide(&both).iter().all(|verdict| verdict.allowed));
        for _ in 0..5 {
            let verdicts = store.decide(&both);
            assert!(!verdicts[0].allowed);
            assert_eq!(
                verdicts[1].remaining, 9,
                "a refusal charges no other policy"
            );
        }
        assert_eq!(store.decide(&both[1..])[0].remaining, 8);
    }

    #[test]
    fn admits_exactly_the_burst_from_many_threads() {
        let store = MemoryStore::with_clock(1000, ManualClock::new());
        let quota = Quota::per_minute(60, 100).unwrap();
        let key = Key::user("1");
        let admitted = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..250 {
                        if store.decide(&[charge(0, &key, quota)])[0].allowed {
                            admitted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 100);
    }

    #[test]
    fn a_throttled_key_stays_throttled_while_new_keys_flood_the_table() {
        let store = MemoryStore::with_clock(512, ManualClock::new());
        let quota = Quota::per_minute(60, 10).unwrap();
        let victim = Key::user("attacker");
        while store.decide(&[charge(0, &victim, quota)])[0].allowed {}
        for n in 0..200_000u32 {
            store.decide(&[charge(0, &Key::user(n.to_be_bytes()), quota)]);
        }
        assert!(!store.decide(&[charge(0, &victim, quota)])[0].allowed);
        assert_eq!(store.capacity(), 512);
    }

    #[test]
    fn forgets_a_key_whose_debt_is_paid() {
        let clock = ManualClock::new();
        let store = MemoryStore::with_clock(512, clock.clone());
        store.decide(&[charge(0, &Key::user("1"), Quota::WEB)]);
        assert_eq!(store.len(), 1);
        clock.advance(Duration::from_secs(2));
        assert!(store.is_empty());
    }

    #[test]
    fn a_clock_that_was_an_hour_ahead_locks_nobody_out() {
        let clock = ManualClock::new();
        clock.set(Duration::from_secs(3600));
        let store = MemoryStore::with_clock(512, clock.clone());
        let key = Key::user("1");
        while store.decide(&[charge(0, &key, Quota::WEB)])[0].allowed {}
        clock.set(Duration::ZERO);
        let verdict = store.decide(&[charge(0, &key, Quota::WEB)])[0];
        assert_eq!(
            (verdict.allowed, verdict.wait),
            (false, Duration::from_secs(1))
        );
        clock.advance(verdict.wait);
        assert!(store.decide(&[charge(0, &key, Quota::WEB)])[0].allowed);
    }
}
