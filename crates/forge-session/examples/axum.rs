//! An Axum service with sessions for people: sign in, see who you are, see your sessions, sign out.
//!
//! `cargo run -p forge-session --features axum --example axum`, then
//! `curl -sc jar -X POST localhost:3000/sign-in/alice; curl -sb jar localhost:3000/me`
//!
//! Whoever asks is signed in here, to keep the example short: put your own proof before it.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use forge_session::{
    Authenticated, CreateError, Kind, MemorySessionStore, NewSession, RequireSessionLayer,
    RevokeCause, Selector, SessionCookie, SessionLayer, Sessions, UserId,
};
use http::StatusCode;
use http::header::SET_COOKIE;

/// Over plain http on this machine. A service that people reach by https takes
/// `SessionCookie::new()`.
const COOKIE: SessionCookie = SessionCookie::insecure_for_loopback();

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sessions = Sessions::builder(MemorySessionStore::new()).build()?;
    // What ends somebody's sessions everywhere wants a sign-in of the last quarter of an hour.
    let recent = RequireSessionLayer::new().signed_in_within(Duration::from_secs(15 * 60));
    let app = Router::new()
        .route("/sessions", delete(end_all).layer(recent).get(list))
        .route("/me", get(me))
        .route("/sign-out", post(sign_out))
        .route("/sign-in/{user}", post(sign_in))
        .with_state(sessions.clone())
        .layer(SessionLayer::new(sessions.clone()).cookie(COOKIE));
    tokio::spawn(clean_up(sessions));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn me(me: Option<Authenticated>) -> String {
    match me {
        Some(me) => format!("{}\n", me.session().user),
        None => "nobody\n".to_owned(),
    }
}

async fn list(State(sessions): State<Sessions>, me: Authenticated) -> Response {
    match sessions.list(&me.session().user).await {
        Ok(mine) => {
            let ids: Vec<String> = mine.iter().map(|session| session.id.to_string()).collect();
            Json(ids).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn sign_in(
    State(sessions): State<Sessions>,
    Path(user): Path<String>,
    before: Option<Authenticated>,
) -> Result<impl IntoResponse, StatusCode> {
    let user = UserId::new(user).map_err(|_| StatusCode::BAD_REQUEST)?;
    // A session that was there before the sign-in ends with it: session fixation.
    if let Some(before) = before {
        end(&sessions, Selector::Session(before.session().id)).await?;
    }
    let created = sessions.create(NewSession::new(user, Kind::WEB)).await;
    let created = created.map_err(|error| match error {
        CreateError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    })?;
    let set_cookie = COOKIE.set_cookie(&created.secret, created.max_age());
    Ok((AppendHeaders([(SET_COOKIE, set_cookie)]), "signed in\n"))
}

async fn sign_out(
    State(sessions): State<Sessions>,
    me: Authenticated,
) -> Result<impl IntoResponse, StatusCode> {
    end(&sessions, Selector::Session(me.session().id)).await?;
    let clear = COOKIE.clear_cookie();
    Ok((AppendHeaders([(SET_COOKIE, clear)]), "signed out\n"))
}

async fn end_all(
    State(sessions): State<Sessions>,
    me: Authenticated,
) -> Result<StatusCode, StatusCode> {
    end(&sessions, Selector::User(me.session().user.clone())).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end(sessions: &Sessions, selector: Selector) -> Result<(), StatusCode> {
    let ended = sessions.revoke(selector, RevokeCause::SignOut).await;
    ended.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(())
}

/// Writes the uses of sessions every few seconds, and deletes what is over every hour.
async fn clean_up(sessions: Sessions) {
    let mut rounds = 0_u32;
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        rounds = rounds.wrapping_add(1);
        let done = match rounds % 720 {
            0 => sessions.sweep().await.map(drop),
            _ => sessions.flush().await,
        };
        if let Err(error) = done {
            eprintln!("{error}");
        }
    }
}
