//! Who makes a request.

use http::request::Parts;

use crate::event::Actor;

/// Tells who makes a request, from what layers further out have put into it.
///
/// Implemented for closures, and for `()`, to which everybody is anonymous.
pub trait Identify {
    /// Who makes the request of `parts`.
    fn identify(&self, parts: &Parts) -> Actor;
}

impl<F: Fn(&Parts) -> Actor> Identify for F {
    fn identify(&self, parts: &Parts) -> Actor {
        self(parts)
    }
}

impl Identify for () {
    fn identify(&self, _: &Parts) -> Actor {
        Actor::anonymous()
    }
}
