//! What a request paid, for those who give back or take more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::decision::PolicyVerdict;
use crate::error::StoreError;
use crate::policy::PolicyName;
use crate::store::{AdjustFuture, Adjustment, Charge};

/// What a request paid, as an extension of the request for handlers and the layers below.
///
/// It is there where [`hand_on_charges`](crate::RateLimiterBuilder::hand_on_charges) asks for it.
/// A handler gives back what turned out to cost nothing, or takes more where a guess was wrong:
///
/// ```
/// use forge_ratelimit::{Charged, StoreError};
///
/// async fn sign_in(charged: &Charged, known: bool) -> Result<(), StoreError> {
///     if known { charged.refund().await } else { charged.penalize().await }
/// }
/// ```
#[derive(Clone)]
pub struct Charged {
    inner: Arc<Inner>,
}

struct Inner {
    charges: Vec<Charge>,
    names: Vec<PolicyName>,
    store: Arc<dyn Adjust>,
}

/// A store of any kind, for adjustments alone.
pub(crate) trait Adjust: Send + Sync {
    fn adjust(&self, charge: &Charge, adjustment: Adjustment) -> AdjustFuture;
}

impl Charged {
    pub(crate) fn new(
        charges: &[Charge],
        verdicts: &[PolicyVerdict],
        store: Arc<dyn Adjust>,
    ) -> Self {
        // A shadow that did not fit was not charged.
        let paid = charges
            .iter()
            .zip(verdicts)
            .filter(|(_, of)| of.verdict.allowed);
        let (charges, names) = paid.map(|(charge, of)| (charge.clone(), of.policy)).unzip();
        Self {
            inner: Arc::new(Inner {
                charges,
                names,
                store,
            }),
        }
    }

    /// The names of the policies that were charged.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.inner.names.iter().map(|name| &**name)
    }

    /// This under the policy of that name alone, if that was charged.
    #[must_use]
    pub fn only(&self, policy: &str) -> Option<Self> {
        let at = self.inner.names.iter().position(|name| &**name == policy)?;
        Some(Self {
            inner: Arc::new(Inner {
                charges: vec![self.inner.charges[at].clone()],
                names: vec![self.inner.names[at]],
                store: Arc::clone(&self.inner.store),
            }),
        })
    }

    /// Gives back what the request paid.
    ///
    /// # Errors
    /// A store that cannot be reached.
    pub async fn refund(&self) -> Result<(), StoreError> {
        self.all(Adjustment::Refund).await
    }

    /// Takes as much again, there or not; never more than the burst.
    ///
    /// # Errors
    /// As [`refund`](Self::refund).
    pub async fn penalize(&self) -> Result<(), StoreError> {
        self.all(Adjustment::Penalize).await
    }

    /// Refuses every further request of the same keys for that long.
    ///
    /// # Errors
    /// As [`refund`](Self::refund).
    pub async fn block(&self, time: Duration) -> Result<(), StoreError> {
        self.all(Adjustment::Block(time)).await
    }

    async fn all(&self, adjustment: Adjustment) -> Result<(), StoreError> {
        for charge in &self.inner.charges {
            self.inner.store.adjust(charge, adjustment).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Charged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charged")
            .field("policies", &self.inner.names)
            .finish_non_exhaustive()
    }
}
