//! Where debts are kept: the contract every backend fulfils.

pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::num::NonZeroU32;
use std::pin::Pin;
use std::time::Duration;

use arrayvec::ArrayVec;

use crate::error::StoreError;
use crate::gcra;
use crate::key::Key;
use crate::quota::Quota;

/// Policies that one limiter evaluates together, at most.
pub const MAX_POLICIES: usize = 8;

/// A policy as stores know it: by its name, so that its debts outlive a change of its place, its
/// quota or the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyId(u64);

impl PolicyId {
    /// The id of the policy of that name (FNV-1a; names are configuration, not input).
    #[must_use]
    pub const fn of(name: &str) -> Self {
        let (bytes, mut hash, mut at) = (name.as_bytes(), 0xcbf2_9ce4_8422_2325, 0);
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        Self(hash)
    }

    /// The id as a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// What becomes of requests while the store gives no verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFailure {
    /// They are refused with 503: nothing passes uncounted.
    #[default]
    Refuse,
    /// They are let pass uncounted.
    Admit,
    /// They are counted in this process, against this node's share of the quota. A store that
    /// knows of no nodes refuses.
    LocalShare,
}

/// One policy's part of a decision: so many units of this key's quota.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Charge {
    /// The policy: the same key under two policies is two buckets.
    pub policy: PolicyId,
    /// Whom it counts, see [`key`](Self::key).
    pub(crate) key: Key,
    /// The key's hash, and whether it is an address's, once more: whoever makes a charge has them at
    /// hand, while those in a key that was just moved have to be waited for.
    pub(crate) hash: u64,
    pub(crate) anonymous: bool,
    /// How much is allowed.
    pub quota: Quota,
    /// What the request costs; at most the burst.
    pub weight: NonZeroU32,
    /// Whether it counts without a say: where it does not fit, the others are charged all the
    /// same.
    pub shadow: bool,
    /// What becomes of it while the store cannot decide.
    pub on_failure: StoreFailure,
    /// The policy's place among the limiter's.
    pub(crate) index: u8,
}

impl Charge {
    /// One unit of `key`'s `quota` under the policy of that name.
    #[must_use]
    #[inline(always)]
    pub const fn new(policy: PolicyId, key: Key, quota: Quota) -> Self {
        Self {
            policy,
            hash: key.hash(),
            anonymous: key.is_anonymous(),
            key,
            quota,
            weight: NonZeroU32::MIN,
            shadow: false,
            on_failure: StoreFailure::Refuse,
            index: 0,
        }
    }

    /// Whom it counts.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The key's keyed hash.
    #[inline]
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether the key is an address, which anybody may have without an account.
    #[inline]
    pub(crate) const fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// Units it costs. Default: 1.
    #[must_use]
    pub const fn weight(mut self, weight: NonZeroU32) -> Self {
        self.weight = weight;
        self
    }

    /// Whether it counts without a say. Default: false.
    #[must_use]
    pub const fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = shadow;
        self
    }

    /// What becomes of it while the store cannot decide. Default: it is refused.
    #[must_use]
    pub const fn on_failure(mut self, on_failure: StoreFailure) -> Self {
        self.on_failure = on_failure;
        self
    }
}

/// The charges of one request, decided together.
pub type Charges = ArrayVec<Charge, MAX_POLICIES>;

/// What the store says to one [`Charge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Whether the units were, or would have been, there.
    pub allowed: bool,
    /// Units left, after the charge where it was made.
    pub remaining: u32,
    /// Where not allowed, the time until it would be; else the time until one more unit is
    /// there, zero when the bucket is full.
    pub wait: Duration,
    /// Whether the key is under a [block](Adjustment::Block), whatever its debt.
    pub blocked: bool,
}

impl Verdict {
    /// The verdict of a store: see the fields.
    #[must_use]
    pub const fn new(allowed: bool, remaining: u32, wait: Duration) -> Self {
        Self {
            allowed,
            remaining,
            wait,
            blocked: false,
        }
    }

    /// What `outcome` says; `charged` is whether what fits was charged in the end.
    #[inline]
    pub(crate) fn of(
        outcome: &gcra::Outcome,
        quota: &Quota,
        weight: NonZeroU32,
        charged: bool,
    ) -> Self {
        let wait = Duration::from_nanos;
        match *outcome {
            gcra::Outcome::Fits {
                remaining,
                next_unit,
                ..
            } if charged => Self::new(true, remaining, wait(next_unit)),
            // Not charged after all: the units it would have cost are still there, and it is as
            // long until the next, unless the bucket is full without the charge.
            gcra::Outcome::Fits {
                remaining,
                next_unit,
                ..
            } => {
                let remaining = remaining.saturating_add(weight.get());
                let full = remaining >= quota.burst().get();
                Self::new(true, remaining, wait(if full { 0 } else { next_unit }))
            }
            gcra::Outcome::Exceeds {
                remaining,
                wait: until,
                blocked,
                ..
            } => Self {
                blocked,
                ..Self::new(false, remaining, wait(until))
            },
        }
    }
}

/// The verdicts, in the order of the charges.
pub type Verdicts = ArrayVec<Verdict, MAX_POLICIES>;

/// A change to a key's debt that no request asks for. The units are the charge's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Adjustment {
    /// None: looks only.
    Peek,
    /// The units are given back.
    Refund,
    /// The units are taken, there or not; never more than the whole burst.
    Penalize,
    /// Every request is refused for that long, a year at most. It replaces the debt.
    Block(Duration),
    /// Debt and block are forgotten.
    Reset,
}

/// A boxed future: adjustments are rare.
pub type AdjustFuture = Pin<Box<dyn Future<Output = Result<Verdict, StoreError>> + Send>>;

/// Keeps the debts of keys.
///
/// # Contract
/// - **All or nothing:** the charges of one call are made together or, when one that is no shadow
///   does not fit, not at all; concurrent calls see either none or all of them.
/// - **Never too much:** no key is granted more than burst + rate × time in any window, except
///   that a store of bounded memory may forget a key that owes nothing or least.
/// - **Keyed:** the store keeps no key in clear.
pub trait Store: Send + Sync + 'static {
    /// The pending decision.
    type Future: Future<Output = Result<Verdicts, StoreError>> + Send;

    /// Decides on, and makes, the charges of one request.
    fn charge(&self, charges: &[Charge]) -> Self::Future;

    /// As [`charge`](Self::charge), at once: puts the verdicts into `verdicts`, which is empty, and
    /// returns true. A store that would have to wait, unlike one in memory, does nothing and
    /// returns false.
    fn charge_now(&self, charges: &[Charge], verdicts: &mut Verdicts) -> bool {
        let _ = (charges, verdicts);
        false
    }

    /// Changes the debt that `charge` names, and says what a request like it would be told
    /// thereafter.
    fn adjust(&self, charge: &Charge, adjustment: Adjustment) -> AdjustFuture;
}

impl<S: Store + ?Sized> Store for std::sync::Arc<S> {
    type Future = S::Future;

    fn charge(&self, charges: &[Charge]) -> Self::Future {
        (**self).charge(charges)
    }

    fn charge_now(&self, charges: &[Charge], verdicts: &mut Verdicts) -> bool {
        (**self).charge_now(charges, verdicts)
    }

    fn adjust(&self, charge: &Charge, adjustment: Adjustment) -> AdjustFuture {
        (**self).adjust(charge, adjustment)
    }
}
