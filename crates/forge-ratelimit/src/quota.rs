//! How much is allowed: a rate and a burst.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::QuotaError;

/// A rate and a burst: "60 a minute, burst 10" is a bucket of ten that regains one a second.
///
/// ```
/// use forge_ratelimit::Quota;
///
/// let web = Quota::per_minute(60, 10)?;
/// assert_eq!(web.burst().get(), 10);
/// assert_eq!(web.replenish_interval().as_secs(), 1);
/// assert!(Quota::per_minute(0, 10).is_err());
/// # Ok::<(), forge_ratelimit::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    rate: NonZeroU32,
    period: Duration,
    burst: NonZeroU32,
    /// Nanoseconds until one unit is regained, rounded up so that the rate is never exceeded.
    interval: u64,
}

impl Quota {
    /// For people at a browser: 60 a minute, burst 10.
    pub const WEB: Self = Self::preset(60, Duration::from_secs(60), 10);
    /// For sign-in, by address: 10 a minute, burst 3.
    pub const AUTH: Self = Self::preset(10, Duration::from_secs(60), 3);
    /// For agents: 120 a minute, burst 20.
    pub const MCP: Self = Self::preset(120, Duration::from_secs(60), 20);
    /// For administration: 30 an hour, burst 5.
    pub const ADMIN: Self = Self::preset(30, Duration::from_secs(3600), 5);
    /// For an address nobody is signed in from: 30 a minute, burst 5.
    pub const ANONYMOUS: Self = Self::preset(30, Duration::from_secs(60), 5);

    /// `rate` units every `period`, of which `burst` may come at once.
    ///
    /// # Errors
    /// A rate, burst or period of zero, more than one unit a nanosecond, or a bucket that takes
    /// longer than a year to fill.
    pub const fn new(rate: u32, period: Duration, burst: u32) -> Result<Self, QuotaError> {
        /// Keeps every sum of a time and a debt within 64 bits of nanoseconds.
        const MAX_FILL: u128 = 366 * 24 * 3600 * 1_000_000_000;
        let Some(rate) = NonZeroU32::new(rate) else {
            return Err(QuotaError::ZeroRate);
        };
        let Some(burst) = NonZeroU32::new(burst) else {
            return Err(QuotaError::ZeroBurst);
        };
        let nanos = period.as_nanos();
        if nanos == 0 {
            return Err(QuotaError::ZeroPeriod);
        }
        let interval = nanos.div_ceil(rate.get() as u128);
        if nanos < rate.get() as u128 {
            return Err(QuotaError::TooFast);
        }
        if nanos > MAX_FILL || interval * burst.get() as u128 > MAX_FILL {
            return Err(QuotaError::TooSlow);
        }
        Ok(Self {
            rate,
            period,
            burst,
            interval: interval as u64,
        })
    }

    /// `rate` units a second, of which `burst` may come at once.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub const fn per_second(rate: u32, burst: u32) -> Result<Self, QuotaError> {
        Self::new(rate, Duration::from_secs(1), burst)
    }

    /// `rate` units a minute, of which `burst` may come at once.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub const fn per_minute(rate: u32, burst: u32) -> Result<Self, QuotaError> {
        Self::new(rate, Duration::from_secs(60), burst)
    }

    /// `rate` units an hour, of which `burst` may come at once.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub const fn per_hour(rate: u32, burst: u32) -> Result<Self, QuotaError> {
        Self::new(rate, Duration::from_secs(3600), burst)
    }

    const fn preset(rate: u32, period: Duration, burst: u32) -> Self {
        match Self::new(rate, period, burst) {
            Ok(quota) => quota,
            Err(_) => panic!("a preset is a valid quota"),
        }
    }

    /// Units regained every [`period`](Self::period).
    #[must_use]
    pub const fn rate(&self) -> NonZeroU32 {
        self.rate
    }

    /// The time in which [`rate`](Self::rate) units are regained.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// Units that may be used at once.
    #[must_use]
    pub const fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// The time until one unit is regained.
    #[must_use]
    pub const fn replenish_interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    pub(crate) const fn interval_nanos(&self) -> u64 {
        self.interval
    }

    /// The time the whole bucket takes to fill, which `new` bounds.
    pub(crate) const fn capacity_nanos(&self) -> u64 {
        self.interval.wrapping_mul(self.burst.get() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_zero_and_overflow() {
        let second = Duration::from_secs(1);
        assert_eq!(Quota::new(0, second, 1), Err(QuotaError::ZeroRate));
        assert_eq!(Quota::new(1, second, 0), Err(QuotaError::ZeroBurst));
        assert_eq!(
            Quota::new(1, Duration::ZERO, 1),
            Err(QuotaError::ZeroPeriod)
        );
        assert_eq!(
            Quota::new(2, Duration::from_nanos(1), 1),
            Err(QuotaError::TooFast)
        );
        assert_eq!(Quota::new(1, Duration::MAX, 1), Err(QuotaError::TooSlow));
        assert_eq!(
            Quota::new(1, Duration::from_secs(3600), u32::MAX),
            Err(QuotaError::TooSlow)
        );
        assert!(Quota::new(u32::MAX, Duration::from_secs(5), u32::MAX).is_ok());
    }

    #[test]
    fn rounds_the_interval_up_so_that_the_rate_is_never_exceeded() {
        let quota = Quota::new(7, Duration::from_nanos(20), 1).unwrap();
        assert_eq!(quota.replenish_interval(), Duration::from_nanos(3));
    }
}
