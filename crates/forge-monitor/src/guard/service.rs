//! The service: asks whether the client is blocked, then passes the request on or refuses it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use super::{ClientAddress, Guard, OnRefusal, RefusalReason, RefusedByGuard, ResponseFuture};
use crate::refusal::{Problem, Refusal, Respond};

/// A service behind a guard. Made by [`GuardLayer`](crate::GuardLayer).
pub struct Guarded<S, C, O = (), R = Problem> {
    pub(super) inner: S,
    pub(super) guard: Guard,
    pub(super) client_address: Arc<C>,
    pub(super) admit_unknown_address: bool,
    pub(super) on_refusal: Arc<O>,
    pub(super) responder: Arc<R>,
}

impl<S, C, O, R, ReqBody, ResBody> Service<Request<ReqBody>> for Guarded<S, C, O, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    C: ClientAddress,
    O: OnRefusal,
    R: Respond<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let Some(reason) = self.reason(&parts) else {
            let request = Request::from_parts(parts, body);
            return ResponseFuture::passed(self.inner.call(request));
        };
        self.on_refusal.on_refusal(&parts, &reason);
        let refusal = match reason {
            RefusalReason::Blocked(_) => Refusal::blocked(),
            RefusalReason::UnknownAddress => Refusal::unidentified(),
        };
        let mut response = self.responder.respond(&parts, &refusal);
        response.extensions_mut().insert(RefusedByGuard);
        ResponseFuture::refused(response)
    }
}

impl<S, C: ClientAddress, O, R> Guarded<S, C, O, R> {
    fn reason(&self, parts: &Parts) -> Option<RefusalReason> {
        match self.client_address.client_address(parts) {
            Some(address) => self.guard.address(address).map(RefusalReason::Blocked),
            None if self.admit_unknown_address => None,
            None => Some(RefusalReason::UnknownAddress),
        }
    }
}

impl<S: Clone, C, O, R> Clone for Guarded<S, C, O, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            guard: self.guard.clone(),
            client_address: Arc::clone(&self.client_address),
            admit_unknown_address: self.admit_unknown_address,
            on_refusal: Arc::clone(&self.on_refusal),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<S: fmt::Debug, C, O, R> fmt::Debug for Guarded<S, C, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("inner", &self.inner)
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}
