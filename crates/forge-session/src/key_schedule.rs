//! When a signing key is made, when it signs, and when it is forgotten.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::policy::MAX_ACCESS_TTL;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long past its last token a key is kept: what clocks may be apart, and then some.
const SLACK: Duration = Duration::from_secs(5 * 60);

/// How signing keys take turns, as a plain function of when they were made.
///
/// A key is published before it signs, so that whoever keeps the JWK Set for a while knows it by
/// the time its first token comes; and it is kept until its last token has expired.
///
/// ```text
/// made ──(publish ahead)── signs ──(every)── the next one signs ──(token life)── forgotten
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySchedule {
    every: Duration,
    ahead: Duration,
}

/// What is to be done with the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyPlan {
    /// The key that signs: an index into the times that were given. None when there is none.
    pub signs: Option<usize>,
    /// Whether a new key is to be made and stored now.
    pub make: bool,
    /// Keys that no good token bears any more.
    pub forget: Vec<usize>,
}

impl KeySchedule {
    /// Signs with each key for `every`, and publishes each for `ahead` before it signs.
    ///
    /// `ahead` is held to at most half of `every`.
    #[must_use]
    pub fn new(every: Duration, ahead: Duration) -> Self {
        Self {
            every,
            ahead: ahead.min(every / 2),
        }
    }

    /// What to do at `now` with keys made at `made`, the first of which is the oldest.
    ///
    /// A single key signs at once, whenever it was made: there is no other.
    #[must_use]
    pub fn plan(&self, made: &[Timestamp], now: Timestamp) -> KeyPlan {
        let ready = |at: &Timestamp| now >= *at + self.ahead;
        let signs = made.iter().rposition(ready).or(match made {
            [] => None,
            _ => Some(0),
        });
        // The next key is made so early that it is published in time.
        let make = made
            .last()
            .is_none_or(|at| now >= *at + self.every.max(self.ahead));
        // The one after a key took over when it had been published; since then it signs nothing.
        let forget = (0..signs.unwrap_or(0)).filter(|n| {
            let successor = made.get(n + 1);
            successor.is_some_and(|at| now >= *at + self.ahead + MAX_ACCESS_TTL + SLACK)
        });
        KeyPlan {
            signs,
            make,
            forget: forget.collect(),
        }
    }
}

impl Default for KeySchedule {
    /// A new key every 30 days, published a day ahead.
    fn default() -> Self {
        Self::new(DAY * 30, DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    /// Runs the schedule with a step every so often; returns what signed when, and what was known.
    fn run(
        schedule: KeySchedule,
        step: Duration,
        steps: u32,
    ) -> Vec<(Timestamp, Timestamp, Vec<Timestamp>)> {
        let (mut made, mut log) = (Vec::new(), Vec::new());
        for n in 0..steps {
            let now = T0 + step * n;
            if schedule.plan(&made, now).make {
                made.push(now);
            }
            let plan = schedule.plan(&made, now);
            let signs = made[plan.signs.unwrap()];
            for n in plan.forget.into_iter().rev() {
                made.remove(n);
            }
            log.push((now, signs, made.clone()));
        }
        log
    }

    #[test]
    fn the_first_key_signs_at_once_and_the_next_after_it_was_published() {
        let schedule = KeySchedule::default();
        assert!(schedule.plan(&[], T0).make);
        assert_eq!(schedule.plan(&[], T0).signs, None);
        assert_eq!(schedule.plan(&[T0], T0).signs, Some(0));
        assert!(!schedule.plan(&[T0], T0 + DAY * 29).make);
        let next = T0 + DAY * 30;
        assert!(schedule.plan(&[T0], next).make);
        let both = [T0, next];
        assert_eq!(schedule.plan(&both, next + HOUR).signs, Some(0));
        assert_eq!(schedule.plan(&both, next + DAY).signs, Some(1));
        assert!(schedule.plan(&both, next + DAY + HOUR).forget.is_empty());
        assert_eq!(schedule.plan(&both, next + DAY + HOUR * 2).forget, [0]);
    }

    proptest! {
        #[test]
        fn every_token_is_known_while_it_lives_and_no_key_signs_before_it_was_published(
            every in 2..200u64, ahead in 0..100u64, step in 1..30u64,
        ) {
            let schedule = KeySchedule::new(HOUR * every as u32, HOUR * ahead as u32);
            let log = run(schedule, HOUR * step as u32, 300);
            for (now, signs, _) in &log {
                for (later, _, known) in &log {
                    if later >= now && *later < *now + MAX_ACCESS_TTL + SLACK {
                        prop_assert!(known.contains(signs));
                    }
                }
                let first = log[0].1;
                prop_assert!(*signs == first || *now >= *signs + schedule.ahead);
            }
            prop_assert!(log.iter().all(|(_, _, known)| known.len() <= 3));
            let (end, last, _) = log.last().unwrap();
            let age = end.duration_since(*last);
            prop_assert!(age <= schedule.every + schedule.ahead + HOUR * (2 * step as u32));
        }
    }
}
