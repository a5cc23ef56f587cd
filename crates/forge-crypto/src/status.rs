//! Errors as gRPC statuses, so that a handler passes them on with `?`.

use tonic::Status;

use crate::error::{MissingVault, OpenError, SealError};

/// `INTERNAL`: the caller can do nothing about it, and learns nothing from it.
impl From<OpenError> for Status {
    fn from(error: OpenError) -> Self {
        Self::internal(error.to_string())
    }
}

/// `INVALID_ARGUMENT` for a secret that is too long, `INTERNAL` for all else.
impl From<SealError> for Status {
    fn from(error: SealError) -> Self {
        match error {
            SealError::TooLong { .. } => Self::invalid_argument(error.to_string()),
            _ => Self::internal("could not seal the value"),
        }
    }
}

/// `INTERNAL`.
impl From<MissingVault> for Status {
    fn from(_: MissingVault) -> Self {
        Self::internal("the service is not set up to handle secrets")
    }
}
