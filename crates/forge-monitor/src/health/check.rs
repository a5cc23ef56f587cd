//! One check.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

/// How well something works; a later one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// It works.
    Up,
    /// It works, but not as it should.
    Degraded,
    /// It does not work.
    Down,
}

impl HealthStatus {
    /// `up`, `degraded` or `down`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// What a check finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub(super) status: HealthStatus,
    pub(super) detail: Option<Cow<'static, str>>,
}

impl Health {
    /// It works.
    #[must_use]
    pub fn up() -> Self {
        Self {
            status: HealthStatus::Up,
            detail: None,
        }
    }

    /// It works, but not as it should. The detail is for administrators; no secret belongs there.
    #[must_use]
    pub fn degraded(detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: HealthStatus::Degraded,
            detail: Some(detail.into()),
        }
    }

    /// It does not work. The detail is for administrators; no secret belongs there.
    #[must_use]
    pub fn down(detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: HealthStatus::Down,
            detail: Some(detail.into()),
        }
    }

    /// How well it works.
    #[must_use]
    pub fn status(&self) -> HealthStatus {
        self.status
    }

    /// What is wrong.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

/// What a check's `check` returns.
pub type HealthFuture<'a> = Pin<Box<dyn Future<Output = Health> + Send + 'a>>;

/// Finds out how well one component works. Implemented for async closures.
///
/// A check that takes longer than the registry's time-out is dropped and counts as down, and so
/// does one that panics.
pub trait HealthCheck: Send + Sync + 'static {
    /// Does the check.
    fn check(&self) -> HealthFuture<'_>;
}

impl<F, Fut> HealthCheck for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Health> + Send + 'static,
{
    fn check(&self) -> HealthFuture<'_> {
        Box::pin(self())
    }
}
