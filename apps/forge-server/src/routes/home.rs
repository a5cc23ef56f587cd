//! `GET /`: the sign-in link, or who I am.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::rfc3339;
use crate::app::App;
use crate::pages::{Home, SessionRow, html, nonce};
use crate::principal::{Principal, user_id};
use crate::problem::Problem;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/", get(home))
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
            from: session.last_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            last_used_readable: to_the_minute(&last_used),
            last_used,
            current: principal.is_some_and(|principal| principal.session().id == session.id),
        }
    });
    let page = Home {
        nonce: &nonce(&parts),
        principal,
        sessions: rows.collect(),
    };
    Ok(Html(html(&page)).into_response())
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
