//! The service: looks where the request comes from, then passes it on or refuses it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use crate::connection::Connection;
use crate::cross_origin::is_allowed;
use crate::future::ResponseFuture;
use crate::on_refusal::OnRefusal;
use crate::origin_pattern::OriginPattern;
use crate::refusal::{Problem, RefusalKind, Respond};
use crate::refuser::Refuser;

/// A service that other origins cannot act on. Made by
/// [`CrossOriginGuardLayer`](crate::CrossOriginGuardLayer).
pub struct CrossOriginGuard<S, O = (), R = Problem> {
    pub(crate) inner: S,
    /// `None` where the guard stands somewhere else.
    pub(crate) policy: Option<Arc<Policy>>,
    pub(crate) refuser: Refuser<O, R>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) allowed: Vec<OriginPattern>,
    pub(crate) exempt: Vec<Box<str>>,
}

impl Policy {
    fn allows(&self, parts: &Parts) -> bool {
        let target = || parts.extensions.get().and_then(Connection::origin);
        is_allowed(parts, target, &self.allowed)
            || self.exempt.iter().any(|path| **path == *parts.uri.path())
    }
}

impl<S, O, R, ReqBody, ResBody> Service<Request<ReqBody>> for CrossOriginGuard<S, O, R>
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
        if self
            .policy
            .as_ref()
            .is_none_or(|policy| policy.allows(&parts))
        {
            return ResponseFuture::inner(self.inner.call(Request::from_parts(parts, body)));
        }
        ResponseFuture::ready(self.refuser.refuse(&parts, RefusalKind::CrossOrigin))
    }
}

impl<S: Clone, O, R> Clone for CrossOriginGuard<S, O, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            policy: self.policy.clone(),
            refuser: self.refuser.clone(),
        }
    }
}

impl<S: fmt::Debug, O, R> fmt::Debug for CrossOriginGuard<S, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossOriginGuard")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
