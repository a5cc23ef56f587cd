//! `/api/sessions`: what I am signed in with, here and elsewhere.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use forge_session::{
    ClientId, Created, Kind, NewSession, RevokeCause, Selector, Session, SessionId,
};
use http::StatusCode;
use http::request::Parts;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::rfc3339;
use crate::app::App;
use crate::principal::{Person, Principal, TrustedPerson, user_id};
use crate::problem::Problem;
use crate::wiring;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(
            "/api/sessions",
            get(list).post(create).delete(revoke_others),
        )
        .route("/api/sessions/{id}", delete(revoke))
}

/// A session, as its user sees it.
#[derive(Serialize)]
pub(super) struct SessionView {
    id: String,
    kind: String,
    client: Option<String>,
    created_at: String,
    last_used_at: String,
    expires_at: String,
    created_address: Option<String>,
    created_user_agent: Option<String>,
    address: Option<String>,
    user_agent: Option<String>,
    current: bool,
}

impl SessionView {
    pub(super) fn of(session: &Session, seen_by: Option<&Principal>) -> Self {
        Self {
            id: session.id.to_string(),
            kind: session.kind.to_string(),
            client: session
                .client
                .as_ref()
                .map(|client| client.as_str().to_owned()),
            created_at: rfc3339(session.created.as_micros()),
            last_used_at: rfc3339(session.last_used.as_micros()),
            expires_at: rfc3339(session.expires().as_micros()),
            created_address: session.created_ip.map(|ip| ip.to_string()),
            created_user_agent: session.created_user_agent.clone(),
            address: session.last_ip.map(|ip| ip.to_string()),
            user_agent: session.user_agent.clone(),
            current: seen_by.is_some_and(|principal| principal.session().id == session.id),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Sessions {
    sessions: Vec<SessionView>,
}

pub(super) async fn of(app: &App, principal: &Principal) -> Result<Sessions, Problem> {
    let sessions = app.sessions.list(&user_id(principal.github_id)).await;
    let sessions = sessions.map_err(|error| Problem::unavailable(&error))?;
    let view = |session: &Session| SessionView::of(session, Some(principal));
    Ok(Sessions {
        sessions: sessions.iter().map(view).collect(),
    })
}

async fn list(State(app): State<App>, principal: Principal) -> Result<Json<Sessions>, Problem> {
    of(&app, &principal).await.map(Json)
}

/// The body of `POST /api/sessions`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// `mcp`: the only kind that is made this way.
    kind: String,
    /// What the token is for, such as `my-agent`.
    client: String,
}

/// Tokens, in the words of RFC 6749, section 5.1.
#[derive(Serialize)]
pub(super) struct Tokens {
    session: SessionView,
    pub(super) access_token: String,
    token_type: &'static str,
    pub(super) expires_in: u64,
    pub(super) refresh_token: String,
}

impl Tokens {
    pub(super) fn new(
        session: &Session,
        access: &forge_session::AccessToken,
        refresh: &secrecy::SecretString,
    ) -> Self {
        Self {
            session: SessionView::of(session, None),
            access_token: access.token.expose_secret().to_owned(),
            token_type: "Bearer",
            expires_in: access.expires_in.as_secs(),
            refresh_token: refresh.expose_secret().to_owned(),
        }
    }
}

async fn create(
    State(app): State<App>,
    TrustedPerson(principal): TrustedPerson,
    parts: Parts,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Tokens>), Problem> {
    let shape = r#"send application/json such as {"kind":"mcp","client":"my-agent"}"#;
    let Json(wanted) = wanted.map_err(|error| Problem::of_body(error.status(), shape))?;
    if wanted.kind != Kind::MCP.as_str() {
        return Err(Problem::bad_request(r#""kind" must be "mcp""#));
    }
    let client = ClientId::new(wanted.client).map_err(|_| {
        Problem::bad_request(r#""client" must be 1 to 256 bytes without control characters"#)
    })?;
    let made = for_agent(&app, &principal, client, &parts).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// A session for an agent of that name, and its tokens.
pub(super) async fn for_agent(
    app: &App,
    principal: &Principal,
    client: ClientId,
    parts: &Parts,
) -> Result<Tokens, Problem> {
    let new = NewSession::new(user_id(principal.github_id), Kind::MCP)
        .client(client)
        .caller(wiring::caller(parts));
    let created = app.sessions.create(new).await;
    let Created {
        session, secret, ..
    } = created.map_err(|error| Problem::unavailable(&error))?;
    let access = app.sessions.issue_access_token(&session);
    let access = access.map_err(|error| Problem::unavailable(&error))?;
    Ok(Tokens::new(&session, &access, &secret))
}

async fn revoke(
    State(app): State<App>,
    Person(principal): Person,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let unknown = || Problem::not_found("you have no such session");
    let session = id.parse::<SessionId>().map_err(|_| unknown())?;
    let selector = Selector::SessionOf {
        user: user_id(principal.github_id),
        session,
    };
    match app.sessions.revoke(selector, RevokeCause::User).await {
        Ok(0) => Err(unknown()),
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

/// All but the one this is asked with.
async fn revoke_others(
    State(app): State<App>,
    Person(principal): Person,
) -> Result<StatusCode, Problem> {
    let user = user_id(principal.github_id);
    let selector = Selector::AllBut {
        user,
        keep: principal.session().id,
    };
    match app.sessions.revoke(selector, RevokeCause::User).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}
