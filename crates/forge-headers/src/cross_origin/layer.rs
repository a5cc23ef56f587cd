//! The layer: which other origins may, which paths are open to all.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::authority::Origin;
use crate::cross_origin::service::{CrossOriginGuard, Policy};
use crate::origin_pattern::OriginPattern;
use crate::refusal::Problem;
use crate::refuser::Refuser;

/// Refuses requests of other origins that change something, and their WebSockets: the protection
/// against cross-site request forgery without a token to carry around.
///
/// A request other than `GET`, `HEAD` and `OPTIONS`, or one that opens a WebSocket, passes when
/// - its `Sec-Fetch-Site` is `same-origin` or `none` (typed by the user), or
/// - it has no `Sec-Fetch-Site`, and its `Origin` equals scheme, host and port of the request's
///   [`Connection`](crate::Connection), or
/// - its `Origin` is one of [`allow_origin`](Self::allow_origin), or
/// - it has neither: then it is not from a browser, and no browser adds cookies to it. gRPC
///   clients, command lines and MCP clients pass this way.
///
/// All others are refused with 403: `same-site` and `cross-site`, the origin `null`, and a field
/// given twice. This is the analysis of Filippo Valsorda that Go's `CrossOriginProtection`
/// follows; the scheme is compared too.
///
/// Belongs inside of a [`ConnectionLayer`](crate::ConnectionLayer): without a `Connection` a
/// request that has only an `Origin` is refused. `GET` handlers must not change anything.
#[must_use]
pub struct CrossOriginGuardLayer<O = (), R = Problem> {
    pub(crate) policy: Arc<Policy>,
    pub(crate) refuser: Refuser<O, R>,
}

impl CrossOriginGuardLayer {
    /// A layer that allows the request's own origin only.
    pub fn new() -> Self {
        Self {
            policy: Arc::default(),
            refuser: Refuser::new(),
        }
    }
}

impl Default for CrossOriginGuardLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<O, R> CrossOriginGuardLayer<O, R> {
    /// Lets requests of this origin pass too. May be called several times.
    pub fn allow_origin(mut self, origin: Origin) -> Self {
        Arc::make_mut(&mut self.policy)
            .allowed
            .push(OriginPattern::Exact(origin));
        self
    }

    /// Lets requests for exactly this path pass, wherever they come from: for webhooks, and for
    /// routes that read no cookie. May be called several times.
    pub fn exempt_path(mut self, path: impl Into<Box<str>>) -> Self {
        Arc::make_mut(&mut self.policy).exempt.push(path.into());
        self
    }

    /// Who is told of every refusal, an [`OnRefusal`](crate::OnRefusal). Default: nobody.
    pub fn on_refusal<T>(self, on_refusal: T) -> CrossOriginGuardLayer<T, R> {
        CrossOriginGuardLayer {
            policy: self.policy,
            refuser: self.refuser.on_refusal(on_refusal),
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> CrossOriginGuardLayer<O, T> {
        CrossOriginGuardLayer {
            policy: self.policy,
            refuser: self.refuser.respond_with(responder),
        }
    }
}

impl<S, O, R> Layer<S> for CrossOriginGuardLayer<O, R> {
    type Service = CrossOriginGuard<S, O, R>;

    fn layer(&self, inner: S) -> Self::Service {
        CrossOriginGuard {
            inner,
            policy: Some(Arc::clone(&self.policy)),
            refuser: self.refuser.clone(),
        }
    }
}

impl<O, R> Clone for CrossOriginGuardLayer<O, R> {
    fn clone(&self) -> Self {
        Self {
            policy: Arc::clone(&self.policy),
            refuser: self.refuser.clone(),
        }
    }
}

impl<O, R> fmt::Debug for CrossOriginGuardLayer<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossOriginGuardLayer")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
