//! Policies on requests: tiers, weights, shadows, exemptions, reloads, and what handlers and
//! administrators change.
#![cfg(feature = "axum")]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Extension};
use axum::routing::get;
use axum::{Router, http};
use forge_ratelimit::{
    AdjustError, Charged, Decision, Key, ManualClock, MemoryStore, MissingKey, PeerAddress, Policy,
    Quota, RateLimitLayer, RateLimiter, RateLimiterBuilder, in_networks, on_paths,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tower::ServiceExt;

type Store = MemoryStore<ManualClock>;

/// Who asks, as a layer further out would have found out.
#[derive(Clone)]
struct User(&'static str);

fn user(parts: &Parts) -> Option<Key> {
    Some(Key::user(parts.extensions.get::<User>()?.0))
}

fn hourly(burst: u32) -> Quota {
    Quota::per_hour(burst, burst).unwrap()
}

fn builder() -> RateLimiterBuilder<Store> {
    RateLimiter::builder(MemoryStore::with_clock(10_000, ManualClock::new()))
}

fn app(limiter: &RateLimiter<Store>) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/livez", get(|| async { "alive" }))
        .layer(RateLimitLayer::new(limiter.clone()))
}

fn by(user: &'static str) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(User(user));
    request
}

fn from(address: impl Into<IpAddr>) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    let peer = SocketAddr::new(address.into(), 4000);
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

async fn call(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

async fn admitted(app: &Router, times: usize, request: impl Fn(usize) -> Request<Body>) -> usize {
    let mut admitted = 0;
    for n in 0..times {
        admitted += usize::from(call(app, request(n)).await.status() == StatusCode::OK);
    }
    admitted
}

#[tokio::test]
async fn a_tier_gives_its_principal_another_quota_and_says_so() {
    let tier = |parts: &Parts| (parts.extensions.get::<User>()?.0 == "paying").then(|| hourly(20));
    let policy = Policy::new("web", hourly(5), user).tier(tier);
    let app = app(&builder().policy(policy).build().unwrap());
    assert_eq!(admitted(&app, 30, |_| by("paying")).await, 20);
    assert_eq!(admitted(&app, 30, |_| by("other")).await, 5);
    let announced = |response: Response<Body>| response.headers()["ratelimit-policy"].clone();
    assert_eq!(
        announced(call(&app, by("paying")).await),
        r#""web";q=20;w=3600"#
    );
    assert_eq!(
        announced(call(&app, by("other")).await),
        r#""web";q=5;w=3600"#
    );
}

#[tokio::test]
async fn a_request_weighs_what_the_policy_says() {
    let weight = |parts: &Parts| match parts.method {
        Method::GET => 0,
        Method::POST => 4,
        _ => 1_000,
    };
    let policy = Policy::new("web", hourly(10), user).weight_by(weight);
    let app = app(&builder().policy(policy).build().unwrap());
    let with = |method: Method| {
        let mut request = by("1");
        *request.method_mut() = method;
        request
    };
    // What costs nothing is not counted and not told.
    let free = call(&app, with(Method::GET)).await;
    assert!(!free.headers().contains_key("ratelimit"));
    let post = call(&app, with(Method::POST)).await;
    assert!(
        post.headers()["ratelimit"]
            .to_str()
            .unwrap()
            .starts_with(r#""web";r=6"#)
    );
    // More than the burst is the burst: it passes when the bucket is full, and not now.
    let heavy = call(&app, with(Method::DELETE)).await;
    assert_eq!(heavy.status(), StatusCode::TOO_MANY_REQUESTS);
    let mut heavy = with(Method::DELETE);
    heavy.extensions_mut().insert(User("2"));
    let heavy = call(&app, heavy).await;
    assert_ne!(heavy.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_policy_in_shadow_tells_observers_and_nobody_else() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let seen = Arc::clone(&seen);
        move |_: &Parts, decision: &Decision| {
            let would = decision
                .would_refuse()
                .map(|of| of.policy.to_string())
                .collect::<Vec<_>>();
            seen.lock().unwrap().push((decision.is_admitted(), would));
        }
    };
    let limiter = builder()
        .policy(Policy::new("tried", hourly(1), user).shadow(true))
        .policy(Policy::new("web", hourly(3), user))
        .build()
        .unwrap();
    let layer = RateLimitLayer::new(limiter).on_decision(observer);
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(layer);
    for _ in 0..3 {
        let response = call(&app, by("1")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(
            !response.headers()["ratelimit"]
                .to_str()
                .unwrap()
                .contains("tried")
        );
    }
    let tried = vec!["tried".to_owned()];
    assert_eq!(
        *seen.lock().unwrap(),
        [(true, vec![]), (true, tried.clone()), (true, tried)]
    );
}

#[tokio::test]
async fn networks_paths_and_keys_are_exempt() {
    let address = |parts: &Parts| Some(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip());
    let limiter = builder()
        .policy(Policy::new("web", hourly(1), PeerAddress).missing_key(MissingKey::Skip))
        .policy(Policy::new("user", hourly(1), user).missing_key(MissingKey::Skip))
        .exempt(in_networks(address, ["10.0.0.0/8".parse().unwrap()]))
        .exempt(on_paths(["/livez"]))
        .exempt_key(Key::user("robot"))
        .build()
        .unwrap();
    let app = app(&limiter);
    assert_eq!(admitted(&app, 5, |_| from([10, 1, 2, 3])).await, 5);
    assert_eq!(admitted(&app, 5, |_| from([11, 1, 2, 3])).await, 1);
    assert_eq!(admitted(&app, 5, |_| by("robot")).await, 5);
    assert_eq!(admitted(&app, 5, |_| by("person")).await, 1);
    let probe = |_| {
        let mut request = from([11, 1, 2, 3]);
        *request.uri_mut() = "/livez".parse().unwrap();
        request
    };
    assert_eq!(admitted(&app, 5, probe).await, 5);
}

#[tokio::test]
async fn head_counts_as_get() {
    let route = |parts: &Parts| Some(Key::route(&parts.method, parts.uri.path()));
    let app = app(&builder()
        .policy(Policy::new("web", hourly(4), route))
        .build()
        .unwrap());
    let alternating = |n: usize| {
        let mut request = by("1");
        *request.method_mut() = [Method::GET, Method::HEAD][n % 2].clone();
        request
    };
    assert_eq!(admitted(&app, 10, alternating).await, 4);
}

#[tokio::test]
async fn a_reload_keeps_what_is_owed() {
    let policy = |burst| Policy::new("web", hourly(burst), user);
    let limiter = builder().policy(policy(10)).build().unwrap();
    let app = app(&limiter);
    assert_eq!(admitted(&app, 6, |_| by("1")).await, 6);
    // Another policy before it, so that its place changes; half the quota, so that its units do.
    let rules = RateLimiter::builder(())
        .policy(Policy::new("new", hourly(100), user))
        .policy(Policy::new("web", Quota::per_hour(10, 8).unwrap(), user));
    limiter.reload(rules).unwrap();
    assert_eq!(admitted(&app, 10, |_| by("1")).await, 2);
    let names: Vec<_> = limiter.policies().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["new", "web"]);
    // One that could not be built changes nothing.
    assert!(
        limiter
            .reload(RateLimiter::builder(()).policy(policy(1)).policy(policy(2)))
            .is_err()
    );
    assert_eq!(limiter.policies().len(), 2);
}

#[tokio::test]
async fn a_handler_gives_back_takes_more_and_blocks() {
    let limiter = builder()
        .policy(Policy::new("web", hourly(10), user))
        .hand_on_charges(true)
        .build()
        .unwrap();
    let app = Router::new()
        .route(
            "/refund",
            get(|Extension(of): Extension<Charged>| async move { of.refund().await.unwrap() }),
        )
        .route(
            "/penalize",
            get(|Extension(of): Extension<Charged>| async move {
                assert_eq!(of.policies().collect::<Vec<_>>(), ["web"]);
                of.only("web").unwrap().penalize().await.unwrap();
                assert!(of.only("other").is_none());
            }),
        )
        .route(
            "/block",
            get(|Extension(of): Extension<Charged>| async move {
                of.block(Duration::from_secs(60)).await.unwrap();
            }),
        )
        .layer(RateLimitLayer::new(limiter.clone()));
    let ask = async |path: &str| {
        let mut request = by("1");
        *request.uri_mut() = path.parse().unwrap();
        let response = call(&app, request).await;
        let left = limiter.peek("web", &Key::user("1")).await.unwrap();
        (response, left)
    };
    assert_eq!(ask("/refund").await.1.remaining, 10);
    assert_eq!(ask("/penalize").await.1.remaining, 8);
    let (response, left) = ask("/block").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(left.blocked);
    let (refused, _) = ask("/refund").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "60");
}

#[tokio::test]
async fn an_administrator_looks_at_a_key_and_resets_it() {
    let limiter = builder()
        .policy(Policy::new("web", hourly(2), user))
        .build()
        .unwrap();
    let app = app(&limiter);
    let key = Key::user("1");
    assert_eq!(admitted(&app, 5, |_| by("1")).await, 2);
    let peek = limiter.peek("web", &key).await.unwrap();
    assert!(!peek.allowed);
    assert_eq!(
        limiter.peek("web", &key).await.unwrap(),
        peek,
        "looking charges nothing"
    );
    assert_eq!(limiter.reset("web", &key).await.unwrap().remaining, 2);
    assert_eq!(admitted(&app, 5, |_| by("1")).await, 2);
    assert_eq!(limiter.refund("web", &key, 1).await.unwrap().remaining, 1);
    assert_eq!(limiter.penalize("web", &key, 7).await.unwrap().remaining, 0);
    assert!(
        limiter
            .block("web", &key, Duration::from_secs(9))
            .await
            .unwrap()
            .blocked
    );
    let unknown = limiter.peek("other", &key).await.unwrap_err();
    assert!(matches!(unknown, AdjustError::UnknownPolicy));
}

#[tokio::test]
async fn a_throttled_user_stays_throttled_while_an_allocation_is_swept() {
    let store = MemoryStore::partitioned_with_clock(100, 100, ManualClock::new());
    let address = |parts: &Parts| Some(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip());
    let limiter = RateLimiter::builder(store)
        .policy(Policy::new("user", hourly(3), user).missing_key(MissingKey::Skip))
        .policy(Policy::new("address", hourly(5), PeerAddress).missing_key(MissingKey::Skip))
        .policy(
            Policy::new("allocation", hourly(1000), move |parts: &Parts| {
                Key::allocation(address(parts)?)
            })
            .missing_key(MissingKey::Skip),
        )
        .build()
        .unwrap();
    let app = app(&limiter);
    assert_eq!(admitted(&app, 5, |_| by("victim")).await, 3);
    let network = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1).to_bits();
    // Every request from another /64 of one /48.
    let mut swept = 0;
    for n in 0..65_536u128 {
        let request = from(Ipv6Addr::from_bits(network | n << 64));
        let decision = limiter.check(&request.into_parts().0).await;
        swept += usize::from(decision.is_admitted());
    }
    assert_eq!(swept, 1000);
    assert_eq!(admitted(&app, 5, |_| by("victim")).await, 0);
}

#[tokio::test]
async fn ten_thousand_forged_headers_are_one_client() {
    let app = app(&builder()
        .policy(Policy::new("web", hourly(10), PeerAddress))
        .build()
        .unwrap());
    let forged = |n: usize| {
        let mut request = from([192, 0, 2, 1]);
        let address = format!("203.0.{}.{}", n / 256 % 256, n % 256);
        for name in [
            "x-forwarded-for",
            "x-real-ip",
            "cf-connecting-ip",
            "true-client-ip",
        ] {
            request.headers_mut().insert(name, address.parse().unwrap());
        }
        let element = format!("for={address}").parse().unwrap();
        request.headers_mut().insert("forwarded", element);
        request
    };
    assert_eq!(admitted(&app, 10_000, forged).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_thousand_at_once_are_admitted_exactly_a_hundred_times() {
    let policy = |name: &'static str| Policy::new(name, hourly(100), user);
    let app = app(&builder()
        .policy(policy("one"))
        .policy(policy("two"))
        .build()
        .unwrap());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..2000 {
        let app = app.clone();
        calls.spawn(async move { call(&app, by("1")).await.status() });
    }
    let statuses = calls.join_all().await;
    let count = |status| statuses.iter().filter(|of| **of == status).count();
    assert_eq!(count(StatusCode::OK), 100);
    assert_eq!(count(StatusCode::TOO_MANY_REQUESTS), 1900);
}

#[test]
fn a_fixed_weight_is_within_a_small_tier_too() {
    let heavy = NonZeroU32::new(5).unwrap();
    let tier = |_: &Parts| Some(hourly(2));
    let policy = Policy::new("web", hourly(10), user)
        .weight(heavy)
        .tier(tier);
    let limiter = builder().policy(policy).build().unwrap();
    let parts = by("1").into_parts().0;
    let mut check = std::pin::pin!(limiter.check(&parts));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(decision) = check.as_mut().poll(&mut context) else {
        panic!("memory decides at once")
    };
    assert!(decision.is_admitted());
}
