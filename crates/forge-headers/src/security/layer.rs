//! The layer, and how one route differs from it.

use std::sync::Arc;

use tower_layer::Layer;

use crate::security::SecurityHeaders;
use crate::security::prebuilt::Prebuilt;
use crate::security::service::SecurityHeadersService;

/// Adds [`SecurityHeaders`] to every response: a handler's, and the refusals of the layers further
/// in. Belongs inside of a [`ConnectionLayer`](crate::ConnectionLayer) and outside of all others;
/// a request without a [`Connection`](crate::Connection) counts as one in clear, so that no
/// `Strict-Transport-Security` is sent.
///
/// The fields are made once; only a policy with [`Source::NONCE`](crate::Source::NONCE) costs
/// something for each request.
#[derive(Clone, Debug)]
#[must_use]
pub struct SecurityHeadersLayer {
    prebuilt: Arc<Prebuilt>,
}

impl SecurityHeadersLayer {
    /// A layer that adds `headers`.
    pub fn new(headers: SecurityHeaders) -> Self {
        Self {
            prebuilt: Arc::new(Prebuilt::new(headers)),
        }
    }
}

impl<S> Layer<S> for SecurityHeadersLayer {
    type Service = SecurityHeadersService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SecurityHeadersService {
            inner,
            prebuilt: Arc::clone(&self.prebuilt),
        }
    }
}

/// A response extension that replaces the layer's headers in this response: for a route that
/// differs.
///
/// Make it once and hand out clones, which are cheap. A policy with
/// [`Source::NONCE`](crate::Source::NONCE) needs a layer whose policy has one too, else there is
/// no [`CspNonce`](crate::CspNonce) for the handler to use and the scripts are blocked.
///
/// ```
/// use forge_headers::{OverrideSecurityHeaders, SecurityHeaders};
///
/// let frames = OverrideSecurityHeaders::new(SecurityHeaders::api().frame_options(None));
/// let mut response = http::Response::new(());
/// response.extensions_mut().insert(frames.clone());
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OverrideSecurityHeaders {
    pub(crate) prebuilt: Arc<Prebuilt>,
}

impl OverrideSecurityHeaders {
    /// Replaces the layer's headers by `headers`.
    pub fn new(headers: SecurityHeaders) -> Self {
        Self {
            prebuilt: Arc::new(Prebuilt::new(headers)),
        }
    }
}
