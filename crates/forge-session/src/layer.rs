//! The layer: which sessions, which cookie, who is told, how a refusal looks.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::caller_info::UserAgent;
use crate::challenge::Challenge;
use crate::cookie::SessionCookie;
use crate::refusal::Problem;
use crate::service::Authenticate;
use crate::sessions::Sessions;

/// Finds out whose session a request is from, and says so to what lies inside.
///
/// The request bears an access token in `Authorization: Bearer`, or a secret in the session
/// cookie. If it bears both, only the token counts. What becomes of it:
///
/// | the request bears | what happens |
/// |---|---|
/// | nothing | it passes, without [`Authenticated`](crate::Authenticated) |
/// | a good credential | it passes, with [`Authenticated`](crate::Authenticated) in its extensions |
/// | a good cookie whose secret is old, or has been replaced lately | the same; the response sets the new secret, unless it sets the cookie itself |
/// | a cookie that is malformed, unknown, expired, revoked, or sent twice | it passes as one that bears nothing; the response clears the cookie, unless it sets a new one |
/// | a bearer token that is not good | 401 with the [`Challenge`] and `error="invalid_token"`; gRPC: `UNAUTHENTICATED` |
/// | a ticket that is not good, where [tickets](Self::ticket_parameter) are taken | as such a token |
/// | two `Authorization` fields, or `access_token` in the query | 400; gRPC: `INVALID_ARGUMENT` |
/// | any credential, while the store fails | 503; gRPC: `UNAVAILABLE` |
///
/// The layer lets anonymous requests pass: put a
/// [`RequireSessionLayer`](crate::RequireSessionLayer) inside it, or use the extractor, where a
/// session is required.
///
/// The use of a session is noted, and weighed by the
/// [`ThreatPolicy`](crate::ThreatPolicy); should it not be possible to write it, the request goes
/// on all the same, and the session only expires earlier.
#[must_use]
pub struct SessionLayer<C = UserAgent, O = (), R = Problem> {
    config: Config<C, O, R>,
}

pub(crate) struct Config<C, O, R> {
    pub(crate) sessions: Sessions,
    pub(crate) cookie: SessionCookie,
    pub(crate) ticket: Option<&'static str>,
    pub(crate) challenge: Arc<Challenge>,
    pub(crate) caller: Arc<C>,
    pub(crate) on_rejection: Arc<O>,
    pub(crate) responder: Arc<R>,
}

impl SessionLayer {
    /// A layer that knows the sessions of `sessions`.
    pub fn new(sessions: Sessions) -> Self {
        Self {
            config: Config {
                sessions,
                cookie: SessionCookie::new(),
                ticket: None,
                challenge: Arc::new(Challenge::bearer()),
                caller: Arc::new(UserAgent),
                on_rejection: Arc::new(()),
                responder: Arc::new(Problem),
            },
        }
    }
}

impl<C, O, R> SessionLayer<C, O, R> {
    /// Which cookie bears the secret. Default: `__Host-forge`.
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        self.config.cookie = cookie;
        self
    }

    /// Takes tickets in this parameter of the query, such as `ticket`. Default: takes none. See
    /// [`Sessions::issue_ticket`].
    pub fn ticket_parameter(mut self, name: &'static str) -> Self {
        self.config.ticket = Some(name);
        self
    }

    /// What a refused client is told. Default: [`Challenge::bearer`].
    pub fn challenge(mut self, challenge: Challenge) -> Self {
        self.config.challenge = Arc::new(challenge);
        self
    }

    /// Who is at the other end, a [`CallerInfo`](crate::CallerInfo). Default: [`UserAgent`],
    /// which knows no address.
    pub fn caller<T>(self, caller: T) -> SessionLayer<T, O, R> {
        let Self { config } = self;
        SessionLayer {
            config: Config {
                sessions: config.sessions,
                cookie: config.cookie,
                ticket: config.ticket,
                challenge: config.challenge,
                caller: Arc::new(caller),
                on_rejection: config.on_rejection,
                responder: config.responder,
            },
        }
    }

    /// Who is told of credentials that are not accepted, an
    /// [`OnRejection`](crate::OnRejection). Default: nobody.
    pub fn on_rejection<T>(self, on_rejection: T) -> SessionLayer<C, T, R> {
        let Self { config } = self;
        SessionLayer {
            config: Config {
                sessions: config.sessions,
                cookie: config.cookie,
                ticket: config.ticket,
                challenge: config.challenge,
                caller: config.caller,
                on_rejection: Arc::new(on_rejection),
                responder: config.responder,
            },
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> SessionLayer<C, O, T> {
        let Self { config } = self;
        SessionLayer {
            config: Config {
                sessions: config.sessions,
                cookie: config.cookie,
                ticket: config.ticket,
                challenge: config.challenge,
                caller: config.caller,
                on_rejection: config.on_rejection,
                responder: Arc::new(responder),
            },
        }
    }
}

impl<I, C, O, R> Layer<I> for SessionLayer<C, O, R> {
    type Service = Authenticate<I, C, O, R>;

    fn layer(&self, inner: I) -> Self::Service {
        let config = Arc::new(self.config.clone());
        Authenticate { inner, config }
    }
}

impl<C, O, R> Clone for SessionLayer<C, O, R> {
    fn clone(&self) -> Self {
        let config = self.config.clone();
        Self { config }
    }
}

impl<C, O, R> Clone for Config<C, O, R> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            cookie: self.cookie,
            ticket: self.ticket,
            challenge: Arc::clone(&self.challenge),
            caller: Arc::clone(&self.caller),
            on_rejection: Arc::clone(&self.on_rejection),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<C, O, R> fmt::Debug for SessionLayer<C, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("sessions", &self.config.sessions)
            .field("cookie", &self.config.cookie)
            .field("challenge", &self.config.challenge)
            .finish_non_exhaustive()
    }
}
