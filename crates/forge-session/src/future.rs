//! The response to come.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::authenticated::{Anonymous, Via};
use crate::cookie::SessionCookie;
use crate::error::{AuthenticateError, Rejection};
use crate::on_event::OnRejection;
use crate::refusal::{Refusal, Respond};
use crate::service::{Authenticate, Checked};
use crate::sessions::rotate::Renewed;

type Check = Pin<Box<dyn Future<Output = Result<Checked, AuthenticateError>> + Send>>;

/// A cookie to set on the response, unless that sets it itself: a sign-in, or a sign-out, has the
/// last word.
pub(crate) struct SetCookie {
    cookie: SessionCookie,
    field: HeaderValue,
}

impl SetCookie {
    pub(crate) fn clear(cookie: SessionCookie) -> Self {
        let field = cookie.clear_cookie();
        Self { cookie, field }
    }

    fn renew(cookie: SessionCookie, renewed: &Renewed) -> Self {
        let field = cookie.set_cookie(&renewed.secret, renewed.max_age);
        Self { cookie, field }
    }

    fn append_to(self, headers: &mut HeaderMap) {
        let mut fields = headers.get_all(SET_COOKIE).iter();
        if !fields.any(|field| self.cookie.is_set_by(field)) {
            headers.append(SET_COOKIE, self.field);
        }
    }
}

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
        Calling { #[pin] future: F, set: Option<SetCookie> },
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

    pub(crate) fn calling(future: I::Future, set: Option<SetCookie>) -> Self {
        Self {
            state: State::Calling { future, set },
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
                StateProj::Calling { future, set } => {
                    let mut response = ready!(future.poll(cx))?;
                    if let Some(set) = set.take() {
                        set.append_to(response.headers_mut());
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
        result: Result<Checked, AuthenticateError>,
    ) -> State<I::Future, I::Response> {
        let config = &*self.service.config;
        let set = match result {
            Ok(checked) => {
                let renewed = checked.renewed.as_ref();
                let set = renewed.map(|renewed| SetCookie::renew(config.cookie, renewed));
                self.parts.extensions.insert(checked.authenticated);
                set
            }
            Err(AuthenticateError::Rejected(rejection)) => {
                config.on_rejection.on_rejection(&self.parts, rejection);
                if self.via != Via::Cookie {
                    return self.refuse(&Refusal::of_bearer(rejection, &config.challenge));
                }
                Anonymous::mark(&mut self.parts, &config.challenge);
                Some(SetCookie::clear(config.cookie))
            }
            Err(AuthenticateError::Store(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "request refused: its session cannot be checked");
                let rejection = Rejection::StoreUnavailable;
                config.on_rejection.on_rejection(&self.parts, rejection);
                return self.refuse(&Refusal::undecided());
            }
        };
        let request = Request::from_parts(self.parts, self.body);
        let future = self.service.inner.call(request);
        State::Calling { future, set }
    }

    fn refuse(&self, refusal: &Refusal) -> State<I::Future, I::Response> {
        let responder = &self.service.config.responder;
        let response = Some(responder.respond(&self.parts, refusal));
        State::Refused { response }
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
