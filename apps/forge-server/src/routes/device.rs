//! Signing in from a terminal: the device flow (RFC 8628), with GitHub's behind it.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Response};
use axum::{Form, Router};
use forge_audit::{Actor, Kind as AuditKind, Outcome, Severity};
use forge_monitor::SignalKind;
use forge_session::{ClientId, Created, Kind, NewSession};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::request::Parts;
use serde::Deserialize;
use serde_json::json;

use super::auth::{is_allowed, oauth_error};
use super::sessions::Tokens;
use crate::app::App;
use crate::device::Poll;
use crate::github::{GithubError, GithubUser, OauthErrorCode};
use crate::membership::{self, Admission};
use crate::principal::user_id;
use crate::problem::Problem;
use crate::wiring::{self, Cause};

/// The grant of RFC 8628, section 3.4.
pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub(super) fn routes() -> Router<App> {
    Router::new().route("/auth/device", axum::routing::post(begin))
}

/// `POST /auth/device`, RFC 8628, section 3.1.
#[derive(Deserialize)]
struct Begin {
    client_id: String,
}

async fn begin(State(app): State<App>, form: Result<Form<Begin>, FormRejection>) -> Response {
    let client = form
        .ok()
        .and_then(|Form(begin)| ClientId::new(begin.client_id).ok());
    let Some(client) = client else {
        return oauth_error(StatusCode::BAD_REQUEST, "invalid_request");
    };
    let start = match app.github.begin_device().await {
        Ok(start) => start,
        Err(GithubError::Refused(code)) => {
            tracing::warn!(%code, "GitHub did not begin a device flow");
            return oauth_error(StatusCode::BAD_REQUEST, "unauthorized_client");
        }
        Err(error) => return Problem::unavailable(&error).into_response(),
    };
    match app.device_logins.begin(&start, &client).await {
        Ok(Some(begun)) => no_store(Json(json!({
            "device_code": begun.device_code.as_str(),
            "user_code": start.user_code,
            "verification_uri": start.verification_uri,
            "expires_in": start.expires_in.as_secs(),
            "interval": begun.interval.as_secs(),
        }))),
        Ok(None) => oauth_error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        Err(error) => Problem::unavailable(&error).into_response(),
    }
}

/// `POST /auth/token` with a device code: RFC 8628, sections 3.4 and 3.5.
pub(super) async fn token(
    app: &App,
    parts: &Parts,
    device_code: &str,
    client: &ClientId,
) -> Response {
    let refused = |code| oauth_error(StatusCode::BAD_REQUEST, code);
    let (github, client) = match app.device_logins.poll(device_code, client).await {
        Ok(Poll::Ask { github, client }) => (github, client),
        Ok(Poll::SlowDown) => return refused("slow_down"),
        Ok(Poll::Expired) => return refused("expired_token"),
        Ok(Poll::Unknown) => {
            // Somebody guesses, or comes back after the end.
            app.wiring.signal(SignalKind::AuthFailed, &Cause::of(parts));
            return refused("invalid_grant");
        }
        Err(error) => return Problem::unavailable(&error).into_response(),
    };
    let token = match app.github.poll_device(&github).await {
        Ok(token) => token,
        Err(GithubError::Refused(OauthErrorCode::AuthorizationPending)) => {
            return refused("authorization_pending");
        }
        Err(GithubError::Refused(OauthErrorCode::SlowDown)) => {
            return match app.device_logins.slow_down(device_code).await {
                Ok(()) => refused("slow_down"),
                Err(error) => Problem::unavailable(&error).into_response(),
            };
        }
        Err(GithubError::Refused(code)) => {
            if let Err(error) = app.device_logins.end(device_code).await {
                return Problem::unavailable(&error).into_response();
            }
            return refused(match code {
                OauthErrorCode::AccessDenied => "access_denied",
                OauthErrorCode::ExpiredToken => "expired_token",
                _ => "invalid_grant",
            });
        }
        // The person may have answered: what GitHub says the next time counts.
        Err(error) => return Problem::unavailable(&error).into_response(),
    };
    if let Err(error) = app.device_logins.end(device_code).await {
        return Problem::unavailable(&error).into_response();
    }
    let user = match app.github.user(&token.access).await {
        Ok(user) => user,
        Err(error) => return Problem::unavailable(&error).into_response(),
    };
    match membership::admit(app, &user, &token).await {
        Ok(Admission::Admitted(through)) => sign_in(app, parts, &user, through, client).await,
        Ok(Admission::NotAllowed) => not_allowed(app, parts, &user, "not_on_allow_list"),
        Ok(Admission::Hidden) => not_allowed(app, parts, &user, "membership_hidden"),
        Err(error) => Problem::unavailable(&error).into_response(),
    }
}

/// Makes the session, once it is on record that it is made.
async fn sign_in(
    app: &App,
    parts: &Parts,
    user: &GithubUser,
    through: Option<String>,
    client: ClientId,
) -> Response {
    let cause = Cause::of(parts).by(Actor::new(user.id.to_string()).login(&user.login));
    let event = cause
        .event(AuditKind::Authentication, "auth.sign_in")
        .severity(Severity::Medium)
        .details(&json!({ "by": "device", "through": through }));
    if let Err(error) = app.audit.record(event).await {
        return Problem::unavailable(&error).into_response();
    }
    let new = NewSession::new(user_id(user.id), Kind::MCP)
        .client(client)
        .caller(wiring::caller(parts));
    let Created {
        session, secret, ..
    } = match cause.clone().scope(app.sessions.create(new)).await {
        Ok(created) => created,
        Err(error) => return Problem::unavailable(&error).into_response(),
    };
    // A removal ends the sessions that are there; this one may have come between.
    match is_allowed(app, &session).await {
        Ok(true) => {}
        Ok(false) => return not_allowed(app, parts, user, "not_on_allow_list"),
        Err(error) => return Problem::unavailable(&error).into_response(),
    }
    app.wiring.signal(SignalKind::AuthOk, &cause);
    match app.sessions.issue_access_token(&session) {
        Ok(access) => no_store(Json(Tokens::new(&session, &access, &secret))),
        Err(error) => Problem::unavailable(&error).into_response(),
    }
}

fn not_allowed(app: &App, parts: &Parts, user: &GithubUser, reason: &str) -> Response {
    let cause = Cause::of(parts).by(Actor::new(user.id.to_string()).login(&user.login));
    let event = cause
        .event(AuditKind::Authentication, "auth.sign_in")
        .severity(Severity::High)
        .outcome(Outcome::Denied);
    app.wiring
        .audit(event.details(&json!({ "reason": reason, "by": "device" })));
    app.wiring.signal(SignalKind::AuthFailed, &cause);
    oauth_error(StatusCode::BAD_REQUEST, "access_denied")
}

fn no_store(response: impl IntoResponse) -> Response {
    let no_store = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ([no_store], response).into_response()
}
