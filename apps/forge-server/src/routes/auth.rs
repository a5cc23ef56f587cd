//! `/auth`: signing in with GitHub, signing out, refreshing tokens.

use axum::extract::rejection::FormRejection;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use forge_audit::{Actor, Kind as AuditKind, Outcome, Severity};
use forge_headers::{Connection, clear_site_data};
use forge_monitor::SignalKind;
use forge_session::{
    Authenticated, ClientId, Kind, NewSession, RefreshError, RevokeCause, Selector, Session,
};
use http::StatusCode;
use http::header::{ACCEPT, CACHE_CONTROL, HeaderValue, SET_COOKIE};
use http::request::Parts;
use serde::Deserialize;
use serde_json::json;

use super::device;
use super::sessions::Tokens;
use crate::accounts::AccountError;
use crate::app::App;
use crate::github::{GithubError, GithubUser};
use crate::membership::{self, Admission};
use crate::pages::{Message, html, nonce};
use crate::principal::{github_id, user_id};
use crate::problem::Problem;
use crate::sign_in::{BrowserSecret, LocalPath};
use crate::wiring::{self, Cause};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/auth/github/login", get(login))
        .route("/auth/github/callback", get(callback))
        .route("/auth/logout", post(logout))
        .route("/auth/token", post(token))
}

#[derive(Deserialize)]
struct Login {
    next: Option<String>,
}

/// Sends the browser to GitHub, with a secret to come back with.
async fn login(
    State(app): State<App>,
    parts: Parts,
    Query(login): Query<Login>,
) -> Result<Response, Problem> {
    let next = LocalPath::parse(login.next.as_deref().unwrap_or("/"));
    if is_by_another_name(&app, &parts) {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("next", next.as_str())
            .finish();
        let there = app.config.public(&format!("/auth/github/login?{query}"));
        return Ok(Redirect::to(&there).into_response());
    }
    let secret = BrowserSecret::random().map_err(|error| Problem::unavailable(&error))?;
    let begun = app.sign_ins.begin(&secret.state(), &next).await;
    begun.map_err(|error| Problem::unavailable(&error))?;
    let url = app
        .github
        .authorize_url(&app.callback_url(), &secret.state(), &secret.challenge());
    let mut response = Redirect::to(&url).into_response();
    let cookie = app.sign_in_cookie();
    for surplus in cookie.make_room(&parts.headers) {
        response.headers_mut().append(SET_COOKIE, surplus);
    }
    response
        .headers_mut()
        .append(SET_COOKIE, cookie.set(&secret));
    Ok(response)
}

/// Whether this machine was asked by another of its names than the public one. A browser keeps the
/// cookies of `localhost` and `127.0.0.1` apart, and GitHub sends it back to the public one.
fn is_by_another_name(app: &App, parts: &Parts) -> bool {
    let connection = parts.extensions.get::<Connection>();
    let host = connection.and_then(|connection| connection.host.as_ref());
    let public = &app.config.public_url;
    host.is_some_and(|host| {
        crate::config::parse::is_loopback(public)
            && host.is_loopback()
            && public.host_str() != Some(host.name())
    })
}

/// What GitHub sends back. Every field is checked before it is used.
#[derive(Deserialize)]
struct Callback {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// Why a sign-in did not come to its end.
enum Refused {
    /// The callback is not what this browser began, or GitHub does not know its code.
    Invalid(&'static str),
    /// The person said no at GitHub.
    Cancelled,
    /// The account is not on the allow-list.
    NotAllowed(GithubUser),
    /// The account may be a member, and an organisation does not let this app see it.
    Hidden(GithubUser),
    /// Something does not work.
    Unavailable(Problem),
}

impl Refused {
    fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Unavailable(Problem::unavailable(error))
    }
}

async fn callback(
    State(app): State<App>,
    parts: Parts,
    query: Result<Query<Callback>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let cookie = app.sign_in_cookie();
    let (outcome, used) = match query {
        Ok(Query(callback)) => {
            let state = callback.state.clone().unwrap_or_default();
            let ours = cookie.continues(&parts.headers, &state).is_some();
            let outcome = finish(&app, &parts, callback).await;
            (outcome, ours.then(|| cookie.clear(&state)))
        }
        Err(_) => (Err(Refused::Invalid("malformed_query")), None),
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(refused) => refuse(&app, &parts, refused),
    };
    // A secret is good for one way back, whatever came of it. What somebody else began takes
    // nothing from this browser.
    if let Some(used) = used {
        response.headers_mut().append(SET_COOKIE, used);
    }
    response
}

async fn finish(app: &App, parts: &Parts, callback: Callback) -> Result<Response, Refused> {
    let state = callback.state.ok_or(Refused::Invalid("missing_state"))?;
    let secret = app
        .sign_in_cookie()
        .continues(&parts.headers, &state)
        .ok_or(Refused::Invalid("foreign_state"))?;
    let next = app
        .sign_ins
        .finish(&state)
        .await
        .map_err(|e| Refused::unavailable(&e))?;
    let next = next.ok_or(Refused::Invalid("unknown_state"))?;
    // GitHub names itself since 2026; whoever else is named is not GitHub (RFC 9207).
    if callback.iss.is_some_and(|iss| iss != app.github.issuer()) {
        return Err(Refused::Invalid("wrong_issuer"));
    }
    match callback.error.as_deref() {
        None => {}
        Some("access_denied") => return Err(Refused::Cancelled),
        Some(_) => return Err(Refused::Invalid("error_from_github")),
    }
    let code = callback.code.filter(|code| (1..=256).contains(&code.len()));
    let code = code.ok_or(Refused::Invalid("missing_code"))?;

    let exchanged = app
        .github
        .exchange(&code, &app.callback_url(), &secret.verifier())
        .await;
    let token = exchanged.map_err(|error| match error {
        GithubError::Refused(_) => {
            tracing::warn!(%error, "GitHub did not accept a code");
            Refused::Invalid("code_refused")
        }
        error => Refused::unavailable(&error),
    })?;
    let user = app
        .github
        .user(&token.access)
        .await
        .map_err(|error| Refused::unavailable(&error))?;
    let admission = membership::admit(app, &user, &token).await;
    match admission.map_err(|error| Refused::unavailable(&error))? {
        Admission::Admitted(through) => sign_in(app, parts, &user, through, &next).await,
        Admission::NotAllowed => Err(Refused::NotAllowed(user)),
        Admission::Hidden => Err(Refused::Hidden(user)),
    }
}

/// Makes the session, once it is on record that it is made.
async fn sign_in(
    app: &App,
    parts: &Parts,
    user: &GithubUser,
    through: Option<String>,
    next: &LocalPath,
) -> Result<Response, Refused> {
    let cause = Cause::of(parts).by(Actor::new(user.id.to_string()).login(&user.login));
    let event = cause
        .event(AuditKind::Authentication, "auth.sign_in")
        .severity(Severity::Medium);
    let event = match through {
        Some(through) => event.details(&json!({ "through": through })),
        None => event,
    };
    app.audit
        .record(event)
        .await
        .map_err(|error| Refused::unavailable(&error))?;
    // A session this browser had before ends: whoever planted it gains nothing.
    if let Some(old) = parts.extensions.get::<Authenticated>() {
        let selector = Selector::Session(old.session().id);
        let revoked = app.sessions.revoke(selector, RevokeCause::SignOut);
        let revoked = cause.clone().scope(revoked).await;
        revoked.map_err(|error| Refused::unavailable(&error))?;
    }
    let new = NewSession::new(user_id(user.id), Kind::WEB).caller(wiring::caller(parts));
    let created = cause.clone().scope(app.sessions.create(new)).await;
    let created = created.map_err(|error| Refused::unavailable(&error))?;
    // A removal ends the sessions that are there; this one may have come between.
    let allowed = is_allowed(app, &created.session).await;
    if !allowed.map_err(|error| Refused::unavailable(&error))? {
        return Err(Refused::NotAllowed(user.clone()));
    }
    app.wiring.signal(SignalKind::AuthOk, &cause);
    let cookie = app
        .session_cookie()
        .set_cookie(&created.secret, created.max_age());
    let mut response = Redirect::to(next.as_str()).into_response();
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// Whether a session's user may have one; otherwise it is ended.
pub(super) async fn is_allowed(app: &App, session: &Session) -> Result<bool, AccountError> {
    let role = match github_id(&session.user) {
        Some(id) => app.accounts.role(id).await?,
        None => None,
    };
    if role.is_none() {
        let selector = Selector::Session(session.id);
        let revoked = app
            .sessions
            .revoke(selector, RevokeCause::AccountRemoved)
            .await;
        revoked.map_err(|error| AccountError::Sessions(error.into()))?;
    }
    Ok(role.is_some())
}

/// On record, and told plainly to the person, without a hint of who is allowed.
fn refuse(app: &App, parts: &Parts, refused: Refused) -> Response {
    let cause = Cause::of(parts);
    let event = |cause: &Cause| {
        cause
            .event(AuditKind::Authentication, "auth.sign_in")
            .severity(Severity::Medium)
    };
    let (status, title, text) = match refused {
        Refused::Unavailable(problem) => {
            app.wiring.audit(event(&cause).outcome(Outcome::Error));
            return problem.into_response();
        }
        Refused::Cancelled => {
            let event = event(&cause).outcome(Outcome::Failure);
            app.wiring
                .audit(event.details(&json!({ "reason": "cancelled" })));
            (
                StatusCode::FORBIDDEN,
                "Not signed in",
                "You did not let Forge sign you in at GitHub.",
            )
        }
        Refused::Invalid(reason) => {
            let event = event(&cause).outcome(Outcome::Failure);
            app.wiring
                .audit(event.details(&json!({ "reason": reason })));
            app.wiring.signal(SignalKind::AuthFailed, &cause);
            (
                StatusCode::BAD_REQUEST,
                "This sign-in is not valid",
                "It was not begun in this browser, or it is over. Begin again.",
            )
        }
        Refused::Hidden(user) => {
            let cause = cause.by(Actor::new(user.id.to_string()).login(&user.login));
            let event = event(&cause)
                .severity(Severity::High)
                .outcome(Outcome::Denied);
            app.wiring
                .audit(event.details(&json!({ "reason": "membership_hidden" })));
            (
                StatusCode::FORBIDDEN,
                "Your membership cannot be seen",
                "GitHub does not let Forge see whether you are a member. Your organisation has to \
                 approve this app, or you have to authorize it for single sign-on; then begin again.",
            )
        }
        Refused::NotAllowed(user) => {
            let cause = cause.by(Actor::new(user.id.to_string()).login(&user.login));
            let event = event(&cause)
                .severity(Severity::High)
                .outcome(Outcome::Denied);
            app.wiring
                .audit(event.details(&json!({ "reason": "not_on_allow_list" })));
            app.wiring.signal(SignalKind::AuthFailed, &cause);
            (
                StatusCode::FORBIDDEN,
                "This account is not allowed",
                "Your GitHub account may not sign in here. Ask whoever runs this server.",
            )
        }
    };
    if prefers_html(parts) {
        let id = crate::request_id::of(parts);
        let nonce = nonce(parts);
        let page = html(&Message::new(title, text, id, &nonce));
        (status, Html(page)).into_response()
    } else {
        Problem::new(status, text).into_response()
    }
}

/// Ends the session this is asked with, if there is one.
async fn logout(State(app): State<App>, parts: Parts) -> Result<Response, Problem> {
    if let Some(session) = parts.extensions.get::<Authenticated>() {
        let selector = Selector::Session(session.session().id);
        let revoked = app.sessions.revoke(selector, RevokeCause::SignOut).await;
        revoked.map_err(|error| Problem::unavailable(&error))?;
        let cause = Cause::of(&parts);
        let event = cause.event(AuditKind::Authentication, "auth.sign_out");
        app.wiring.audit(event.severity(Severity::Medium));
    }
    let mut response = if prefers_html(&parts) {
        Redirect::to("/").into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    };
    let headers = response.headers_mut();
    headers.append(SET_COOKIE, app.session_cookie().clear_cookie());
    let (name, value) = clear_site_data();
    headers.insert(name, value);
    Ok(response)
}

fn prefers_html(parts: &Parts) -> bool {
    let accept = parts
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// `POST /auth/token`, RFC 6749, section 6, and RFC 8628, section 3.4.
#[derive(Deserialize)]
struct Grant {
    grant_type: String,
    refresh_token: Option<String>,
    device_code: Option<String>,
    client_id: String,
}

async fn token(
    State(app): State<App>,
    parts: Parts,
    form: Result<Form<Grant>, FormRejection>,
) -> Response {
    let grant = match form {
        Ok(Form(grant)) => grant,
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return oauth_error(error.status(), "invalid_request");
        }
        Err(_) => return oauth_error(StatusCode::BAD_REQUEST, "invalid_request"),
    };
    let Ok(client) = ClientId::new(grant.client_id) else {
        return oauth_error(StatusCode::BAD_REQUEST, "invalid_request");
    };
    let refresh_token = match (&*grant.grant_type, grant.refresh_token, grant.device_code) {
        ("refresh_token", Some(token), _) => token,
        (device::GRANT, _, Some(code)) => return device::token(&app, &parts, &code, &client).await,
        ("refresh_token" | device::GRANT, ..) => {
            return oauth_error(StatusCode::BAD_REQUEST, "invalid_request");
        }
        _ => return oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    };
    let caller = wiring::caller(&parts);
    match app.sessions.refresh(&refresh_token, &client, &caller).await {
        Ok(new) => {
            match is_allowed(&app, &new.session).await {
                Ok(true) => {}
                Ok(false) => return oauth_error(StatusCode::BAD_REQUEST, "invalid_grant"),
                Err(error) => return Problem::unavailable(&error).into_response(),
            }
            let tokens = Tokens::new(&new.session, &new.access_token, &new.refresh_token);
            let no_store = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
            ([no_store], Json(tokens)).into_response()
        }
        Err(RefreshError::Rejected(_)) => oauth_error(StatusCode::BAD_REQUEST, "invalid_grant"),
        Err(error) => Problem::unavailable(&error).into_response(),
    }
}

/// RFC 6749, section 5.2.
pub(super) fn oauth_error(status: StatusCode, code: &'static str) -> Response {
    (status, Json(json!({ "error": code }))).into_response()
}
