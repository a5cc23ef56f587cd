//! The response to come.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::authenticated::{Anonymous, Authenticated, Via};
use crate::cookie::SessionCookie;
use crate::error::{AuthenticateError, Rejection};
use crate::on_event::OnRejection;
use crate::refusal::{Refusal, Respond};
use crate::service::Authenticate;
use crate::session::Session;

type Check = Pin<Box<dyn Future<Output = Result<Session, AuthenticateError>> + Send>>;

pin_project! {
    /// The future of [`Authenticate`].
    pub struct ResponseFuture<I, C, O, R, ReqBody>
    where
        I: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<I::Future, I::Response>,
        // What is needed until the session is known.
        waiting: Option<Waiting<I, C, O, R, ReqBody>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, T> {
        Checking { check: Check },
        Calling { #[pin] future: F, clear: Option<SessionCookie> },
        Refused { response: Option<T> },
    }
}

struct Waiting<I, C, O, R, ReqBody> {
    service: Authenticate<I, C, O, R>,
    parts: Parts,
    body: ReqBody,
    via: Via,
}

impl<I, C, O, R, ReqBody> ResponseFuture<I, C, O, R, ReqBody>
where
    I: Service<Request<ReqBody>>,
{
    pub(crate) fn checking(
        service: Authenticate<I, C, O, R>,
        parts: Parts,
        body: ReqBody,
        via: Via,
        check: Check,
    ) -> Self {
        Self {
            state: State::Checking { check },
            waiting: Some(Waiting {
                service,
                parts,
                body,
                via,
            }),
        }
    }

    pub(crate) fn calling(future: I::Future, clear: Option<SessionCookie>) -> Self {
        Self {
            state: State::Calling { future, clear },
            waiting: None,
        }
    }

    pub(crate) fn refused(response: I::Response) -> Self {
        let response = Some(response);
        Self {
            state: State::Refused { response },
            waiting: None,
        }
    }
}

impl<I, C, O, R, ReqBody, ResBody> Future for ResponseFuture<I, C, O, R, ReqBody>
where
    I: Service<Request<ReqBody>, Response = Response<ResBody>>,
    O: OnRejection,
    R: Respond<ResBody>,
{
    type Output = Result<I::Response, I::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let result = match this.state.as_mut().project() {
                StateProj::Checking { check } => ready!(check.as_mut().poll(cx)),
                StateProj::Calling { future, clear } => {
                    let mut response = ready!(future.poll(cx))?;
                    if let Some(cookie) = clear {
                        clear_unless_set(response.headers_mut(), cookie);
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProj::Refused { response } => {
                    let response = response.take().expect("polled after completion");
                    return Poll::Ready(Ok(response));
                }
            };
            let waiting = this.waiting.take().expect("a session is checked once");
            this.state.set(waiting.decide(result));
        }
    }
}

impl<I, C, O, R, ReqBody, ResBody> Waiting<I, C, O, R, ReqBody>
where
    I: Service<Request<ReqBody>, Response = Response<ResBody>>,
    O: OnRejection,
    R: Respond<ResBody>,
{
    fn decide(
        mut self,
        result: Result<Session, AuthenticateError>,
    ) -> State<I::Future, I::Response> {
        let config = &*self.service.config;
        let mut clear = None;
        match result {
            Ok(session) => {
                let authenticated = Authenticated::new(session, self.via);
                self.parts.extensions.insert(authenticated);
            }
            Err(AuthenticateError::Rejected(rejection)) => {
                config.on_rejection.on_rejection(&self.parts, rejection);
                if self.via == Via::Bearer {
                    return self.refuse(&Refusal::of_bearer(rejection, &config.challenge));
                }
                clear = Some(config.cookie);
                Anonymous::mark(&mut self.parts, &config.challenge);
            }
            Err(AuthenticateError::Store(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "request refused: its session cannot be checked");
                let rejection = Rejection::StoreUnavailable;
                config.on_rejection.on_rejection(&self.parts, rejection);
                return self.refuse(&Refusal::undecided());
            }
        }
        let request = Request::from_parts(self.parts, self.body);
        let future = self.service.inner.call(request);
        State::Calling { future, clear }
    }

    fn refuse(&self, refusal: &Refusal) -> State<I::Future, I::Response> {
        let responder = &self.service.config.responder;
        let response = Some(responder.respond(&self.parts, refusal));
        State::Refused { response }
    }
}

/// A sign-in that replaces a stale cookie has the last word.
fn clear_unless_set(headers: &mut HeaderMap, cookie: &SessionCookie) {
    let mut fields = headers.get_all(SET_COOKIE).iter();
    if !fields.any(|field| cookie.is_set_by(field)) {
        headers.append(SET_COOKIE, cookie.clear_cookie());
    }
}

impl<I, C, O, R, ReqBody> fmt::Debug for ResponseFuture<I, C, O, R, ReqBody>
where
    I: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
