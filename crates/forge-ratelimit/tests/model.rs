//! The store in memory beside governor, and beside a model too plain to be wrong.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use forge_ratelimit::{
    Charge, Key, ManualClock, MemoryStore, PolicyId, Quota, Store, Verdict, Verdicts,
};
use governor::clock::{Clock, FakeRelativeClock};
use proptest::prelude::*;

const POLICIES: [PolicyId; 3] = [PolicyId::of("a"), PolicyId::of("b"), PolicyId::of("c")];

fn decide(store: &MemoryStore<ManualClock>, charges: &[Charge]) -> Verdicts {
    let mut verdicts = Verdicts::new();
    assert!(store.charge_now(charges, &mut verdicts));
    verdicts
}

fn weight(units: u32) -> NonZeroU32 {
    NonZeroU32::new(units).unwrap()
}

proptest! {
    #[test]
    fn decides_as_governor_does(
        interval in 1u64..3_000_000_000,
        burst in 1u32..40,
        steps in prop::collection::vec((0u64..9_000_000_000, 1u32..6), 1..150),
    ) {
        let clock = ManualClock::new();
        // Governor's origin is a moment at which a bucket is full; so is ours.
        clock.set(Duration::from_secs(1_000_000));
        let store = MemoryStore::with_clock(64, clock.clone());
        let interval = Duration::from_nanos(interval);
        let quota = Quota::new(1, interval, burst).unwrap();

        let their_clock = FakeRelativeClock::default();
        let their_quota = governor::Quota::with_period(interval).unwrap();
        let theirs = governor::RateLimiter::direct_with_clock(
            their_quota.allow_burst(weight(burst)),
            their_clock.clone(),
        );
        for (gap, units) in steps {
            let gap = Duration::from_nanos(gap);
            clock.advance(gap);
            their_clock.advance(gap);
            let units = weight(units.min(burst));
            let charge = Charge::new(POLICIES[0], Key::user("1"), quota).weight(units);
            let ours = decide(&store, &[charge])[0];
            match theirs.check_n(units).expect("within the burst") {
                Ok(()) => prop_assert!(ours.allowed),
                Err(not_until) => {
                    prop_assert!(!ours.allowed);
                    prop_assert_eq!(ours.wait, not_until.wait_time_from(their_clock.now()));
                }
            }
        }
    }
}

/// Of each bucket the moments and units of what was admitted, and nothing cleverer.
#[derive(Default)]
struct Plain {
    admitted: HashMap<(usize, usize), Vec<(u128, u32)>>,
}

impl Plain {
    /// Whether the bucket has it: replays everything that was ever admitted, drop by drop.
    fn level(&self, bucket: (usize, usize), quota: &Quota, now: u128) -> u128 {
        let interval = quota.replenish_interval().as_nanos();
        let full = interval * u128::from(quota.burst().get());
        let (mut level, mut at) = (full, 0);
        for (then, units) in self.admitted.get(&bucket).into_iter().flatten() {
            level = (level + then - at).min(full) - interval * u128::from(*units);
            at = *then;
        }
        (level + now - at).min(full)
    }
}

proptest! {
    #[test]
    fn decides_as_the_plain_model_does(
        quotas in prop::collection::vec((1u64..2_000_000_000, 1u32..12), 3),
        steps in prop::collection::vec(
            (0u64..3_000_000_000, prop::collection::vec((0usize..3, 0usize..4, 1u32..4, prop::bool::weighted(0.2)), 1..6)),
            1..60,
        ),
    ) {
        let clock = ManualClock::new();
        let store = MemoryStore::with_clock(256, clock.clone());
        let quotas: Vec<Quota> = quotas
            .into_iter()
            .map(|(interval, burst)| Quota::new(1, Duration::from_nanos(interval), burst).unwrap())
            .collect();
        let (mut plain, mut now) = (Plain::default(), 0u128);
        for (gap, mut asked) in steps {
            // A limiter asks each policy once.
            asked.sort_unstable();
            asked.dedup_by_key(|(policy, ..)| *policy);
            clock.advance(Duration::from_nanos(gap));
            now += u128::from(gap);
            let mut expected = Vec::new();
            let mut charges = Vec::new();
            for (policy, key, units, shadow) in &asked {
                let quota = quotas[*policy];
                let units = (*units).min(quota.burst().get());
                let interval = quota.replenish_interval().as_nanos();
                let level = plain.level((*policy, *key), &quota, now);
                expected.push((level, interval, units, level >= interval * u128::from(units)));
                let key = Key::user(key.to_be_bytes());
                let charge = Charge::new(POLICIES[*policy], key, quota);
                charges.push(charge.weight(weight(units)).shadow(*shadow));
            }
            let pass = asked.iter().zip(&expected).all(|((.., shadow), of)| *shadow || of.3);
            let verdicts = decide(&store, &charges);
            for (((policy, key, ..), (level, interval, units, fits)), verdict) in
                asked.iter().zip(&expected).zip(verdicts)
            {
                let charged = pass && *fits;
                let left = level - if charged { interval * u128::from(*units) } else { 0 };
                let Verdict { allowed, remaining, wait, .. } = verdict;
                prop_assert_eq!(allowed, *fits);
                prop_assert_eq!(u128::from(remaining), left / interval);
                if !fits {
                    prop_assert_eq!(wait.as_nanos(), interval * u128::from(*units) - level);
                }
                if charged {
                    plain.admitted.entry((*policy, *key)).or_default().push((now, *units));
                }
            }
        }
    }

    /// Told to wait, a client that waits exactly as long is admitted, in whole seconds too.
    #[test]
    fn who_waits_as_told_is_not_refused_again(
        interval in 1u64..90_000_000_000,
        burst in 1u32..20,
        gaps in prop::collection::vec(0u64..1_000_000_000, 1..60),
        in_seconds in any::<bool>(),
    ) {
        let clock = ManualClock::new();
        let store = MemoryStore::with_clock(64, clock.clone());
        let quota = Quota::new(1, Duration::from_nanos(interval), burst).unwrap();
        let charge = [Charge::new(POLICIES[0], Key::user("1"), quota)];
        for gap in gaps {
            clock.advance(Duration::from_nanos(gap));
            let verdict = decide(&store, &charge)[0];
            if !verdict.allowed {
                let wait = verdict.wait;
                let up = u64::from(wait.subsec_nanos() > 0);
                let seconds = Duration::from_secs((wait.as_secs() + up).max(1));
                clock.advance(if in_seconds { seconds } else { wait });
                prop_assert!(decide(&store, &charge)[0].allowed);
            }
        }
    }
}
