//! The service that gives requests their credential.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::Inject;
use super::{Credentials, OnCredential, OnUnauthorized};
use crate::error::{BoxError, CredentialError};

/// Gives each request the credential it is to bear; made by
/// [`CredentialLayer`](crate::CredentialLayer).
pub struct WithCredential<S, C, O = (), U = ()> {
    inner: S,
    credentials: Arc<C>,
    hooks: Arc<(O, U)>,
    inject: Inject,
}

impl<S, C, O, U> WithCredential<S, C, O, U> {
    pub(super) fn new(inner: S, credentials: Arc<C>, hooks: Arc<(O, U)>, inject: Inject) -> Self {
        Self {
            inner,
            credentials,
            hooks,
            inject,
        }
    }
}

impl<S, C, O, U, ReqBody, ResBody> Service<Request<ReqBody>> for WithCredential<S, C, O, U>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    C: Credentials,
    O: OnCredential,
    U: OnUnauthorized,
{
    type Response = S::Response;
    type Error = CredentialError;
    type Future = ResponseFuture<S, ReqBody, O, U>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| CredentialError::Upstream(error.into()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // The service that is ready goes along, since the credential is found first.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        let (parts, body) = request.into_parts();
        let found = match self.inject.check(&parts.uri) {
            Ok(()) => Ok(self.credentials.find(&parts)),
            Err(error) => Err(error),
        };
        let request = Request::from_parts(parts, body);
        ResponseFuture::new(
            found,
            ready,
            request,
            Arc::clone(&self.hooks),
            self.inject.clone(),
        )
    }
}

impl<S: Clone, C, O, U> Clone for WithCredential<S, C, O, U> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            credentials: Arc::clone(&self.credentials),
            hooks: Arc::clone(&self.hooks),
            inject: self.inject.clone(),
        }
    }
}

impl<S, C, O, U> fmt::Debug for WithCredential<S, C, O, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inject.fmt_as("WithCredential", f)
    }
}
