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
    /// A bucket that holds nothing.
    #[error("a bucket must hold at least 1")]
    Burst,
    /// A sequence of nothing, or too long a one.
    #[error("a sequence must have from 1 to {max} steps, repetitions included")]
    Steps {
        /// The largest number.
        max: usize,
    },
    /// What is done does not fit whom it would be done to.
    #[error("{action} does not fit a scenario that counts by {scope}")]
    Action {
        /// What would be done.
        action: &'static str,
        /// By what is counted.
        scope: &'static str,
    },
    /// Something was set that this kind of scenario has no use for.
    #[error("this kind of scenario has no {0}")]
    Unfit(&'static str),
    /// The state would take too much memory.
    #[error("the capacity must be at least 1, and capacity times state at most {max} words")]
    Memory {
        /// The largest number of words.
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
    /// Two alert sinks bear the same name.
    #[error("two alert sinks bear the same name")]
    DuplicateSink,
    /// The decisions or the silences of the last run could not be read.
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
    /// The store does not take this: what it is is the reason, not the state of the store.
    #[error("the store refuses what was to be stored")]
    Refused(#[source] BoxError),
    /// A stored row is not a decision.
    #[error("a stored decision is malformed: {0}")]
    Corrupt(&'static str),
    /// The schema could not be brought up to date.
    #[error("the schema of the decision store cannot be brought up to date")]
    Migrate(#[source] BoxError),
}

/// Why a decision was not lifted, or a silence not made or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiftError {
    /// Nothing that holds has this id.
    #[error("nothing that holds has this id")]
    NotFound,
    /// The monitor has shut down.
    #[error("the monitor has shut down")]
    Stopped,
    /// It is so in this process, but the store was not told: the next start would forget it.
    #[error("it holds until the next start: the store was not told")]
    Store(#[source] StoreError),
}

/// Why a sink for alerts cannot be.
#[cfg(any(feature = "email", feature = "webhook"))]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The address is none, or not https, or holds a user's name.
    #[error("the address must be an https URL without a user's name")]
    Url,
    /// The address is one that alerts may not be sent to.
    #[error("the address is of a private network, or a link-local one")]
    Unreachable,
    /// The secret is too short or malformed.
    #[error("the secret must have at least 16 bytes, in base64 where it begins with `whsec_`")]
    Secret,
    /// A mailbox is none, or nobody is named.
    #[error("the sender and from 1 to 50 recipients must be mailboxes, such as ops@example.com")]
    Mailbox,
    /// A connection in clear would leave the machine.
    #[error("mail in clear is for a mail server on this machine alone")]
    Insecure,
    /// The client cannot be made.
    #[error("the client cannot be made: is a certificate malformed?")]
    Client(#[source] BoxError),
}
