//! A named quota, whom it counts, and when.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use arrayvec::ArrayString;
use http::request::Parts;

use crate::error::BuildError;
use crate::key::KeyExtractor;
use crate::quota::Quota;
use crate::store::StoreFailure;

/// Whether a policy applies to a request. Implemented for closures.
pub trait Condition: Send + Sync + 'static {
    /// True where the policy applies.
    fn applies(&self, parts: &Parts) -> bool;
}

impl<F> Condition for F
where
    F: Fn(&Parts) -> bool + Send + Sync + 'static,
{
    fn applies(&self, parts: &Parts) -> bool {
        self(parts)
    }
}

/// The quota of a request by whose it is: a tier, such as that of a paying customer. Implemented
/// for closures.
pub trait Tier: Send + Sync + 'static {
    /// The quota for `parts`; nothing where the policy's own holds.
    fn quota(&self, parts: &Parts) -> Option<Quota>;
}

impl<F> Tier for F
where
    F: Fn(&Parts) -> Option<Quota> + Send + Sync + 'static,
{
    fn quota(&self, parts: &Parts) -> Option<Quota> {
        self(parts)
    }
}

/// What a request costs. Implemented for closures.
pub trait Weight: Send + Sync + 'static {
    /// The units for `parts`; none where it costs nothing.
    fn weight(&self, parts: &Parts) -> u32;
}

impl<F> Weight for F
where
    F: Fn(&Parts) -> u32 + Send + Sync + 'static,
{
    fn weight(&self, parts: &Parts) -> u32 {
        self(parts)
    }
}

/// What becomes of a request whose key cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingKey {
    /// It is refused: who cannot be counted cannot be limited.
    #[default]
    Refuse,
    /// The policy does not apply to it. Another policy must.
    Skip,
}

/// A named [`Quota`], the key it counts by, and the requests it applies to.
///
/// ```
/// use forge_ratelimit::{Key, MissingKey, PeerAddress, Policy, Quota};
/// use http::request::Parts;
///
/// struct UserId(String);
///
/// let by_address = Policy::new("address", Quota::ANONYMOUS, PeerAddress);
/// let by_user = Policy::new("web", Quota::WEB, |parts: &Parts| {
///     Some(Key::user(&parts.extensions.get::<UserId>()?.0))
/// })
/// .when(|parts: &Parts| parts.uri.path().starts_with("/api/"))
/// .missing_key(MissingKey::Skip);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Policy {
    pub(crate) name: Arc<str>,
    pub(crate) quota: Quota,
    pub(crate) key: Arc<dyn KeyExtractor>,
    pub(crate) when: Option<Arc<dyn Condition>>,
    pub(crate) tier: Option<Arc<dyn Tier>>,
    pub(crate) weight: NonZeroU32,
    pub(crate) weight_by: Option<Arc<dyn Weight>>,
    pub(crate) missing_key: MissingKey,
    pub(crate) store_failure: Option<StoreFailure>,
    pub(crate) announced: bool,
    pub(crate) shadow: bool,
}

impl Policy {
    /// A policy for every request. The name is 1 to 32 of `a-z`, `0-9`, `-` and `_`, beginning
    /// with a letter, which the builder of the limiter checks; clients read it.
    pub fn new(name: impl Into<Arc<str>>, quota: Quota, key: impl KeyExtractor) -> Self {
        Self {
            name: name.into(),
            quota,
            key: Arc::new(key),
            when: None,
            tier: None,
            weight: NonZeroU32::MIN,
            weight_by: None,
            missing_key: MissingKey::default(),
            store_failure: None,
            announced: true,
            shadow: false,
        }
    }

    /// Applies the policy only where the condition holds. Default: everywhere.
    pub fn when(mut self, condition: impl Condition) -> Self {
        self.when = Some(Arc::new(condition));
        self
    }

    /// Units one request costs. Default: 1. Above the burst is an error of the builder.
    pub fn weight(mut self, weight: NonZeroU32) -> Self {
        self.weight = weight;
        self
    }

    /// Units by request, instead of [`weight`](Self::weight). One that costs nothing is not
    /// counted; one that costs more than the burst costs the whole burst, so that it can pass at
    /// all.
    pub fn weight_by(mut self, weight: impl Weight) -> Self {
        self.weight_by = Some(Arc::new(weight));
        self
    }

    /// The quota by request, such as by the principal's plan. Default: the policy's own for all.
    /// A key whose quota changes keeps its debt, as time; a fixed weight above a tier's burst
    /// costs the whole burst.
    pub fn tier(mut self, tier: impl Tier) -> Self {
        self.tier = Some(Arc::new(tier));
        self
    }

    /// What becomes of a request while the store gives no verdict. Default: what the limiter says.
    pub fn store_failure(mut self, store_failure: StoreFailure) -> Self {
        self.store_failure = Some(store_failure);
        self
    }

    /// Counts and tells observers, and lets pass what it would refuse: to try a quota out.
    /// Responses do not tell of it. Default: false.
    pub fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = shadow;
        self
    }

    /// What becomes of a request whose key cannot be read. Default: it is refused.
    pub fn missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// Whether responses tell the client of the policy. Default: true. A refusal always does.
    pub fn announced(mut self, announced: bool) -> Self {
        self.announced = announced;
        self
    }

    pub(crate) fn applies(&self, parts: &Parts) -> bool {
        self.when.as_ref().is_none_or(|when| when.applies(parts))
    }

    pub(crate) fn quota_of(&self, parts: &Parts) -> Quota {
        let tier = self.tier.as_ref().and_then(|tier| tier.quota(parts));
        tier.unwrap_or(self.quota)
    }

    /// What a request costs under `quota`, if anything.
    pub(crate) fn weight_of(&self, parts: &Parts, quota: &Quota) -> Option<NonZeroU32> {
        let weight = match &self.weight_by {
            Some(weight) => NonZeroU32::new(weight.weight(parts))?,
            None => self.weight,
        };
        Some(weight.min(quota.burst()))
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        check_name(&self.name)?;
        if self.weight > self.quota.burst() {
            return Err(BuildError::WeightAboveBurst {
                policy: self.name.to_string(),
                weight: self.weight.get(),
                burst: self.quota.burst().get(),
            });
        }
        Ok(())
    }
}

/// The name of a policy: 1 to 32 of `a-z`, `0-9`, `-` and `_`, beginning with a letter. It lies
/// where it is, so that each decision can bear it at the price of a copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(ArrayString<MAX_NAME>);

/// Bytes of a name, at most.
pub(crate) const MAX_NAME: usize = 32;

impl PolicyName {
    /// A name that was [checked](check_name).
    pub(crate) fn of(name: &str) -> Self {
        Self(ArrayString::from(name).unwrap_or_default())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::ops::Deref for PolicyName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for PolicyName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A name is a token, and short: it stands in header fields, metrics and logs.
pub(crate) fn check_name(name: &str) -> Result<(), BuildError> {
    let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let bytes = name.as_bytes();
    let named = (1..=MAX_NAME).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|b| token(*b));
    if named {
        Ok(())
    } else {
        Err(BuildError::PolicyName(name.to_owned()))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("quota", &self.quota)
            .field("weight", &self.weight)
            .field("missing_key", &self.missing_key)
            .field("shadow", &self.shadow)
            .finish_non_exhaustive()
    }
}
