//! `/api/admin/limits`: what is left to one user or address, and forgetting what it owes.

use std::net::IpAddr;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use forge_audit::{AuditContext, Severity};
use forge_ratelimit::{AdjustError, Key, RateLimiter, Store, Verdict};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::principal::Admin;
use crate::problem::Problem;

const SHAPE: &str =
    "name whom it is about by `user`, the number of a GitHub account, or by `address`";

pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/admin/limits", get(look).delete(forget))
}

/// Whom it is about.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whom {
    user: Option<u64>,
    address: Option<IpAddr>,
}

impl Whom {
    fn of(query: Result<Query<Self>, QueryRejection>) -> Result<Self, Problem> {
        let whom = query.ok().map(|Query(whom)| whom);
        whom.filter(|whom| whom.user.is_some() != whom.address.is_some())
            .ok_or_else(|| Problem::bad_request(SHAPE))
    }

    /// The keys that a policy may count them by: an address has its block besides.
    fn keys(self) -> impl Iterator<Item = (&'static [&'static str], Key)> {
        let user = self.user.map(|id| Key::user(id.to_be_bytes()));
        let user = user.map(|key| (&["web", "mcp", "admin"][..], key));
        let by_address = &["address", "auth", "callback", "health", "anonymous"][..];
        let address = self.address.map(|ip| (by_address, Key::address(ip)));
        let network = self.address.and_then(Key::allocation);
        let network = network.map(|key| (&["network"][..], key));
        user.into_iter().chain(address).chain(network)
    }

    fn resource(self) -> String {
        match (self.user, self.address) {
            (Some(id), _) => format!("github:{id}"),
            (None, Some(address)) => address.to_string(),
            (None, None) => String::new(),
        }
    }
}

/// What is left under each policy that counts them. Looking charges nothing.
async fn look(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
    query: Result<Query<Whom>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    context.action("admin.limits.read");
    let whom = Whom::of(query)?;
    context.resource(whom.resource());
    let mut limits = serde_json::Map::new();
    for (policies, key) in whom.keys() {
        for policy in policies {
            if let Some(verdict) = peek(&app.limits.by_address, policy, &key).await? {
                limits.insert((*policy).to_owned(), view(&verdict));
            }
            if let Some(verdict) = peek(&app.limits.by_class, policy, &key).await? {
                limits.insert((*policy).to_owned(), view(&verdict));
            }
        }
    }
    Ok(Json(json!({ "limits": limits })))
}

/// Forgets what they owe under all policies.
async fn forget(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
    query: Result<Query<Whom>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    context.action("admin.limits.reset");
    context.severity(Severity::Medium);
    let whom = Whom::of(query)?;
    context.resource(whom.resource());
    for (policies, key) in whom.keys() {
        for policy in policies {
            known(app.limits.by_address.reset(policy, &key).await)?;
            known(app.limits.by_class.reset(policy, &key).await)?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn peek<S: Store>(
    limiter: &RateLimiter<S>,
    policy: &str,
    key: &Key,
) -> Result<Option<Verdict>, Problem> {
    known(limiter.peek(policy, key).await)
}

/// Nothing where the limiter has no such policy: the other has it.
fn known(verdict: Result<Verdict, AdjustError>) -> Result<Option<Verdict>, Problem> {
    match verdict {
        Ok(verdict) => Ok(Some(verdict)),
        Err(AdjustError::UnknownPolicy) => Ok(None),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

fn view(verdict: &Verdict) -> Value {
    json!({
        "remaining": verdict.remaining,
        "blocked": verdict.blocked,
        "allowed": verdict.allowed,
        "wait_seconds": verdict.wait.as_secs_f64(),
    })
}
