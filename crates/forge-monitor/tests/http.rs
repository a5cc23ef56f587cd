//! The guard and the health routes on an Axum router.
#![cfg(feature = "axum")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use forge_monitor::{
    GuardLayer, Health, HealthGroup, HealthRegistry, Monitor, NeverBlock, PeerAddress,
    RefusalReason, RefusedByGuard, Signal, SignalKind, health_router,
};
use http::StatusCode;
use http::request::Parts;
use http_body_util::BodyExt;
use tower::ServiceExt;

/// Every 401 and 403 is a failed authentication, unless the guard made it.
async fn report(State(monitor): State<Monitor>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address = peer.map(|peer| peer.0.ip());
    let response = next.run(request).await;
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&response.status());
    if refused && response.extensions().get::<RefusedByGuard>().is_none() {
        monitor.emit(Signal::new(SignalKind::AuthFailed).address(address));
    }
    response
}

fn app(monitor: &Monitor) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/sign-in", post(|| async { StatusCode::UNAUTHORIZED }))
        .layer(GuardLayer::new(monitor.guard(), PeerAddress))
        .layer(middleware::from_fn_with_state(monitor.clone(), report))
}

async fn call(app: &Router, method: &str, path: &str, peer: &str) -> Response {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("x-request-id", "0191-ab")
        .body(Body::empty())
        .unwrap();
    let peer = SocketAddr::new(peer.parse().unwrap(), 40_000);
    request.extensions_mut().insert(ConnectInfo(peer));
    app.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn fail(app: &Router, monitor: &Monitor, peer: &str, times: usize) {
    for _ in 0..times {
        let response = call(app, "POST", "/sign-in", peer).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    monitor.flush().await;
}

#[tokio::test]
async fn the_sixth_failure_blocks_the_address_and_no_other() {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .start()
        .await
        .unwrap();
    let app = app(&monitor);
    fail(&app, &monitor, "192.0.2.1", 5).await;
    let response = call(&app, "GET", "/", "192.0.2.1").await;
    assert_eq!(response.status(), StatusCode::OK);
    fail(&app, &monitor, "192.0.2.1", 1).await;

    let response = call(&app, "GET", "/", "192.0.2.1").await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert!(response.extensions().get::<RefusedByGuard>().is_some());
    assert_eq!(
        text(response).await,
        r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"requests from this client are not accepted at present","request_id":"0191-ab"}"#
    );
    let mapped = call(&app, "GET", "/", "::ffff:192.0.2.1").await;
    assert_eq!(mapped.status(), StatusCode::FORBIDDEN);
    let other = call(&app, "GET", "/", "192.0.2.2").await;
    assert_eq!(other.status(), StatusCode::OK);
    assert!(other.extensions().get::<RefusedByGuard>().is_none());
    assert_eq!(text(other).await, "hello");
}

#[tokio::test]
async fn an_ipv6_client_is_blocked_with_its_slash_64() {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .start()
        .await
        .unwrap();
    let app = app(&monitor);
    fail(&app, &monitor, "2001:db8::1", 6).await;
    let neighbour = call(&app, "GET", "/", "2001:db8::ffff:1").await;
    assert_eq!(neighbour.status(), StatusCode::FORBIDDEN);
    let other = call(&app, "GET", "/", "2001:db8:0:1::1").await;
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_lifted_block_admits_again() {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .start()
        .await
        .unwrap();
    let app = app(&monitor);
    fail(&app, &monitor, "192.0.2.1", 6).await;
    let blocked = call(&app, "GET", "/", "192.0.2.1").await;
    assert_eq!(blocked.status(), StatusCode::FORBIDDEN);
    monitor
        .lift(monitor.blocks()[0].id, "a test")
        .await
        .unwrap();
    let admitted = call(&app, "GET", "/", "192.0.2.1").await;
    assert_eq!(admitted.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_refusal_by_the_guard_is_no_signal() {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .start()
        .await
        .unwrap();
    let app = app(&monitor);
    fail(&app, &monitor, "192.0.2.1", 6).await;
    let before = monitor.stats();
    for _ in 0..20 {
        let response = call(&app, "POST", "/sign-in", "192.0.2.1").await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
    }
    monitor.flush().await;
    assert_eq!(monitor.stats(), before);
    assert_eq!(before.signals, 6);
}

#[tokio::test]
async fn an_address_on_the_never_block_list_is_never_refused() {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .never_block(NeverBlock::new().network("192.0.2.0/24".parse::<ipnet::IpNet>().unwrap()))
        .start()
        .await
        .unwrap();
    let app = app(&monitor);
    for peer in ["127.0.0.1", "::1", "192.0.2.9"] {
        fail(&app, &monitor, peer, 20).await;
        let response = call(&app, "GET", "/", peer).await;
        assert_eq!(response.status(), StatusCode::OK, "{peer}");
    }
    assert!(monitor.blocks().is_empty());
}

#[tokio::test]
async fn a_request_without_an_address_is_refused_unless_told_otherwise() {
    let monitor = Monitor::builder().start().await.unwrap();
    let guard = GuardLayer::new(monitor.guard(), PeerAddress);
    let told = Arc::new(AtomicBool::new(false));
    let observer = {
        let told = Arc::clone(&told);
        move |_: &Parts, reason: &RefusalReason| {
            let unknown = matches!(reason, RefusalReason::UnknownAddress);
            told.store(unknown, Ordering::SeqCst);
        }
    };
    let request = || Request::builder().uri("/").body(Body::empty()).unwrap();
    let hello = || Router::new().route("/", get(|| async { "hello" }));

    let strict = hello().layer(guard.clone().on_refusal((observer, ())));
    let response = strict.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(response.extensions().get::<RefusedByGuard>().is_some());
    assert!(told.load(Ordering::SeqCst));

    let lenient = hello().layer(guard.dangerous_admit_unknown_address(true));
    let response = lenient.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_refusal_looks_as_the_service_wants_it() {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .start()
        .await
        .unwrap();
    let page = |_: &Parts, refusal: &forge_monitor::Refusal| {
        let mut response = Response::new(Body::from("<h1>Sorry</h1>"));
        *response.status_mut() = refusal.status();
        response
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(GuardLayer::new(monitor.guard(), |_: &Parts| None).respond_with(page));
    let response = call(&app, "GET", "/", "192.0.2.1").await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(response.extensions().get::<RefusedByGuard>().is_some());
    assert_eq!(text(response).await, "<h1>Sorry</h1>");
}

#[tokio::test]
async fn the_health_routes_tell_the_status_and_nothing_else() {
    let works = Arc::new(AtomicBool::new(true));
    let database = {
        let works = Arc::clone(&works);
        move || {
            let health = if works.load(Ordering::SeqCst) {
                Health::up()
            } else {
                Health::down("connection to db.internal refused")
            };
            async move { health }
        }
    };
    let registry = HealthRegistry::builder()
        .check("database", HealthGroup::Readiness, database)
        .check("disk", HealthGroup::All, || async {
            Health::degraded("filling")
        })
        .cache_for(std::time::Duration::ZERO)
        .build();
    let app: Router = health_router(&registry);
    let ask = async |path: &str| {
        let response = call(&app, "GET", path, "192.0.2.1").await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["content-type"], "application/json");
        (response.status().as_u16(), text(response).await)
    };
    let up = (200, r#"{"status":"up"}"#.to_owned());
    let degraded = (200, r#"{"status":"degraded"}"#.to_owned());
    let down = (503, r#"{"status":"down"}"#.to_owned());

    assert_eq!(ask("/livez").await, up);
    assert_eq!(ask("/readyz").await, up);
    assert_eq!(ask("/api/health").await, degraded);
    works.store(false, Ordering::SeqCst);
    assert_eq!(ask("/livez").await, up);
    assert_eq!(ask("/readyz").await, down);
    assert_eq!(ask("/api/health").await, down);
}

#[tokio::test]
async fn guards_a_real_connection() {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .never_block(NeverBlock::dangerous_empty())
        .start()
        .await
        .unwrap();
    let server = test_support::serve(app(&monitor)).await;
    let get = async || {
        let uri = format!("{}/", server.url());
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        test_support::send(request).await.status()
    };
    assert_eq!(get().await, StatusCode::OK);
    for _ in 0..6 {
        let loopback: std::net::IpAddr = [127, 0, 0, 1].into();
        monitor.emit(Signal::new(SignalKind::AuthFailed).address(loopback));
    }
    monitor.flush().await;
    assert_eq!(get().await, StatusCode::FORBIDDEN);
}
