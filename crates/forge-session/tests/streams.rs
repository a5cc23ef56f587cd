//! What is still open for a session when it is revoked is closed.
#![cfg(feature = "axum")]

#[expect(dead_code, reason = "each test file uses its part")]
mod common;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use common::{Ground, user};
use forge_session::{Authenticated, Kind, RevokeCause, Selector, SessionLayer, Via};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use secrecy::ExposeSecret;
use tower::ServiceExt;

/// One event, and then silence for ever.
struct Silence {
    greeted: bool,
}

impl http_body::Body for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.greeted, true) {
            return Poll::Pending;
        }
        let hello = Bytes::from_static(b"data: hello\n\n");
        Poll::Ready(Some(Ok(Frame::data(hello))))
    }
}

fn router(ground: &Ground) -> Router {
    Router::new()
        .route(
            "/events",
            get(async |me: Authenticated| {
                Response::new(Body::new(me.until_revoked(Silence { greeted: false })))
            }),
        )
        .layer(SessionLayer::new(ground.sessions.clone()))
}

async fn open(router: &Router, secret: &secrecy::SecretString) -> Body {
    let cookie = format!("__Host-forge={}", secret.expose_secret());
    let request = Request::get("/events").header("cookie", cookie);
    let request = request.body(Body::empty()).unwrap();
    let mut body = router.clone().oneshot(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "data: hello\n\n");
    body
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_not_with_another() {
    let ground = Ground::new();
    let router = router(&ground);
    let (mine, other) = (ground.web("a").await, ground.web("a").await);
    let selectors = [
        Selector::Session(mine.session.id),
        Selector::User(user("a")),
    ];
    let (mut one, mut two) = (
        open(&router, &mine.secret).await,
        open(&router, &other.secret).await,
    );
    let sessions = ground.sessions.clone();
    let [first, second] = selectors;
    sessions.revoke(first, RevokeCause::User).await.unwrap();
    assert!(one.frame().await.is_none());
    assert!(futures_are_pending(&mut two).await);
    sessions.revoke(second, RevokeCause::User).await.unwrap();
    assert!(two.frame().await.is_none());
}

async fn futures_are_pending(body: &mut Body) -> bool {
    std::future::poll_fn(|cx| {
        let frame = http_body::Body::poll_frame(Pin::new(&mut *body), cx);
        Poll::Ready(frame.is_pending())
    })
    .await
}

#[tokio::test]
async fn a_stream_ends_over_a_socket_while_nothing_is_sent() {
    let ground = Ground::new();
    let created = ground.web("a").await;
    let server = test_support::serve(router(&ground)).await;
    let cookie = format!("__Host-forge={}", created.secret.expose_secret());
    let request = Request::get(format!("{}/events", server.url())).header("cookie", cookie);
    let answer = tokio::spawn(test_support::send(request.body(Body::empty()).unwrap()));
    // Only once the stream is open there is somebody to be told.
    while ground.store.reads() == 0 {
        tokio::task::yield_now().await;
    }
    ground.revoke(created.session.id).await;
    let limit = Duration::from_secs(1);
    let response = tokio::time::timeout(limit, answer).await.unwrap().unwrap();
    let whole = ["data: hello\n\n", ""];
    assert!(whole.contains(&&*String::from_utf8_lossy(response.body().as_ref())));
}

#[tokio::test]
async fn a_revocation_before_anybody_waits_is_noticed() {
    let ground = Ground::new();
    let created = ground.web("a").await;
    let layer = SessionLayer::new(ground.sessions.clone());
    let (tx, rx) = std::sync::mpsc::channel();
    let keep = get(async move |me: Authenticated| {
        tx.send(me).unwrap();
    });
    let router: Router = Router::new().route("/", keep).layer(layer);
    let cookie = format!("__Host-forge={}", created.secret.expose_secret());
    let request = Request::get("/").header("cookie", cookie);
    let request = request.body(Body::empty()).unwrap();
    router.oneshot(request).await.unwrap();
    let me = rx.recv().unwrap();
    // Somebody else's end is none of ours.
    let other = ground.web("b").await;
    ground.revoke(other.session.id).await;
    let waits = tokio::time::timeout(Duration::ZERO, me.revoked()).await;
    assert!(waits.is_err());
    ground.revoke(created.session.id).await;
    me.revoked().await;
    // And another node's, once this one is told.
    let mcp = ground.mcp("a").await;
    let vouched = Authenticated::new(mcp.session, Via::Bearer);
    let waits = tokio::time::timeout(Duration::ZERO, vouched.revoked()).await;
    assert!(
        waits.is_err(),
        "nobody watches over what somebody vouched for"
    );
    assert_eq!(vouched.session().kind, Kind::MCP);
}

#[tokio::test]
async fn another_nodes_revocation_closes_streams_once_told() {
    let ground = Ground::new();
    let router = router(&ground);
    let created = ground.web("a").await;
    let mut body = open(&router, &created.secret).await;
    let selector = Selector::Session(created.session.id);
    ground.store.revoke_behind(&selector).await;
    ground.sessions.invalidate(&selector);
    assert!(body.frame().await.is_none());
}

#[cfg(feature = "postgres")]
mod nodes {
    use forge_session::{
        AuthenticateError, Created, ManualClock, NewSession, PostgresSessionStore, Rejection,
        Sessions,
    };
    use sqlx::PgPool;

    use super::*;

    /// Longer than anything here takes, and shorter than the patience of whoever waits for a test.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Two nodes on one database, of which the second hears what the first revokes. Their time
    /// stands, so that nothing remembered is ever over.
    struct Nodes {
        pool: PgPool,
        here: Sessions,
        there: Sessions,
        router: Router,
    }

    async fn nodes() -> Option<Nodes> {
        let postgres = test_support::require(test_support::Postgres::shared())?;
        let pool = PgPool::connect(&postgres.create_database()).await.unwrap();
        let store = PostgresSessionStore::new(pool.clone());
        store.migrate().await.unwrap();
        let sessions = || {
            let builder = Sessions::builder(store.clone());
            builder.clock(ManualClock::new(common::T0)).build().unwrap()
        };
        let (here, there) = (sessions(), sessions());
        let follower = there.clone();
        tokio::spawn(async move { store.follow(&follower).await });
        let ground = Ground {
            sessions: there.clone(),
            ..Ground::new()
        };
        Some(Nodes {
            pool,
            here,
            there,
            router: router(&ground),
        })
    }

    impl Nodes {
        async fn create(&self, name: &str) -> Created {
            let new = NewSession::new(user(name), Kind::WEB);
            self.here.create(new).await.unwrap()
        }

        /// The session is over there too, and what was open for it is closed.
        async fn is_over(&self, created: &Created, mut open: Body) {
            let end = tokio::time::timeout(PATIENCE, open.frame()).await;
            assert!(end.expect("the stream is closed").is_none());
            let secret = created.secret.expose_secret();
            let found = self.there.authenticate_cookie(secret).await;
            let revoked = AuthenticateError::Rejected(Rejection::Revoked);
            assert_eq!(format!("{:?}", found.unwrap_err()), format!("{revoked:?}"));
        }
    }

    #[tokio::test]
    async fn what_one_node_revokes_the_other_hears_of_at_once() {
        let Some(nodes) = nodes().await else { return };
        let one = nodes.create("a").await;
        let stays = nodes.create("b").await;
        let (open_one, mut open_other) = (
            open(&nodes.router, &one.secret).await,
            open(&nodes.router, &stays.secret).await,
        );
        let selector = Selector::User(user("a"));
        let revoked = nodes.here.revoke(selector, RevokeCause::Admin).await;
        assert_eq!(revoked.unwrap(), 1);
        nodes.is_over(&one, open_one).await;
        assert!(futures_are_pending(&mut open_other).await);

        // One too many at once: the oldest gives way, and the other node hears of that too.
        for _ in 0..3 {
            nodes.create("b").await;
        }
        nodes.is_over(&stays, open_other).await;

        let last = nodes.create("c").await;
        let open_last = open(&nodes.router, &last.secret).await;
        let everybody = nodes.here.revoke(Selector::Everybody, RevokeCause::Admin);
        assert_eq!(everybody.await.unwrap(), 4);
        nodes.is_over(&last, open_last).await;
    }

    #[tokio::test]
    async fn what_is_revoked_while_nobody_listens_is_found_afterwards() {
        let Some(nodes) = nodes().await else { return };
        let created = nodes.create("a").await;
        let open = open(&nodes.router, &created.secret).await;
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        while sqlx::query_scalar::<_, i64>(cut)
            .fetch_one(&nodes.pool)
            .await
            .unwrap()
            == 0
        {
            tokio::task::yield_now().await;
        }
        let selector = Selector::Session(created.session.id);
        let revoked = nodes.here.revoke(selector, RevokeCause::User).await;
        assert_eq!(revoked.unwrap(), 1);
        nodes.is_over(&created, open).await;
    }
}
