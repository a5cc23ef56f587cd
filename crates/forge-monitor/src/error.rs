//! What can go wrong.

/// An error of a store, a responder or a sink, of whatever type it is.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a scenario cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Names go into metrics, alerts and configuration.
    #[error("a scenario's name must be 1 to 64 of a-z, 0-9, `_` and `-`")]
    Name,
    /// A window or a block of no length.
    #[error("{0} must be longer than zero and at most 365 days")]
    Duration(&'static str),
    /// Capacity times threshold would take too much memory.
    #[error("the capacity must be at least 1, and capacity times (threshold + 1) at most {max}")]
    Memory {
        /// The largest product allowed.
        max: usize,
    },
}

/// Why the monitor cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two scenarios bear the same name.
    #[error("two scenarios bear the same name")]
    DuplicateScenario,
    /// The decisions of the last run could not be read.
    #[error("the stored decisions cannot be read")]
    Store(#[from] StoreError),
}

/// What a decision store can answer instead of a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store could not be reached, or the query failed or took too long.
    #[error("decision store unavailable")]
    Unavailable(#[source] BoxError),
    /// A decision of this id is stored already.
    #[error("a decision of this id exists already")]
    Duplicate,
    /// A stored row is not a decision.
    #[error("a stored decision is malformed: {0}")]
    Corrupt(&'static str),
    /// The schema could not be brought up to date.
    #[error("the schema of the decision store cannot be brought up to date")]
    Migrate(#[source] BoxError),
}

/// Why a block was not lifted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiftError {
    /// No active block has this id.
    #[error("no active block has this id")]
    NotFound,
    /// The monitor has shut down.
    #[error("the monitor has shut down")]
    Stopped,
    /// The block is lifted in this process, but the store still holds it: it would return with the
    /// next start.
    #[error("the block is lifted, but the store was not told")]
    Store(#[source] StoreError),
}
