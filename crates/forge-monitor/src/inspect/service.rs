//! The service: inspects, then passes the request on or refuses it.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use super::form::{NoForms, ReadForms};
use super::future::InspectFuture;
use super::inspection::Inspection;
use super::layer::{InspectMode, Shared};
use super::level::{Level, Verdict};
use super::on_inspection::{InspectOutcome, OnInspection, RefusedByInspection};
use crate::refusal::{Problem, Refusal, Respond};

/// A service whose requests are inspected. Made by [`InspectLayer`](crate::InspectLayer).
pub struct Inspected<S, O = (), R = Problem, F = NoForms> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared<O, R>>,
    pub(super) forms: F,
}

impl<S, O, R, F, ReqBody, ResBody> Service<Request<ReqBody>> for Inspected<S, O, R, F>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    O: OnInspection,
    R: Respond<ResBody>,
    F: ReadForms<ReqBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = InspectFuture<S, ReqBody, O, R, F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        if self.shared.is_exempt(&parts) {
            let request = Request::from_parts(parts, body);
            return InspectFuture::passed(self.inner.call(request));
        }
        let inspection = self.shared.inspector.inspect(&parts);
        if let Some(bound) = self.forms.bound(&parts)
            && !self.shared.refuses(&inspection)
        {
            // The ready service goes along; a fresh clone stays.
            let clone = self.inner.clone();
            let ready = mem::replace(&mut self.inner, clone);
            let read = self.forms.read(body, bound);
            let shared = Arc::clone(&self.shared);
            return InspectFuture::reading(read, ready, parts, inspection, shared);
        }
        match self.shared.settle(&parts, &inspection) {
            None => InspectFuture::passed(self.inner.call(Request::from_parts(parts, body))),
            Some(response) => InspectFuture::refused(response),
        }
    }
}

impl<O, R> Shared<O, R> {
    fn refuses(&self, inspection: &Inspection) -> bool {
        self.mode == InspectMode::Block && inspection.verdict(self.level) == Verdict::Block
    }

    /// Tells the observer; the response, where the request is refused.
    pub(super) fn settle<B>(&self, parts: &Parts, inspection: &Inspection) -> Option<Response<B>>
    where
        O: OnInspection,
        R: Respond<B>,
    {
        let outcome = if self.refuses(inspection) {
            InspectOutcome::Refused
        } else if inspection.verdict(Level::High) == Verdict::Block {
            InspectOutcome::Suspicious
        } else {
            InspectOutcome::Clean
        };
        self.on_inspection.on_inspection(parts, inspection, outcome);
        (outcome == InspectOutcome::Refused).then(|| {
            let mut response = self.responder.respond(parts, &Refusal::inspected());
            response.extensions_mut().insert(RefusedByInspection);
            response
        })
    }
}

impl<S: Clone, O, R, F: Clone> Clone for Inspected<S, O, R, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: Arc::clone(&self.shared),
            forms: self.forms.clone(),
        }
    }
}

impl<S: fmt::Debug, O, R, F: fmt::Debug> fmt::Debug for Inspected<S, O, R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspected")
            .field("inner", &self.inner)
            .field("mode", &self.shared.mode)
            .field("forms", &self.forms)
            .finish_non_exhaustive()
    }
}
