//! The service: admits or refuses by the request's extensions alone.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use crate::authenticated::{Anonymous, Authenticated};
use crate::error::Rejection;
use crate::on_event::OnRejection;
use crate::refusal::{Problem, Refusal, Respond};
use crate::require::future::ResponseFuture;
use crate::require::layer::Config;

/// A service for requests with a session. Made by
/// [`RequireSessionLayer`](crate::RequireSessionLayer).
pub struct RequireSession<I, O = (), R = Problem> {
    pub(crate) inner: I,
    pub(crate) config: Arc<Config<O, R>>,
}

impl<I, O, R, ReqBody, ResBody> Service<Request<ReqBody>> for RequireSession<I, O, R>
where
    I: Service<Request<ReqBody>, Response = Response<ResBody>>,
    O: OnRejection,
    R: Respond<ResBody>,
{
    type Response = I::Response;
    type Error = I::Error;
    type Future = ResponseFuture<I::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        match self.config.admit(&parts) {
            Ok(()) => ResponseFuture::calling(self.inner.call(Request::from_parts(parts, body))),
            Err(rejection) => {
                self.config.on_rejection.on_rejection(&parts, rejection);
                let refusal = self.config.refusal(&parts, rejection);
                ResponseFuture::refused(self.config.responder.respond(&parts, &refusal))
            }
        }
    }
}

impl<O, R> Config<O, R> {
    fn admit(&self, parts: &Parts) -> Result<(), Rejection> {
        let authenticated = parts.extensions.get::<Authenticated>();
        let me = authenticated.ok_or(Rejection::Absent)?;
        if !self.kinds.is_empty() && !self.kinds.contains(&me.session().kind) {
            return Err(Rejection::WrongKind);
        }
        if !self.scopes.iter().all(|scope| me.has_scope(scope)) {
            return Err(Rejection::Scope);
        }
        match &self.admit {
            Some(admit) if !admit.admits(me, parts) => return Err(Rejection::Forbidden),
            _ => {}
        }
        match self.signed_in_within {
            Some(max_age) if !me.has_signed_in_within(max_age) => Err(Rejection::StepUp),
            _ => Ok(()),
        }
    }

    fn refusal(&self, parts: &Parts, rejection: Rejection) -> Refusal {
        let outer = parts.extensions.get::<Anonymous>().map(|a| &*a.challenge);
        let challenge = self.challenge.as_ref().or(outer).cloned();
        let challenge = challenge.unwrap_or_default();
        match rejection {
            Rejection::Forbidden => Refusal::forbidden(),
            Rejection::Scope => {
                Refusal::insufficient_scope(&challenge.scope(&self.scopes.join(" ")))
            }
            Rejection::StepUp => {
                let max_age = self.signed_in_within.unwrap_or_default();
                Refusal::insufficient_user_authentication(&challenge.max_age(max_age))
            }
            _ => Refusal::unauthenticated(&challenge),
        }
    }
}

impl<I: Clone, O, R> Clone for RequireSession<I, O, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: Arc::clone(&self.config),
        }
    }
}

impl<I: fmt::Debug, O, R> fmt::Debug for RequireSession<I, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireSession")
            .field("inner", &self.inner)
            .field("kinds", &self.config.kinds)
            .finish_non_exhaustive()
    }
}
