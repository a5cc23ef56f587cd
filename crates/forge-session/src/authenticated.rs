//! Who a request is from, in its extensions.

use std::sync::Arc;

use http::request::Parts;

use crate::challenge::Challenge;
use crate::session::Session;

/// A request's session, put into its extensions by [`SessionLayer`](crate::SessionLayer).
///
/// Read it with `extensions().get::<Authenticated>()` from any request, one of Tonic's included.
/// With the feature `axum` it is an extractor too: `Authenticated` answers 401 where there is no
/// session, `Option<Authenticated>` is `None` there.
#[derive(Clone, Debug)]
pub struct Authenticated {
    session: Arc<Session>,
    via: Via,
}

impl Authenticated {
    /// States that a request is from this session. For your own middleware and tests: whoever
    /// puts it into the extensions of a request vouches for it.
    #[must_use]
    pub fn new(session: Session, via: Via) -> Self {
        let session = Arc::new(session);
        Self { session, via }
    }

    /// The session, as it was when the request came.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// How it was proved. A browser sends a cookie by itself, also from another site's page: what
    /// comes by cookie needs a guard against forged requests.
    #[must_use]
    pub fn via(&self) -> Via {
        self.via
    }
}

/// How a session was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// By the secret in the session cookie.
    Cookie,
    /// By an access token in `Authorization`.
    Bearer,
}

/// A mark on a request that bears no good credential: it has passed a session layer, and this is
/// the layer's challenge.
#[derive(Clone)]
pub(crate) struct Anonymous {
    pub(crate) challenge: Arc<Challenge>,
}

impl Anonymous {
    pub(crate) fn mark(parts: &mut Parts, challenge: &Arc<Challenge>) {
        let challenge = Arc::clone(challenge);
        parts.extensions.insert(Self { challenge });
    }
}
