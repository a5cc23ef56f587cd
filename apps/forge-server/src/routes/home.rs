//! `GET /`: the sign-in link, or who I am. `POST /tokens`: its form for a token for an agent.

use axum::extract::rejection::FormRejection;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use forge_session::{ClientId, Kind};
use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;

use super::{rfc3339, sessions};
use crate::app::App;
use crate::pages::{AgentToken, Home, SessionRow, html, nonce};
use crate::principal::{Principal, TrustedPerson, user_id};
use crate::problem::Problem;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(home))
        .route("/tokens", post(token))
}

async fn home(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let principal = parts.extensions.get::<Principal>();
    let sessions = match principal {
        Some(principal) => {
            let sessions = app.sessions.list(&user_id(principal.github_id)).await;
            sessions.map_err(|error| Problem::unavailable(&error))?
        }
        None => Vec::new(),
    };
    let rows = sessions.into_iter().map(|session| {
        let last_used = rfc3339(session.last_used.as_micros());
        SessionRow {
            id: session.id.to_string(),
            kind: session.kind.to_string(),
            // A program names itself: that may not pass for what stands around it.
            client: session
                .client
                .map(|client| forge_audit::escape(client.as_str()).into_owned()),
            from: session.last_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            last_used_readable: to_the_minute(&last_used),
            last_used,
            current: principal.is_some_and(|principal| principal.session().id == session.id),
        }
    });
    let page = Home {
        nonce: &nonce(&parts),
        principal,
        is_person: principal.is_some_and(|principal| principal.session().kind == Kind::WEB),
        sessions: rows.collect(),
    };
    Ok(Html(html(&page)).into_response())
}

/// What the form sends.
#[derive(Deserialize)]
struct Wanted {
    /// What the token is for.
    client: String,
}

/// Makes a token for an agent, and shows it this once. Like the form that signs out it is what the
/// cross-origin guard lets through: sent by a page of this server, which the browser says.
async fn token(
    State(app): State<App>,
    TrustedPerson(principal): TrustedPerson,
    parts: Parts,
    wanted: Result<Form<Wanted>, FormRejection>,
) -> Result<(StatusCode, Html<String>), Problem> {
    let shape = "send a form with `client`, the name of what the token is for";
    let Form(wanted) = wanted.map_err(|error| Problem::of_body(error.status(), shape))?;
    let client = ClientId::new(wanted.client.trim()).map_err(|_| {
        Problem::bad_request("the name must be 1 to 256 bytes without control characters")
    })?;
    let name = client.to_string();
    let made = sessions::for_agent(&app, &principal, client, &parts).await?;
    let page = AgentToken {
        nonce: &nonce(&parts),
        client: &name,
        access_token: &made.access_token,
        minutes: made.expires_in / 60,
        refresh_token: &made.refresh_token,
        mcp: &app.resource(),
        token: &app.config.public("/auth/token"),
    };
    Ok((StatusCode::CREATED, Html(html(&page))))
}

/// A time in RFC 3339 as people write it.
fn to_the_minute(time: &str) -> String {
    match time.get(..16).and_then(|minute| minute.split_once('T')) {
        Some((day, minute)) => format!("{day} {minute} UTC"),
        None => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_times_to_the_minute() {
        let time = rfc3339(1_796_000_000_123_456);
        assert_eq!(to_the_minute(&time), "2026-11-30 00:53 UTC");
    }
}
