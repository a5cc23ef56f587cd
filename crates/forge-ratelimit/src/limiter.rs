//! The policies of a service, evaluated together.

use std::fmt;
use std::sync::Arc;

use arrayvec::ArrayVec;
use http::HeaderValue;
use http::request::Parts;

use crate::MAX_POLICIES;
use crate::decision::{Decision, PolicyVerdict};
use crate::error::{BuildError, StoreError};
use crate::fields;
use crate::policy::{Condition, MissingKey, Policy};
use crate::store::memory::MemoryStore;
use crate::store::{Charge, Charges, Store, Verdicts};

/// What becomes of requests while the store gives no verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFailure {
    /// They are refused with 503: nothing passes uncounted.
    #[default]
    Refuse,
    /// They are let pass uncounted.
    Admit,
}

/// A set of policies over one store. Cheap to clone; clones share the state.
///
/// ```
/// use forge_ratelimit::{MemoryStore, PeerAddress, Policy, Quota, RateLimiter};
///
/// let limiter = RateLimiter::builder(MemoryStore::new(100_000))
///     .policy(Policy::new("web", Quota::WEB, PeerAddress))
///     .build()?;
/// # Ok::<(), forge_ratelimit::BuildError>(())
/// ```
pub struct RateLimiter<S = MemoryStore> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    store: S,
    policies: Vec<Prepared>,
    exempt: Vec<Arc<dyn Condition>>,
    store_failure: StoreFailure,
}

struct Prepared {
    policy: Policy,
    /// The `RateLimit-Policy` item, which never changes.
    announcement: HeaderValue,
}

impl<S> RateLimiter<S> {
    /// Starts a limiter over `store`.
    pub fn builder(store: S) -> RateLimiterBuilder<S> {
        RateLimiterBuilder {
            store,
            policies: Vec::new(),
            exempt: vec![Arc::new(is_preflight)],
            store_failure: StoreFailure::default(),
        }
    }

    pub(crate) fn store(&self) -> &S {
        &self.inner.store
    }

    pub(crate) fn store_failure(&self) -> StoreFailure {
        self.inner.store_failure
    }

    pub(crate) fn policy(&self, index: u8) -> &Policy {
        &self.inner.policies[usize::from(index)].policy
    }

    pub(crate) fn announcement(&self, index: u8) -> &HeaderValue {
        &self.inner.policies[usize::from(index)].announcement
    }

    /// The charges that `parts` is to pay, or the policy that cannot count it.
    pub(crate) fn charges(&self, parts: &Parts) -> Result<Charges, Arc<str>> {
        let mut charges = Charges::new();
        if self.inner.exempt.iter().any(|exempt| exempt.applies(parts)) {
            return Ok(charges);
        }
        for (index, Prepared { policy, .. }) in (0u8..).zip(&self.inner.policies) {
            if !policy.applies(parts) {
                continue;
            }
            match (policy.key.key(parts), policy.missing_key) {
                (Some(key), _) => charges.push(Charge {
                    policy: index,
                    key,
                    quota: policy.quota,
                    weight: policy.weight,
                }),
                (None, MissingKey::Skip) => {}
                (None, MissingKey::Refuse) => return Err(Arc::clone(&policy.name)),
            }
        }
        Ok(charges)
    }

    pub(crate) fn decision(
        &self,
        charges: &[Charge],
        verdicts: Result<Verdicts, StoreError>,
    ) -> Decision {
        match verdicts {
            Err(error) => Decision::Undecided {
                error,
                admitted: self.store_failure() == StoreFailure::Admit,
            },
            Ok(verdicts) => {
                let verdicts: ArrayVec<PolicyVerdict, MAX_POLICIES> = charges
                    .iter()
                    .zip(verdicts)
                    .map(|(charge, verdict)| PolicyVerdict {
                        index: charge.policy,
                        policy: Arc::clone(&self.policy(charge.policy).name),
                        key_class: charge.key.class(),
                        verdict,
                    })
                    .collect();
                if verdicts.iter().all(|of| of.verdict.allowed) {
                    Decision::Admitted(verdicts)
                } else {
                    Decision::Refused(verdicts)
                }
            }
        }
    }
}

impl<S: Store> RateLimiter<S> {
    /// Decides on a request outside of a layer and charges it.
    pub async fn check(&self, parts: &Parts) -> Decision {
        match self.charges(parts) {
            Err(policy) => Decision::Unidentified { policy },
            Ok(charges) => {
                let verdicts = self.store().charge(charges.clone()).await;
                self.decision(&charges, verdicts)
            }
        }
    }
}

impl<S> Clone for RateLimiter<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S> fmt::Debug for RateLimiter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policies = self.inner.policies.iter().map(|prepared| &prepared.policy);
        f.debug_list().entries(policies).finish()
    }
}

/// Builds a [`RateLimiter`].
#[must_use]
pub struct RateLimiterBuilder<S> {
    store: S,
    policies: Vec<Policy>,
    exempt: Vec<Arc<dyn Condition>>,
    store_failure: StoreFailure,
}

impl<S> RateLimiterBuilder<S> {
    /// Adds a policy. A request pays all that apply to it, or none.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policies.push(policy);
        self
    }

    /// Requests that no policy counts. CORS preflights are exempt already: a browser cannot be
    /// told to send them less often.
    pub fn exempt(mut self, condition: impl Condition) -> Self {
        self.exempt.push(Arc::new(condition));
        self
    }

    /// What becomes of requests while the store gives no verdict. Default: they are refused.
    pub fn store_failure(mut self, store_failure: StoreFailure) -> Self {
        self.store_failure = store_failure;
        self
    }

    /// Checks the policies and makes the limiter.
    ///
    /// # Errors
    /// A name that is no token or given twice, a weight above the burst, or more than
    /// [`MAX_POLICIES`] policies.
    pub fn build(self) -> Result<RateLimiter<S>, BuildError> {
        if self.policies.len() > MAX_POLICIES {
            return Err(BuildError::TooManyPolicies);
        }
        let mut policies = Vec::<Prepared>::with_capacity(self.policies.len());
        for policy in self.policies {
            policy.check()?;
            if policies
                .iter()
                .any(|earlier| earlier.policy.name == policy.name)
            {
                return Err(BuildError::DuplicatePolicy(policy.name.to_string()));
            }
            let announcement = fields::announcement(&policy);
            policies.push(Prepared {
                policy,
                announcement,
            });
        }
        let inner = Inner {
            store: self.store,
            policies,
            exempt: self.exempt,
            store_failure: self.store_failure,
        };
        Ok(RateLimiter {
            inner: Arc::new(inner),
        })
    }
}

impl<S> fmt::Debug for RateLimiterBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiterBuilder")
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}

/// A CORS preflight, as the Fetch standard sends it.
fn is_preflight(parts: &Parts) -> bool {
    parts.method == http::Method::OPTIONS
        && parts.headers.contains_key(http::header::ORIGIN)
        && parts
            .headers
            .contains_key(http::header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PeerAddress;
    use crate::quota::Quota;
    use std::num::NonZeroU32;

    fn build(policies: impl IntoIterator<Item = Policy>) -> Result<RateLimiter, BuildError> {
        let builder = RateLimiter::builder(MemoryStore::new(8));
        policies
            .into_iter()
            .fold(builder, RateLimiterBuilder::policy)
            .build()
    }

    #[test]
    fn refuses_at_build_time_what_could_never_work() {
        let policy = |name: &str| Policy::new(name, Quota::WEB, PeerAddress);
        for name in ["", "Web", "1st", "a\"b", "a b", &"x".repeat(33)] {
            assert_eq!(
                build([policy(name)]).unwrap_err(),
                BuildError::PolicyName(name.to_owned())
            );
        }
        assert_eq!(
            build([policy("web"), policy("web")]).unwrap_err(),
            BuildError::DuplicatePolicy("web".to_owned())
        );
        let heavy = policy("web").weight(NonZeroU32::new(11).unwrap());
        assert!(matches!(
            build([heavy]),
            Err(BuildError::WeightAboveBurst {
                weight: 11,
                burst: 10,
                ..
            })
        ));
        let nine = (0..9).map(|n| policy(&format!("p{n}")));
        assert_eq!(build(nine).unwrap_err(), BuildError::TooManyPolicies);
    }
}
