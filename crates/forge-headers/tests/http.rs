//! The layers on an Axum router, called as a client would.
#![cfg(feature = "axum")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use forge_headers::{
    Connection, ConnectionLayer, Cors, CorsLayer, CrossOriginGuardLayer, CspNonce, HostAllowList,
    HostAllowListLayer, HttpsLayer, OverrideSecurityHeaders, Peer, Refusal, SecurityHeaders,
    SecurityHeadersLayer, TrustedProxies, clear_site_data,
};
use http::request::{Builder, Parts};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

const PROXY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

type Kinds = Arc<Mutex<Vec<&'static str>>>;

/// Every layer in the recommended order, behind a proxy on loopback.
fn app(kinds: &Kinds) -> Router {
    let observer = || {
        let kinds = Arc::clone(kinds);
        move |_: &Parts, refusal: &Refusal| kinds.lock().unwrap().push(refusal.kind().as_str())
    };
    let hosts = HostAllowList::new(["app.example.com"]).unwrap();
    let cors = Cors::builder()
        .origins(["https://www.example.com"])
        .headers(["content-type"])
        .credentials(true)
        .build()
        .unwrap();
    let proxies = TrustedProxies::new(["127.0.0.0/8".parse().unwrap()]);
    Router::new()
        .route("/", get(who).post(|| async { "done" }))
        .route("/page", get(page))
        .route("/framed", get(framed))
        .route("/panics", get(panics))
        .route("/hook", post(|| async { "hooked" }))
        .route("/sign-out", post(|| async { [clear_site_data()] }))
        .route("/livez", get(|| async { "ok" }))
        .route(
            "/.well-known/acme-challenge/token",
            get(|| async { "proof" }),
        )
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .layer(
            CrossOriginGuardLayer::new()
                .exempt_path("/hook")
                .on_refusal(observer()),
        )
        .layer(CorsLayer::new(cors).on_refusal(observer()))
        .layer(
            HttpsLayer::new(hosts.clone())
                .exempt_path("/livez")
                .on_refusal(observer()),
        )
        .layer(
            HostAllowListLayer::new(hosts)
                .exempt_path("/livez")
                .on_refusal(observer()),
        )
        .layer(SecurityHeadersLayer::new(SecurityHeaders::strict()))
        .layer(ConnectionLayer::new(proxies).on_refusal(observer()))
}

async fn who(connection: Connection) -> String {
    let host = connection.host.map(|host| host.to_string());
    format!(
        "{} {} {}",
        connection.client_ip,
        connection.scheme,
        host.unwrap_or_default()
    )
}

async fn page(nonce: CspNonce) -> Html<String> {
    Html(format!("<script nonce=\"{nonce}\"></script>"))
}

async fn framed() -> impl IntoResponse {
    let headers = SecurityHeaders::api().frame_options(forge_headers::FrameOptions::SameOrigin);
    let mut response = ().into_response();
    response
        .extensions_mut()
        .insert(OverrideSecurityHeaders::new(headers));
    response
}

async fn panics() -> &'static str {
    panic!("as a handler does")
}

/// A request over https through the proxy, from 198.51.100.7.
fn https(method: &str, path: &str) -> Builder {
    plain(method, path).header("x-forwarded-proto", "https")
}

/// The same in clear.
fn plain(method: &str, path: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "app.example.com")
        .header("x-forwarded-for", "198.51.100.7")
        .header("x-request-id", "0191-ab")
        .extension(Peer(PROXY))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
    /// What the observers heard.
    kinds: Vec<&'static str>,
}

async fn call(request: Builder) -> Answer {
    let kinds = Kinds::default();
    let request = request.body(Body::empty()).unwrap();
    let response: Response<Body> = app(&kinds).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let kinds = kinds.lock().unwrap().clone();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        kinds,
    }
}

#[track_caller]
fn assert_refused(answer: &Answer, status: StatusCode, kind: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let status = format!(r#""status":{}"#, status.as_u16());
    assert!(answer.body.contains(&status), "{}", answer.body);
    assert!(
        answer.body.ends_with(r#","request_id":"0191-ab"}"#),
        "{}",
        answer.body
    );
    assert_eq!(answer.kinds, [kind]);
}

#[tokio::test]
async fn believes_the_proxy_about_address_and_scheme() {
    let answer = call(https("GET", "/")).await;
    assert_eq!(answer.body, "198.51.100.7 https app.example.com");
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.kinds.is_empty());
}

#[tokio::test]
async fn takes_the_peer_from_a_real_socket_and_ignores_what_it_claims() {
    let router = Router::new()
        .route("/", get(who))
        .layer(ConnectionLayer::new(TrustedProxies::none()));
    let server = test_support::serve(router).await;
    let request = Request::get(server.url())
        .header("x-forwarded-for", "198.51.100.7")
        .header("x-forwarded-proto", "https")
        .header(
            "forwarded",
            "for=198.51.100.7;proto=https;host=evil.example",
        )
        .body(Body::empty())
        .unwrap();
    let response = test_support::send(request).await;
    assert_eq!(*response.body(), format!("127.0.0.1 http {}", server.addr));
}

#[tokio::test]
async fn refuses_when_the_peer_is_unknown() {
    let mut request = https("GET", "/");
    request.extensions_mut().unwrap().remove::<Peer>();
    let answer = call(request).await;
    assert_refused(&answer, StatusCode::INTERNAL_SERVER_ERROR, "peer_unknown");
}

#[tokio::test]
async fn asks_a_closure_for_the_peer() {
    let router = Router::new()
        .route("/", get(who))
        .layer(ConnectionLayer::new(TrustedProxies::none()).peer_addr(|_: &Parts| Some(PROXY)));
    let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn refuses_a_host_that_is_not_listed_with_421() {
    let mut request = https("GET", "/");
    request
        .headers_mut()
        .unwrap()
        .insert("host", "evil.example".parse().unwrap());
    assert_refused(
        &call(request).await,
        StatusCode::MISDIRECTED_REQUEST,
        "host_not_allowed",
    );
}

#[tokio::test]
async fn refuses_a_malformed_or_doubled_host_with_400() {
    let mut request = https("GET", "/");
    request
        .headers_mut()
        .unwrap()
        .insert("host", "app.example.com/x".parse().unwrap());
    assert_refused(
        &call(request).await,
        StatusCode::BAD_REQUEST,
        "host_invalid",
    );

    let request = https("GET", "/").header("host", "app.example.com");
    assert_refused(
        &call(request).await,
        StatusCode::BAD_REQUEST,
        "host_invalid",
    );

    let mut request = https("GET", "/");
    request.headers_mut().unwrap().remove("host");
    assert_refused(
        &call(request).await,
        StatusCode::BAD_REQUEST,
        "host_invalid",
    );
}

#[tokio::test]
async fn a_real_socket_gets_400_for_two_hosts_and_for_none() {
    let hosts = HostAllowList::loopback();
    let router = Router::new()
        .route("/", get(|| async { "in" }))
        .layer(HostAllowListLayer::new(hosts));
    let server = test_support::serve(router).await;
    for (head, expected) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n", "HTTP/1.1 200"),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
            "HTTP/1.1 400",
        ),
        ("GET / HTTP/1.1\r\nHost: rebind.example\r\n", "HTTP/1.1 421"),
        (
            "GET http://localhost/ HTTP/1.1\r\nHost: rebind.example\r\n",
            "HTTP/1.1 400",
        ),
        ("GET / HTTP/1.1\r\n", "HTTP/1.1 400"),
        ("GET / HTTP/1.1\r\nHost: local\x01host\r\n", "HTTP/1.1 400"),
        ("GET / HTTP/1.1\r\nHost: u@localhost\r\n", "HTTP/1.1 400"),
    ] {
        let answer =
            test_support::raw(server.addr, format!("{head}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with(expected), "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn probes_need_neither_host_nor_https() {
    let mut request = plain("GET", "/livez");
    request
        .headers_mut()
        .unwrap()
        .insert("host", "10.0.0.5:3001".parse().unwrap());
    let answer = call(request).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "ok"));
}

#[tokio::test]
async fn every_response_bears_the_headers() {
    let mut elsewhere = https("GET", "/");
    elsewhere
        .headers_mut()
        .unwrap()
        .insert("host", "evil.example".parse().unwrap());
    for (request, status) in [
        (https("GET", "/"), 200),
        (https("GET", "/no-such-page"), 404),
        (https("DELETE", "/"), 405),
        (elsewhere, 421),
        (
            https("POST", "/").header("origin", "https://evil.example"),
            403,
        ),
        (https("GET", "/panics"), 500),
    ] {
        let answer = call(request).await;
        assert_eq!(answer.status.as_u16(), status);
        for name in [
            "content-security-policy",
            "strict-transport-security",
            "x-frame-options",
            "x-content-type-options",
            "referrer-policy",
            "permissions-policy",
            "cross-origin-opener-policy",
            "cross-origin-embedder-policy",
            "cross-origin-resource-policy",
            "origin-agent-cluster",
        ] {
            assert_eq!(
                answer.headers.get_all(name).iter().count(),
                1,
                "{status} {name}"
            );
        }
    }
}

#[tokio::test]
async fn sends_strict_transport_security_over_https_only() {
    let answer = call(plain("GET", "/livez")).await;
    assert!(!answer.headers.contains_key("strict-transport-security"));
    let answer = call(https("GET", "/livez")).await;
    assert!(answer.headers.contains_key("strict-transport-security"));
}

#[tokio::test]
async fn the_nonce_in_the_page_is_the_one_in_the_policy_and_new_each_time() {
    let mut pages = Vec::new();
    for _ in 0..2 {
        let answer = call(https("GET", "/page")).await;
        let nonce = answer.body.split('"').nth(1).unwrap();
        let csp = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            csp.contains(&format!("script-src 'nonce-{nonce}' 'strict-dynamic'")),
            "{csp}"
        );
        pages.push(answer.body);
    }
    assert_ne!(pages[0], pages[1]);
}

#[tokio::test]
async fn a_route_can_differ() {
    let answer = call(https("GET", "/framed")).await;
    assert_eq!(answer.headers["x-frame-options"], "SAMEORIGIN");
    let csp = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(
        csp.starts_with("default-src 'none'; base-uri 'none'"),
        "{csp}"
    );
    assert!(!answer.headers.contains_key("permissions-policy"));
}

#[tokio::test]
async fn signing_out_clears_the_browser() {
    let answer = call(https("POST", "/sign-out")).await;
    assert_eq!(answer.headers["clear-site-data"], r#""cookies", "storage""#);
}

#[tokio::test]
async fn redirects_get_and_head_to_https_and_refuses_the_rest() {
    for method in ["GET", "HEAD"] {
        let answer = call(plain(method, "/page?a=b")).await;
        assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT);
        assert_eq!(
            answer.headers["location"],
            "https://app.example.com/page?a=b"
        );
    }
    let answer = call(plain("POST", "/")).await;
    assert_refused(&answer, StatusCode::FORBIDDEN, "insecure_transport");
}

#[tokio::test]
async fn redirects_other_methods_where_that_is_said() {
    let hosts = HostAllowList::new(["app.example.com"]).unwrap();
    let router = Router::new()
        .route("/", post(|| async { "in clear" }))
        .layer(HttpsLayer::new(hosts).redirect_other_methods(true));
    for (host, status) in [("app.example.com", 308), ("evil.example", 421)] {
        let request = Request::post("/?a=b")
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{host}");
        if status == 308 {
            let location = &response.headers()["location"];
            assert_eq!(location, "https://app.example.com/?a=b");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_believed_only_where_that_is_said() {
    use forge_headers::UnixPeer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let folder = std::env::temp_dir().join(format!("forge-headers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (trusted, expected) in [
        (false, "127.0.0.1 http app.example.com"),
        (true, "198.51.100.7 https app.example.com"),
    ] {
        // Trusting the address that stands for the socket is not enough.
        let proxies = TrustedProxies::new(["127.0.0.0/8".parse().unwrap()]);
        let router = Router::new()
            .route("/", get(who))
            .layer(ConnectionLayer::new(proxies.unix_socket(trusted)));
        let path = folder.join(trusted.to_string());
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let service = router.into_make_service_with_connect_info::<UnixPeer>();
        let server = tokio::spawn(async move { axum::serve(listener, service).await });
        let mut socket = tokio::net::UnixStream::connect(&path).await.unwrap();
        let request = "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\
                       X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        server.abort();
        assert!(answer.ends_with(expected), "{answer}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn answers_the_certificate_authority_in_clear() {
    let answer = call(plain("GET", "/.well-known/acme-challenge/token")).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "proof"));
}

#[tokio::test]
async fn redirects_to_listed_hosts_and_the_configured_port_only() {
    let hosts = HostAllowList::new(["app.example.com"]).unwrap();
    let router = Router::new()
        .route("/", get(|| async { "in clear" }))
        .layer(HttpsLayer::new(hosts).port(8443));
    for (host, status, location) in [
        (
            "app.example.com",
            308,
            Some("https://app.example.com:8443/"),
        ),
        ("evil.example", 421, None),
        ("app.example.com@evil.example", 400, None),
    ] {
        let request = Request::get("/")
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{host}");
        let found = response
            .headers()
            .get("location")
            .map(|l| l.to_str().unwrap());
        assert_eq!(found, location);
    }
}

#[tokio::test]
async fn a_preflight_ends_at_the_layer() {
    let preflight = |origin: &str| {
        https("OPTIONS", "/")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type")
    };
    let answer = call(preflight("https://www.example.com")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    for (name, value) in [
        ("access-control-allow-origin", "https://www.example.com"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, HEAD, POST"),
        ("access-control-allow-headers", "content-type"),
        ("access-control-max-age", "600"),
        (
            "vary",
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ),
    ] {
        assert_eq!(answer.headers[name], value, "{name}");
    }

    let answer = call(preflight("https://evil.example")).await;
    assert_refused(&answer, StatusCode::FORBIDDEN, "cors_preflight");
    let is_cors = |name: &http::HeaderName| name.as_str().starts_with("access-control-");
    assert!(!answer.headers.keys().any(is_cors));
    assert!(answer.headers.contains_key("vary"));
}

#[tokio::test]
async fn an_options_request_without_the_question_reaches_the_router() {
    let answer = call(https("OPTIONS", "/").header("origin", "https://www.example.com")).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn an_allowed_origin_may_read_refusals_too_and_another_nothing() {
    for (request, status) in [
        (https("GET", "/"), 200),
        (https("GET", "/no-such-page"), 404),
        (https("POST", "/"), 403),
        (https("GET", "/panics"), 500),
    ] {
        let answer = call(request.header("origin", "https://www.example.com")).await;
        assert_eq!(answer.status.as_u16(), status);
        let allowed = &answer.headers["access-control-allow-origin"];
        assert_eq!(allowed, "https://www.example.com");
        let exposed = answer.headers["access-control-expose-headers"]
            .to_str()
            .unwrap();
        assert!(exposed.contains("retry-after"));
        assert_eq!(answer.headers["vary"], "Origin");
    }
    let answer = call(https("GET", "/").header("origin", "https://evil.example")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    assert_eq!(answer.headers["vary"], "Origin");
}

#[tokio::test]
async fn another_origin_cannot_act() {
    let evil = ("origin", "https://evil.example");
    for request in [
        https("POST", "/").header(evil.0, evil.1),
        https("POST", "/").header("sec-fetch-site", "cross-site"),
        https("POST", "/").header("origin", "http://app.example.com"),
        https("POST", "/").header("origin", "null"),
        https("GET", "/")
            .header(evil.0, evil.1)
            .header("upgrade", "websocket"),
        https("POST", "/")
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-site", "none"),
    ] {
        assert_refused(&call(request).await, StatusCode::FORBIDDEN, "cross_origin");
    }
    for request in [
        https("POST", "/"),
        https("POST", "/").header("origin", "https://app.example.com"),
        https("POST", "/").header("sec-fetch-site", "same-origin"),
        https("POST", "/hook").header(evil.0, evil.1),
        https("GET", "/").header(evil.0, evil.1),
    ] {
        assert_eq!(call(request).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_responder_of_ones_own_makes_the_refusal() {
    let router = Router::new().route("/", post(|| async {})).layer(
        CrossOriginGuardLayer::new().respond_with(|_: &Parts, refusal: &Refusal| {
            let mut response = Response::new(Body::from("<p>no</p>"));
            *response.status_mut() = refusal.status();
            response
        }),
    );
    let request = Request::post("/").header("origin", "https://evil.example");
    let request = request.body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "<p>no</p>");
}
