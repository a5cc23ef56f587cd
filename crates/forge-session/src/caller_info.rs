//! Where a layer learns who is at the other end.

use http::header::USER_AGENT;
use http::request::Parts;

use crate::session::Caller;

/// Reads the [`Caller`] of a request. Implemented for closures over `&Parts`.
///
/// The client's address is not in a request by itself: a layer further out, that knows which
/// proxies to believe, puts it into the extensions, and your closure takes it from there.
pub trait CallerInfo: Send + Sync + 'static {
    /// Who sent `parts`.
    fn caller(&self, parts: &Parts) -> Caller;
}

impl<F> CallerInfo for F
where
    F: Fn(&Parts) -> Caller + Send + Sync + 'static,
{
    fn caller(&self, parts: &Parts) -> Caller {
        self(parts)
    }
}

/// The default: the user agent the client sends, and no address.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserAgent;

impl CallerInfo for UserAgent {
    fn caller(&self, parts: &Parts) -> Caller {
        let user_agent = parts.headers.get(USER_AGENT);
        Caller::new(None, user_agent.and_then(|value| value.to_str().ok()))
    }
}
