//! The service: passes a request on, and sees to it that it is recorded.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::exchange::Exchange;
use crate::future::ResponseFuture;
use crate::identify::Identify;
use crate::layer::AuditLayer;
use crate::policy::{AuditPolicy, Policy};
use crate::refusal::{Problem, Refusal, Respond};
use crate::source_of::SourceOf;

/// A service whose requests are recorded. Made by [`AuditLayer`].
pub struct Audit<S, P = Policy, I = (), F = (), R = Problem> {
    pub(crate) inner: S,
    pub(crate) layer: AuditLayer<P, I, F, R>,
}

impl<S, P, I, F, R, ReqBody, ResBody> Service<Request<ReqBody>> for Audit<S, P, I, F, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    P: AuditPolicy,
    I: Identify,
    F: SourceOf,
    R: Respond<ResBody>,
    ResBody: crate::AuditBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let (policy, identify, source_of, responder) = self.layer.seams();
        let policy = policy.policy(&parts);
        if policy == Policy::None {
            let request = Request::from_parts(parts, body);
            return ResponseFuture::unrecorded(self.inner.call(request));
        }
        let (actor, source) = (identify.identify(&parts), source_of.source(&parts));
        let log = self.layer.log().clone();
        let exchange = Exchange::begin(log, &parts, actor, source);
        let required = policy == Policy::Required;
        if required && !exchange.log().is_healthy() {
            tracing::error!(target: crate::trace::TARGET, "request refused: the audit log does not work");
            let response = responder.respond(&parts, &Refusal::unrecorded());
            return ResponseFuture::refused(response, exchange);
        }
        parts.extensions.insert(exchange.context());
        if required {
            // A refusal after the fact still needs what the request was.
            let refuse = (Box::new(parts.clone()), Arc::clone(responder));
            let future = self.inner.call(Request::from_parts(parts, body));
            ResponseFuture::required(future, exchange, refuse)
        } else {
            let future = self.inner.call(Request::from_parts(parts, body));
            ResponseFuture::metadata(future, exchange)
        }
    }
}

impl<S: Clone, P, I, F, R> Clone for Audit<S, P, I, F, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: self.layer.clone(),
        }
    }
}

impl<S: fmt::Debug, P, I, F, R> fmt::Debug for Audit<S, P, I, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
