//! Where the service runs: what a developer's machine needs must not reach production.

/// Where the service runs.
///
/// [`CspBuilder::only_in`](crate::CspBuilder::only_in) and
/// [`CorsBuilder::development_origins`](crate::CorsBuilder::development_origins) go by it. What
/// is said for one environment is checked in each, so that a mistake shows before it is deployed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Environment {
    /// A developer's machine.
    Development,
    /// Everywhere else. The default.
    #[default]
    Production,
}
