//! The layer: which kinds are admitted, who is told, how a refusal looks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tower_layer::Layer;

use crate::authenticated::Authenticated;
use crate::challenge::Challenge;
use crate::kind::Kind;
use crate::refusal::Problem;
use crate::require::service::RequireSession;

/// Admits only requests with a session, found by a [`SessionLayer`](crate::SessionLayer) further
/// out.
///
/// Any other request is a 401 with the challenge; gRPC: `UNAUTHENTICATED`. So is every request
/// when there is no [`SessionLayer`](crate::SessionLayer) further out (fail closed).
#[must_use]
pub struct RequireSessionLayer<O = (), R = Problem> {
    config: Config<O, R>,
}

pub(crate) struct Config<O, R> {
    /// Empty: every kind.
    pub(crate) kinds: Vec<Kind>,
    /// All of which are required.
    pub(crate) scopes: Vec<&'static str>,
    pub(crate) admit: Option<Arc<dyn Admit>>,
    /// How long ago the sign-in may be.
    pub(crate) signed_in_within: Option<Duration>,
    /// `None`: that of the layer further out.
    pub(crate) challenge: Option<Challenge>,
    pub(crate) on_rejection: Arc<O>,
    pub(crate) responder: Arc<R>,
}

/// Whether a session may pass: a closure of the application.
pub(crate) trait Admit: Send + Sync {
    fn admits(&self, me: &Authenticated, parts: &Parts) -> bool;
}

impl<F> Admit for F
where
    F: Fn(&Authenticated, &Parts) -> bool + Send + Sync,
{
    fn admits(&self, me: &Authenticated, parts: &Parts) -> bool {
        self(me, parts)
    }
}

impl RequireSessionLayer {
    /// A layer that admits sessions of every kind.
    pub fn new() -> Self {
        Self {
            config: Config {
                kinds: Vec::new(),
                scopes: Vec::new(),
                admit: None,
                signed_in_within: None,
                challenge: None,
                on_rejection: Arc::new(()),
                responder: Arc::new(Problem),
            },
        }
    }
}

impl Default for RequireSessionLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<O, R> RequireSessionLayer<O, R> {
    /// Admits sessions of `kind`, and of the other kinds so named, only.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.config.kinds.push(kind);
        self
    }

    /// Admits only requests that may do what needs `scope`, and the other scopes so named. To
    /// another it is 403 with the challenge, the scopes and `error="insufficient_scope"`; gRPC:
    /// `PERMISSION_DENIED`.
    pub fn scope(mut self, scope: &'static str) -> Self {
        self.config.scopes.push(scope);
        self
    }

    /// Admits only requests for which `admit` is true, such as those of a role that your own
    /// middleware has put into the extensions. To another it is 403; gRPC: `PERMISSION_DENIED`.
    pub fn admit<F>(mut self, admit: F) -> Self
    where
        F: Fn(&Authenticated, &Parts) -> bool + Send + Sync + 'static,
    {
        self.config.admit = Some(Arc::new(admit));
        self
    }

    /// Admits only requests of users who have
    /// [signed in within](Authenticated::has_signed_in_within) that time. Who may pass but for that
    /// is asked to sign in again: 401 with `error="insufficient_user_authentication"` and `max_age`
    /// (RFC 9470); gRPC: `UNAUTHENTICATED`.
    pub fn signed_in_within(mut self, max_age: Duration) -> Self {
        self.config.signed_in_within = Some(max_age);
        self
    }

    /// What a refused client is told. Default: the challenge of the
    /// [`SessionLayer`](crate::SessionLayer) further out.
    pub fn challenge(mut self, challenge: Challenge) -> Self {
        self.config.challenge = Some(challenge);
        self
    }

    /// Who is told of refused requests, an [`OnRejection`](crate::OnRejection). Default: nobody.
    pub fn on_rejection<T>(self, on_rejection: T) -> RequireSessionLayer<T, R> {
        let Self { config } = self;
        RequireSessionLayer {
            config: Config {
                kinds: config.kinds,
                scopes: config.scopes,
                admit: config.admit,
                signed_in_within: config.signed_in_within,
                challenge: config.challenge,
                on_rejection: Arc::new(on_rejection),
                responder: config.responder,
            },
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> RequireSessionLayer<O, T> {
        let Self { config } = self;
        RequireSessionLayer {
            config: Config {
                kinds: config.kinds,
                scopes: config.scopes,
                admit: config.admit,
                signed_in_within: config.signed_in_within,
                challenge: config.challenge,
                on_rejection: config.on_rejection,
                responder: Arc::new(responder),
            },
        }
    }
}

impl<I, O, R> Layer<I> for RequireSessionLayer<O, R> {
    type Service = RequireSession<I, O, R>;

    fn layer(&self, inner: I) -> Self::Service {
        let config = Arc::new(self.config.clone());
        RequireSession { inner, config }
    }
}

impl<O, R> Clone for RequireSessionLayer<O, R> {
    fn clone(&self) -> Self {
        let config = self.config.clone();
        Self { config }
    }
}

impl<O, R> Clone for Config<O, R> {
    fn clone(&self) -> Self {
        Self {
            kinds: self.kinds.clone(),
            scopes: self.scopes.clone(),
            admit: self.admit.clone(),
            signed_in_within: self.signed_in_within,
            challenge: self.challenge.clone(),
            on_rejection: Arc::clone(&self.on_rejection),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<O, R> fmt::Debug for RequireSessionLayer<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireSessionLayer")
            .field("kinds", &self.config.kinds)
            .field("scopes", &self.config.scopes)
            .field("signed_in_within", &self.config.signed_in_within)
            .field("challenge", &self.config.challenge)
            .finish_non_exhaustive()
    }
}
