//! The generic cell rate algorithm, as arithmetic on one integer a key.
//!
//! A key's state is its *theoretical arrival time*: the time, in nanoseconds, at which its bucket
//! will be full again. What lies between now and then is its debt. This is the virtual scheduling
//! form of ITU-T I.371, annex A.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::quota::Quota;

/// What a charge would do to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It fits; `tat` is the key's new state.
    Fits {
        tat: u64,
        remaining: u32,
        next_unit: u64,
    },
    /// It does not, and would after `wait` nanoseconds. `tat` is the state no charge has changed,
    /// brought within one bucket of now: a clock that was ahead for a while locks nobody out.
    Exceeds {
        tat: u64,
        remaining: u32,
        wait: u64,
        blocked: bool,
    },
}

impl Outcome {
    pub(crate) fn fits(&self) -> bool {
        matches!(self, Self::Fits { .. })
    }

    /// The key is under a block that ends `wait` from now.
    pub(crate) fn blocked(now: u64, wait: u64) -> Self {
        Self::Exceeds {
            tat: now.saturating_add(wait),
            remaining: 0,
            wait,
            blocked: true,
        }
    }
}

/// Decides whether `weight` units fit at time `now` into a bucket whose state is `tat`.
#[inline]
pub(crate) fn decide(quota: &Quota, tat: u64, now: u64, weight: NonZeroU32) -> Outcome {
    let (interval, capacity) = (quota.interval_nanos(), quota.capacity_nanos());
    let debt = tat.saturating_sub(now).min(capacity);
    let cost = interval.saturating_mul(u64::from(weight.get()));
    let after = debt.saturating_add(cost);
    // What is subtracted below is never more than what it is subtracted from.
    if after <= capacity {
        let left = capacity.wrapping_sub(after);
        let (free, part) = (left / interval, left % interval);
        Outcome::Fits {
            tat: now.saturating_add(after),
            remaining: units(free),
            // The bucket is so many whole intervals large.
            next_unit: interval.wrapping_sub(part),
        }
    } else {
        Outcome::Exceeds {
            tat: now.saturating_add(debt),
            remaining: units(capacity.wrapping_sub(debt) / interval),
            wait: after.wrapping_sub(capacity),
            blocked: false,
        }
    }
}

/// The state after `units` more, or fewer where negative, than there were; the debt stays between
/// none and the whole bucket.
pub(crate) fn shift(quota: &Quota, tat: u64, now: u64, units: i64) -> u64 {
    let capacity = quota.capacity_nanos();
    let debt = tat.saturating_sub(now).min(capacity);
    let by = quota.interval_nanos().saturating_mul(units.unsigned_abs());
    let debt = if units < 0 {
        debt.saturating_sub(by)
    } else {
        debt.saturating_add(by).min(capacity)
    };
    now.saturating_add(debt)
}

#[inline]
fn units(free: u64) -> u32 {
    u32::try_from(free).unwrap_or(u32::MAX)
}

/// Whole seconds, rounded up, so that who waits that long is not early.
#[inline]
pub(crate) fn seconds_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn allows_a_burst_then_one_an_interval() {
        let (mut tat, start) = (0, 5 * SECOND);
        for left in (0..10).rev() {
            let Outcome::Fits {
                tat: next,
                remaining,
                ..
            } = decide(&Quota::WEB, tat, start, ONE)
            else {
                panic!("the burst fits")
            };
            assert_eq!(remaining, left);
            tat = next;
        }
        let refused = decide(&Quota::WEB, tat, start, ONE);
        assert_eq!(
            refused,
            Outcome::Exceeds {
                tat,
                remaining: 0,
                wait: SECOND,
                blocked: false,
            }
        );
        assert!(matches!(
            decide(&Quota::WEB, tat, start + SECOND - 1, ONE),
            Outcome::Exceeds { wait: 1, .. }
        ));
        assert!(matches!(
            decide(&Quota::WEB, tat, start + SECOND, ONE),
            Outcome::Fits { .. }
        ));
    }

    #[test]
    fn stays_sound_at_the_edges_of_the_integers() {
        for now in [0, 1, u64::MAX - 1, u64::MAX] {
            for tat in [0, 1, u64::MAX - 1, u64::MAX] {
                for weight in [ONE, NonZeroU32::MAX] {
                    decide(&Quota::ADMIN, tat, now, weight);
                    for units in [i64::MIN, -1, 0, 1, i64::MAX] {
                        let shifted = shift(&Quota::ADMIN, tat, now, units);
                        assert!(shifted >= now);
                    }
                }
            }
        }
    }

    #[test]
    fn a_clock_set_far_back_locks_nobody_out_for_longer_than_the_bucket_takes_to_fill() {
        let stale = 1_000_000 * SECOND;
        let Outcome::Exceeds { tat, wait, .. } = decide(&Quota::WEB, stale, 0, ONE) else {
            panic!("the debt is still there")
        };
        assert_eq!(wait, SECOND);
        assert!(matches!(
            decide(&Quota::WEB, tat, SECOND, ONE),
            Outcome::Fits { .. }
        ));
    }

    proptest! {
        #[test]
        fn never_admits_more_than_burst_plus_rate_times_time(
            rate in 1u32..1000, burst in 1u32..50,
            gaps in prop::collection::vec(0u64..2 * SECOND, 1..200),
        ) {
            let quota = Quota::per_second(rate, burst).unwrap();
            let (mut now, mut tat) = (0u64, 0u64);
            let mut admitted = Vec::new();
            for gap in gaps {
                now += gap;
                if let Outcome::Fits { tat: next, .. } = decide(&quota, tat, now, ONE) {
                    tat = next;
                    admitted.push(now);
                }
            }
            for (i, from) in admitted.iter().enumerate() {
                for (j, to) in admitted.iter().enumerate().skip(i) {
                    let allowed = u64::from(burst) + (to - from) / quota.interval_nanos();
                    prop_assert!((j - i + 1) as u64 <= allowed);
                }
            }
        }

        #[test]
        fn who_waits_as_told_is_not_refused_again(
            rate in 1u32..1000, burst in 1u32..50, weight in 1u32..50, tat in 0u64..10 * SECOND,
        ) {
            let quota = Quota::per_second(rate, burst).unwrap();
            let weight = NonZeroU32::new(weight.min(burst)).unwrap();
            if let Outcome::Exceeds { tat, wait, .. } = decide(&quota, tat, 0, weight) {
                let later = seconds_up(Duration::from_nanos(wait)) * SECOND;
                let again = decide(&quota, tat, later, weight);
                let fits = matches!(again, Outcome::Fits { .. });
                prop_assert!(fits);
            }
        }
    }
}
