//! Time, the only way this crate reads it.

use std::fmt;
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

/// RFC 3339 in UTC, to the microsecond: `2023-11-14T22:13:20.000000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, of_day) = (
            self.0.div_euclid(86_400_000_000),
            self.0.rem_euclid(86_400_000_000),
        );
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
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
    fn is_shown_as_rfc_3339() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_700_000_000_123_456, "2023-11-14T22:13:20.123456Z"),
            (4_102_444_799_000_000, "2099-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(Timestamp::from_micros(micros).to_string(), text);
        }
        // Not a year anybody writes, and no panic.
        let _ = Timestamp::from_micros(i64::MAX).to_string();
        let _ = Timestamp::from_micros(i64::MIN).to_string();
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
