//! Where a request comes from.

use http::header::USER_AGENT;
use http::request::Parts;

use crate::event::Source;

/// Tells where a request comes from.
///
/// Implemented for closures, and for `()`, which knows the `User-Agent` and no address: which
/// address can be believed is for a layer further out to say.
pub trait SourceOf {
    /// Where the request of `parts` comes from.
    fn source(&self, parts: &Parts) -> Source;
}

impl<F: Fn(&Parts) -> Source> SourceOf for F {
    fn source(&self, parts: &Parts) -> Source {
        self(parts)
    }
}

impl SourceOf for () {
    fn source(&self, parts: &Parts) -> Source {
        Source::of(parts)
    }
}

impl Source {
    /// The `User-Agent` of a request, and no address.
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        match parts.headers.get(USER_AGENT) {
            Some(value) => Self::new().user_agent(String::from_utf8_lossy(value.as_bytes())),
            None => Self::new(),
        }
    }
}
