//! What the README shows of the crates compiles as it is printed.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use secrecy::SecretString;
use tower::ServiceExt;

type Shown<T> = Result<T, Box<dyn Error>>;

async fn hello() {}

#[rustfmt::skip]
fn headers() -> Shown<Router> {
    use forge_headers::{ConnectionLayer, SecurityHeaders, SecurityHeadersLayer, TrustedProxies};

    let app = Router::new().route("/", get(hello))
        .layer(SecurityHeadersLayer::new(SecurityHeaders::web_app()))
        .layer(ConnectionLayer::new(TrustedProxies::parse(["10.0.0.0/8", "::1"])?));
    Ok(app)
}

#[rustfmt::skip]
fn ratelimit() -> Shown<Router> {
    use forge_ratelimit::{MemoryStore, PeerAddress, Policy, Quota, RateLimitLayer, RateLimiter};

    let web = Policy::new("web", Quota::per_minute(60, 10)?, PeerAddress);
    let limiter = RateLimiter::builder(MemoryStore::new(100_000)).policy(web).build()?;
    let app = Router::new().route("/", get(hello)).layer(RateLimitLayer::new(limiter));
    Ok(app)
}

#[rustfmt::skip]
async fn session() -> Shown<(Router, http::HeaderValue)> {
    use forge_session::{Authenticated, Kind, MemorySessionStore, NewSession, SessionCookie, SessionLayer, Sessions, UserId};

    let sessions = Sessions::builder(MemorySessionStore::new()).build()?;
    let app = Router::new()
        .route("/me", get(async |me: Authenticated| me.session().user.to_string()))
        .layer(SessionLayer::new(sessions.clone()));
    // Somebody has proved to be user 1001 of GitHub: answer with the cookie of a new session.
    let user = UserId::new("github:1001")?;
    let created = sessions.create(NewSession::new(user, Kind::WEB)).await?;
    let set_cookie = SessionCookie::new().set_cookie(&created.secret, created.max_age());
    Ok((app, set_cookie))
}

#[rustfmt::skip]
fn crypto(user_id: &str, token: &str) -> Shown<SecretString> {
    use forge_crypto::{Context, Keyring, Vault};

    // Made once, by `Keyring::generate()?.create_file("keyring")?` or `forge key generate keyring`.
    let vault = Vault::new(&Keyring::from_file("keyring")?);
    let place = Context::new("users", "github_token", &user_id);
    let sealed = vault.seal(&place, &token)?;          // fv1.<key id>.…
    let token = vault.open_string(&place, &sealed)?;
    Ok(token)
}

#[rustfmt::skip]
async fn audit() -> Shown<()> {
    use forge_audit::{Actor, AuditLog, Event, Kind, SqliteAuditStore};

    let store = SqliteAuditStore::open("audit.db").await?;
    store.migrate().await?;
    let log = AuditLog::open(Arc::new(store)).await?;
    log.record(Event::new(Kind::Session, "session.revoke").actor(Actor::new("583231"))).await?;
    log.verify().await?;
    Ok(())
}

#[rustfmt::skip]
async fn monitor(client: IpAddr) -> Shown<Router> {
    use forge_monitor::{GuardLayer, LogSink, Monitor, PeerAddress, Signal, SignalKind};

    let monitor = Monitor::builder().built_in_scenarios().alert_sink("log", LogSink).start().await?;
    let app = Router::new().route("/", get(hello)).layer(GuardLayer::new(monitor.guard(), PeerAddress));
    monitor.emit(Signal::new(SignalKind::AuthFailed).address(client));
    Ok(app)
}

/// The crates that ask for an address take the function of the crate that knows it.
#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart() {
    use forge_headers::{ConnectionLayer, TrustedProxies, client_ip};
    use forge_monitor::{GuardLayer, Monitor};
    use forge_ratelimit::{ByAddress, MemoryStore, Policy, Quota, RateLimitLayer, RateLimiter};

    let monitor = Monitor::builder().start().await.unwrap();
    let quota = Quota::per_minute(60, 1).unwrap();
    let limiter = RateLimiter::builder(MemoryStore::new(1000))
        .policy(Policy::new("web", quota, ByAddress(client_ip)))
        .build()
        .unwrap();
    let app = Router::new()
        .route("/", get(hello))
        .layer(RateLimitLayer::new(limiter))
        .layer(GuardLayer::new(monitor.guard(), client_ip))
        .layer(ConnectionLayer::new(
            "10.0.0.0/8".parse::<TrustedProxies>().unwrap(),
        ));
    for (client, status) in [("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200)] {
        let proxy = std::net::SocketAddr::from(([10, 0, 0, 1], 9));
        let request = http::Request::get("/")
            .header("x-forwarded-for", client)
            .extension(axum::extract::ConnectInfo(proxy))
            .body(axum::body::Body::empty());
        let answer = app.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{client}");
    }
}

#[tokio::test]
async fn what_is_shown_of_the_crates_compiles_as_it_is_printed() {
    let own: Vec<_> = include_str!("readme.rs").lines().map(str::trim).collect();
    let readme = include_str!("../../../../README.md");
    let blocks: Vec<_> = readme.split("```rust\n").skip(1).collect();
    assert_eq!(blocks.len(), 6);
    for block in blocks {
        let (block, _) = block.split_once("```").unwrap();
        let block: Vec<_> = block.trim().lines().map(str::trim).collect();
        let is_here = own.windows(block.len()).any(|lines| lines == block);
        assert!(is_here, "not in this file: {block:#?}");
    }
    // What needs no file runs, too.
    assert!(headers().is_ok());
    assert!(ratelimit().is_ok());
    let (_, cookie) = session().await.unwrap();
    assert!(cookie.to_str().unwrap().starts_with("__Host-"));
    assert!(monitor([192, 0, 2, 1].into()).await.is_ok());
    assert!(crypto("1", "gho_1").is_err());
    drop(audit());
}
