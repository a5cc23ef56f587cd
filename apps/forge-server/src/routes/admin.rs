//! `/api/admin`: for admins at a browser; every request is on record.

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Extension, Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use forge_audit::{AuditContext, Kind, Severity};
use forge_monitor::LiftError;
use forge_session::{RevokeCause, Selector};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::rfc3339;
use crate::accounts::{AccountError, Allowed, Role};
use crate::app::App;
use crate::principal::{Admin, user_id};
use crate::problem::Problem;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/admin/audit", get(super::audit::list))
        .route("/api/admin/audit/tail", get(super::tail::tail))
        .route("/api/admin/users", get(users).post(allow))
        .route("/api/admin/users/{github_id}", delete(disallow))
        .route(
            "/api/admin/users/{github_id}/sessions",
            delete(end_sessions_of),
        )
        .route("/api/admin/sessions", delete(end_all_sessions))
        .route("/api/admin/blocks", get(blocks))
        .route("/api/admin/blocks/{id}", delete(lift))
}

async fn users(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
) -> Result<Json<Value>, Problem> {
    context.action("admin.users.read");
    let allowed = app
        .accounts
        .allowed()
        .await
        .map_err(|error| Problem::unavailable(&error))?;
    let members = app.accounts.members().await;
    let members = members.map_err(|error| Problem::unavailable(&error))?;
    let members: Vec<Value> = members
        .iter()
        .map(|member| {
            json!({
                "github_id": member.github_id,
                "login": member.login,
                "role": Role::User.as_str(),
                "through": member.through,
                "verified_at": rfc3339(member.verified_at),
            })
        })
        .collect();
    Ok(Json(json!({ "users": allowed, "members": members })))
}

/// The body of `POST /api/admin/users`: an id, or a login that is resolved to its id once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow {
    github_id: Option<u64>,
    login: Option<String>,
    #[serde(default = "user_role")]
    role: Role,
}

fn user_role() -> Role {
    Role::User
}

async fn allow(
    State(app): State<App>,
    Admin(admin): Admin,
    Extension(context): Extension<AuditContext>,
    body: Result<Json<Allow>, JsonRejection>,
) -> Result<(StatusCode, Json<Allowed>), Problem> {
    context.kind(Kind::AllowListChange);
    context.action("admin.users.allow");
    context.severity(Severity::High);
    let shape = r#"send application/json such as {"login":"octo-user","role":"user"} or {"github_id":1002}; a "role" is "user" or "admin""#;
    let Json(body) = body.map_err(|error| Problem::of_body(error.status(), shape))?;
    let allowed = match (body.github_id, body.login) {
        (Some(github_id), None) if i64::try_from(github_id).is_ok_and(|id| id > 0) => Allowed {
            github_id,
            role: body.role,
            login: None,
        },
        (None, Some(login)) => {
            let account = resolve(&app, admin.github_id, &login).await?;
            Allowed {
                github_id: account.id,
                role: body.role,
                login: Some(account.login),
            }
        }
        _ => return Err(Problem::bad_request(shape)),
    };
    context.resource(format!("github:{}", allowed.github_id));
    context.detail("role", allowed.role.as_str());
    match app.accounts.allow(&allowed, admin.github_id).await {
        Ok(()) => Ok((StatusCode::CREATED, Json(allowed))),
        Err(AccountError::Exists) => Err(Problem::new(
            StatusCode::CONFLICT,
            "the account is on the allow-list already",
        )),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

/// The account that bears a login today, as GitHub says. The login is not kept as its name.
async fn resolve(app: &App, admin: u64, login: &str) -> Result<crate::github::GithubUser, Problem> {
    let well_formed = (1..=64).contains(&login.len())
        && login
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !well_formed {
        return Err(Problem::bad_request(
            "`login` must be the login of a GitHub account",
        ));
    }
    let token = app
        .accounts
        .fresh_token(&app.github, admin)
        .await
        .map_err(|error| Problem::unavailable(&error))?;
    let token = token.ok_or_else(|| Problem::forbidden("sign in again, then add the account"))?;
    match app.github.account_of(login, &token).await {
        Ok(account) => Ok(account),
        Err(crate::github::GithubError::Status(StatusCode::NOT_FOUND)) => {
            Err(Problem::not_found("no GitHub account bears this login"))
        }
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

/// The account that a path names.
fn account_of(id: Result<Path<u64>, PathRejection>) -> Result<u64, Problem> {
    let fix = "name the account by its number, as in /api/admin/users/1002";
    id.map(|Path(id)| id).map_err(|_| Problem::bad_request(fix))
}

async fn disallow(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<StatusCode, Problem> {
    context.kind(Kind::AllowListChange);
    context.action("admin.users.disallow");
    context.severity(Severity::High);
    let github_id = account_of(id)?;
    context.resource(format!("github:{github_id}"));
    let removed = match app.accounts.disallow(github_id).await {
        Ok(removed) => removed,
        Err(AccountError::LastAdmin) => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "the last admin cannot be removed",
            ));
        }
        Err(error) => return Err(Problem::unavailable(&error)),
    };
    // Also where it was removed before: then this repairs what did not succeed that time.
    let selector = Selector::User(user_id(github_id));
    let revoked = app
        .sessions
        .revoke(selector, RevokeCause::AccountRemoved)
        .await;
    revoked.map_err(|error| Problem::unavailable(&error))?;
    if removed {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("the account is not on the allow-list"))
    }
}

/// Ends what a user is signed in with; the account stays on the allow-list.
async fn end_sessions_of(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<StatusCode, Problem> {
    context.action("admin.sessions.end");
    context.severity(Severity::High);
    let github_id = account_of(id)?;
    context.resource(format!("github:{github_id}"));
    let selector = Selector::User(user_id(github_id));
    let revoked = app.sessions.revoke(selector, RevokeCause::Admin).await;
    revoked.map_err(|error| Problem::unavailable(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends what everybody is signed in with, the admin who asks included.
async fn end_all_sessions(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
) -> Result<StatusCode, Problem> {
    context.action("admin.sessions.end_all");
    context.severity(Severity::High);
    let revoked = app
        .sessions
        .revoke(Selector::Everybody, RevokeCause::Admin)
        .await;
    revoked.map_err(|error| Problem::unavailable(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn blocks(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
) -> Json<Value> {
    context.action("admin.blocks.read");
    let blocks: Vec<_> = app
        .monitor
        .blocks()
        .iter()
        .map(|decision| crate::blocks::view(decision))
        .collect();
    Json(json!({ "blocks": blocks }))
}

async fn lift(
    State(app): State<App>,
    Admin(admin): Admin,
    Extension(context): Extension<AuditContext>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    context.action("admin.blocks.lift");
    context.severity(Severity::Medium);
    let unknown = || Problem::not_found("there is no such block");
    let id = id.parse::<Uuid>().map_err(|_| unknown())?;
    context.resource(id.to_string());
    let by = format!("github:{}", admin.github_id);
    match app.monitor.lift(id, by).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(LiftError::NotFound) => Err(unknown()),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}
