//! The stack as a whole: what every response bears, and in which order the parts work.
#![cfg(feature = "axum")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use forge_headers::{
    CarriesCredentials, Connection, Cors, HostAllowList, Peer, Refusal, SecurityHeaders, Stack,
    TrustedProxies,
};
use http::request::{Builder, Parts};
use http::{HeaderMap, Request, StatusCode};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

const PROXY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);
const ORIGIN: &str = "https://www.example.com";

fn stack() -> Stack {
    let hosts = HostAllowList::new(["app.example.com"]).unwrap();
    let cors = Cors::builder().origins([ORIGIN]).methods(["GET", "POST"]);
    Stack::new(hosts, SecurityHeaders::strict())
        .trusted_proxies(TrustedProxies::new(["127.0.0.0/8".parse().unwrap()]))
        .cors(cors.build().unwrap())
        .exempt_path("/livez")
        .exempt_cross_origin("/hook")
}

fn routes() -> Router {
    let status = |status| any(move || async move { status });
    Router::new()
        .route("/", any(|| async { "in" }))
        .route(
            "/who",
            get(|who: Connection| async move { who.client_ip.to_string() }),
        )
        .route("/livez", get(|| async { "ok" }))
        .route("/hook", any(|| async { "ok" }))
        .route("/401", status(StatusCode::UNAUTHORIZED))
        .route("/413", status(StatusCode::PAYLOAD_TOO_LARGE))
        .route("/429", status(StatusCode::TOO_MANY_REQUESTS))
        .route("/503", status(StatusCode::SERVICE_UNAVAILABLE))
        .route("/panics", any(panics))
        .route("/hangs", any(std::future::pending::<()>))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(30),
        ))
        .layer(CatchPanicLayer::new())
}

async fn panics() -> &'static str {
    panic!("as a handler does")
}

fn request(method: &str, path: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "app.example.com")
        .header("origin", ORIGIN)
        .header("x-forwarded-for", "198.51.100.7")
        .header("x-forwarded-proto", "https")
        .extension(Peer(PROXY))
}

fn with(mut request: Builder, name: &'static str, value: &'static str) -> Builder {
    let headers = request.headers_mut().unwrap();
    headers.insert(name, value.parse().unwrap());
    request
}

async fn call(app: Router, request: Builder) -> (StatusCode, HeaderMap) {
    let request = request.body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let (parts, _) = response.into_parts();
    (parts.status, parts.headers)
}

#[tokio::test(start_paused = true)]
async fn every_refusal_failure_panic_and_timeout_bears_headers_and_cors() {
    let in_clear = |method| with(request(method, "/"), "x-forwarded-proto", "http");
    let mut unknown = request("GET", "/");
    unknown.extensions_mut().unwrap().remove::<Peer>();
    for (request, expected) in [
        (request("GET", "/"), 200),
        (in_clear("GET"), 308),
        (with(request("GET", "/"), "host", "a b"), 400),
        (request("GET", "/").header("host", "app.example.com"), 400),
        (request("GET", "/401"), 401),
        (in_clear("POST"), 403),
        (
            with(request("POST", "/"), "origin", "https://evil.example"),
            403,
        ),
        (request("GET", "/no-such-page"), 404),
        (request("DELETE", "/who"), 405),
        (request("POST", "/413"), 413),
        (with(request("GET", "/"), "host", "evil.example"), 421),
        (request("GET", "/429"), 429),
        (request("GET", "/panics"), 500),
        (unknown, 500),
        (request("GET", "/503"), 503),
        (request("GET", "/hangs"), 504),
    ] {
        let origin = request.headers_ref().unwrap()["origin"].clone();
        let (status, headers) = call(routes().layer(stack()), request).await;
        assert_eq!(status.as_u16(), expected);
        for name in [
            "content-security-policy",
            "x-frame-options",
            "x-content-type-options",
            "referrer-policy",
            "cross-origin-resource-policy",
        ] {
            assert_eq!(headers.get_all(name).iter().count(), 1, "{status} {name}");
        }
        assert_eq!(headers["vary"], "Origin", "{status}");
        let allowed = headers.get("access-control-allow-origin");
        let expected = (origin == ORIGIN).then_some(&origin);
        assert_eq!(allowed, expected, "{status}");
        assert_eq!(
            headers.contains_key("access-control-expose-headers"),
            allowed.is_some()
        );
    }
}

#[tokio::test]
async fn a_preflight_ends_before_hosts_https_and_handlers() {
    let preflight = |origin| {
        with(request("OPTIONS", "/panics"), "origin", origin)
            .header("access-control-request-method", "POST")
    };
    let (status, headers) = call(routes().layer(stack()), preflight(ORIGIN)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(headers["access-control-allow-methods"], "GET, POST");
    assert!(headers.contains_key("x-content-type-options"));
    let refused = preflight("https://evil.example");
    let (status, headers) = call(routes().layer(stack()), refused).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let is_cors = |name: &http::HeaderName| name.as_str().starts_with("access-control-");
    assert!(!headers.keys().any(is_cors));
}

#[tokio::test]
async fn an_origin_that_may_read_may_act_and_others_only_where_exempt() {
    let by = |path, origin| with(request("POST", path), "origin", origin);
    for (path, origin, expected) in [
        ("/", ORIGIN, StatusCode::OK),
        ("/", "https://app.example.com", StatusCode::OK),
        ("/", "https://evil.example", StatusCode::FORBIDDEN),
        ("/hook", "https://evil.example", StatusCode::OK),
    ] {
        let (status, _) = call(routes().layer(stack()), by(path, origin)).await;
        assert_eq!(status, expected, "{path} {origin}");
    }
}

#[tokio::test]
async fn probes_pass_in_clear_and_by_address() {
    let probe = with(request("GET", "/livez"), "host", "10.0.0.5:3001");
    let probe = with(probe, "x-forwarded-proto", "http");
    let (status, headers) = call(routes().layer(stack()), probe).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!headers.contains_key("strict-transport-security"));
}

#[tokio::test]
async fn the_guard_can_stand_further_in() {
    let (stack, guard) = stack().split_guard();
    let app = || {
        Router::new()
            .route("/", any(|| async { "in" }))
            .layer(guard.clone())
            // As an authentication would.
            .layer(axum::middleware::from_fn(
                |request: axum::extract::Request, next: axum::middleware::Next| async move {
                    if request.headers().contains_key("cookie") {
                        next.run(request).await
                    } else {
                        axum::response::IntoResponse::into_response(StatusCode::UNAUTHORIZED)
                    }
                },
            ))
            .layer(stack.clone())
    };
    let post = |origin| with(request("POST", "/"), "origin", origin);
    let evil = "https://evil.example";
    assert_eq!(call(app(), post(evil)).await.0, StatusCode::UNAUTHORIZED);
    let signed_in = |origin| post(origin).header("cookie", "a=b");
    assert_eq!(call(app(), signed_in(evil)).await.0, StatusCode::FORBIDDEN);
    assert_eq!(call(app(), signed_in(ORIGIN)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn responses_to_users_are_kept_by_no_cache() {
    let hosts = HostAllowList::new(["app.example.com"]).unwrap();
    let app = |cache: Option<&'static str>| {
        let handler = get(move || async move {
            let headers = cache.map(|cache| [("cache-control", cache)]);
            (HeaderMap::new(), headers.unwrap_or([("x-none", "")]))
        });
        let stack = Stack::new(hosts.clone(), SecurityHeaders::web_app())
            .trusted_proxies(TrustedProxies::new(["127.0.0.0/8".parse().unwrap()]))
            .no_store_when(CarriesCredentials);
        Router::new().route("/", handler).layer(stack)
    };
    let signed_in = || request("GET", "/").header("cookie", "__Host-session=x");
    let (_, headers) = call(app(None), request("GET", "/")).await;
    assert!(!headers.contains_key("cache-control"));
    let (_, headers) = call(app(None), signed_in()).await;
    assert_eq!(headers["cache-control"], "no-store");
    // The handler knows best.
    let (_, headers) = call(app(Some("private, max-age=5")), signed_in()).await;
    assert_eq!(headers["cache-control"], "private, max-age=5");
}

#[tokio::test]
async fn tells_of_each_refusal_once_and_answers_as_it_is_told_to() {
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kinds = std::sync::Arc::clone(&heard);
    let stack = stack()
        .on_refusal(move |_: &Parts, refusal: &Refusal| {
            kinds.lock().unwrap().push(refusal.kind().as_str());
        })
        .respond_with(|_: &Parts, _: &Refusal| {
            let mut response = http::Response::new(Body::empty());
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response
        });
    let mut unknown = request("GET", "/");
    unknown.extensions_mut().unwrap().remove::<Peer>();
    for request in [
        unknown,
        with(request("GET", "/"), "host", "a b"),
        with(request("GET", "/"), "host", "evil.example"),
        with(request("POST", "/"), "x-forwarded-proto", "http"),
        with(request("POST", "/"), "origin", "https://evil.example"),
    ] {
        let (status, _) = call(routes().layer(stack.clone()), request).await;
        assert_eq!(status, StatusCode::IM_A_TEAPOT);
    }
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "peer_unknown",
            "host_invalid",
            "host_not_allowed",
            "insecure_transport",
            "cross_origin"
        ]
    );
}
