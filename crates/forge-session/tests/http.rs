//! The layers on an Axum router.
#![cfg(feature = "axum")]

#[expect(dead_code, reason = "each test file uses its part")]
mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::routing::get;
use axum::{Router, response::IntoResponse};
use common::{Ground, T0};
use forge_session::{
    Authenticated, Caller, Challenge, Kind, OnRejection, Rejection, RequireSessionLayer,
    SessionCookie, SessionLayer, Via,
};
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use secrecy::ExposeSecret;
use tower::ServiceExt;

const COOKIE_OF_HOST: SessionCookie = SessionCookie::new();

/// A record of rejections.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Rejection>>>);

impl OnRejection for Seen {
    fn on_rejection(&self, _: &Parts, rejection: Rejection) {
        self.0.lock().unwrap().push(rejection);
    }
}

impl Seen {
    fn take(&self) -> Vec<Rejection> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

struct App {
    ground: Ground,
    router: Router,
    seen: Seen,
}

impl App {
    fn new() -> Self {
        let ground = Ground::new();
        let seen = Seen::default();
        let metadata = "https://forge.example/.well-known/oauth-protected-resource";
        let layer = SessionLayer::new(ground.sessions.clone())
            .challenge(Challenge::bearer().resource_metadata(metadata))
            .caller(|parts: &Parts| {
                let agent = parts.headers.get("user-agent");
                let agent = agent.and_then(|value| value.to_str().ok());
                Caller::new(Some("192.0.2.1".parse().unwrap()), agent)
            })
            .on_rejection(seen.clone());
        let mcp = RequireSessionLayer::new()
            .kind(Kind::MCP)
            .on_rejection(seen.clone());
        let router = Router::new()
            .route("/mcp", get(who).layer(mcp))
            .route("/me", get(who))
            .route("/maybe", get(maybe))
            .route("/sign-in", get(sign_in))
            .layer(layer);
        Self {
            ground,
            router,
            seen,
        }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }
}

async fn who(me: Authenticated) -> String {
    let via = match me.via() {
        Via::Cookie => "cookie",
        Via::Bearer => "bearer",
        _ => "ticket",
    };
    format!("{} by {via}", me.session().user)
}

async fn maybe(me: Option<Authenticated>) -> String {
    me.map_or("anonymous".to_owned(), |me| me.session().user.to_string())
}

async fn sign_in() -> impl IntoResponse {
    let secret = "B".repeat(64).into();
    let set = COOKIE_OF_HOST.set_cookie(&secret, Duration::from_secs(60));
    ([(SET_COOKIE, set)], "signed in")
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 10_000).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn cookie(secret: &secrecy::SecretString) -> String {
    format!("{}={}", COOKIE_OF_HOST.name(), secret.expose_secret())
}

fn bearer(token: &secrecy::SecretString) -> String {
    format!("Bearer {}", token.expose_secret())
}

#[tokio::test]
async fn knows_a_person_by_the_cookie() {
    let app = App::new();
    let created = app.ground.web("github:1001").await;
    let cookie = cookie(&created.secret);
    let response = app.get("/me", &[("cookie", &cookie)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key(SET_COOKIE));
    assert_eq!(text(response).await, "github:1001 by cookie");
    assert!(app.seen.take().is_empty());
}

#[tokio::test]
async fn knows_a_program_by_the_access_token() {
    let app = App::new();
    let created = app.ground.mcp("github:1001").await;
    let issued = app.ground.sessions.issue_access_token(&created.session);
    let bearer = bearer(&issued.unwrap().token);
    let response = app.get("/mcp", &[("authorization", &bearer)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, "github:1001 by bearer");
}

#[tokio::test]
async fn lets_anonymous_requests_pass_but_not_where_a_session_is_required() {
    let app = App::new();
    assert_eq!(text(app.get("/maybe", &[]).await).await, "anonymous");
    for path in ["/me", "/mcp"] {
        let response = app.get(path, &[("x-request-id", "0191-ab")]).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            r#"Bearer realm="forge", resource_metadata="https://forge.example/.well-known/oauth-protected-resource""#
        );
        let content_type = &response.headers()["content-type"];
        assert_eq!(content_type, "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(problem["status"], 401);
        assert_eq!(problem["request_id"], "0191-ab");
    }
    assert_eq!(app.seen.take(), [Rejection::Absent]);
}

#[tokio::test]
async fn a_session_of_another_kind_is_not_enough() {
    let app = App::new();
    let created = app.ground.web("github:1001").await;
    let cookie = cookie(&created.secret);
    let response = app.get("/mcp", &[("cookie", &cookie)]).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(app.seen.take(), [Rejection::WrongKind]);
}

#[tokio::test]
async fn a_cookie_that_is_no_good_is_anonymous_and_cleared() {
    let app = App::new();
    let created = app.ground.web("github:1001").await;
    let revoked = cookie(&created.secret);
    app.ground.revoke(created.session.id).await;
    let unknown = format!("__Host-forge={}", "A".repeat(64));
    for (cookie, rejection) in [
        (&*revoked, Rejection::Revoked),
        (&*unknown, Rejection::Unknown),
        ("__Host-forge=", Rejection::Malformed),
        ("__Host-forge=x y", Rejection::Malformed),
        ("__Host-forge=a; __Host-forge=b", Rejection::Ambiguous),
    ] {
        let response = app.get("/maybe", &[("cookie", cookie)]).await;
        assert_eq!(response.status(), StatusCode::OK, "{cookie}");
        let cleared = &response.headers()[SET_COOKIE];
        assert_eq!(cleared, COOKIE_OF_HOST.clear_cookie());
        assert_eq!(text(response).await, "anonymous");
        assert_eq!(app.seen.take(), [rejection]);
        let response = app.get("/me", &[("cookie", cookie)]).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        app.seen.take();
    }
}

#[tokio::test]
async fn a_sign_in_replaces_a_stale_cookie() {
    let app = App::new();
    let stale = format!("__Host-forge={}", "A".repeat(64));
    let response = app.get("/sign-in", &[("cookie", &stale)]).await;
    let set: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
    assert_eq!(set.len(), 1);
    assert!(set[0].to_str().unwrap().starts_with("__Host-forge=BBB"));
}

#[tokio::test]
async fn a_bad_bearer_is_401_and_no_cookie_helps() {
    let app = App::new();
    let created = app.ground.web("github:1001").await;
    let cookie = cookie(&created.secret);
    for header in ["Bearer", "Bearer x", "bearer a.b.c", "Bearer a b"] {
        let headers = [("authorization", header), ("cookie", &*cookie)];
        let response = app.get("/maybe", &headers).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{header}");
        let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains(r#"error="invalid_token""#));
        assert!(!response.headers().contains_key(SET_COOKIE));
        assert_eq!(app.seen.take().len(), 1);
    }
}

#[tokio::test]
async fn the_token_counts_and_not_the_cookie() {
    let app = App::new();
    let web = app.ground.web("cookie").await;
    let mcp = app.ground.mcp("token").await;
    let issued = app.ground.sessions.issue_access_token(&mcp.session);
    let (cookie, bearer) = (cookie(&web.secret), bearer(&issued.unwrap().token));
    let headers = [("cookie", &*cookie), ("authorization", &*bearer)];
    let response = app.get("/me", &headers).await;
    assert_eq!(text(response).await, "token by bearer");
}

#[tokio::test]
async fn a_token_in_the_query_is_400_even_if_it_is_good() {
    let app = App::new();
    let created = app.ground.mcp("github:1001").await;
    let issued = app.ground.sessions.issue_access_token(&created.session);
    let token = issued.unwrap().token;
    let path = format!("/maybe?access_token={}", token.expose_secret());
    let response = app.get(&path, &[]).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    assert!(challenge.contains(r#"error="invalid_request""#));
    assert!(!text(response).await.contains(token.expose_secret()));
    assert_eq!(app.seen.take(), [Rejection::InQuery]);
}

#[tokio::test]
async fn two_authorizations_are_400() {
    let app = App::new();
    let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    let response = app.get("/maybe", &two).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(app.seen.take(), [Rejection::Ambiguous]);
}

#[tokio::test]
async fn a_failing_store_is_503_for_whoever_bears_a_credential() {
    let app = App::new();
    let created = app.ground.web("github:1001").await;
    let cookie = cookie(&created.secret);
    app.ground.store.fail(true);
    let response = app.get("/maybe", &[("cookie", &cookie)]).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!response.headers().contains_key(SET_COOKIE));
    assert_eq!(app.seen.take(), [Rejection::StoreUnavailable]);
    let response = app.get("/maybe", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    app.ground.store.fail(false);
    let response = app.get("/me", &[("cookie", &cookie)]).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn notes_the_use_of_a_session_and_goes_on_if_it_cannot() {
    let app = App::new();
    let created = app.ground.web("github:1001").await;
    let cookie = cookie(&created.secret);
    let headers = [("cookie", &*cookie), ("user-agent", "Firefox")];
    let hour = Duration::from_secs(3600);
    app.ground.clock.advance(hour);
    app.ground.store.fail_writes(true);
    assert_eq!(app.get("/me", &headers).await.status(), StatusCode::OK);
    app.ground.store.fail_writes(false);
    assert_eq!(app.get("/me", &headers).await.status(), StatusCode::OK);
    let owner = &created.session.user;
    let session = app.ground.sessions.list(owner).await.unwrap().remove(0);
    assert_eq!(session.last_used, T0 + hour);
    assert_eq!(session.last_ip, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(session.user_agent.as_deref(), Some("Firefox"));
}

#[tokio::test]
async fn a_revocation_holds_from_the_next_request_on() {
    let app = App::new();
    let created = app.ground.mcp("github:1001").await;
    let issued = app.ground.sessions.issue_access_token(&created.session);
    let bearer = bearer(&issued.unwrap().token);
    let headers = [("authorization", &*bearer)];
    assert_eq!(app.get("/mcp", &headers).await.status(), StatusCode::OK);
    app.ground.revoke(created.session.id).await;
    let response = app.get("/mcp", &headers).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_cookie_for_loopback_has_another_name() {
    let ground = Ground::new();
    let created = ground.web("github:1001").await;
    let dev = SessionCookie::insecure_for_loopback();
    let layer = SessionLayer::new(ground.sessions.clone()).cookie(dev);
    let router = Router::new().route("/", get(maybe)).layer(layer);
    let secret = created.secret.expose_secret();
    for (name, expected) in [("forge-dev", "github:1001"), ("__Host-forge", "anonymous")] {
        let request = Request::get("/").header(COOKIE, format!("{name}={secret}"));
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(text(response).await, expected);
    }
}

#[tokio::test]
async fn without_the_layer_nothing_that_needs_a_session_is_served() {
    let required = get(|| async { "secret" }).layer(RequireSessionLayer::new());
    let router: Router = Router::new()
        .route("/required", required)
        .route("/me", get(who))
        .route("/maybe", get(maybe));
    for (path, status) in [
        ("/required", StatusCode::UNAUTHORIZED),
        ("/me", StatusCode::INTERNAL_SERVER_ERROR),
        ("/maybe", StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let request = Request::get(path).header(AUTHORIZATION, "Bearer x");
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_responder_of_ones_own_is_used() {
    let ground = Ground::new();
    let layer = SessionLayer::new(ground.sessions).respond_with(
        |_: &Parts, refusal: &forge_session::Refusal| {
            let mut response = Response::new(Body::from(refusal.detail()));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response
        },
    );
    let router = Router::new().route("/", get(maybe)).layer(layer);
    let request = Request::get("/?access_token=x").body(Body::empty());
    let response = router.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
}

#[tokio::test]
async fn works_over_a_socket() {
    let app = App::new();
    let created = app.ground.web("github:1001").await;
    let server = test_support::serve(app.router.clone()).await;
    let request = Request::get(format!("{}/me", server.url()))
        .header(COOKIE, cookie(&created.secret))
        .body(Body::empty());
    let response = test_support::send(request.unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.body(), "github:1001 by cookie");
}
