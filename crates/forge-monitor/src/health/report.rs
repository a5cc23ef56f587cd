//! What is found about all components of a group.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;

use super::HealthStatus;
use crate::clock::Timestamp;

/// The health of a group: the worst of its components, and each of them.
///
/// Serialized it shows the details, which are for administrators.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The worst of the components; up where there is none.
    pub status: HealthStatus,
    /// The components, in the order they were registered.
    pub components: Vec<ComponentHealth>,
}

impl HealthReport {
    pub(super) fn new(components: Vec<ComponentHealth>) -> Self {
        let worst = components.iter().map(|component| component.status).max();
        Self {
            status: worst.unwrap_or(HealthStatus::Up),
            components,
        }
    }
}

/// The health of one component.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ComponentHealth {
    /// The component's name.
    pub name: Arc<str>,
    /// How well it works.
    pub status: HealthStatus,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'static, str>>,
    /// When this was found.
    pub checked_at: Timestamp,
    /// How long the check took, in microseconds.
    pub latency_micros: u64,
}
