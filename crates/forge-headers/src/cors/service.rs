//! The service: answers preflights, passes everything else on.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use tower_service::Service;

use crate::cors::Cors;
use crate::cors::future::CorsFuture;
use crate::cors::headers::is_preflight;
use crate::on_refusal::OnRefusal;
use crate::refusal::{Problem, RefusalBody, RefusalKind, Respond};
use crate::refuser::Refuser;

/// A service that pages of other origins may read. Made by [`CorsLayer`](crate::CorsLayer).
pub struct CorsService<S, O = (), R = Problem> {
    pub(crate) inner: S,
    pub(crate) cors: Arc<Cors>,
    pub(crate) refuser: Refuser<O, R>,
}

impl<S, O, R> CorsService<S, O, R> {
    fn answer<B>(&self, parts: &Parts) -> Response<B>
    where
        O: OnRefusal,
        R: Respond<B>,
        B: RefusalBody,
    {
        let mut response = match self.cors.answer(parts) {
            Some(headers) => {
                let mut response = Response::new(B::from_bytes(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                *response.headers_mut() = headers;
                response
            }
            None => self.refuser.refuse(parts, RefusalKind::CorsPreflight),
        };
        self.cors.vary_preflight(response.headers_mut());
        response
    }
}

impl<S, O, R, ReqBody, ResBody> Service<Request<ReqBody>> for CorsService<S, O, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    O: OnRefusal,
    R: Respond<ResBody>,
    ResBody: RefusalBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = CorsFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if is_preflight(request.method(), request.headers()) {
            let (parts, _) = request.into_parts();
            return CorsFuture::answered(self.answer(&parts));
        }
        let verdict = self.cors.verdict(request.headers());
        CorsFuture::inner(self.inner.call(request), Arc::clone(&self.cors), verdict)
    }
}

impl<S: Clone, O, R> Clone for CorsService<S, O, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            cors: Arc::clone(&self.cors),
            refuser: self.refuser.clone(),
        }
    }
}

impl<S: fmt::Debug, O, R> fmt::Debug for CorsService<S, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CorsService")
            .field("inner", &self.inner)
            .field("cors", &self.cors)
            .finish_non_exhaustive()
    }
}
