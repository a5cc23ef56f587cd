//! Scopes, roles and tickets.
#![cfg(feature = "axum")]

#[expect(dead_code, reason = "each test file uses its part")]
mod common;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use common::{Ground, client, user};
use forge_session::{
    Authenticated, IssueError, Kind, NewSession, Require, RequireSessionLayer, Requirement, Scopes,
    SessionLayer,
};
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);

/// The application's own idea of what users may do.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    User,
    Admin,
}

struct Admin(String);

impl Requirement for Admin {
    fn of(me: &Authenticated, parts: &Parts) -> Option<Self> {
        let role = parts.extensions.get::<Role>()?;
        (*role == Role::Admin).then(|| Self(me.session().user.to_string()))
    }
}

fn router(ground: &Ground) -> Router {
    let role = from_fn(async |mut request: Request, next: Next| {
        let me = request.extensions().get::<Authenticated>();
        let role = match me.map(|me| me.session().user.as_str()) {
            Some("root") => Role::Admin,
            _ => Role::User,
        };
        request.extensions_mut().insert(role);
        next.run(request).await
    });
    let is_admin =
        |_: &Authenticated, parts: &Parts| parts.extensions.get::<Role>() == Some(&Role::Admin);
    let ok = async || "ok";
    let write = RequireSessionLayer::new().scope("write").scope("read");
    Router::new()
        .route(
            "/extracted",
            get(async |Require(Admin(name)): Require<Admin>| name),
        )
        .route(
            "/admitted",
            get(ok).layer(RequireSessionLayer::new().admit(is_admin)),
        )
        .route("/write", get(ok).layer(write))
        .route(
            "/matters",
            get(ok).layer(
                RequireSessionLayer::new()
                    .admit(is_admin)
                    .signed_in_within(SECOND * 900),
            ),
        )
        .route(
            "/events",
            get(async |me: Authenticated| format!("{:?}", me.via())),
        )
        .layer(role)
        .layer(SessionLayer::new(ground.sessions.clone()).ticket_parameter("ticket"))
}

async fn ask(router: &Router, path: &str, headers: &[(&str, String)]) -> Response<Body> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

fn cookie(secret: &SecretString) -> (&'static str, String) {
    ("cookie", format!("__Host-forge={}", secret.expose_secret()))
}

fn bearer(token: &SecretString) -> (&'static str, String) {
    ("authorization", format!("Bearer {}", token.expose_secret()))
}

fn scopes(text: &str) -> Scopes {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_role_of_the_applications_own_is_required() {
    let ground = Ground::new();
    let router = router(&ground);
    let (root, user) = (ground.web("root").await, ground.web("a").await);
    for path in ["/extracted", "/admitted"] {
        for (headers, status) in [
            (vec![cookie(&root.secret)], StatusCode::OK),
            (vec![cookie(&user.secret)], StatusCode::FORBIDDEN),
            (vec![], StatusCode::UNAUTHORIZED),
        ] {
            assert_eq!(
                ask(&router, path, &headers).await.status(),
                status,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn what_matters_needs_a_sign_in_of_late() {
    let ground = Ground::new();
    let router = router(&ground);
    let (root, other) = (ground.web("root").await, ground.web("a").await);
    let mine = [cookie(&root.secret)];
    assert_eq!(ask(&router, "/matters", &mine).await.status(), 200);
    ground.clock.advance(SECOND * 900);
    assert_eq!(ask(&router, "/matters", &mine).await.status(), 200);
    ground.clock.advance(SECOND);
    let refused = ask(&router, "/matters", &mine).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.headers()[WWW_AUTHENTICATE],
        r#"Bearer realm="forge", max_age="900", error="insufficient_user_authentication""#
    );
    // It is good for all else, and who may not do it anyway is not asked to sign in for it.
    assert_eq!(ask(&router, "/admitted", &mine).await.status(), 200);
    let theirs = [cookie(&other.secret)];
    assert_eq!(ask(&router, "/matters", &theirs).await.status(), 403);
    let again = [cookie(&ground.web("root").await.secret)];
    assert_eq!(ask(&router, "/matters", &again).await.status(), 200);
}

#[tokio::test]
async fn a_scope_is_required_of_the_token_and_granted_by_the_session() {
    let ground = Ground::new();
    let router = router(&ground);
    let new = NewSession::new(user("a"), Kind::MCP).client(client());
    let new = new.scopes(scopes("read write"));
    let created = ground.sessions.create(new).await.unwrap();
    let issue = |scopes: Option<&Scopes>| {
        ground
            .sessions
            .issue_access_token_for(&created.session, scopes)
    };
    for wanted in [Some(&scopes("read admin")), None] {
        assert!(matches!(issue(wanted), Err(IssueError::NotEntitled)));
    }
    let full = ground
        .sessions
        .issue_access_token(&created.session)
        .unwrap();
    let status = ask(&router, "/write", &[bearer(&full.token)])
        .await
        .status();
    assert_eq!(status, StatusCode::OK);
    let narrow = issue(Some(&scopes("read"))).unwrap();
    let response = ask(&router, "/write", &[bearer(&narrow.token)]).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        response.headers()[WWW_AUTHENTICATE],
        r#"Bearer realm="forge", scope="write read", error="insufficient_scope""#
    );
    // A person at a browser may do what they may do.
    let web = ground.web("a").await;
    let status = ask(&router, "/write", &[cookie(&web.secret)])
        .await
        .status();
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_ticket_opens_its_path_once_within_thirty_seconds() {
    let ground = Ground::new();
    let router = router(&ground);
    let web = ground.web("a").await;
    let ticket = || {
        let ticket = ground
            .sessions
            .issue_ticket(&web.session, "/events")
            .unwrap();
        ticket.expose_secret().to_owned()
    };
    let status = async |path: &str, ticket: &str| {
        let path = format!("{path}?ticket={ticket}");
        ask(&router, &path, &[]).await.status()
    };
    let good = ticket();
    assert_eq!(status("/events", &good).await, StatusCode::OK);
    assert_eq!(
        status("/events", &good).await,
        StatusCode::UNAUTHORIZED,
        "twice"
    );
    let elsewhere = ticket();
    assert_eq!(status("/write", &elsewhere).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        status("/events", &elsewhere).await,
        StatusCode::UNAUTHORIZED,
        "used up"
    );
    let late = ticket();
    ground.clock.advance(SECOND * 30);
    assert_eq!(
        status("/events", &late).await,
        StatusCode::UNAUTHORIZED,
        "late"
    );
    for made_up in ["", "x", &"A".repeat(43)] {
        assert_eq!(status("/events", made_up).await, StatusCode::UNAUTHORIZED);
    }
    let revoked = ticket();
    ground.revoke(web.session.id).await;
    assert_eq!(status("/events", &revoked).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_ticket_counts_before_a_cookie_and_only_where_it_is_looked_for() {
    let ground = Ground::new();
    let (ticketed, other) = (ground.web("a").await, ground.web("b").await);
    let ticket = ground
        .sessions
        .issue_ticket(&ticketed.session, "/events")
        .unwrap();
    let path = format!("/events?ticket={}", ticket.expose_secret());
    let plain: Router = Router::new()
        .route(
            "/events",
            get(async |me: Authenticated| me.session().user.to_string()),
        )
        .layer(SessionLayer::new(ground.sessions.clone()));
    let response = ask(&plain, &path, &[]).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response = ask(&router(&ground), &path, &[cookie(&other.secret)]).await;
    let body = axum::body::to_bytes(response.into_body(), 100)
        .await
        .unwrap();
    assert_eq!(body, "Ticket");
}
