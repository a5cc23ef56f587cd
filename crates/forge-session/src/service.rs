//! The service: looks for a credential, and looks it up before the request goes on.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::authenticated::{Anonymous, Authenticated, Via};
use crate::caller_info::{CallerInfo, UserAgent};
use crate::credential::{Credential, credential};
use crate::error::{AuthenticateError, Rejection};
use crate::future::{ResponseFuture, SetCookie};
use crate::layer::Config;
use crate::on_event::OnRejection;
use crate::refusal::{Problem, Refusal, Respond};
use crate::session::Caller;
use crate::sessions::Sessions;
use crate::sessions::rotate::Renewed;

/// A service whose requests are authenticated. Made by [`SessionLayer`](crate::SessionLayer).
pub struct Authenticate<I, C = UserAgent, O = (), R = Problem> {
    pub(crate) inner: I,
    pub(crate) config: Arc<Config<C, O, R>>,
}

impl<I, C, O, R, ReqBody, ResBody> Service<Request<ReqBody>> for Authenticate<I, C, O, R>
where
    I: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    C: CallerInfo,
    O: OnRejection,
    R: Respond<ResBody>,
{
    type Response = I::Response;
    type Error = I::Error;
    type Future = ResponseFuture<I, C, O, R, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let config = &self.config;
        let (mut parts, body) = request.into_parts();
        match credential(&parts, &config.cookie, config.ticket) {
            Ok(Some(credential)) => {
                let via = credential.via;
                let caller = config.caller.caller(&parts);
                let path = match via {
                    Via::Ticket => parts.uri.path().to_owned(),
                    _ => String::new(),
                };
                let check = Box::pin(check(config.sessions.clone(), credential, caller, path));
                // The service that was polled ready must be the one that is called.
                let unready = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, unready);
                let service = Self {
                    inner,
                    config: Arc::clone(config),
                };
                ResponseFuture::checking(service, parts, body, via, check)
            }
            Err((Via::Bearer | Via::Ticket, rejection)) => {
                config.on_rejection.on_rejection(&parts, rejection);
                let refusal = Refusal::of_bearer(rejection, &config.challenge);
                ResponseFuture::refused(config.responder.respond(&parts, &refusal))
            }
            found => {
                // Nothing, or a cookie in a shape that is not worth a look-up.
                let set = found.is_err().then(|| SetCookie::clear(config.cookie));
                if let Err((_, rejection)) = found {
                    config.on_rejection.on_rejection(&parts, rejection);
                }
                Anonymous::mark(&mut parts, &config.challenge);
                let request = Request::from_parts(parts, body);
                ResponseFuture::calling(self.inner.call(request), set)
            }
        }
    }
}

/// Looks the credential up, and notes the use of its session.
async fn check(
    sessions: Sessions,
    credential: Credential,
    caller: Caller,
    path: String,
) -> Result<Checked, AuthenticateError> {
    let (via, text) = (credential.via, &credential.text);
    let mut valid = match via {
        Via::Cookie => sessions.check_cookie(text, &caller, true).await?,
        Via::Bearer => sessions.check_bearer(text).await?,
        Via::Ticket => sessions.check_ticket(text, &path).await?,
    };
    let renewed = valid.renewed.take();
    let response = sessions.observe(&valid.session, &caller).await?;
    if response.must_end() {
        return Err(Rejection::Threat.into());
    }
    if let Err(error) = sessions.touch(&valid.session, &caller).await {
        // The session was found good. Without the write it only expires earlier.
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, session = %valid.session.id, "use of a session not noted");
    }
    Ok(Checked {
        authenticated: Authenticated::found(valid, via, response, sessions),
        renewed,
    })
}

/// What becomes of a good credential.
pub(crate) struct Checked {
    pub(crate) authenticated: Authenticated,
    pub(crate) renewed: Option<Renewed>,
}

impl<I: Clone, C, O, R> Clone for Authenticate<I, C, O, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: Arc::clone(&self.config),
        }
    }
}

impl<I: fmt::Debug, C, O, R> fmt::Debug for Authenticate<I, C, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate")
            .field("inner", &self.inner)
            .field("sessions", &self.config.sessions)
            .finish_non_exhaustive()
    }
}
