//! Whether a response is one person's, so that no cache may keep it.

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;

/// Says of a request whether there is a session, before the request is passed on.
///
/// Implemented for closures, for `()` (never) and for [`CarriesCredentials`].
pub trait HasSession {
    /// Whether the response to `parts` may be about the caller.
    fn has_session(&self, parts: &Parts) -> bool;
}

impl HasSession for () {
    fn has_session(&self, _: &Parts) -> bool {
        false
    }
}

impl<F> HasSession for F
where
    F: Fn(&Parts) -> bool,
{
    fn has_session(&self, parts: &Parts) -> bool {
        self(parts)
    }
}

/// A session may be there where the request carries a `Cookie` or an `Authorization`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CarriesCredentials;

impl HasSession for CarriesCredentials {
    fn has_session(&self, parts: &Parts) -> bool {
        parts.headers.contains_key(COOKIE) || parts.headers.contains_key(AUTHORIZATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_mean_a_session() {
        for (name, expected) in [("cookie", true), ("authorization", true), ("accept", false)] {
            let request = http::Request::builder().header(name, "x").body(()).unwrap();
            let parts = request.into_parts().0;
            assert_eq!(CarriesCredentials.has_session(&parts), expected, "{name}");
            assert!(!().has_session(&parts));
        }
    }
}
