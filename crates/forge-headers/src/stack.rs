//! All parts in the one right order.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::audit::{Finding, Findings, Severity, sorted};
use crate::authority::Scheme;
use crate::connection::peer::FromExtensions;
use crate::connection::service::{ConnectionService, Resolver};
use crate::connection::trusted_proxies::TrustedProxies;
use crate::cors::Cors;
use crate::cors::service::CorsService;
use crate::cross_origin::layer::CrossOriginGuardLayer;
use crate::cross_origin::service::{CrossOriginGuard, Policy as GuardPolicy};
use crate::host::allow_list::HostAllowList;
use crate::host::service::HostAllowListService;
use crate::https::service::{HttpsService, Policy as HttpsPolicy};
use crate::refusal::Problem;
use crate::refuser::Refuser;
use crate::security::SecurityHeaders;
use crate::security::prebuilt::Prebuilt;
use crate::security::service::SecurityHeadersService;

/// The layers of this crate as one, in the order in which they work.
///
/// From the outside in:
/// 1. [`ConnectionLayer`](crate::ConnectionLayer): everything else needs to know who calls, over
///    what and to which host;
/// 2. [`SecurityHeadersLayer`](crate::SecurityHeadersLayer): on every response, refusals included;
/// 3. [`CorsLayer`](crate::CorsLayer): preflights end here, and what allowed origins may read is
///    said on every response, refusals included;
/// 4. [`HostAllowListLayer`](crate::HostAllowListLayer);
/// 5. [`HttpsLayer`](crate::HttpsLayer);
/// 6. [`CrossOriginGuardLayer`](crate::CrossOriginGuardLayer).
///
/// Mount it outside of what catches panics and sets time limits, of limits and authentication, so
/// that their responses bear the headers as well. Where a request should pass limits and
/// authentication before the guard looks at it, [split](Self::split_guard) the guard off.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn app() -> Result<axum::Router, Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use forge_headers::*;
///
/// let hosts = HostAllowList::new(["app.example.com"])?;
/// let stack = Stack::new(hosts, SecurityHeaders::strict())
///     .trusted_proxies(TrustedProxies::parse(["10.0.0.0/8"])?)
///     .cors(Cors::builder().origins(["https://www.example.com"]).build()?)
///     .exempt_path("/livez");
/// for finding in stack.audit() {
///     tracing::warn!("{finding}");
/// }
/// let app = Router::new().route("/", get(|| async { "hello" })).layer(stack);
/// # Ok(app)
/// # }
/// # #[cfg(feature = "axum")]
/// # app().unwrap();
/// ```
#[must_use]
pub struct Stack<P = FromExtensions, N = (), O = (), R = Problem> {
    resolver: Resolver<P>,
    headers: SecurityHeaders,
    prebuilt: Arc<Prebuilt>,
    session: Arc<N>,
    cors: Arc<Cors>,
    hosts: HostAllowList,
    exempt: Arc<[Box<str>]>,
    https: Arc<HttpsPolicy>,
    guard: Option<Arc<GuardPolicy>>,
    refuser: Refuser<O, R>,
}

impl Stack {
    /// A stack that answers for `hosts`, over https only, with `headers` on every response. No
    /// proxy is trusted, and no other origin may read or act.
    pub fn new(hosts: HostAllowList, headers: SecurityHeaders) -> Self {
        Self {
            resolver: Resolver::new(TrustedProxies::none()),
            prebuilt: Arc::new(Prebuilt::new(headers.clone())),
            headers,
            session: Arc::new(()),
            cors: Arc::new(Cors::none()),
            https: Arc::new(HttpsPolicy::new(hosts.clone())),
            hosts,
            exempt: Arc::new([]),
            guard: Some(Arc::default()),
            refuser: Refuser::new(),
        }
    }
}

impl<P, N, O, R> Stack<P, N, O, R> {
    /// Whom to believe about the client. Default: nobody.
    pub fn trusted_proxies(mut self, trusted_proxies: TrustedProxies) -> Self {
        self.resolver.proxies = trusted_proxies;
        self
    }

    /// What the listener itself speaks, where no proxy says otherwise. Default: http.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.resolver.scheme = scheme;
        self
    }

    /// Where the peer's address comes from, a [`PeerAddr`](crate::PeerAddr). Default:
    /// [`FromExtensions`].
    pub fn peer_addr<T>(self, peer_addr: T) -> Stack<T, N, O, R> {
        Stack {
            resolver: self.resolver.with_peer(peer_addr),
            headers: self.headers,
            prebuilt: self.prebuilt,
            session: self.session,
            cors: self.cors,
            hosts: self.hosts,
            exempt: self.exempt,
            https: self.https,
            guard: self.guard,
            refuser: self.refuser,
        }
    }

    /// Which requests no cache may keep the responses of; see
    /// [`SecurityHeadersLayer::no_store_when`](crate::SecurityHeadersLayer::no_store_when).
    pub fn no_store_when<T>(self, session: T) -> Stack<P, T, O, R> {
        Stack {
            resolver: self.resolver,
            headers: self.headers,
            prebuilt: self.prebuilt,
            session: Arc::new(session),
            cors: self.cors,
            hosts: self.hosts,
            exempt: self.exempt,
            https: self.https,
            guard: self.guard,
            refuser: self.refuser,
        }
    }

    /// Which other origins may call: read responses, and act. Default: none.
    pub fn cors(mut self, cors: Cors) -> Self {
        if let Some(guard) = &mut self.guard {
            Arc::make_mut(guard).allowed = cors.listed().to_vec();
        }
        self.cors = Arc::new(cors);
        self
    }

    /// Whether requests in clear are redirected or refused. Default: yes.
    pub fn enforce_https(mut self, enforce: bool) -> Self {
        Arc::make_mut(&mut self.https).enforce = enforce;
        self
    }

    /// The port that https is served on. Default: 443, which is not written.
    pub fn https_port(mut self, port: impl Into<Option<u16>>) -> Self {
        Arc::make_mut(&mut self.https).port = port.into();
        self
    }

    /// Redirects requests in clear whatever their method; see
    /// [`HttpsLayer::redirect_other_methods`](crate::HttpsLayer::redirect_other_methods).
    pub fn redirect_other_methods(mut self, redirect: bool) -> Self {
        Arc::make_mut(&mut self.https).redirect_other_methods = redirect;
        self
    }

    /// Lets requests for exactly this path pass in clear and whatever host they name: for probes.
    /// May be called several times.
    pub fn exempt_path(mut self, path: impl Into<Box<str>>) -> Self {
        let path = path.into();
        self.exempt = self.exempt.iter().cloned().chain([path.clone()]).collect();
        self.exempt_https(path)
    }

    /// Lets requests for exactly this path pass in clear, to listed hosts. May be called several
    /// times.
    pub fn exempt_https(mut self, path: impl Into<Box<str>>) -> Self {
        Arc::make_mut(&mut self.https).exempt.push(path.into());
        self
    }

    /// Lets other origins act on exactly this path: for webhooks and reports, and for routes that
    /// read no cookie. May be called several times.
    pub fn exempt_cross_origin(mut self, path: impl Into<Box<str>>) -> Self {
        if let Some(guard) = &mut self.guard {
            Arc::make_mut(guard).exempt.push(path.into());
        }
        self
    }

    /// Who is told of every refusal, an [`OnRefusal`](crate::OnRefusal). Default: nobody.
    pub fn on_refusal<T>(self, on_refusal: T) -> Stack<P, N, T, R> {
        let refuser = self.refuser.clone().on_refusal(on_refusal);
        self.with_refuser(refuser)
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> Stack<P, N, O, T> {
        let refuser = self.refuser.clone().respond_with(responder);
        self.with_refuser(refuser)
    }

    /// The stack without its innermost part, and that part: to mount limits and authentication
    /// between the two. Comes last, after what sets up either.
    pub fn split_guard(mut self) -> (Self, CrossOriginGuardLayer<O, R>) {
        let guard = CrossOriginGuardLayer {
            policy: self.guard.take().unwrap_or_default(),
            refuser: self.refuser.clone(),
        };
        (self, guard)
    }

    /// What weakens this configuration, the gravest first: to be logged when the server starts.
    #[must_use]
    pub fn audit(&self) -> Vec<Finding> {
        let mut all = self.headers.audit();
        all.extend(self.resolver.proxies.audit());
        all.extend(self.hosts.audit());
        all.extend(self.cors.audit());
        all.extend(self.audit_https());
        let mut findings = Findings::about("cross-origin guard");
        for path in self.guard.iter().flat_map(|guard| &guard.exempt) {
            findings.when(
                true,
                Severity::Low,
                format!("pages of every origin may act on {path}"),
                "make sure that it reads no cookie",
            );
        }
        all.extend(findings.into_vec());
        sorted(all)
    }

    fn audit_https(&self) -> Vec<Finding> {
        let mut findings = Findings::about("https");
        findings.when(
            !self.https.enforce && !self.hosts.is_loopback(),
            Severity::Medium,
            "requests in clear are answered: anyone on the way reads and changes them",
            "enforce https everywhere but on this machine",
        );
        let is_unknown =
            self.resolver.scheme == Scheme::Http && self.resolver.proxies.trusts_nobody();
        findings.when(
            self.https.enforce && is_unknown,
            Severity::High,
            "every request counts as in clear and is redirected without end",
            "say that the listener speaks https, or name the proxies that do",
        );
        findings.when(
            self.https.redirect_other_methods,
            Severity::Low,
            "requests that already sent their content in clear are redirected, not refused",
            "leave `redirect_other_methods` off once clients know the new address",
        );
        findings.into_vec()
    }

    fn with_refuser<A, B>(self, refuser: Refuser<A, B>) -> Stack<P, N, A, B> {
        Stack {
            resolver: self.resolver,
            headers: self.headers,
            prebuilt: self.prebuilt,
            session: self.session,
            cors: self.cors,
            hosts: self.hosts,
            exempt: self.exempt,
            https: self.https,
            guard: self.guard,
            refuser,
        }
    }
}

impl<S, P, N, O, R> Layer<S> for Stack<P, N, O, R> {
    type Service = StackService<S, P, N, O, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let inner = CrossOriginGuard {
            inner,
            policy: self.guard.clone(),
            refuser: self.refuser.clone(),
        };
        let inner = HttpsService {
            inner,
            policy: Arc::clone(&self.https),
            refuser: self.refuser.clone(),
        };
        let inner = HostAllowListService {
            inner,
            hosts: self.hosts.clone(),
            exempt: Arc::clone(&self.exempt),
            refuser: self.refuser.clone(),
            needs_connection: true,
        };
        let inner = CorsService {
            inner,
            cors: Arc::clone(&self.cors),
            refuser: self.refuser.clone(),
        };
        let inner = SecurityHeadersService {
            inner,
            prebuilt: Arc::clone(&self.prebuilt),
            session: Arc::clone(&self.session),
        };
        ConnectionService {
            inner,
            resolver: self.resolver.clone(),
            refuser: self.refuser.clone(),
            // The host list does, so that this refusal bears the headers too.
            refuses: false,
        }
    }
}

/// A service behind a [`Stack`].
pub type StackService<S, P = FromExtensions, N = (), O = (), R = Problem> = ConnectionService<
    SecurityHeadersService<
        CorsService<
            HostAllowListService<HttpsService<CrossOriginGuard<S, O, R>, O, R>, O, R>,
            O,
            R,
        >,
        N,
    >,
    P,
    O,
    R,
>;

impl<P, N, O, R> Clone for Stack<P, N, O, R> {
    fn clone(&self) -> Self {
        Self {
            resolver: self.resolver.clone(),
            headers: self.headers.clone(),
            prebuilt: Arc::clone(&self.prebuilt),
            session: Arc::clone(&self.session),
            cors: Arc::clone(&self.cors),
            hosts: self.hosts.clone(),
            exempt: Arc::clone(&self.exempt),
            https: Arc::clone(&self.https),
            guard: self.guard.clone(),
            refuser: self.refuser.clone(),
        }
    }
}

impl<P, N, O, R> fmt::Debug for Stack<P, N, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("trusted_proxies", &self.resolver.proxies)
            .field("headers", &self.headers)
            .field("cors", &self.cors)
            .field("https", &self.https)
            .field("cross_origin", &self.guard)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> Stack {
        let hosts = HostAllowList::new(["app.example.com"]).unwrap();
        Stack::new(hosts, SecurityHeaders::strict())
    }

    #[test]
    fn finds_what_the_parts_alone_cannot() {
        let problems = |stack: Stack| {
            let findings = stack.audit();
            let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
            lines
        };
        let tls = || stack().scheme(Scheme::Https);
        assert_eq!(problems(tls()), [""; 0]);
        for (stack, start) in [
            (stack(), "high: https: every request counts as in clear"),
            (
                tls().enforce_https(false),
                "medium: https: requests in clear are answered",
            ),
            (
                tls().redirect_other_methods(true),
                "low: https: requests that already sent",
            ),
            (
                tls().exempt_cross_origin("/hook"),
                "low: cross-origin guard: pages of every origin may act on /hook",
            ),
        ] {
            let problems = problems(stack);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(start), "{problems:?}");
        }
        let parts = tls()
            .trusted_proxies(TrustedProxies::new(["0.0.0.0/0".parse().unwrap()]))
            .cors(Cors::builder().any_origin().build().unwrap());
        assert_eq!(problems(parts).len(), 2);
    }
}
