//! Requiring a session: nothing passes without one.

pub(crate) mod future;
pub(crate) mod layer;
pub(crate) mod service;
