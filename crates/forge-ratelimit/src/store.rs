//! Where debts are kept: the contract every backend fulfils.

pub(crate) mod memory;

use std::num::NonZeroU32;
use std::time::Duration;

use arrayvec::ArrayVec;

use crate::error::StoreError;
use crate::key::Key;
use crate::quota::Quota;

/// Policies that one limiter evaluates together, at most.
pub const MAX_POLICIES: usize = 8;

/// One policy's part of a decision: so many units of this key's quota.
#[derive(Clone, Debug)]
pub struct Charge {
    /// The policy's place among the limiter's policies: the same key under two policies is two
    /// buckets.
    pub policy: u8,
    /// Whom it counts.
    pub key: Key,
    /// How much is allowed.
    pub quota: Quota,
    /// What the request costs; at most the burst.
    pub weight: NonZeroU32,
}

/// The charges of one request, decided together.
pub type Charges = ArrayVec<Charge, MAX_POLICIES>;

/// What the store says to one [`Charge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the units were, or would have been, there.
    pub allowed: bool,
    /// Units left, after the charge where it was made.
    pub remaining: u32,
    /// Where not allowed, the time until it would be; else the time until one more unit is
    /// there, zero when the bucket is full.
    pub wait: Duration,
}

/// The verdicts, in the order of the charges.
pub type Verdicts = ArrayVec<Verdict, MAX_POLICIES>;

/// Keeps the debts of keys.
///
/// # Contract
/// - **All or nothing:** the charges of one call are made together or, when one does not fit, not
///   at all; concurrent calls see either none or all of them.
/// - **Never too much:** no key is granted more than burst + rate × time in any window, except
///   that a store of bounded memory may forget a key that owes nothing or least.
/// - **Keyed:** the store keeps no key in clear.
pub trait Store: Send + Sync + 'static {
    /// The pending decision. A store in memory is ready at once.
    type Future: Future<Output = Result<Verdicts, StoreError>> + Send;

    /// Decides on, and makes, the charges of one request.
    fn charge(&self, charges: Charges) -> Self::Future;
}

impl<S: Store + ?Sized> Store for std::sync::Arc<S> {
    type Future = S::Future;

    fn charge(&self, charges: Charges) -> Self::Future {
        (**self).charge(charges)
    }
}
