//! What is remembered, what is not, and how a revocation overtakes it.

#[expect(dead_code, reason = "each test file uses its part")]
mod common;

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{Gate, Ground, T0, user};
use forge_session::{
    AuthenticateError, BuildError, Caller, Kind, MemorySessionStore, NewSession, OnRevoked,
    Rejection, RevokeCause, Selector, Session, SessionId, Sessions,
};
use secrecy::{ExposeSecret, SecretString};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn cookie(sessions: &Sessions, secret: &SecretString) -> Result<Session, AuthenticateError> {
    sessions.authenticate_cookie(secret.expose_secret()).await
}

fn is_revoked(result: &Result<Session, AuthenticateError>) -> bool {
    matches!(result, Err(AuthenticateError::Rejected(Rejection::Revoked)))
}

#[tokio::test]
async fn the_store_is_asked_once_in_five_seconds() {
    let ground = Ground::new();
    let web = ground.web("a").await;
    let mcp = ground.mcp("a").await;
    let token = ground
        .sessions
        .issue_access_token(&mcp.session)
        .unwrap()
        .token;
    for _ in 0..10 {
        cookie(&ground.sessions, &web.secret).await.unwrap();
        let bearer = ground.sessions.authenticate_bearer(token.expose_secret());
        bearer.await.unwrap();
    }
    assert_eq!(ground.store.reads(), 2);
    ground.clock.advance(SECOND * 5);
    cookie(&ground.sessions, &web.secret).await.unwrap();
    assert_eq!(ground.store.reads(), 3);
    ground.clock.set(T0);
    cookie(&ground.sessions, &web.secret).await.unwrap();
    assert_eq!(
        ground.store.reads(),
        4,
        "a clock that is set back is no reason to trust"
    );
}

#[tokio::test]
async fn every_way_to_revoke_holds_from_the_next_request_on() {
    let ground = Ground::new();
    let one = |id| Selector::Session(id);
    let selectors: [fn(SessionId) -> Selector; 5] = [
        one,
        |id| Selector::SessionOf {
            user: user("a"),
            session: id,
        },
        |_| Selector::User(user("a")),
        |_| Selector::Kind {
            user: user("a"),
            kind: Kind::WEB,
        },
        |_| Selector::Everybody,
    ];
    for selector in selectors {
        let created = ground.web("a").await;
        cookie(&ground.sessions, &created.secret).await.unwrap();
        let selector = selector(created.session.id);
        ground
            .sessions
            .revoke(selector, RevokeCause::Admin)
            .await
            .unwrap();
        assert!(is_revoked(&cookie(&ground.sessions, &created.secret).await));
    }
    // By eviction too.
    let first = ground.web("b").await;
    cookie(&ground.sessions, &first.secret).await.unwrap();
    ground.clock.advance(SECOND);
    for _ in 0..3 {
        ground.web("b").await;
    }
    assert!(is_revoked(&cookie(&ground.sessions, &first.secret).await));
}

#[tokio::test]
async fn what_was_read_before_a_revocation_is_not_remembered_after_it() {
    let gate = Gate::default();
    let ground = Ground::new();
    let sessions = Sessions::builder(gate.around(ground.store.clone()))
        .clock(ground.clock.clone())
        .build()
        .unwrap();
    let created = ground.web("a").await;
    gate.close();
    let slow = {
        let (sessions, secret) = (sessions.clone(), created.secret.clone());
        tokio::spawn(async move { cookie(&sessions, &secret).await })
    };
    gate.someone_waits().await;
    let selector = Selector::Session(created.session.id);
    sessions
        .revoke(selector, RevokeCause::SignOut)
        .await
        .unwrap();
    gate.open();
    // The read took place before the revocation, so this request may still pass; no other may.
    assert!(slow.await.unwrap().is_ok());
    assert!(is_revoked(&cookie(&sessions, &created.secret).await));
}

#[tokio::test]
async fn a_revocation_nobody_waits_for_leaves_nothing_remembered() {
    let gate = Gate::default();
    let ground = Ground::new();
    let sessions = Sessions::builder(gate.around(ground.store.clone()))
        .clock(ground.clock.clone())
        .build()
        .unwrap();
    let created = ground.web("a").await;
    cookie(&sessions, &created.secret).await.unwrap();
    gate.close();
    let selector = Selector::Session(created.session.id);
    let mut abandoned = Box::pin(sessions.revoke(selector.clone(), RevokeCause::SignOut));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(abandoned.as_mut().poll(&mut cx), Poll::Pending));
    drop(abandoned);
    gate.open();
    // The store may do it any time now: until that is certain each request asks it.
    cookie(&sessions, &created.secret).await.unwrap();
    ground.store.revoke_behind(&selector).await;
    assert!(is_revoked(&cookie(&sessions, &created.secret).await));
}

#[tokio::test]
async fn another_node_learns_by_being_told_or_after_five_seconds() {
    let ground = Ground::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let node = |on_revoked: Box<dyn Fn(&Selector) + Send + Sync>| {
        Sessions::builder(ground.store.clone())
            .clock(ground.clock.clone())
            .on_revoked(move |selector: &Selector| on_revoked(selector))
            .build()
            .unwrap()
    };
    let record = Arc::clone(&told);
    let here = node(Box::new(move |s| record.lock().unwrap().push(s.clone())));
    let there = node(Box::new(|_| {}));
    let new = || NewSession::new(user("a"), Kind::WEB);
    for tells in [true, false] {
        let created = here.create(new()).await.unwrap();
        cookie(&there, &created.secret).await.unwrap();
        let selector = Selector::Session(created.session.id);
        here.revoke(selector, RevokeCause::SignOut).await.unwrap();
        assert!(is_revoked(&cookie(&here, &created.secret).await));
        assert!(cookie(&there, &created.secret).await.is_ok());
        if tells {
            told.lock()
                .unwrap()
                .iter()
                .for_each(|s| there.invalidate(s));
        } else {
            ground.clock.advance(SECOND * 5);
        }
        assert!(is_revoked(&cookie(&there, &created.secret).await));
    }
    assert_eq!(told.lock().unwrap().len(), 2);
    ().on_revoked(&Selector::Everybody);
}

#[tokio::test]
async fn another_node_does_not_take_a_new_secret_for_theft() {
    let ground = Ground::new();
    let there = Sessions::builder(ground.store.clone())
        .clock(ground.clock.clone())
        .access_tokens(common::access_tokens())
        .build()
        .unwrap();
    let created = ground.web("a").await;
    cookie(&there, &created.secret).await.unwrap();
    let next = ground.rotate_behind(&created).await;
    assert!(cookie(&there, &next).await.is_ok());
    assert!(
        cookie(&there, &created.secret).await.is_ok(),
        "in the overlap"
    );
}

async fn use_it(ground: &Ground, secret: &SecretString) {
    let session = cookie(&ground.sessions, secret).await.unwrap();
    let caller = Caller::default();
    ground.sessions.touch(&session, &caller).await.unwrap();
}

#[tokio::test]
async fn uses_are_written_together_and_none_is_lost_to_a_failure() {
    let ground = Ground::new();
    let owners = ["a", "b", "c", "d"];
    let mut all = Vec::new();
    for owner in owners {
        all.push(ground.web(owner).await);
    }
    ground.clock.advance(MINUTE);
    use_it(&ground, &all[0].secret).await;
    assert_eq!(ground.store.touches(), 1, "nothing was written for long");
    ground.clock.advance(SECOND * 4);
    for created in &all[1..] {
        use_it(&ground, &created.secret).await;
    }
    assert_eq!(ground.store.touches(), 1);
    ground.store.fail_writes(true);
    assert!(ground.sessions.flush().await.is_err());
    ground.store.fail_writes(false);
    ground.sessions.flush().await.unwrap();
    ground.sessions.flush().await.unwrap();
    assert_eq!(ground.store.touches(), 2);
    for owner in &owners[1..] {
        let session = ground.sessions.list(&user(owner)).await.unwrap().remove(0);
        assert_eq!(session.last_used, T0 + MINUTE + SECOND * 4);
    }
}

#[tokio::test]
async fn a_use_shortly_before_the_end_is_written_at_once() {
    let ground = Ground::new();
    let (a, b) = (ground.web("a").await, ground.web("b").await);
    ground.clock.advance(MINUTE * 60 * 24 - SECOND * 3);
    use_it(&ground, &a.secret).await;
    use_it(&ground, &b.secret).await;
    ground.clock.advance(MINUTE);
    for secret in [&a.secret, &b.secret] {
        cookie(&ground.sessions, secret).await.unwrap();
    }
}

#[tokio::test]
async fn a_slow_touch_of_a_revoked_session_writes_nothing() {
    let ground = Ground::new();
    let created = ground.web("a").await;
    ground.clock.advance(MINUTE);
    let slow = cookie(&ground.sessions, &created.secret).await.unwrap();
    ground.revoke(slow.id).await;
    ground
        .sessions
        .touch(&slow, &Caller::default())
        .await
        .unwrap();
    ground.sessions.flush().await.unwrap();
    assert!(is_revoked(&cookie(&ground.sessions, &created.secret).await));
}

#[test]
fn refuses_to_remember_for_more_than_a_minute() {
    let builder = Sessions::builder(MemorySessionStore::new()).cache(10, SECOND * 61);
    assert!(matches!(builder.build(), Err(BuildError::CacheTtl)));
    let builder = Sessions::builder(MemorySessionStore::new()).cache(0, Duration::ZERO);
    assert!(builder.build().is_ok());
}
