//! The layer: which hosts are allowed, which paths need none.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::host::allow_list::HostAllowList;
use crate::host::service::HostAllowListService;
use crate::refusal::Problem;
use crate::refuser::Refuser;

/// Refuses requests for hosts that the service does not answer for.
///
/// A host that is missing, given twice, malformed or different from `:authority` is a 400. One
/// that is not listed is a 421 Misdirected Request (RFC 9110 §15.5.20). Behind a
/// [`ConnectionLayer`](crate::ConnectionLayer) the host that the trusted proxy wrote is looked up,
/// where it wrote one; the request's own must be well-formed all the same.
///
/// Against DNS rebinding, poisoned caches and links that are built from a forged host.
#[must_use]
pub struct HostAllowListLayer<O = (), R = Problem> {
    hosts: HostAllowList,
    exempt: Arc<[Box<str>]>,
    refuser: Refuser<O, R>,
}

impl HostAllowListLayer {
    /// A layer that lets requests for `hosts` pass.
    pub fn new(hosts: HostAllowList) -> Self {
        Self {
            hosts,
            exempt: Arc::new([]),
            refuser: Refuser::new(),
        }
    }
}

impl<O, R> HostAllowListLayer<O, R> {
    /// Lets requests for exactly this path pass whatever host they name, or none: for probes,
    /// which come by address. May be called several times.
    pub fn exempt_path(mut self, path: impl Into<Box<str>>) -> Self {
        self.exempt = self.exempt.iter().cloned().chain([path.into()]).collect();
        self
    }

    /// Who is told of every refusal, an [`OnRefusal`](crate::OnRefusal). Default: nobody.
    pub fn on_refusal<T>(self, on_refusal: T) -> HostAllowListLayer<T, R> {
        HostAllowListLayer {
            hosts: self.hosts,
            exempt: self.exempt,
            refuser: self.refuser.on_refusal(on_refusal),
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> HostAllowListLayer<O, T> {
        HostAllowListLayer {
            hosts: self.hosts,
            exempt: self.exempt,
            refuser: self.refuser.respond_with(responder),
        }
    }
}

impl<S, O, R> Layer<S> for HostAllowListLayer<O, R> {
    type Service = HostAllowListService<S, O, R>;

    fn layer(&self, inner: S) -> Self::Service {
        HostAllowListService {
            inner,
            hosts: self.hosts.clone(),
            exempt: Arc::clone(&self.exempt),
            refuser: self.refuser.clone(),
            needs_connection: false,
        }
    }
}

impl<O, R> Clone for HostAllowListLayer<O, R> {
    fn clone(&self) -> Self {
        Self {
            hosts: self.hosts.clone(),
            exempt: Arc::clone(&self.exempt),
            refuser: self.refuser.clone(),
        }
    }
}

impl<O, R> fmt::Debug for HostAllowListLayer<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostAllowListLayer")
            .field("hosts", &self.hosts)
            .field("exempt", &self.exempt)
            .finish_non_exhaustive()
    }
}
