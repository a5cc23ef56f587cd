//! The layer on an Axum router.
#![cfg(feature = "axum")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use forge_ratelimit::{
    AdjustFuture, Adjustment, Charge, Decision, Key, ManualClock, MemoryStore, MissingKey,
    PeerAddress, Policy, Quota, RateLimitLayer, RateLimiter, Refusal, Store, StoreError,
    StoreFailure, Verdicts,
};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

fn app<S: Store>(limiter: RateLimiter<S>) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(RateLimitLayer::new(limiter))
}

fn from(address: [u8; 4]) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    request
        .extensions_mut()
        .insert(ConnectInfo(SocketAddr::from((address, 4000))));
    request
}

async fn call(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

fn web(clock: &ManualClock) -> RateLimiter<MemoryStore<ManualClock>> {
    RateLimiter::builder(MemoryStore::with_clock(1000, clock.clone()))
        .policy(Policy::new("web", Quota::WEB, PeerAddress))
        .build()
        .unwrap()
}

#[tokio::test]
async fn refuses_the_eleventh_call_and_admits_after_retry_after() {
    let clock = ManualClock::new();
    let app = app(web(&clock));
    for left in (0..10).rev() {
        let response = call(&app, from([192, 0, 2, 1])).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["ratelimit-policy"], r#""web";q=60;w=60"#);
        assert_eq!(
            response.headers()["ratelimit"],
            format!(r#""web";r={left};t=1"#)
        );
    }
    let refused = call(&app, from([192, 0, 2, 1])).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["ratelimit"], r#""web";r=0;t=1"#);
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(
        std::str::from_utf8(&body)
            .unwrap()
            .contains(r#""violated-policies":["web"]"#)
    );

    assert_eq!(
        call(&app, from([192, 0, 2, 2])).await.status(),
        StatusCode::OK
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        call(&app, from([192, 0, 2, 1])).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn forged_forwarded_headers_are_one_client() {
    let app = app(web(&ManualClock::new()));
    let mut admitted = 0;
    for n in 0..100 {
        let mut request = from([192, 0, 2, 1]);
        let forged = format!("203.0.113.{n}").parse().unwrap();
        request.headers_mut().insert("x-forwarded-for", forged);
        admitted += usize::from(call(&app, request).await.status() == StatusCode::OK);
    }
    assert_eq!(admitted, 10);
}

#[tokio::test]
async fn refuses_a_request_without_a_key_unless_the_policy_skips_it() {
    let clock = ManualClock::new();
    let unidentified = call(&app(web(&clock)), Request::new(Body::empty())).await;
    assert_eq!(unidentified.status(), StatusCode::FORBIDDEN);

    let skipping = RateLimiter::builder(MemoryStore::new(10))
        .policy(Policy::new("web", Quota::WEB, PeerAddress).missing_key(MissingKey::Skip))
        .build()
        .unwrap();
    assert_eq!(
        call(&app(skipping), Request::new(Body::empty()))
            .await
            .status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_preflight_is_not_counted() {
    let app = app(web(&ManualClock::new()));
    for _ in 0..50 {
        let mut request = from([192, 0, 2, 1]);
        *request.method_mut() = http::Method::OPTIONS;
        request
            .headers_mut()
            .insert("origin", "https://app.example".parse().unwrap());
        let method = "POST".parse().unwrap();
        request
            .headers_mut()
            .insert("access-control-request-method", method);
        assert_ne!(
            call(&app, request).await.status(),
            StatusCode::TOO_MANY_REQUESTS
        );
    }
}

#[tokio::test]
async fn tells_the_observer_and_lets_a_responder_answer() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let seen = Arc::clone(&seen);
        move |_: &Parts, decision: &Decision| {
            let violated = decision.violated().map(|of| of.policy.to_string());
            seen.lock()
                .unwrap()
                .push((decision.is_admitted(), violated.collect::<Vec<_>>()));
        }
    };
    let limiter = RateLimiter::builder(MemoryStore::new(10))
        .policy(Policy::new(
            "one",
            Quota::per_hour(1, 1).unwrap(),
            |_: &Parts| Some(Key::global()),
        ))
        .build()
        .unwrap();
    let layer = RateLimitLayer::new(limiter)
        .on_decision(observer)
        .respond_with(|_: &Parts, refusal: &Refusal| {
            let mut response = Response::new(Body::from("slow down"));
            *response.status_mut() = refusal.status();
            response
        });
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(layer);
    call(&app, from([192, 0, 2, 1])).await;
    let refused = call(&app, from([192, 0, 2, 2])).await;
    assert_eq!(
        refused.into_body().collect().await.unwrap().to_bytes(),
        "slow down"
    );
    let expected = [(true, vec![]), (false, vec!["one".to_owned()])];
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// A store that is down.
struct Down;

impl Store for Down {
    type Future = std::future::Ready<Result<Verdicts, StoreError>>;

    fn charge(&self, _: &[Charge]) -> Self::Future {
        std::future::ready(Err(StoreError::Unavailable("connection refused".into())))
    }

    fn adjust(&self, _: &Charge, _: Adjustment) -> AdjustFuture {
        Box::pin(std::future::ready(Err(StoreError::Unavailable(
            "connection refused".into(),
        ))))
    }
}

#[tokio::test]
async fn fails_closed_while_the_store_is_down_unless_told_to_admit() {
    let builder = || RateLimiter::builder(Down).policy(Policy::new("web", Quota::WEB, PeerAddress));
    let closed = call(&app(builder().build().unwrap()), from([192, 0, 2, 1])).await;
    assert_eq!(closed.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(closed.headers()["retry-after"], "1");

    let open = builder()
        .store_failure(StoreFailure::Admit)
        .build()
        .unwrap();
    assert_eq!(
        call(&app(open), from([192, 0, 2, 1])).await.status(),
        StatusCode::OK
    );
}
