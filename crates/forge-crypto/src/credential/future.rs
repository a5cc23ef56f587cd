//! The future of a request that gets a credential.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::Inject;
use super::{CredentialEvent, CredentialFuture, OnCredential, OnUnauthorized, StoredCredential};
use crate::error::{BoxError, CredentialError};

/// gRPC's `UNAUTHENTICATED`.
const UNAUTHENTICATED: &[u8] = b"16";

pin_project! {
    /// Finds the credential, then waits for the response; made by
    /// [`WithCredential`](crate::WithCredential).
    pub struct ResponseFuture<S, B, O, U>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
        hooks: Arc<(O, U)>,
        inject: Inject,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        Refused { error: Option<CredentialError> },
        Finding { found: CredentialFuture, call: Option<(S, Request<B>)> },
        Calling { #[pin] response: F, credential: StoredCredential },
    }
}

impl<S, B, O, U> ResponseFuture<S, B, O, U>
where
    S: Service<Request<B>>,
{
    pub(super) fn new(
        found: Result<CredentialFuture, CredentialError>,
        service: S,
        request: Request<B>,
        hooks: Arc<(O, U)>,
        inject: Inject,
    ) -> Self {
        let state = match found {
            Ok(found) => State::Finding {
                found,
                call: Some((service, request)),
            },
            Err(error) => State::Refused { error: Some(error) },
        };
        Self {
            state,
            hooks,
            inject,
        }
    }
}

impl<S, B, O, U, ResBody> Future for ResponseFuture<S, B, O, U>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    O: OnCredential,
    U: OnUnauthorized,
{
    type Output = Result<Response<ResBody>, CredentialError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (observer, unauthorized) = &**this.hooks;
        let refuse = |credential: Option<&StoredCredential>, error: CredentialError| {
            observer.on_credential(&CredentialEvent::Refused {
                context: credential.map(StoredCredential::context).as_ref(),
                error: &error,
            });
            Poll::Ready(Err(error))
        };
        loop {
            match this.state.as_mut().project() {
                StateProj::Refused { error } => {
                    return refuse(None, error.take().expect("polled after it was ready"));
                }
                StateProj::Finding { found, call } => {
                    let credential = match ready!(found.as_mut().poll(cx)) {
                        Ok(Some(credential)) => credential,
                        Ok(None) => return refuse(None, CredentialError::Missing),
                        Err(error) => return refuse(None, CredentialError::Source(error)),
                    };
                    let (name, value) = match this.inject.open(&credential) {
                        Ok(header) => header,
                        Err(error) => return refuse(Some(&credential), error),
                    };
                    let (mut service, mut request) =
                        call.take().expect("polled after it was ready");
                    request.headers_mut().insert(name, value);
                    observer.on_credential(&CredentialEvent::Injected {
                        context: &credential.context(),
                    });
                    let response = service.call(request);
                    this.state.set(State::Calling {
                        response,
                        credential,
                    });
                }
                StateProj::Calling {
                    response,
                    credential,
                } => {
                    let response = ready!(response.poll(cx))
                        .map_err(|error| CredentialError::Upstream(error.into()))?;
                    if is_unauthorized(&response) {
                        observer.on_credential(&CredentialEvent::Unauthorized {
                            context: &credential.context(),
                        });
                        unauthorized.on_unauthorized(credential);
                    }
                    return Poll::Ready(Ok(response));
                }
            }
        }
    }
}

fn is_unauthorized<B>(response: &Response<B>) -> bool {
    let grpc_status = response.headers().get("grpc-status");
    response.status() == StatusCode::UNAUTHORIZED
        || grpc_status.is_some_and(|status| status.as_bytes() == UNAUTHENTICATED)
}

impl<S, B, O, U> fmt::Debug for ResponseFuture<S, B, O, U>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inject.fmt_as("ResponseFuture", f)
    }
}
