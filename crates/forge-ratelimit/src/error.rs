//! What can go wrong.

/// An error of any kind, as a source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a [`Quota`](crate::Quota) cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// Nothing would ever be regained.
    #[error("the rate is zero: allow at least one unit a period")]
    ZeroRate,
    /// Nothing would ever be allowed.
    #[error("the burst is zero: allow at least one unit at once")]
    ZeroBurst,
    /// The rate would be without bound.
    #[error("the period is zero")]
    ZeroPeriod,
    /// More than one unit a nanosecond.
    #[error("the rate is above one unit a nanosecond")]
    TooFast,
    /// The bucket takes longer than a year to fill.
    #[error("the bucket takes longer than a year to fill: shorten the period or the burst")]
    TooSlow,
}

/// Why a [`RateLimiter`](crate::RateLimiter) cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A name that cannot stand in a header field.
    #[error("policy name {0:?} is not 1 to 32 of a-z, 0-9, `-` and `_`, beginning with a letter")]
    PolicyName(String),
    /// Two policies of one name would share their buckets.
    #[error("two policies are named {0:?}")]
    DuplicatePolicy(String),
    /// A request of that weight could never be admitted.
    #[error("policy {policy:?}: weight {weight} is above the burst of {burst}")]
    WeightAboveBurst {
        /// The policy's name.
        policy: String,
        /// Its weight.
        weight: u32,
        /// Its burst.
        burst: u32,
    },
    /// More policies than are evaluated together.
    #[error("more than {} policies", crate::MAX_POLICIES)]
    TooManyPolicies,
}

/// Why a store gave no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store could not be reached in time.
    #[error("rate limit store unavailable")]
    Unavailable(#[source] BoxError),
}

/// Why a key could not be looked at or adjusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdjustError {
    /// The limiter has no policy of that name.
    #[error("no policy of that name")]
    UnknownPolicy,
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
