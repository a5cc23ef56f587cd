//! The policies of a service, evaluated together.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use arrayvec::ArrayVec;
use http::HeaderValue;
use http::request::Parts;

use crate::MAX_POLICIES;
use crate::charged::Adjust;
use crate::decision::{Decision, PolicyVerdict};
use crate::error::{AdjustError, BuildError, StoreError};
use crate::exempt::is_preflight;
use crate::fields;
use crate::key::Key;
use crate::policy::{Condition, MissingKey, Policy, PolicyName};
use crate::store::memory::MemoryStore;
use crate::store::{
    AdjustFuture, Adjustment, Charge, Charges, PolicyId, Store, StoreFailure, Verdict, Verdicts,
};

/// A set of policies over one store. Cheap to clone; clones share the state.
///
/// ```
/// use forge_ratelimit::{MemoryStore, PeerAddress, Policy, Quota, RateLimiter};
///
/// let limiter = RateLimiter::builder(MemoryStore::new(100_000))
///     .policy(Policy::new("web", Quota::WEB, PeerAddress))
///     .build()?;
///
/// // Later, without forgetting who owes what: a builder without a store.
/// let narrower = Quota::per_minute(30, 5).unwrap();
/// limiter.reload(RateLimiter::builder(()).policy(Policy::new("web", narrower, PeerAddress)))?;
/// # Ok::<(), forge_ratelimit::BuildError>(())
/// ```
pub struct RateLimiter<S = MemoryStore> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    store: S,
    rules: ArcSwap<Rules>,
}

/// What can be replaced while requests are under way; each keeps to the rules it began with.
pub(crate) struct Rules {
    policies: Vec<Prepared>,
    /// The `RateLimit-Policy` list of each set of policies, made when it is first needed; a set is
    /// a number with the bits of its policies.
    announcements: Box<[OnceLock<HeaderValue>]>,
    exempt: Vec<Arc<dyn Condition>>,
    exempt_keys: HashSet<Key>,
    pub(crate) legacy_fields: bool,
    pub(crate) hands_on: bool,
}

struct Prepared {
    policy: Policy,
    name: PolicyName,
    /// `"web";r=`, as it stands in each response.
    head: Box<[u8]>,
    id: PolicyId,
    store_failure: StoreFailure,
    /// Whether it was said that its key cannot be read.
    warned: AtomicBool,
}

impl Rules {
    /// Puts into `charges` what `parts` is to pay, or says which policy cannot count it.
    pub(crate) fn charges(&self, parts: &Parts, charges: &mut Charges) -> Result<(), PolicyName> {
        if is_preflight(parts) || self.exempt.iter().any(|exempt| exempt.applies(parts)) {
            return Ok(());
        }
        for (index, prepared) in (0u8..).zip(&self.policies) {
            let policy = &prepared.policy;
            if !policy.applies(parts) {
                continue;
            }
            let Some(key) = policy.key.key(parts) else {
                if policy.missing_key == MissingKey::Skip {
                    continue;
                }
                prepared.warn_of_missing_key();
                if policy.shadow {
                    continue;
                }
                return Err(prepared.name);
            };
            if !self.exempt_keys.is_empty() && self.exempt_keys.contains(&key) {
                continue;
            }
            let quota = policy.quota_of(parts);
            let Some(weight) = policy.weight_of(parts, &quota) else {
                continue;
            };
            charges.push(Charge {
                weight,
                shadow: policy.shadow,
                on_failure: prepared.store_failure,
                index,
                ..Charge::new(prepared.id, key, quota)
            });
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn policy(&self, index: u8) -> &Policy {
        &self.policies[usize::from(index)].policy
    }

    /// What an item of the field `RateLimit` begins with.
    #[inline]
    pub(crate) fn head(&self, index: u8) -> &[u8] {
        &self.policies[usize::from(index)].head
    }

    /// The list that announces these policies, or nothing where a tier makes it differ.
    pub(crate) fn announcement(&self, told: &fields::Told<'_>) -> Option<&HeaderValue> {
        let mut set = 0usize;
        for of in told.iter() {
            if self.policy(of.index).tier.is_some() {
                return None;
            }
            set |= 1 << of.index;
        }
        let list = self.announcements.get(set)?;
        Some(list.get_or_init(|| fields::announcement(told)))
    }

    #[inline]
    pub(crate) fn decision(
        &self,
        charges: &[Charge],
        verdicts: Result<&Verdicts, StoreError>,
    ) -> Decision {
        let verdicts = match verdicts {
            Ok(verdicts) => verdicts,
            Err(error) => {
                let mut enforced = charges.iter().filter(|charge| !charge.shadow);
                let admitted = enforced.all(|charge| charge.on_failure == StoreFailure::Admit);
                return Decision::Undecided { error, admitted };
            }
        };
        let refuses = |(charge, verdict): (&Charge, &Verdict)| !verdict.allowed && !charge.shadow;
        let mut decision = if charges.iter().zip(verdicts).any(refuses) {
            Decision::Refused(ArrayVec::new())
        } else {
            Decision::Admitted(ArrayVec::new())
        };
        // Filled where it lies: it is large, and most of it is room.
        if let Decision::Refused(of) | Decision::Admitted(of) = &mut decision {
            of.extend(
                charges
                    .iter()
                    .zip(verdicts)
                    .map(|(charge, verdict)| PolicyVerdict {
                        index: charge.index,
                        policy: self.policies[usize::from(charge.index)].name,
                        key_class: charge.key().class(),
                        quota: charge.quota,
                        shadow: charge.shadow,
                        verdict: *verdict,
                    }),
            );
        }
        decision
    }

    /// What names the bucket of `key` under the policy of that name, outside of a request.
    fn charge(&self, policy: &str, key: &Key) -> Result<Charge, AdjustError> {
        let prepared = self
            .policies
            .iter()
            .find(|prepared| &*prepared.policy.name == policy)
            .ok_or(AdjustError::UnknownPolicy)?;
        Ok(Charge::new(prepared.id, key.clone(), prepared.policy.quota))
    }
}

impl Prepared {
    /// Once: a layer that is missing shows at the first request, and a client who can leave the
    /// key out must not fill the log.
    fn warn_of_missing_key(&self) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            let policy = &*self.policy.name;
            tracing::warn!(
                policy,
                "the rate limit key of a request cannot be read; this is said once"
            );
        }
    }
}

impl<S> RateLimiter<S> {
    /// Starts a limiter over `store`; over `()` for [`reload`](Self::reload).
    pub fn builder(store: S) -> RateLimiterBuilder<S> {
        RateLimiterBuilder {
            store,
            policies: Vec::new(),
            exempt: Vec::new(),
            exempt_keys: HashSet::new(),
            store_failure: StoreFailure::default(),
            legacy_fields: false,
            hands_on: false,
        }
    }

    /// Replaces policies and exemptions, for requests from now on. Debts stay: they go by the
    /// policies' names, and a key in debt beyond a smaller burst owes the whole of it.
    ///
    /// # Errors
    /// As [`RateLimiterBuilder::build`]; then nothing changes.
    pub fn reload(&self, builder: RateLimiterBuilder<()>) -> Result<(), BuildError> {
        let ((), rules) = builder.rules()?;
        self.inner.rules.store(Arc::new(rules));
        Ok(())
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.inner.store
    }

    pub(crate) fn rules(&self) -> Guard<Arc<Rules>> {
        self.inner.rules.load()
    }
}

impl<S: Store> Adjust for Inner<S> {
    fn adjust(&self, charge: &Charge, adjustment: Adjustment) -> AdjustFuture {
        self.store.adjust(charge, adjustment)
    }
}

impl<S: Store> RateLimiter<S> {
    /// The store, for adjustments alone.
    pub(crate) fn adjuster(&self) -> Arc<dyn Adjust> {
        Arc::clone(&self.inner) as Arc<dyn Adjust>
    }

    /// Decides on a request outside of a layer and charges it.
    pub async fn check(&self, parts: &Parts) -> Decision {
        let rules = Guard::into_inner(self.rules());
        let mut charges = Charges::new();
        if let Err(policy) = rules.charges(parts, &mut charges) {
            return Decision::Unidentified { policy };
        }
        let mut verdicts = Verdicts::new();
        if self.store().charge_now(&charges, &mut verdicts) {
            return rules.decision(&charges, Ok(&verdicts));
        }
        match self.store().charge(&charges).await {
            Ok(verdicts) => rules.decision(&charges, Ok(&verdicts)),
            Err(error) => rules.decision(&charges, Err(error)),
        }
    }

    /// What the next request of `key` would be told under the policy of that name. Nothing is
    /// charged.
    ///
    /// # Errors
    /// No such policy, or a store that cannot say.
    pub async fn peek(&self, policy: &str, key: &Key) -> Result<Verdict, AdjustError> {
        self.adjust(policy, key, 1, Adjustment::Peek).await
    }

    /// Forgets debt and block of `key` under the policy of that name.
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    pub async fn reset(&self, policy: &str, key: &Key) -> Result<Verdict, AdjustError> {
        self.adjust(policy, key, 1, Adjustment::Reset).await
    }

    /// Takes `units` from `key`, there or not; never more than the burst.
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    pub async fn penalize(
        &self,
        policy: &str,
        key: &Key,
        units: u32,
    ) -> Result<Verdict, AdjustError> {
        self.adjust(policy, key, units, Adjustment::Penalize).await
    }

    /// Gives `units` back to `key`.
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    pub async fn refund(
        &self,
        policy: &str,
        key: &Key,
        units: u32,
    ) -> Result<Verdict, AdjustError> {
        self.adjust(policy, key, units, Adjustment::Refund).await
    }

    /// Refuses every request of `key` under the policy of that name for that long; a zero lifts
    /// nothing, [`reset`](Self::reset) does.
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    pub async fn block(
        &self,
        policy: &str,
        key: &Key,
        time: std::time::Duration,
    ) -> Result<Verdict, AdjustError> {
        self.adjust(policy, key, 1, Adjustment::Block(time)).await
    }

    /// The names of the policies, in their order.
    #[must_use]
    pub fn policies(&self) -> Vec<Arc<str>> {
        let rules = self.rules();
        let names = rules.policies.iter();
        names.map(|of| Arc::clone(&of.policy.name)).collect()
    }

    async fn adjust(
        &self,
        policy: &str,
        key: &Key,
        units: u32,
        adjustment: Adjustment,
    ) -> Result<Verdict, AdjustError> {
        let charge = self.rules().charge(policy, key)?;
        let (charge, adjustment) = match std::num::NonZeroU32::new(units) {
            Some(units) => (charge.weight(units), adjustment),
            None => (charge, Adjustment::Peek),
        };
        self.store().adjust(&charge, adjustment).await?;
        // What a request of one unit would be told, whatever the adjustment took.
        let one = charge.weight(std::num::NonZeroU32::MIN);
        Ok(self.store().adjust(&one, Adjustment::Peek).await?)
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
        let rules = self.rules();
        let policies = rules.policies.iter().map(|prepared| &prepared.policy);
        f.debug_list().entries(policies).finish()
    }
}

/// Builds a [`RateLimiter`].
#[must_use]
pub struct RateLimiterBuilder<S> {
    store: S,
    policies: Vec<Policy>,
    exempt: Vec<Arc<dyn Condition>>,
    exempt_keys: HashSet<Key>,
    store_failure: StoreFailure,
    legacy_fields: bool,
    hands_on: bool,
}

impl<S> RateLimiterBuilder<S> {
    /// Adds a policy. A request pays all that apply to it, or none.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policies.push(policy);
        self
    }

    /// Requests that no policy counts. CORS preflights are exempt already: a browser cannot be
    /// told to send them less often. [`in_networks`](crate::in_networks) and
    /// [`on_paths`](crate::on_paths) are conditions ready-made.
    pub fn exempt(mut self, condition: impl Condition) -> Self {
        self.exempt.push(Arc::new(condition));
        self
    }

    /// A key that no policy counts. A policy that counts the request by another key still does.
    pub fn exempt_key(mut self, key: Key) -> Self {
        self.exempt_keys.insert(key);
        self
    }

    /// What becomes of requests while the store gives no verdict, where the policy does not say.
    /// Default: they are refused.
    pub fn store_failure(mut self, store_failure: StoreFailure) -> Self {
        self.store_failure = store_failure;
        self
    }

    /// Whether responses also bear `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds from
    /// now), for clients that know no others. Of several policies the one with the least left is
    /// told. Default: false.
    pub fn legacy_fields(mut self, legacy_fields: bool) -> Self {
        self.legacy_fields = legacy_fields;
        self
    }

    /// Whether requests bear what they paid as an extension, [`Charged`](crate::Charged), for
    /// handlers that give back or take more. It costs an allocation a request. Default: false.
    pub fn hand_on_charges(mut self, hand_on_charges: bool) -> Self {
        self.hands_on = hand_on_charges;
        self
    }

    /// Checks the policies and makes the limiter.
    ///
    /// # Errors
    /// A name that is no token or given twice, a weight above the burst, or more than
    /// [`MAX_POLICIES`] policies.
    pub fn build(self) -> Result<RateLimiter<S>, BuildError> {
        let (store, rules) = self.rules()?;
        let rules = ArcSwap::from_pointee(rules);
        Ok(RateLimiter {
            inner: Arc::new(Inner { store, rules }),
        })
    }

    fn rules(self) -> Result<(S, Rules), BuildError> {
        if self.policies.len() > MAX_POLICIES {
            return Err(BuildError::TooManyPolicies);
        }
        let mut policies = Vec::<Prepared>::with_capacity(self.policies.len());
        for policy in self.policies {
            policy.check()?;
            let id = PolicyId::of(&policy.name);
            if policies.iter().any(|earlier| earlier.id == id) {
                return Err(BuildError::DuplicatePolicy(policy.name.to_string()));
            }
            policies.push(Prepared {
                id,
                name: PolicyName::of(&policy.name),
                head: fields::head(&policy.name),
                store_failure: policy.store_failure.unwrap_or(self.store_failure),
                policy,
                warned: AtomicBool::new(false),
            });
        }
        let sets = 1usize << policies.len();
        let rules = Rules {
            policies,
            announcements: std::iter::repeat_with(OnceLock::new).take(sets).collect(),
            exempt: self.exempt,
            exempt_keys: self.exempt_keys,
            legacy_fields: self.legacy_fields,
            hands_on: self.hands_on,
        };
        Ok((self.store, rules))
    }
}

impl<S> fmt::Debug for RateLimiterBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiterBuilder")
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
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
