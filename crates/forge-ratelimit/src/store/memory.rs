//! Debts in a table of fixed size, in this process.
//!
//! The table is set-associative: a key's hash names its home, a line of cache with five slots and a
//! lock of its own; what finds no room there stands in the line beside. A slot is 32 bits of the
//! hash, and the theoretical arrival time with six bits that say how large the bucket is. A new key
//! whose two lines are full takes the slot of a key that owes nothing, or else of the one that owes
//! the smallest part of its bucket; so a flood of new keys cannot free the one that is throttled.
//! Nothing is ever allocated after construction, and there is nothing to clean up: a slot whose
//! debt is paid is as good as an empty one.

mod table;
mod together;

use std::fmt;
use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::clock::{Clock, Guarded, SystemClock};
use crate::error::StoreError;
use crate::gcra::{self, Outcome};
use crate::hash::{Secret, secret};
use crate::key::Key;
use crate::quota::Quota;
use crate::store::{AdjustFuture, Adjustment, Charge, PolicyId, Store, Verdict, Verdicts};
use table::{Entry, State, Table};

/// The longest block.
pub(super) const MAX_BLOCK: Duration = Duration::from_secs(366 * 24 * 3600);
/// The latest time: a debt of a year still fits in a slot.
const LATEST: u64 = table::LATEST - MAX_BLOCK.as_nanos() as u64;

/// A [`Store`] in the memory of this process, of fixed capacity.
///
/// About twenty-seven bytes a key, allocated at construction; it never grows. Addresses, which
/// anybody may have without an account, and all other keys have a part each: no flood from
/// addresses touches what users owe. With as many keys in debt as there is room for, about three
/// in a thousand are forgotten early, those that owe least.
///
/// Time is guarded: where the clock goes back, the store's time stands still for that moment and
/// goes on from there, so that nobody is locked out and nobody is freed. A clock that jumps ahead
/// gives everybody what as long an idle time would have given, once. A store is for eight years;
/// then its time stands still, and nothing more is regained.
pub struct MemoryStore<C = SystemClock> {
    /// Keys of users, sessions and all that is not an address.
    identified: Table,
    addresses: Table,
    /// Of this process: nobody can choose keys that fall into one set.
    secret: &'static Secret,
    clock: Guarded<C>,
    /// What the clock said when the store was made.
    origin: u64,
}

impl MemoryStore {
    /// A store for at least `capacity` keys: half of them addresses, half of them all others.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::with_clock(capacity, SystemClock::new())
    }

    /// A store for at least `identified` keys that are no addresses, and `addresses` that are.
    #[must_use]
    pub fn partitioned(identified: usize, addresses: usize) -> Self {
        Self::partitioned_with_clock(identified, addresses, SystemClock::new())
    }
}

impl<C: Clock> MemoryStore<C> {
    /// As [`new`](MemoryStore::new), with a clock of your own.
    #[must_use]
    pub fn with_clock(capacity: usize, clock: C) -> Self {
        let half = capacity.div_ceil(2);
        Self::partitioned_with_clock(half, half, clock)
    }

    /// As [`partitioned`](MemoryStore::partitioned), with a clock of your own.
    #[must_use]
    pub fn partitioned_with_clock(identified: usize, addresses: usize, clock: C) -> Self {
        let clock = Guarded::new(clock);
        Self {
            identified: Table::for_keys(identified),
            addresses: Table::for_keys(addresses),
            secret: secret(),
            origin: clock.now(),
            clock,
        }
    }

    /// The keys it has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.identified.capacity() + self.addresses.capacity()
    }

    /// The bytes it takes, all of them from the start.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.identified.bytes() + self.addresses.bytes()
    }

    /// Takes one unit of `key`'s `quota` under a policy, where it is there: a limit of one's own,
    /// anywhere in a program, without requests.
    ///
    /// ```
    /// use forge_ratelimit::{Key, MemoryStore, PolicyId, Quota};
    ///
    /// const MAILS: PolicyId = PolicyId::of("mails");
    /// let store = MemoryStore::new(10_000);
    /// let (user, quota) = (Key::user("7"), Quota::per_hour(10, 2)?);
    /// assert!(store.take(MAILS, &user, &quota).allowed);
    /// assert!(store.take(MAILS, &user, &quota).allowed);
    /// assert!(!store.take(MAILS, &user, &quota).allowed);
    /// # Ok::<(), forge_ratelimit::QuotaError>(())
    /// ```
    #[inline]
    pub fn take(&self, policy: PolicyId, key: &Key, quota: &Quota) -> Verdict {
        let hash = self.secret.place(policy.as_u64(), key.hash());
        let table = self.table_of(key.is_anonymous());
        self.decide_one(hash, table, quota, NonZeroU32::MIN)
    }

    /// Keys in debt or blocked right now. Reads the whole table.
    #[must_use]
    pub fn len(&self) -> usize {
        let now = self.now();
        self.identified.count(now) + self.addresses.count(now)
    }

    /// Whether no key is in debt or blocked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn now(&self) -> u64 {
        self.clock.now().saturating_sub(self.origin).min(LATEST)
    }

    /// Where the debt of a charge stands: its hash, and the table's part.
    #[inline]
    fn bucket(&self, charge: &Charge) -> (u64, &Table) {
        let hash = self.secret.place(charge.policy.as_u64(), charge.hash());
        (hash, self.table_of(charge.is_anonymous()))
    }

    #[inline]
    fn table_of(&self, anonymous: bool) -> &Table {
        if anonymous {
            &self.addresses
        } else {
            &self.identified
        }
    }

    /// Decides on, and makes, the charges of one request, all or nothing.
    #[inline]
    pub(crate) fn decide(&self, charges: &[Charge], verdicts: &mut Verdicts) {
        match charges {
            [] => {}
            [charge] => {
                let (hash, table) = self.bucket(charge);
                verdicts.push(self.decide_one(hash, table, &charge.quota, charge.weight));
            }
            _ => self.decide_all(charges, verdicts),
        }
    }

    #[inline]
    fn decide_one(&self, hash: u64, table: &Table, quota: &Quota, weight: NonZeroU32) -> Verdict {
        let home = table.home(hash);
        table.ask(home);
        // Read while the memory comes: reading it waits for all that is being read, but not for
        // what was asked for by a write.
        let mut now = self.now();
        let (locked, found) = table.lock_for(home, hash);
        let mut state = found.state(now);
        let mut outcome = outcome_of(quota, weight, state, now);
        if is_ahead(&outcome, state) {
            now = self.now();
            state = found.state(now);
            outcome = outcome_of(quota, weight, state, now);
        }
        if let Some(entry) = becomes(quota, &outcome, state, true) {
            locked.lines().put(hash, found, entry, now);
        }
        drop(locked);
        Verdict::of(&outcome, quota, weight, true)
    }

    /// What [`Store::adjust`] does, at once.
    pub(crate) fn adjust_now(&self, charge: &Charge, adjustment: Adjustment) -> Verdict {
        let (hash, table) = self.bucket(charge);
        let locked = table.lock_both(hash);
        let now = self.now();
        let found = locked.lines().find(hash);
        let state = found.state(now);
        let weight = i64::from(charge.weight.get());
        let shifted = |units| {
            // A block stays: whoever set it decides when it ends.
            (!state.blocked).then(|| Entry {
                tat: gcra::shift(&charge.quota, state.tat, now, units),
                capacity: charge.quota.capacity_nanos(),
                blocked: false,
            })
        };
        let entry = match adjustment {
            Adjustment::Peek => None,
            Adjustment::Refund => shifted(-weight),
            Adjustment::Penalize => shifted(weight),
            Adjustment::Block(time) => Some(Entry {
                tat: now.saturating_add(nanos(time.min(MAX_BLOCK))),
                capacity: charge.quota.capacity_nanos(),
                blocked: true,
            }),
            Adjustment::Reset => Some(Entry::default()),
        };
        // Nothing owed is nothing to take a slot for.
        if let Some(entry) = entry.filter(|entry| !found.is_none() || entry.tat > now) {
            locked.lines().put(hash, found, entry, now);
        }
        let state = locked.lines().find(hash).state(now);
        let outcome = outcome_of(&charge.quota, charge.weight, state, now);
        Verdict::of(&outcome, &charge.quota, charge.weight, false)
    }
}

/// Whether a key owes more than a whole bucket. It may only seem so: where another thread got ahead
/// with a later time, its debt is to be seen as of then.
#[inline]
fn is_ahead(outcome: &Outcome, state: State) -> bool {
    matches!(*outcome, Outcome::Exceeds { tat, blocked: false, .. } if tat < state.tat)
}

#[inline]
fn outcome_of(quota: &Quota, weight: NonZeroU32, state: State, now: u64) -> Outcome {
    if state.blocked {
        return Outcome::blocked(now, state.tat.saturating_sub(now));
    }
    gcra::decide(quota, state.tat, now, weight)
}

/// What becomes of a key, where that changes it; `pass` is whether what fits is charged.
#[inline]
fn becomes(quota: &Quota, outcome: &Outcome, state: State, pass: bool) -> Option<Entry> {
    let tat = match *outcome {
        Outcome::Fits { tat, .. } if pass => tat,
        // A debt from a larger bucket, or of a clock that was ahead, is no more than the whole of
        // this one from the first look on: who then waits as told is not refused again.
        Outcome::Exceeds { tat, .. } if is_ahead(outcome, state) => tat,
        _ => return None,
    };
    Some(Entry {
        tat,
        capacity: quota.capacity_nanos(),
        blocked: false,
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl<C: Clock> Store for MemoryStore<C> {
    type Future = Ready<Result<Verdicts, StoreError>>;

    fn charge(&self, charges: &[Charge]) -> Self::Future {
        let mut verdicts = Verdicts::new();
        self.decide(charges, &mut verdicts);
        ready(Ok(verdicts))
    }

    #[inline]
    fn charge_now(&self, charges: &[Charge], verdicts: &mut Verdicts) -> bool {
        self.decide(charges, verdicts);
        true
    }

    fn adjust(&self, charge: &Charge, adjustment: Adjustment) -> AdjustFuture {
        Box::pin(ready(Ok(self.adjust_now(charge, adjustment))))
    }
}

impl<C> fmt::Debug for MemoryStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("identified", &self.identified.capacity())
            .field("addresses", &self.addresses.capacity())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::clock::ManualClock;

    const ONE: PolicyId = PolicyId::of("one");
    const TWO: PolicyId = PolicyId::of("two");

    fn charge(policy: PolicyId, key: &Key, quota: Quota) -> Charge {
        Charge::new(policy, key.clone(), quota)
    }

    fn decide(store: &MemoryStore<ManualClock>, charges: &[Charge]) -> Verdicts {
        let mut verdicts = Verdicts::new();
        store.decide(charges, &mut verdicts);
        verdicts
    }

    fn drain(store: &MemoryStore<ManualClock>, charge: &Charge) {
        let charges = std::slice::from_ref(charge);
        while decide(store, charges)[0].allowed {}
    }

    #[test]
    fn charges_all_or_nothing() {
        let store = MemoryStore::with_clock(1000, ManualClock::new());
        let (narrow, wide) = (
            Quota::per_minute(1, 1).unwrap(),
            Quota::per_minute(10, 10).unwrap(),
        );
        let (user, address) = (Key::user("1"), Key::address([192, 0, 2, 1].into()));
        let both = [charge(ONE, &user, narrow), charge(TWO, &address, wide)];
        assert!(decide(&store, &both).iter().all(|verdict| verdict.allowed));
        for _ in 0..5 {
            let verdicts = decide(&store, &both);
            assert!(!verdicts[0].allowed);
            assert_eq!(
                verdicts[1].remaining, 9,
                "a refusal charges no other policy"
            );
        }
        assert_eq!(decide(&store, &both[1..])[0].remaining, 8);
    }

    #[test]
    fn two_charges_of_one_bucket_are_both_made() {
        let store = MemoryStore::with_clock(1000, ManualClock::new());
        let key = Key::user("1");
        let twice = [charge(ONE, &key, Quota::WEB), charge(TWO, &key, Quota::WEB)];
        for left in (0..10).rev() {
            let verdicts = decide(&store, &twice);
            assert_eq!((verdicts[0].remaining, verdicts[1].remaining), (left, left));
        }
        assert!(!decide(&store, &twice)[0].allowed);
    }

    #[test]
    fn a_shadow_counts_and_has_no_say() {
        let store = MemoryStore::with_clock(1000, ManualClock::new());
        let key = Key::user("1");
        let narrow = Quota::per_minute(1, 1).unwrap();
        let both = [
            charge(ONE, &key, narrow).shadow(true),
            charge(TWO, &key, Quota::WEB),
        ];
        let allowed = |verdicts: &Verdicts| [verdicts[0].allowed, verdicts[1].allowed];
        assert_eq!(allowed(&decide(&store, &both)), [true, true]);
        for _ in 1..10 {
            assert_eq!(allowed(&decide(&store, &both)), [false, true]);
        }
        assert_eq!(allowed(&decide(&store, &both)), [false, false]);
    }

    #[test]
    fn a_throttled_key_stays_throttled_while_new_keys_flood_the_table() {
        let store = MemoryStore::partitioned_with_clock(512, 9, ManualClock::new());
        let victim = charge(ONE, &Key::user("attacker"), Quota::WEB);
        drain(&store, &victim);
        // A unit of the other policy weighs more than the victim's whole bucket, in time; it is
        // still the smaller part of its own.
        for n in 0..200_000u32 {
            let key = Key::user(n.to_be_bytes());
            decide(
                &store,
                &[
                    charge(ONE, &key, Quota::WEB),
                    charge(TWO, &key, Quota::ADMIN),
                ],
            );
        }
        assert!(!decide(&store, &[victim])[0].allowed);
    }

    #[test]
    fn a_flood_of_addresses_does_not_touch_what_users_owe() {
        let store = MemoryStore::partitioned_with_clock(9, 9, ManualClock::new());
        let user = charge(ONE, &Key::user("1"), Quota::WEB);
        decide(&store, std::slice::from_ref(&user));
        for n in 0..10_000u32 {
            drain(
                &store,
                &charge(ONE, &Key::address(n.to_be_bytes().into()), Quota::WEB),
            );
        }
        let peek = store.adjust_now(&user, Adjustment::Peek);
        assert_eq!(peek.remaining, 9);
    }

    #[test]
    fn admits_exactly_the_burst_from_many_threads() {
        let store = MemoryStore::with_clock(1000, ManualClock::new());
        let quota = Quota::per_minute(60, 100).unwrap();
        let (user, address) = (Key::user("1"), Key::address([192, 0, 2, 1].into()));
        let admitted = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (store, admitted, user, address) = (&store, &admitted, &user, &address);
                scope.spawn(move || {
                    for _ in 0..250 {
                        let mut both = [charge(ONE, user, quota), charge(TWO, address, quota)];
                        if thread % 2 == 0 {
                            both.reverse();
                        }
                        if decide(store, &both)[0].allowed {
                            admitted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 100);
    }

    #[test]
    fn no_key_ever_stands_in_two_places() {
        // Two homes, full of keys that are new to all threads at once, alone and several together.
        let store = MemoryStore::partitioned_with_clock(4, 4, ManualClock::new());
        let quota = Quota::per_hour(1, 1000).unwrap();
        let keys: Vec<Key> = (0..8u32).map(|n| Key::user(n.to_be_bytes())).collect();
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let (store, keys) = (&store, &keys);
                scope.spawn(move || {
                    for n in 0..100 {
                        let of = |at: usize| &keys[(at + thread * 3 + n) % keys.len()];
                        store.take(ONE, of(0), &quota);
                        let both = [charge(ONE, of(1), quota), charge(ONE, of(2), quota)];
                        decide(store, &both);
                    }
                });
            }
        });
        assert_eq!(store.len(), keys.len());
        let left = |key| {
            store
                .adjust_now(&charge(ONE, key, quota), Adjustment::Peek)
                .remaining
        };
        assert_eq!(keys.iter().map(|key| 1000 - left(key)).sum::<u32>(), 1200);
    }

    #[test]
    fn forgets_a_key_whose_debt_is_paid() {
        let clock = ManualClock::new();
        let store = MemoryStore::with_clock(512, clock.clone());
        decide(&store, &[charge(ONE, &Key::user("1"), Quota::WEB)]);
        assert_eq!(store.len(), 1);
        clock.advance(Duration::from_secs(2));
        assert!(store.is_empty());
    }

    #[test]
    fn a_clock_an_hour_forth_and_back_neither_locks_out_nor_frees() {
        let clock = ManualClock::new();
        let store = MemoryStore::with_clock(512, clock.clone());
        let key = charge(ONE, &Key::user("1"), Quota::WEB);
        clock.set(Duration::from_secs(7200));
        drain(&store, &key);
        for to in [3600, 7200, 60, 0] {
            let before = store.adjust_now(&key, Adjustment::Peek);
            clock.set(Duration::from_secs(to));
            if to == 7200 {
                // An hour ahead: as after an hour without a request, and not more.
                let mut admitted = 0;
                while decide(&store, std::slice::from_ref(&key))[0].allowed {
                    admitted += 1;
                }
                assert_eq!(admitted, 10);
                continue;
            }
            let verdict = decide(&store, std::slice::from_ref(&key))[0];
            assert_eq!(verdict, before, "set back to {to}");
            assert_eq!(
                (verdict.allowed, verdict.wait),
                (false, Duration::from_secs(1))
            );
        }
        clock.advance(Duration::from_secs(1));
        assert!(decide(&store, &[key])[0].allowed);
    }

    type Meanwhile = Option<Box<dyn FnOnce() + Send>>;

    /// A clock that lets something happen the next time it is read, after its time is taken.
    #[derive(Clone, Default)]
    struct Interrupted(ManualClock, Arc<Mutex<Meanwhile>>);

    impl Clock for Interrupted {
        fn monotonic(&self) -> Duration {
            let taken = self.0.monotonic();
            let meanwhile = self.1.lock().unwrap().take();
            meanwhile.into_iter().for_each(|happens| happens());
            taken
        }
    }

    #[test]
    fn a_thread_that_is_overtaken_after_it_took_the_time_gives_nothing_back() {
        let (key, other) = (Key::user("1"), Key::user("2"));
        let (one, both) = (
            charge(ONE, &key, Quota::AUTH),
            charge(ONE, &other, Quota::WEB),
        );
        for charges in [vec![one.clone()], vec![one.clone(), both]] {
            let clock = Interrupted::default();
            let store = Arc::new(MemoryStore::with_clock(512, clock.clone()));
            let (ahead, time, burst) = (Arc::clone(&store), clock.0.clone(), key.clone());
            *clock.1.lock().unwrap() = Some(Box::new(move || {
                time.advance(Duration::from_secs(5));
                while ahead.take(ONE, &burst, &Quota::AUTH).allowed {}
            }));
            let mut verdicts = Verdicts::new();
            store.decide(&charges, &mut verdicts);
            assert!(!verdicts[0].allowed);
            let peek = store.adjust_now(&one, Adjustment::Peek);
            assert_eq!(peek.wait, Duration::from_secs(6));
        }
    }

    #[test]
    fn to_forgive_who_owes_nothing_costs_nobody_a_slot() {
        let store = MemoryStore::partitioned_with_clock(1, 1, ManualClock::new());
        let debtors: Vec<Key> = (0..10u32).map(|n| Key::user(n.to_be_bytes())).collect();
        for key in &debtors {
            store.take(ONE, key, &Quota::WEB);
        }
        assert_eq!(store.len(), 10);
        let stranger = charge(ONE, &Key::user("stranger"), Quota::WEB);
        for adjustment in [
            Adjustment::Reset,
            Adjustment::Refund,
            Adjustment::Block(Duration::ZERO),
        ] {
            store.adjust_now(&stranger, adjustment);
            assert_eq!(store.len(), 10, "{adjustment:?}");
        }
    }

    #[test]
    fn stays_sound_at_the_end_of_time() {
        let clock = ManualClock::new();
        clock.set(Duration::MAX);
        let store = MemoryStore::with_clock(512, clock.clone());
        let quotas = [
            Quota::new(u32::MAX, Duration::from_secs(5), u32::MAX).unwrap(),
            Quota::new(1, Duration::from_secs(366 * 24 * 3600), 1).unwrap(),
        ];
        for (n, quota) in quotas.into_iter().enumerate() {
            let key = Key::user(n.to_be_bytes());
            let charge = charge(ONE, &key, quota).weight(NonZeroU32::MAX);
            for adjustment in [
                Adjustment::Penalize,
                Adjustment::Refund,
                Adjustment::Block(Duration::MAX),
                Adjustment::Peek,
                Adjustment::Reset,
            ] {
                store.adjust_now(&charge, adjustment);
                decide(&store, std::slice::from_ref(&charge));
            }
        }
    }

    #[test]
    fn never_holds_more_bytes_than_at_the_start() {
        let store = MemoryStore::partitioned(1_000_000, 9);
        let per_key = store.bytes() as f64 / 1e6;
        assert!((24.0..=27.8).contains(&per_key), "{per_key} bytes a key");
    }
}
