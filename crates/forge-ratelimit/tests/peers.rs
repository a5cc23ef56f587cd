//! Faults that other limiters are known for, each as a test that this one does not have it.
#![cfg(feature = "axum")]

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use forge_ratelimit::{
    Charge, Key, ManualClock, MemoryStore, PeerAddress, Policy, PolicyId, Quota, RateLimitLayer,
    RateLimiter, Store, Verdicts,
};
use http::{Request, Response, StatusCode};
use tower::ServiceExt;

fn app(quota: Quota, clock: &ManualClock) -> Router {
    let limiter = RateLimiter::builder(MemoryStore::with_clock(1000, clock.clone()))
        .policy(Policy::new("web", quota, PeerAddress))
        .build()
        .unwrap();
    Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(RateLimitLayer::new(limiter))
}

fn request() -> Request<Body> {
    let mut request = Request::new(Body::empty());
    let peer = SocketAddr::from(([192, 0, 2, 1], 4000));
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

async fn call(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_wait_below_a_second_is_not_told_as_zero() {
    let clock = ManualClock::new();
    let app = app(Quota::per_second(10, 1).unwrap(), &clock);
    call(&app, request()).await;
    clock.advance(Duration::from_millis(99));
    let refused = call(&app, request()).await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["ratelimit"], r#""web";r=0;t=1"#);
}

#[tokio::test]
async fn per_second_is_a_rate_and_no_period() {
    let clock = ManualClock::new();
    let app = app(Quota::per_second(2, 1).unwrap(), &clock);
    assert_eq!(call(&app, request()).await.status(), StatusCode::OK);
    clock.advance(Duration::from_millis(500));
    assert_eq!(call(&app, request()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_leftmost_forwarded_address_is_not_believed() {
    let app = app(Quota::per_hour(1, 1).unwrap(), &ManualClock::new());
    let forged = |address: &'static str| {
        let mut request = request();
        let value = http::HeaderValue::from_static(address);
        request.headers_mut().insert("x-forwarded-for", value);
        request
    };
    let first = call(&app, forged("203.0.113.1, 198.51.100.1")).await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = call(&app, forged("203.0.113.2, 198.51.100.1")).await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
}

/// What the log got.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_missing_connect_info_is_said_once_and_is_no_500() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let app = app(Quota::WEB, &ManualClock::new());
    for _ in 0..100 {
        let refused = call(&app, Request::new(Body::empty())).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(log.contains(r#"policy="web""#), "{log}");
}

#[test]
fn nobody_has_to_clean_up() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(1000, clock.clone());
    let bytes = store.bytes();
    for round in 0..10u32 {
        for n in 0..10_000u32 {
            let key = Key::user([round.to_be_bytes(), n.to_be_bytes()].concat());
            let charge = Charge::new(PolicyId::of("web"), key, Quota::WEB);
            let mut verdicts = Verdicts::new();
            store.charge_now(&[charge], &mut verdicts);
            assert!(verdicts[0].allowed);
        }
        assert!(!store.is_empty());
        clock.advance(Duration::from_secs(300));
        assert!(store.is_empty());
    }
    assert_eq!(store.bytes(), bytes);
}

#[tokio::test]
async fn a_refused_request_pays_nothing() {
    let clock = ManualClock::new();
    let app = app(Quota::per_second(1, 1).unwrap(), &clock);
    call(&app, request()).await;
    // Who knocks all the time is let in as soon as who waits.
    for _ in 0..10 {
        clock.advance(Duration::from_millis(99));
        assert_eq!(
            call(&app, request()).await.status(),
            StatusCode::TOO_MANY_REQUESTS
        );
    }
    clock.advance(Duration::from_millis(10));
    assert_eq!(call(&app, request()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_mapped_address_is_the_client_it_maps() {
    let app = app(Quota::per_hour(1, 1).unwrap(), &ManualClock::new());
    let mapped = |_| {
        let mut request = Request::new(Body::empty());
        let peer: SocketAddr = "[::ffff:192.0.2.1]:4000".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    };
    assert_eq!(call(&app, request()).await.status(), StatusCode::OK);
    assert_eq!(
        call(&app, mapped(())).await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
}
