//! The layer: which policy, who is told.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::cors::Cors;
use crate::cors::service::CorsService;
use crate::refusal::Problem;
use crate::refuser::Refuser;

/// Lets the pages of other origins read responses, as a [`Cors`] policy says.
///
/// A preflight (`OPTIONS` with `Origin` and `Access-Control-Request-Method`) ends here: 204 where
/// origin, method and header fields are allowed, else 403 without any `Access-Control-*`. Every
/// other request passes, whatever its origin: CORS decides what a page may read, not what it may
/// send ([`CrossOriginGuardLayer`](crate::CrossOriginGuardLayer) does that). Its response bears
/// `Access-Control-*` only for an allowed origin, and one merged `Vary` with `Origin`. What the
/// handler itself says of `Access-Control-*` is taken out.
///
/// A policy without origins refuses every preflight and adds nothing, not even `Vary`.
///
/// Belongs outside of limits and authentication, so that a page can read their refusals.
#[must_use]
pub struct CorsLayer<O = (), R = Problem> {
    cors: Arc<Cors>,
    refuser: Refuser<O, R>,
}

impl CorsLayer {
    /// A layer that applies `cors`.
    pub fn new(cors: Cors) -> Self {
        Self {
            cors: Arc::new(cors),
            refuser: Refuser::new(),
        }
    }
}

impl<O, R> CorsLayer<O, R> {
    /// Who is told of every refused preflight, an [`OnRefusal`](crate::OnRefusal). Default:
    /// nobody.
    pub fn on_refusal<T>(self, on_refusal: T) -> CorsLayer<T, R> {
        CorsLayer {
            cors: self.cors,
            refuser: self.refuser.on_refusal(on_refusal),
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> CorsLayer<O, T> {
        CorsLayer {
            cors: self.cors,
            refuser: self.refuser.respond_with(responder),
        }
    }
}

impl<S, O, R> Layer<S> for CorsLayer<O, R> {
    type Service = CorsService<S, O, R>;

    fn layer(&self, inner: S) -> Self::Service {
        CorsService {
            inner,
            cors: Arc::clone(&self.cors),
            refuser: self.refuser.clone(),
        }
    }
}

impl<O, R> Clone for CorsLayer<O, R> {
    fn clone(&self) -> Self {
        Self {
            cors: Arc::clone(&self.cors),
            refuser: self.refuser.clone(),
        }
    }
}

impl<O, R> fmt::Debug for CorsLayer<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CorsLayer")
            .field("cors", &self.cors)
            .finish_non_exhaustive()
    }
}
