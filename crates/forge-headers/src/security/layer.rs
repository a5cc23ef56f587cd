//! The layer, and how one route differs from it.

use std::fmt;
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
#[must_use]
pub struct SecurityHeadersLayer<N = ()> {
    prebuilt: Arc<Prebuilt>,
    session: Arc<N>,
}

impl SecurityHeadersLayer {
    /// A layer that adds `headers`.
    pub fn new(headers: SecurityHeaders) -> Self {
        Self {
            prebuilt: Arc::new(Prebuilt::new(headers)),
            session: Arc::new(()),
        }
    }
}

impl<N> SecurityHeadersLayer<N> {
    /// Adds `Cache-Control: no-store` to the responses to requests of which a
    /// [`HasSession`](crate::HasSession) says so, where the handler set no `Cache-Control`: no
    /// cache may hand one user's page to the next. Default: none.
    ///
    /// ```
    /// use forge_headers::{CarriesCredentials, SecurityHeaders, SecurityHeadersLayer};
    ///
    /// let layer = SecurityHeadersLayer::new(SecurityHeaders::web_app())
    ///     .no_store_when(CarriesCredentials);
    /// ```
    pub fn no_store_when<T>(self, session: T) -> SecurityHeadersLayer<T> {
        SecurityHeadersLayer {
            prebuilt: self.prebuilt,
            session: Arc::new(session),
        }
    }
}

impl<S, N> Layer<S> for SecurityHeadersLayer<N> {
    type Service = SecurityHeadersService<S, N>;

    fn layer(&self, inner: S) -> Self::Service {
        SecurityHeadersService {
            inner,
            prebuilt: Arc::clone(&self.prebuilt),
            session: Arc::clone(&self.session),
        }
    }
}

impl<N> Clone for SecurityHeadersLayer<N> {
    fn clone(&self) -> Self {
        Self {
            prebuilt: Arc::clone(&self.prebuilt),
            session: Arc::clone(&self.session),
        }
    }
}

impl<N> fmt::Debug for SecurityHeadersLayer<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityHeadersLayer")
            .field("prebuilt", &self.prebuilt)
            .finish_non_exhaustive()
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
