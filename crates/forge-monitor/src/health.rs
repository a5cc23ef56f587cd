//! Health: what works, what does not, asked no more often than it must.
//!
//! Each check has a time-out and a cached result. Of any number of callers at once one starts the
//! check and all wait for the same result, so that a thousand probes with a hung database make one
//! query.

mod check;
mod registry;
mod report;
#[cfg(feature = "axum")]
mod routes;

pub use check::{Health, HealthCheck, HealthFuture, HealthStatus};
pub use registry::{HealthGroup, HealthRegistry, HealthRegistryBuilder, OnHealthChange};
pub use report::{ComponentHealth, HealthReport};
#[cfg(feature = "axum")]
pub use routes::health_router;
