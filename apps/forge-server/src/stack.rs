//! The way of a request: the layers in order, outermost first.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use forge_audit::{AuditLayer, Policy as AuditPolicy};
use forge_headers::{Csp, Hsts, ReportingEndpoint, SecurityHeaders, Source, Stack};
use forge_monitor::{GuardLayer, InspectLayer, LapLayer};
use forge_ratelimit::{ConcurrencyLayer, RateLimitLayer};
use forge_session::{Challenge, SessionLayer};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::Limited;
use tower::ServiceBuilder;
use tower::util::{MapRequestLayer, MapResponseLayer};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::app::App;
use crate::class::Class;
use crate::config::{Config, Inspection};
use crate::error::StartError;
use crate::routes::BROWSER_REPORTS;
use crate::{detach, limits, present, principal, proxies, request_id, streams, wiring};

/// What load balancers ask for, by address and in clear.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/api/health"];

/// Puts the layers around the routes.
///
/// # Errors
/// A policy that cannot be built.
pub(crate) fn around(routes: Router, app: &App) -> Result<Router, StartError> {
    let (config, wiring) = (&app.config, &app.wiring);
    let headers_refusal = || (wiring.on_headers_refusal(), forge_headers::RecordMetrics);
    let limit_decision = || (wiring.on_limit_decision(), forge_ratelimit::RecordMetrics);
    let edge = edge(&app.config)?.on_refusal(headers_refusal());
    let (edge, cross_origin_guard) = edge.split_guard();
    let challenge = Challenge::bearer().resource_metadata(&app.resource_metadata_url());
    let cookie = app.sign_in_cookie();
    let body_limit = config.bounds.body;

    // `LapLayer`: how long a request takes through the layer that follows, for the metrics.
    let outer = ServiceBuilder::new()
        // An id for each request, and a span around all that is logged of it.
        .layer(from_fn(request_id::assign))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        // Who calls, over what, asking for which host: forwarded headers count from trusted proxies
        // alone. On every response security headers, and what allowed origins may read; preflights
        // end here. Only our own hosts, against DNS rebinding and poisoned links; where people are
        // to use https, nothing is answered in clear.
        .layer(LapLayer::new("edge"))
        .layer(edge)
        .layer(LapLayer::new("bounds"))
        // A proxy that does not say whom it speaks for is noticed.
        .layer(from_fn_with_state(app.clone(), proxies::watch))
        // Refusals and failures from below as pages for people, as problem details for programs.
        .layer(from_fn(present::present))
        // No body is longer than it may be, whoever reads it.
        .layer(MapRequestLayer::new(move |request: Request| {
            request.map(|body| Body::new(Limited::new(body, body_limit)))
        }))
        // What reads hostile input below is not trusted never to panic: that too ends its request alone.
        .layer(MapResponseLayer::new(|response: Response<_>| {
            response.map(Body::new)
        }))
        .layer(CatchPanicLayer::custom(|_| panicked()))
        .layer(MapResponseLayer::new(|response: Response<_>| {
            response.map(Body::new)
        }))
        // Addresses under a ban.
        .layer(LapLayer::new("guard"))
        .layer(
            GuardLayer::new(app.monitor.guard(), wiring::client_ip)
                .on_refusal((wiring.on_guard_refusal(), forge_monitor::RecordMetrics)),
        )
        // What looks like an attack in the path, the query and the headers.
        .layer(
            inspection(&config.inspection)
                .on_inspection((wiring.on_inspection(), forge_monitor::RecordMetrics)),
        )
        // Which kind of endpoint it is for.
        .layer(MapRequestLayer::new(move |request: Request| {
            classify(request, cookie)
        }))
        // Floods from one address, before anything is looked up for it.
        .layer(LapLayer::new("address_limit"))
        .layer(
            RateLimitLayer::new(app.limits.by_address.clone())
                .on_decision(limit_decision())
                .respond_with(limits::respond),
        )
        // A panic is a 500 and ends nothing but its request; a response begins in time.
        .layer(MapResponseLayer::new(|response: Response<_>| {
            response.map(Body::new)
        }))
        .layer(CatchPanicLayer::custom(|_| panicked()))
        .layer(MapResponseLayer::new(|response: Response<_>| {
            response.map(Body::new)
        }))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            config.bounds.request_time,
        ));
    // Two parts, since a type of all the layers takes the compiler minutes.
    let inner = ServiceBuilder::new()
        // Who it is: a cookie or a bearer token, then the account behind the session.
        .layer(LapLayer::new("session"))
        .layer(
            SessionLayer::new(app.sessions.clone())
                .cookie(app.session_cookie())
                .challenge(challenge)
                .caller(wiring::caller)
                .on_rejection((wiring.on_session_rejection(), forge_session::RecordMetrics)),
        )
        .layer(from_fn_with_state(app.clone(), principal::load))
        // What is streamed ends with the session that asked for it.
        .layer(from_fn_with_state(app.clone(), streams::end_with_session))
        // How often: by user and class, by address where nobody is signed in.
        .layer(LapLayer::new("class_limit"))
        .layer(
            RateLimitLayer::new(app.limits.by_class.clone())
                .on_decision(limit_decision())
                .respond_with(limits::respond),
        )
        // Another site's page may not act with the cookies of ours.
        .layer(LapLayer::new("cross_origin"))
        .layer(cross_origin_guard)
        // What changes something is finished, and on record, even if the client goes away.
        .layer(from_fn_with_state(app.clone(), detach::detach))
        // How many at once, by user, until the response has ended. In here what was detached counts
        // too, and who is refused has paid their quota: trying at once again is limited as well.
        .layer(MapResponseLayer::new(|response: Response<_>| {
            response.map(Body::new)
        }))
        .layer(
            ConcurrencyLayer::new(app.limits.concurrent.clone())
                .on_concurrency((wiring.on_concurrency(), forge_ratelimit::RecordMetrics))
                .respond_with(limits::respond),
        )
        // Administration is on record before it is answered, or it is refused.
        .layer(LapLayer::new("audit"))
        .layer(
            AuditLayer::new(app.audit.clone())
                .policy(audit_policy)
                .identify(wiring::actor_of)
                .source_of(source),
        )
        .layer(LapLayer::end())
        // What observers are told below, they attribute to this request.
        .layer(from_fn(attribute));
    Ok(routes.layer(inner).layer(outer))
}

fn span(request: &Request) -> tracing::Span {
    let id = request
        .headers()
        .get(request_id::X_REQUEST_ID)
        .and_then(|id| id.to_str().ok());
    // The path without its query, which may hold a code or a token.
    let path: String = request.uri().path().chars().take(256).collect();
    let path = forge_audit::escape(&path);
    tracing::info_span!("request", id, method = %request.method(), %path)
}

/// The layers of forge-headers. What the configuration weakens in them, it tells itself.
fn edge(config: &Config) -> Result<Stack, StartError> {
    let stack = Stack::new(config.hosts.clone(), security_headers()?)
        .trusted_proxies(config.proxies.clone())
        .cors(config.cors.clone())
        .enforce_https(config.is_https())
        // Metrics are collected past the proxy too, but from a host that is on the list.
        .exempt_https("/metrics")
        // Reports come from sandboxed pages too, whose origin is `null`; no cookie is read.
        .exempt_cross_origin(BROWSER_REPORTS);
    Ok(PROBES
        .iter()
        .fold(stack, |stack, path| stack.exempt_path(*path)))
}

fn security_headers() -> Result<SecurityHeaders, StartError> {
    let reports = ReportingEndpoint::new("forge", BROWSER_REPORTS)
        .map_err(|error| StartError::part("reporting endpoint")(error.into()))?;
    let csp = Csp::builder()
        .default_src([Source::NONE])
        .style_src([Source::NONCE])
        .img_src([Source::from("data:")])
        .base_uri([Source::NONE])
        .form_action([Source::SELF])
        .frame_ancestors([Source::NONE])
        .report_to(&reports)
        .build()
        .map_err(|error| StartError::part("content security policy")(error.into()))?;
    // Without subdomains: Forge does not know what else lives under the domain.
    let hsts = Hsts::new(Duration::from_secs(365 * 24 * 3600));
    Ok(SecurityHeaders::strict()
        .content_security_policy(csp)
        .report_to(reports)
        .hsts(hsts))
}

fn inspection(config: &Inspection) -> InspectLayer {
    let layer = InspectLayer::new(config.mode).level(config.level);
    config
        .exempt
        .iter()
        .fold(layer, |layer, path| layer.exempt_path(path.as_str()))
}

fn panicked() -> Response<Body> {
    tracing::error!("a handler panicked");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn classify(request: Request, cookie: crate::sign_in::SignInCookie) -> Request {
    let (mut parts, body) = request.into_parts();
    let class = Class::of(&parts, cookie);
    parts.extensions.insert(class);
    Request::from_parts(parts, body)
}

fn audit_policy(parts: &Parts) -> AuditPolicy {
    match parts.extensions.get::<Class>() {
        Some(Class::Admin) => AuditPolicy::Required,
        _ => AuditPolicy::None,
    }
}

fn source(parts: &Parts) -> forge_audit::Source {
    let source = forge_audit::Source::of(parts);
    match wiring::client_ip(parts) {
        Some(address) => source.address(address),
        None => source,
    }
}

async fn attribute(request: Request, next: axum::middleware::Next) -> axum::response::Response {
    let (parts, body) = request.into_parts();
    let cause = wiring::Cause::of(&parts);
    cause
        .scope(next.run(Request::from_parts(parts, body)))
        .await
}

#[cfg(test)]
mod tests {
    use axum::extract::ConnectInfo;
    use axum::routing::{get, post};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::testing::app_in;

    /// What the server itself leaves weak has a reason: the subdomains are not its own, and a report
    /// is read without a cookie.
    #[tokio::test]
    async fn the_layers_have_no_weakness_without_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let app = app_in(folder.path()).await;
        let findings = edge(&app.config).unwrap().audit();
        let told: Vec<_> = findings
            .iter()
            .map(|finding| (finding.subject, finding.severity))
            .collect();
        let low = forge_headers::Severity::Low;
        assert_eq!(
            told,
            [
                ("strict-transport-security", low),
                ("cross-origin guard", low)
            ],
            "{findings:?}"
        );
    }

    async fn panics() {
        panic!("on purpose");
    }

    #[tokio::test]
    async fn a_panic_is_a_500_like_any_other_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let app = app_in(folder.path()).await;
        // What changes something runs as a task of its own: it panics there.
        let routes = Router::new()
            .route("/panic", get(panics))
            .route("/auth/panic", post(panics))
            .route("/well", get(async || "well"));
        let router = around(routes, &app).unwrap();
        let ask = async |method: &str, path: &str| {
            let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
            let request = http::Request::builder()
                .method(method)
                .uri(path)
                .header("host", "127.0.0.1:3001")
                .extension(ConnectInfo(peer))
                .body(Body::empty());
            router.clone().oneshot(request.unwrap()).await.unwrap()
        };
        for (method, path) in [("GET", "/panic"), ("POST", "/auth/panic")] {
            let response = ask(method, path).await;
            assert_eq!(response.status(), 500, "{path}");
            let headers = response.headers().clone();
            for name in ["content-security-policy", "x-frame-options"] {
                assert!(headers.contains_key(name), "{name} at {path}");
            }
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(headers["content-type"], "application/problem+json");
            let id = headers["x-request-id"].to_str().unwrap().to_owned();
            assert_eq!(id.len(), 36);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["status"], 500);
            assert_eq!(problem["request_id"], id);
            assert!(!body.windows(7).any(|part| part == b"purpose"));
        }
        // It ended nothing but its request.
        assert_eq!(ask("GET", "/well").await.status(), 200);
    }
}
