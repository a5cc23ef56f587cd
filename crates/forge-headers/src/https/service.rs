//! The service: passes https on, redirects or refuses the rest.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

use crate::connection::Connection;
use crate::future::ResponseFuture;
use crate::host::allow_list::HostAllowList;
use crate::host::effective_host;
use crate::https::{ACME_CHALLENGE, location};
use crate::on_refusal::OnRefusal;
use crate::refusal::{Problem, RefusalBody, RefusalKind, Respond};
use crate::refuser::Refuser;

/// A service that is reached over https. Made by [`HttpsLayer`](crate::HttpsLayer).
pub struct HttpsService<S, O = (), R = Problem> {
    pub(crate) inner: S,
    pub(crate) policy: Arc<Policy>,
    pub(crate) refuser: Refuser<O, R>,
}

#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) hosts: HostAllowList,
    pub(crate) port: Option<u16>,
    pub(crate) exempt: Vec<Box<str>>,
    pub(crate) redirect_other_methods: bool,
    /// Whether there is https at all.
    pub(crate) enforce: bool,
}

enum Verdict {
    Pass,
    Redirect(HeaderValue),
    Refuse(RefusalKind),
}

impl Policy {
    pub(crate) fn new(hosts: HostAllowList) -> Self {
        Self {
            hosts,
            port: None,
            exempt: Vec::new(),
            redirect_other_methods: false,
            enforce: true,
        }
    }

    fn judge(&self, parts: &Parts) -> Verdict {
        if !self.enforce {
            return Verdict::Pass;
        }
        let https = parts
            .extensions
            .get::<Connection>()
            .is_some_and(Connection::is_https);
        if https || self.is_exempt(parts.uri.path()) {
            return Verdict::Pass;
        }
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        if !is_read && !self.redirect_other_methods {
            return Verdict::Refuse(RefusalKind::InsecureTransport);
        }
        match effective_host(parts) {
            Ok(host) if self.hosts.contains(&host) => {
                let location = location(&host, self.port, parts.uri.path_and_query());
                // Cannot fail: a host is ASCII, and a target that was parsed has no control.
                match HeaderValue::try_from(location) {
                    Ok(location) => Verdict::Redirect(location),
                    Err(_) => Verdict::Refuse(RefusalKind::InsecureTransport),
                }
            }
            Ok(_) => Verdict::Refuse(RefusalKind::HostNotAllowed),
            Err(_) => Verdict::Refuse(RefusalKind::HostInvalid),
        }
    }

    fn is_exempt(&self, path: &str) -> bool {
        path.starts_with(ACME_CHALLENGE) || self.exempt.iter().any(|exempt| **exempt == *path)
    }
}

impl<S, O, R, ReqBody, ResBody> Service<Request<ReqBody>> for HttpsService<S, O, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    O: OnRefusal,
    R: Respond<ResBody>,
    ResBody: RefusalBody,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        match self.policy.judge(&parts) {
            Verdict::Pass => {
                ResponseFuture::inner(self.inner.call(Request::from_parts(parts, body)))
            }
            Verdict::Redirect(location) => ResponseFuture::ready(redirect(location)),
            Verdict::Refuse(kind) => ResponseFuture::ready(self.refuser.refuse(&parts, kind)),
        }
    }
}

fn redirect<B: RefusalBody>(location: HeaderValue) -> Response<B> {
    let mut response = Response::new(B::from_bytes(Bytes::new()));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    // HSTS remembers for the browser, and can be taken back; a cached 308 cannot.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl<S: Clone, O, R> Clone for HttpsService<S, O, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            policy: Arc::clone(&self.policy),
            refuser: self.refuser.clone(),
        }
    }
}

impl<S: fmt::Debug, O, R> fmt::Debug for HttpsService<S, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsService")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
