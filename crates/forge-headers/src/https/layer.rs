//! The layer: which hosts are redirected to, which paths may stay in clear.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::host::allow_list::HostAllowList;
use crate::https::service::{HttpsService, Policy};
use crate::refusal::Problem;
use crate::refuser::Refuser;

/// Lets only https pass.
///
/// A `GET` or `HEAD` in clear is redirected with 308 to the same host and path, when the host is
/// on the allow-list; for another host it is refused as
/// [`HostAllowListLayer`](crate::HostAllowListLayer) would. Every other method is refused with
/// 403: its body and credentials have already travelled in clear, and a redirect would hide that
/// (see [`redirect_other_methods`](Self::redirect_other_methods)).
///
/// Belongs inside of a [`ConnectionLayer`](crate::ConnectionLayer), which knows the scheme: a
/// request without a [`Connection`](crate::Connection) counts as one in clear.
///
/// `/.well-known/acme-challenge/` stays reachable in clear.
#[must_use]
pub struct HttpsLayer<O = (), R = Problem> {
    policy: Arc<Policy>,
    refuser: Refuser<O, R>,
}

impl HttpsLayer {
    /// A layer that redirects to `hosts`, to the default port.
    pub fn new(hosts: HostAllowList) -> Self {
        Self {
            policy: Arc::new(Policy::new(hosts)),
            refuser: Refuser::new(),
        }
    }
}

impl<O, R> HttpsLayer<O, R> {
    /// The port that https is served on. Default: 443, which is not written.
    pub fn port(mut self, port: impl Into<Option<u16>>) -> Self {
        Arc::make_mut(&mut self.policy).port = port.into();
        self
    }

    /// Redirects requests of every method instead of refusing those other than `GET` and `HEAD`:
    /// for clients that cannot be taught the new address. Default: no.
    pub fn redirect_other_methods(mut self, redirect: bool) -> Self {
        Arc::make_mut(&mut self.policy).redirect_other_methods = redirect;
        self
    }

    /// Lets requests for exactly this path pass in clear: for probes. May be called several times.
    pub fn exempt_path(mut self, path: impl Into<Box<str>>) -> Self {
        Arc::make_mut(&mut self.policy).exempt.push(path.into());
        self
    }

    /// Who is told of every refusal, an [`OnRefusal`](crate::OnRefusal). Default: nobody. A
    /// redirect is not a refusal.
    pub fn on_refusal<T>(self, on_refusal: T) -> HttpsLayer<T, R> {
        HttpsLayer {
            policy: self.policy,
            refuser: self.refuser.on_refusal(on_refusal),
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> HttpsLayer<O, T> {
        HttpsLayer {
            policy: self.policy,
            refuser: self.refuser.respond_with(responder),
        }
    }
}

impl<S, O, R> Layer<S> for HttpsLayer<O, R> {
    type Service = HttpsService<S, O, R>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpsService {
            inner,
            policy: Arc::clone(&self.policy),
            refuser: self.refuser.clone(),
        }
    }
}

impl<O, R> Clone for HttpsLayer<O, R> {
    fn clone(&self) -> Self {
        Self {
            policy: Arc::clone(&self.policy),
            refuser: self.refuser.clone(),
        }
    }
}

impl<O, R> fmt::Debug for HttpsLayer<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsLayer")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
