//! Where random bytes come from: the operating system, or a test that makes it fail.

use crate::error::BoxError;

pub(crate) type Entropy = fn(&mut [u8]) -> Result<(), BoxError>;

pub(crate) fn from_os(bytes: &mut [u8]) -> Result<(), BoxError> {
    getrandom::fill(bytes).map_err(BoxError::from)
}
