//! Secrets that follow one another: one successor each, an overlap, and theft after it.
#![cfg(feature = "axum")]

#[expect(dead_code, reason = "each test file uses its part")]
mod common;

use std::collections::HashSet;
use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use axum::{Router, response::IntoResponse};
use common::{Ground, T0, client};
use forge_session::{
    AuthenticateError, Authenticated, Caller, ClientId, Kind, KindPolicy, OnReuse, RefreshError,
    Rejection, SessionCookie, SessionLayer,
};
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn router(ground: &Ground) -> Router {
    let address = |parts: &Parts| {
        let of = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
        Caller::new(of("x-ip").and_then(|ip| ip.parse().ok()), of("user-agent"))
    };
    Router::new()
        .route(
            "/",
            get(async |me: Option<Authenticated>| {
                me.map_or(StatusCode::UNAUTHORIZED, |_| StatusCode::OK)
            }),
        )
        .route(
            "/sign-out",
            get(async || [(SET_COOKIE, SessionCookie::new().clear_cookie())].into_response()),
        )
        .layer(SessionLayer::new(ground.sessions.clone()).caller(address))
}

async fn ask(router: &Router, path: &str, secret: &str, from: (&str, &str)) -> Response<Body> {
    let request = Request::get(path)
        .header("cookie", format!("__Host-forge={secret}"))
        .header("x-ip", from.0)
        .header("user-agent", from.1);
    let request = request.body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

const HOME: (&str, &str) = ("192.0.2.1", "Firefox/128.0");

async fn get_with(router: &Router, secret: &str) -> Response<Body> {
    ask(router, "/", secret, HOME).await
}

/// The secret that a response sets.
fn set(response: &Response<Body>) -> Option<String> {
    let field = response.headers().get(SET_COOKIE)?.to_str().unwrap();
    let secret = field.strip_prefix("__Host-forge=")?.split(';').next()?;
    (!secret.is_empty()).then(|| secret.to_owned())
}

async fn refresh(ground: &Ground, token: &str) -> Result<SecretString, Rejection> {
    let (client, caller) = (client(), Caller::default());
    match ground.sessions.refresh(token, &client, &caller).await {
        Ok(refreshed) => Ok(refreshed.refresh_token),
        Err(RefreshError::Rejected(rejection)) => Err(rejection),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_cookie_gets_a_new_secret_after_half_a_day_and_not_before() {
    let ground = Ground::new();
    let router = router(&ground);
    let created = ground.web("a").await;
    let first = created.secret.expose_secret();
    ground.clock.advance(HOUR * 12 - SECOND);
    assert_eq!(set(&get_with(&router, first).await), None);
    ground.clock.advance(SECOND);
    let response = get_with(&router, first).await;
    assert_eq!(response.status(), StatusCode::OK);
    let second = set(&response).unwrap();
    let field = response.headers()[SET_COOKIE].to_str().unwrap();
    let left = (DAY * 7 - HOUR * 12).as_secs();
    assert!(field.ends_with(&format!("; Max-Age={left}")), "{field}");
    let response = get_with(&router, &second).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(set(&response), None);
    ground.clock.advance(HOUR * 12);
    assert!(set(&get_with(&router, &second).await).is_some());
    assert_eq!(ground.told(), ["created", "rotated", "rotated"]);
}

#[tokio::test]
async fn the_old_secret_five_times_inside_the_overlap_gives_one_successor() {
    let ground = Ground::new();
    let router = router(&ground);
    let created = ground.web("a").await;
    let first = created.secret.expose_secret();
    ground.clock.advance(HOUR * 12);
    let mut successors = HashSet::new();
    for _ in 0..5 {
        successors.insert(set(&get_with(&router, first).await).unwrap());
        ground.clock.advance(SECOND * 11);
    }
    assert_eq!(successors.len(), 1);
    assert_eq!(ground.told(), ["created", "rotated"]);
}

#[tokio::test]
async fn past_the_overlap_the_old_secret_ends_the_session_for_everybody() {
    let ground = Ground::new();
    let router = router(&ground);
    let created = ground.web("a").await;
    let first = created.secret.expose_secret();
    ground.clock.advance(HOUR * 12);
    let second = set(&get_with(&router, first).await).unwrap();
    ground.clock.advance(SECOND * 60);
    ground.told();
    for secret in [first, &second] {
        let response = get_with(&router, secret).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(set(&response), None);
        assert!(response.headers().contains_key(SET_COOKIE), "it is cleared");
    }
    assert_eq!(ground.told(), ["reuse", "revoked"]);
}

#[tokio::test]
async fn a_secret_from_long_ago_is_theft_even_inside_an_overlap() {
    let ground = Ground::new();
    let first = ground.mcp("a").await.secret;
    let second = refresh(&ground, first.expose_secret()).await.unwrap();
    let third = refresh(&ground, second.expose_secret()).await.unwrap();
    let again = refresh(&ground, second.expose_secret()).await.unwrap();
    assert_eq!(again.expose_secret(), third.expose_secret());
    let reused = refresh(&ground, first.expose_secret()).await;
    assert_eq!(reused.unwrap_err(), Rejection::Reused);
    let ended = refresh(&ground, third.expose_secret()).await;
    assert_eq!(ended.unwrap_err(), Rejection::Revoked);
}

#[tokio::test]
async fn a_refresh_token_yields_its_successor_for_ten_minutes() {
    let ground = Ground::new();
    let first = ground.mcp("a").await.secret;
    let second = refresh(&ground, first.expose_secret()).await.unwrap();
    ground.clock.advance(MINUTE * 10 - SECOND);
    let again = refresh(&ground, first.expose_secret()).await.unwrap();
    assert_eq!(again.expose_secret(), second.expose_secret());
    ground.clock.advance(SECOND);
    let late = refresh(&ground, first.expose_secret()).await;
    assert_eq!(late.unwrap_err(), Rejection::Reused);
}

#[tokio::test]
async fn an_old_token_of_another_client_is_theft_too() {
    let ground = Ground::new();
    let first = ground.mcp("a").await.secret;
    refresh(&ground, first.expose_secret()).await.unwrap();
    ground.clock.advance(MINUTE * 10);
    let other = ClientId::new("other").unwrap();
    let caller = Caller::default();
    let stolen = ground
        .sessions
        .refresh(first.expose_secret(), &other, &caller);
    let error = stolen.await.unwrap_err();
    assert!(matches!(error, RefreshError::Rejected(Rejection::Reused)));
}

#[tokio::test]
async fn a_similar_client_is_forgiven_where_the_policy_says_so() {
    let lenient = KindPolicy::cookie().on_reuse(OnReuse::TolerateSimilar);
    let ground = Ground::with(|builder| builder.policy(Kind::WEB, lenient));
    let router = router(&ground);
    let created = ground.web("a").await;
    let first = created.secret.expose_secret();
    ground.clock.advance(HOUR * 12);
    let second = set(&get_with(&router, first).await).unwrap();
    ground.clock.advance(HOUR);
    ground.told();
    let updated = ("192.0.2.77", "Firefox/129.0");
    let response = ask(&router, "/", first, updated).await;
    assert_eq!(set(&response), Some(second));
    assert_eq!(ground.told(), ["reuse tolerated", "threat"]);
    for stranger in [("198.51.100.1", HOME.1), (HOME.0, "curl/8.5")] {
        let created = ground.web("b").await;
        let first = created.secret.expose_secret();
        ground.clock.advance(HOUR * 12);
        get_with(&router, first).await;
        ground.clock.advance(HOUR);
        let response = ask(&router, "/", first, stranger).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{stranger:?}");
    }
}

#[tokio::test]
async fn a_sign_out_has_the_last_word_on_the_cookie() {
    let ground = Ground::new();
    let router = router(&ground);
    let created = ground.web("a").await;
    ground.clock.advance(HOUR * 12);
    let response = ask(&router, "/sign-out", created.secret.expose_secret(), HOME).await;
    let fields: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
    assert_eq!(fields, [SessionCookie::new().clear_cookie()]);
}

#[tokio::test]
async fn a_secret_that_cannot_be_replaced_now_is_good_until_it_can() {
    let ground = Ground::new();
    let router = router(&ground);
    let created = ground.web("a").await;
    let first = created.secret.expose_secret();
    ground.clock.advance(HOUR * 12);
    ground.store.fail_writes(true);
    let response = get_with(&router, first).await;
    assert_eq!((response.status(), set(&response)), (StatusCode::OK, None));
    ground.store.fail_writes(false);
    assert!(set(&get_with(&router, first).await).is_some());
}

#[tokio::test]
async fn theft_is_not_overlooked_because_the_store_fails() {
    let ground = Ground::new();
    let created = ground.web("a").await;
    let first = created.secret.expose_secret();
    let router = router(&ground);
    ground.clock.advance(HOUR * 12);
    get_with(&router, first).await;
    ground.clock.advance(HOUR);
    ground.store.fail_revocations(true);
    let response = get_with(&router, first).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let result = ground.sessions.authenticate_cookie(first).await;
    assert!(matches!(result, Err(AuthenticateError::Store(_))));
    ground.store.fail_revocations(false);
    let response = get_with(&router, first).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_at_once_rotate_once() {
    let ground = Ground::new();
    let router = router(&ground);
    let created = ground.web("a").await;
    ground.clock.advance(HOUR * 12);
    let all: Vec<_> = (0..50)
        .map(|_| {
            let (router, secret) = (router.clone(), created.secret.clone());
            tokio::spawn(async move { set(&get_with(&router, secret.expose_secret()).await) })
        })
        .collect();
    let mut successors = HashSet::new();
    for one in all {
        successors.insert(one.await.unwrap().expect("each response sets it"));
    }
    assert_eq!(successors.len(), 1);
    assert_eq!(ground.told(), ["created", "rotated"]);
}

#[tokio::test]
async fn the_store_holds_no_secret_and_the_old_one_derives_nothing_without_it() {
    let ground = Ground::new();
    let first = ground.mcp("a").await.secret;
    let elsewhere = Ground::new();
    let second = refresh(&ground, first.expose_secret()).await.unwrap();
    let owner = common::user("a");
    let listed = ground.sessions.list(&owner).await.unwrap();
    assert_eq!(listed[0].rotated, Some(T0));
    let result = elsewhere
        .sessions
        .authenticate_cookie(second.expose_secret());
    assert!(result.await.is_err());
}
