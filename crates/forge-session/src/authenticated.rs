//! Who a request is from, in its extensions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use crate::body::UntilRevoked;
use crate::cache::Seen;
use crate::challenge::Challenge;
use crate::clock::{Clock, SystemClock};
use crate::scopes::Scopes;
use crate::session::Session;
use crate::sessions::Sessions;
use crate::sessions::authenticate::Valid;
use crate::threat::ThreatResponse;

/// A request's session, put into its extensions by [`SessionLayer`](crate::SessionLayer).
///
/// Read it with `extensions().get::<Authenticated>()` from any request, one of Tonic's included.
/// With the feature `axum` it is an extractor too: `Authenticated` answers 401 where there is no
/// session, `Option<Authenticated>` is `None` there.
#[derive(Clone)]
pub struct Authenticated {
    session: Arc<Session>,
    via: Via,
    scopes: Option<Scopes>,
    response: ThreatResponse,
    watch: Option<(Sessions, Seen)>,
}

impl Authenticated {
    /// States that a request is from this session. For your own middleware and tests: whoever
    /// puts it into the extensions of a request vouches for it. Its [`revoked`](Self::revoked)
    /// never ends, since nobody watches over the session.
    #[must_use]
    pub fn new(session: Session, via: Via) -> Self {
        Self {
            scopes: session.scopes.clone(),
            session: Arc::new(session),
            via,
            response: ThreatResponse::Note,
            watch: None,
        }
    }

    pub(crate) fn found(
        valid: Valid,
        via: Via,
        response: ThreatResponse,
        sessions: Sessions,
    ) -> Self {
        Self {
            session: valid.session,
            via,
            scopes: valid.scopes,
            response,
            watch: Some((sessions, valid.seen)),
        }
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

    /// What the request may do, where that is not everything its user may.
    #[must_use]
    pub fn scopes(&self) -> Option<&Scopes> {
        self.scopes.as_ref()
    }

    /// Whether the request may do what needs `scope`.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        let scopes = self.scopes.as_ref();
        scopes.is_none_or(|scopes| scopes.contains(scope))
    }

    /// Whether the use of the session looked so odd that the user should sign in again before
    /// anything that matters; see [`ThreatPolicy`](crate::ThreatPolicy). A new session does not.
    #[must_use]
    pub fn needs_step_up(&self) -> bool {
        self.response >= ThreatResponse::StepUp
    }

    /// Whether the user has signed in within that time, and the session does not
    /// [need a step-up](Self::needs_step_up): for what matters more than most.
    #[must_use]
    pub fn has_signed_in_within(&self, max_age: Duration) -> bool {
        let now = match &self.watch {
            Some((sessions, _)) => sessions.now(),
            None => SystemClock.now(),
        };
        !self.needs_step_up() && now.duration_since(self.session.created) <= max_age
    }

    /// Ends when the session is revoked: for handlers that go on for long, such as streams of
    /// events and web sockets. It does not end when the session expires.
    ///
    /// A revocation on another node is noticed when this one is told, see
    /// [`Sessions::invalidate`].
    pub fn revoked(&self) -> impl Future<Output = ()> + Send + 'static {
        let watch = self.watch.clone();
        let session = Arc::clone(&self.session);
        async move {
            match watch {
                Some((sessions, seen)) => sessions.ended(session, seen).await,
                None => std::future::pending().await,
            }
        }
    }

    /// A response body that ends when the session is [`revoked`](Self::revoked).
    pub fn until_revoked<B>(&self, body: B) -> UntilRevoked<B> {
        UntilRevoked::new(body, Box::pin(self.revoked()))
    }
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated")
            .field("session", &self.session)
            .field("via", &self.via)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// How a session was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// By the secret in the session cookie.
    Cookie,
    /// By an access token in `Authorization`.
    Bearer,
    /// By a ticket in the query; see [`Sessions::issue_ticket`].
    Ticket,
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
