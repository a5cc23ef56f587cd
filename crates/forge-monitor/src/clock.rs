//! Time, the only way this crate reads it.

use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment in UTC: whole microseconds since the Unix epoch.
///
/// Arithmetic stops at the ends of the range instead of wrapping.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// How long ago `earlier` was; zero where it was not earlier.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros(by)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(micros(after)),
            Err(before) => Self(micros(before.duration()).saturating_neg()),
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Where the time comes from: windows are counted on the monotonic clock, blocks end by UTC.
pub trait Clock: Send + Sync + 'static {
    /// The time in UTC.
    fn now(&self) -> Timestamp;

    /// The time since an origin of the clock's own choosing; it never goes back.
    fn monotonic(&self) -> Duration;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that moves only when told to, for tests. Clones share the time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    utc_micros: Arc<AtomicI64>,
    monotonic_nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at `now`, with its monotonic time at zero.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            utc_micros: Arc::new(AtomicI64::new(now.as_micros())),
            monotonic_nanos: Arc::default(),
        }
    }

    /// Moves both times on by `by`.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.monotonic_nanos.fetch_add(nanos, Ordering::SeqCst);
        self.utc_micros.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// Sets the UTC time alone, also backwards, as an operator or a time server would.
    pub fn set(&self, now: Timestamp) {
        self.utc_micros.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.utc_micros.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic_nanos.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_the_ends_of_the_range() {
        let last = Timestamp::from_micros(i64::MAX);
        assert_eq!(last + Duration::from_secs(1), last);
        let first = Timestamp::from_micros(i64::MIN);
        assert_eq!(first - Duration::MAX, first);
        assert_eq!(first.saturating_since(last), Duration::ZERO);
    }

    #[test]
    fn a_time_before_the_epoch_is_negative() {
        let before = UNIX_EPOCH - Duration::from_micros(3);
        assert_eq!(Timestamp::from(before).as_micros(), -3);
    }

    #[test]
    fn setting_utc_back_leaves_the_monotonic_time() {
        let clock = ManualClock::new(Timestamp::from_micros(10));
        clock.advance(Duration::from_secs(1));
        clock.set(Timestamp::from_micros(0));
        assert_eq!(clock.now().as_micros(), 0);
        assert_eq!(clock.monotonic(), Duration::from_secs(1));
    }
}
