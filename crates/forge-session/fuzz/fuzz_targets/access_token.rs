//! Whatever stands after `Bearer`: it passes for a token only when it is one that was signed.
#![no_main]

use std::future::Future;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use forge_session::{
    AccessTokens, AuthenticateError, ManualClock, MemorySessionStore, Rejection, Sessions,
    SigningKey, Timestamp, TokenKeys,
};
use libfuzzer_sys::fuzz_target;

/// A well-signed token, so that the corpus begins where it matters. Its session is gone.
const SIGNED: &str = include_str!("../corpus/access_token/signed");

static SESSIONS: LazyLock<Sessions> = LazyLock::new(|| {
    let secret = b"a shared secret of the fuzz target".to_vec();
    let key = SigningKey::from_shared_secret(&secret.into()).expect("a key");
    let tokens = AccessTokens::new("https://a.example", "https://b.example", TokenKeys::new(key));
    let clock = ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000));
    let sessions = Sessions::builder(MemorySessionStore::new())
        .access_tokens(tokens)
        .clock(clock)
        .build()
        .expect("sessions");
    assert!(passes(&sessions, SIGNED.trim()), "the corpus is of today");
    sessions
});

/// Whether the token is good, but for its session.
fn passes(sessions: &Sessions, token: &str) -> bool {
    let asked = pin!(sessions.authenticate_bearer(token));
    // Nothing in memory is waited for.
    let Poll::Ready(found) = asked.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it waits");
    };
    match found.expect_err("there is no session") {
        AuthenticateError::Rejected(rejection) => rejection == Rejection::Unknown,
        AuthenticateError::Store(_) | _ => panic!("the store failed"),
    }
}

fuzz_target!(|text: &str| {
    assert_eq!(passes(&SESSIONS, text), text == SIGNED.trim());
});
