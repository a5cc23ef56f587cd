//! What it costs to know who is calling: cached, cold, by cookie and by token.
//!
//! `cargo bench -p forge-session --all-features`; the figures against `tower-sessions` come from
//! the folder `comparison`, whose dependencies are older.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use forge_session::{
    AccessTokens, Authenticated, ClientId, Created, Kind, MemorySessionStore, NewSession,
    SessionId, SessionLayer, SessionStore, Sessions, SigningKey, SqliteSessionStore, SystemClock,
    TokenKeys, Touch, UserId,
};
use http::Request;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::runtime::Runtime;
use tower::ServiceExt;

const SESSIONS: usize = 100_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn sessions(store: impl SessionStore) -> Sessions {
    let keys = TokenKeys::new(SigningKey::generate().unwrap());
    let tokens = AccessTokens::new("https://forge.example", "https://forge.example/mcp", keys);
    let builder = Sessions::builder(store).access_tokens(tokens);
    // Bench runs are longer than what is remembered by default.
    builder
        .cache(10_000, Duration::from_secs(60))
        .build()
        .unwrap()
}

async fn web(sessions: &Sessions, user: &str) -> Created {
    let new = NewSession::new(UserId::new(user).unwrap(), Kind::WEB);
    sessions.create(new).await.unwrap()
}

async fn mcp(sessions: &Sessions) -> Created {
    let client = ClientId::new("bench").unwrap();
    let new = NewSession::new(UserId::new("github:1001").unwrap(), Kind::MCP).client(client);
    sessions.create(new).await.unwrap()
}

async fn ask(router: &Router, cookie: &str) {
    let request = Request::get("/").header("cookie", cookie);
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert!(response.status().is_success());
}

fn cookie_by_cache(criterion: &mut Criterion) {
    let runtime = runtime();
    let sessions = sessions(MemorySessionStore::new());
    let created = runtime.block_on(web(&sessions, "github:1001"));
    let cookie = format!("__Host-forge={}", created.secret.expose_secret());
    let bare: Router = Router::new().route("/", get(async || "ok"));
    let layered: Router = Router::new()
        .route("/", get(async |_: Authenticated| "ok"))
        .layer(SessionLayer::new(sessions));
    let mut group = criterion.benchmark_group("cookie");
    group.bench_function("bare route", |bench| {
        bench.iter(|| runtime.block_on(ask(&bare, &cookie)));
    });
    group.bench_function("cached session", |bench| {
        bench.iter(|| runtime.block_on(ask(&layered, &cookie)));
    });
    group.finish();
}

fn access_token(criterion: &mut Criterion) {
    let runtime = runtime();
    let sessions = sessions(MemorySessionStore::new());
    let created = runtime.block_on(mcp(&sessions));
    let issue = || -> SecretString { sessions.issue_access_token(&created.session).unwrap().token };
    let jwks = sessions.access_tokens().unwrap().keys().jwks();
    let key = DecodingKey::from_ed_components(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&["https://forge.example"]);
    validation.set_audience(&["https://forge.example/mcp"]);
    let mut group = criterion.benchmark_group("access token");
    group.bench_function("bare jsonwebtoken decode", |bench| {
        bench.iter_batched(
            issue,
            |token| {
                let token = token.expose_secret();
                black_box(
                    jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation).unwrap(),
                );
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("first time", |bench| {
        bench.iter_batched(
            issue,
            |token| {
                let session = sessions.authenticate_bearer(token.expose_secret());
                black_box(runtime.block_on(session).unwrap());
            },
            BatchSize::SmallInput,
        );
    });
    let token = issue();
    group.bench_function("again", |bench| {
        bench.iter(|| {
            let session = sessions.authenticate_bearer(token.expose_secret());
            black_box(runtime.block_on(session).unwrap());
        });
    });
    group.finish();
}

/// As many sessions as there are to be, in one transaction; returns their secrets.
async fn fill(pool: &SqlitePool) -> Vec<SecretString> {
    let now = forge_session::Clock::now(&SystemClock).as_micros();
    let day = 24 * 3600 * 1_000_000;
    let mut transaction = pool.begin().await.unwrap();
    let mut secrets = Vec::with_capacity(SESSIONS);
    for n in 0..SESSIONS {
        let mut secret = [0; 48];
        getrandom::fill(&mut secret).unwrap();
        sqlx::query(
            "INSERT INTO sessions (id, epoch, user_id, kind, family_hash, current_hash, \
             generation, created_at, last_used_at, idle_expires_at, absolute_expires_at, \
             last_ip, user_agent) \
             VALUES ($1, 0, $2, 'web', $3, $4, 0, $5, $5, $6, $7, '192.0.2.1', $8)",
        )
        .bind(SessionId::new().to_string())
        .bind(format!("github:{n}"))
        .bind(Sha256::digest(&secret[..16]).to_vec())
        .bind(Sha256::digest(secret).to_vec())
        .bind(now)
        .bind(now + day)
        .bind(now + day * 7)
        .bind("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .execute(&mut *transaction)
        .await
        .unwrap();
        secrets.push(URL_SAFE_NO_PAD.encode(secret).into());
    }
    transaction.commit().await.unwrap();
    secrets
}

fn cold(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("forge.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off);
    let (sessions, secrets) = runtime.block_on(async {
        let pool = SqlitePoolOptions::new().max_connections(2);
        let pool = pool.connect_with(options).await.unwrap();
        let store = SqliteSessionStore::new(pool.clone());
        store.migrate().await.unwrap();
        let sessions = Sessions::builder(store)
            .cache(0, Duration::ZERO)
            .build()
            .unwrap();
        let secrets = fill(&pool).await;
        (sessions, secrets)
    });
    // A walk through all of them in an order that no page of the database shares.
    let mut at = 0;
    let mut next = || {
        at = (at + 61_803) % SESSIONS;
        &secrets[at]
    };
    let mut took: Vec<Duration> = (0..20_000)
        .map(|_| {
            let secret = next().expose_secret();
            let began = Instant::now();
            let session = runtime.block_on(sessions.authenticate_cookie(secret));
            black_box(session.unwrap());
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    let at = |share: usize| took[took.len() * share / 1000];
    println!(
        "cold, of {SESSIONS} in SQLite: median {:?}, 99th percentile {:?}, 99.9th {:?}",
        at(500),
        at(990),
        at(999)
    );
    criterion.bench_function("cold from SQLite", |bench| {
        bench.iter(|| {
            let session = sessions.authenticate_cookie(next().expose_secret());
            black_box(runtime.block_on(session).unwrap());
        });
    });
}

/// How long a clean-up of as many sessions as there are to be holds the one writer of SQLite, and how
/// long somebody else who writes meanwhile waits for it.
fn sweep(_: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("forge.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    runtime.block_on(async {
        let pool = SqlitePoolOptions::new().max_connections(4);
        let pool = pool.connect_with(options).await.unwrap();
        let store = SqliteSessionStore::new(pool.clone());
        store.migrate().await.unwrap();
        fill(&pool).await;
        let sessions = Sessions::builder(store.clone()).build().unwrap();
        let fresh = web(&sessions, "github:fresh").await.session;
        let later = fresh.created + Duration::from_secs(30 * 24 * 3600);

        let (done, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let writer = {
            let store = store.clone();
            tokio::spawn(async move {
                let mut waits = Vec::new();
                let mut at = fresh.created;
                while let Err(tokio::sync::oneshot::error::TryRecvError::Empty) = stopped.try_recv()
                {
                    at = at + Duration::from_micros(1);
                    let touch = Touch {
                        id: fresh.id,
                        at,
                        idle_expires: fresh.idle_expires,
                        ip: None,
                        user_agent: None,
                    };
                    let began = Instant::now();
                    store.touch(&[touch], at).await.unwrap();
                    waits.push(began.elapsed());
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                waits
            })
        };
        let mut held = Vec::new();
        let mut deleted = 0;
        loop {
            let began = Instant::now();
            let count = store.sweep(later, SWEEP_BATCH).await.unwrap();
            held.push(began.elapsed());
            deleted += count;
            if count == 0 {
                break;
            }
            // As the server does.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(done);
        println!(
            "sweep of {deleted} in batches of {SWEEP_BATCH}: {}",
            shares(held)
        );
        println!(
            "another writer meanwhile: {}",
            shares(writer.await.unwrap())
        );
    });
}

/// As many as a step of `Sessions::sweep` deletes.
const SWEEP_BATCH: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

fn shares(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 1000).min(took.len() - 1)];
    format!(
        "{} times, median {:?}, 99th percentile {:?}, longest {:?}",
        took.len(),
        at(500),
        at(990),
        at(1000)
    )
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(3));
    targets = cookie_by_cache, access_token, cold, sweep
}
criterion_main!(benches);
