//! What was decided on a request.

use std::time::Duration;

use arrayvec::ArrayVec;

use crate::MAX_POLICIES;
use crate::error::StoreError;
use crate::gcra::seconds_up;
use crate::key::KeyClass;
use crate::policy::PolicyName;
use crate::quota::Quota;
use crate::store::Verdict;

/// What one policy said.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PolicyVerdict {
    /// The policy's place among the limiter's.
    pub(crate) index: u8,
    /// The policy's name.
    pub policy: PolicyName,
    /// What kind of key it counted.
    pub key_class: KeyClass,
    /// The quota that held for the key.
    pub quota: Quota,
    /// Whether the policy has no say.
    pub shadow: bool,
    /// What the store said.
    pub verdict: Verdict,
}

/// What was decided on a request, and why.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decision {
    /// Every policy that applies was charged; none when the request is exempt.
    Admitted(ArrayVec<PolicyVerdict, MAX_POLICIES>),
    /// At least one policy had not enough left; none was charged.
    Refused(ArrayVec<PolicyVerdict, MAX_POLICIES>),
    /// A policy that must count the request could not read its key: refused.
    Unidentified {
        /// The policy's name.
        policy: PolicyName,
    },
    /// The store gave no verdict.
    Undecided {
        /// Why.
        error: StoreError,
        /// Whether the request was let pass all the same.
        admitted: bool,
    },
}

impl Decision {
    /// Whether the request may pass.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        matches!(
            self,
            Self::Admitted(_) | Self::Undecided { admitted: true, .. }
        )
    }

    /// What each policy said, in the order of the policies.
    #[must_use]
    pub fn verdicts(&self) -> &[PolicyVerdict] {
        match self {
            Self::Admitted(verdicts) | Self::Refused(verdicts) => verdicts,
            Self::Unidentified { .. } | Self::Undecided { .. } => &[],
        }
    }

    /// The policies that had not enough left and therefore refused.
    pub fn violated(&self) -> impl Iterator<Item = &PolicyVerdict> {
        let verdicts = self.verdicts().iter();
        verdicts.filter(|of| !of.verdict.allowed && !of.shadow)
    }

    /// The policies in shadow that would have refused.
    pub fn would_refuse(&self) -> impl Iterator<Item = &PolicyVerdict> {
        let verdicts = self.verdicts().iter();
        verdicts.filter(|of| !of.verdict.allowed && of.shadow)
    }

    /// After a refusal, the whole seconds after which the same request passes: rounded up and at
    /// least one, for `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let wait = self.violated().map(|of| of.verdict.wait).max()?;
        Some(Duration::from_secs(seconds_up(wait).max(1)))
    }

    /// One word for metrics and logs.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Admitted(_) => "admitted",
            Self::Refused(_) => "refused",
            Self::Unidentified { .. } => "unidentified",
            Self::Undecided { .. } => "undecided",
        }
    }
}
