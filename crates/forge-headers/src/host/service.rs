//! The service: looks at the host, then passes the request on or refuses it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use crate::connection::Connection;
use crate::future::ResponseFuture;
use crate::host::allow_list::HostAllowList;
use crate::host::effective_host;
use crate::on_refusal::OnRefusal;
use crate::refusal::{Problem, RefusalKind, Respond};
use crate::refuser::Refuser;

/// A service that answers for listed hosts. Made by
/// [`HostAllowListLayer`](crate::HostAllowListLayer).
pub struct HostAllowListService<S, O = (), R = Problem> {
    pub(crate) inner: S,
    pub(crate) hosts: HostAllowList,
    pub(crate) exempt: Arc<[Box<str>]>,
    pub(crate) refuser: Refuser<O, R>,
    /// Whether a request is refused whose peer is unknown.
    pub(crate) needs_connection: bool,
}

impl<S, O, R> HostAllowListService<S, O, R> {
    fn check(&self, parts: &Parts) -> Result<(), RefusalKind> {
        if self.needs_connection && parts.extensions.get::<Connection>().is_none() {
            return Err(RefusalKind::PeerUnknown);
        }
        if self.exempt.iter().any(|path| **path == *parts.uri.path()) {
            return Ok(());
        }
        match effective_host(parts) {
            Ok(host) if self.hosts.contains(&host) => Ok(()),
            Ok(_) => Err(RefusalKind::HostNotAllowed),
            Err(_) => Err(RefusalKind::HostInvalid),
        }
    }
}

impl<S, O, R, ReqBody, ResBody> Service<Request<ReqBody>> for HostAllowListService<S, O, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    O: OnRefusal,
    R: Respond<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        match self.check(&parts) {
            Ok(()) => ResponseFuture::inner(self.inner.call(Request::from_parts(parts, body))),
            Err(kind) => ResponseFuture::ready(self.refuser.refuse(&parts, kind)),
        }
    }
}

impl<S: Clone, O, R> Clone for HostAllowListService<S, O, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            hosts: self.hosts.clone(),
            exempt: Arc::clone(&self.exempt),
            refuser: self.refuser.clone(),
            needs_connection: self.needs_connection,
        }
    }
}

impl<S: fmt::Debug, O, R> fmt::Debug for HostAllowListService<S, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostAllowListService")
            .field("inner", &self.inner)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}
