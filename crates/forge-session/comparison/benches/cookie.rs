//! A request with a session cookie: a bare route, Forge with the session in its cache, and
//! tower-sessions with its SQLite store. What a layer costs is its figure less the bare route's.
//!
//! Forge's store is not asked while the session is remembered, so which one it is does not matter.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::response::Response;
use axum::routing::get;
use criterion::{Criterion, criterion_group, criterion_main};
use forge_session::{
    Authenticated, Kind, MemorySessionStore, NewSession, SessionLayer, Sessions, UserId,
};
use secrecy::ExposeSecret;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use tower_sessions::{Expiry, Session, SessionManagerLayer, cookie::time};
use tower_sessions_sqlx_store::{SqliteStore, sqlx};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn ask(router: &Router, path: &str, cookie: &str) -> Response {
    let request = Request::get(path).header(COOKIE, cookie);
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert!(response.status().is_success());
    response
}

async fn forge() -> (Router, String) {
    let sessions = Sessions::builder(MemorySessionStore::new());
    let sessions = sessions
        .cache(10_000, Duration::from_secs(60))
        .build()
        .unwrap();
    let new = NewSession::new(UserId::new("github:1001").unwrap(), Kind::WEB);
    let created = sessions.create(new).await.unwrap();
    let router = Router::new()
        .route(
            "/",
            get(async |me: Authenticated| me.session().user.to_string()),
        )
        .layer(SessionLayer::new(sessions));
    let cookie = format!("__Host-forge={}", created.secret.expose_secret());
    (router, cookie)
}

async fn tower_sessions(folder: &std::path::Path) -> (Router, String) {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.join("sessions.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let store = SqliteStore::new(pool);
    store.migrate().await.unwrap();
    let expiry = Expiry::OnInactivity(time::Duration::hours(24));
    let router = Router::new()
        .route(
            "/",
            get(async |session: Session| session.get::<String>("user").await.unwrap().unwrap()),
        )
        .route(
            "/sign-in",
            get(async |session: Session| {
                session.insert("user", "github:1001").await.unwrap();
            }),
        )
        .layer(SessionManagerLayer::new(store).with_expiry(expiry));
    let response = ask(&router, "/sign-in", "").await;
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    (router, cookie)
}

fn cookie(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let bare: Router = Router::new().route("/", get(async || "github:1001".to_owned()));
    let (forge, forge_cookie) = runtime.block_on(forge());
    let (tower, tower_cookie) = runtime.block_on(tower_sessions(folder.path()));
    let mut group = criterion.benchmark_group("cookie");
    for (name, router, cookie) in [
        ("bare route", &bare, &forge_cookie),
        ("forge-session, cached", &forge, &forge_cookie),
        ("tower-sessions, SQLite", &tower, &tower_cookie),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| runtime.block_on(ask(router, "/", cookie)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(3));
    targets = cookie
}
criterion_main!(benches);
