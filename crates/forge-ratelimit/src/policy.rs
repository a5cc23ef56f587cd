//! A named quota, whom it counts, and when.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use http::request::Parts;

use crate::error::BuildError;
use crate::key::KeyExtractor;
use crate::quota::Quota;

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
    pub(crate) weight: NonZeroU32,
    pub(crate) missing_key: MissingKey,
    pub(crate) announced: bool,
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
            weight: NonZeroU32::MIN,
            missing_key: MissingKey::default(),
            announced: true,
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

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let token =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        let name = self.name.as_bytes();
        let named = (1..=32).contains(&name.len())
            && name[0].is_ascii_lowercase()
            && name.iter().all(|b| token(*b));
        if !named {
            return Err(BuildError::PolicyName(self.name.to_string()));
        }
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

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("quota", &self.quota)
            .field("weight", &self.weight)
            .field("missing_key", &self.missing_key)
            .finish_non_exhaustive()
    }
}
