//! `/api/admin/limits`: what is left to one user or address, taking it away, and giving it back.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use forge_audit::{AuditContext, Severity};
use forge_ratelimit::{AdjustError, Key, RateLimiter, Store, Verdict};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::config::parse;
use crate::principal::Admin;
use crate::problem::Problem;
use crate::wiring::client_ip;

const SHAPE: &str =
    "name whom it is about by `user`, the number of a GitHub account, or by `address`";
const TAKE_SHAPE: &str = r#"send application/json such as {"user":1002,"block":"15m"} or {"address":"192.0.2.1","penalty":5}, with or without a "policy"; "block" is a duration, "penalty" the units, one or more"#;
const POLICIES: &str = "no policy of that name counts them: users are counted by web, mcp and admin; addresses by address, network, auth, callback, health and anonymous";

pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/admin/limits", get(look).post(take).delete(forget))
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
    left(&app, whom).await
}

async fn left(app: &App, whom: Whom) -> Result<Json<Value>, Problem> {
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
    let mut answer = json!({ "limits": limits });
    if let Some(id) = whom.user {
        let concurrent = &app.limits.concurrent;
        answer["concurrent"] = json!({
            "under_way": concurrent.under_way(&Key::user(id.to_be_bytes())),
            "max": concurrent.max(),
        });
    }
    Ok(Json(answer))
}

/// What is taken away, and from whom.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Take {
    user: Option<u64>,
    address: Option<IpAddr>,
    /// This policy alone; without one, each that counts them.
    policy: Option<String>,
    /// Every request is refused for so long.
    block: Option<String>,
    /// So many units are used up, there or not.
    penalty: Option<u32>,
}

#[derive(Clone, Copy)]
enum Measure {
    Block(Duration),
    Penalty(u32),
}

/// Blocks for a while, or uses units up. Policies that each node counts by itself are changed on
/// the node that is asked.
async fn take(
    State(app): State<App>,
    Admin(admin): Admin,
    Extension(context): Extension<AuditContext>,
    parts: http::request::Parts,
    body: Result<Json<Take>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    context.action("admin.limits.take");
    context.severity(Severity::Medium);
    let Json(body) = body.map_err(|error| Problem::of_body(error.status(), TAKE_SHAPE))?;
    let refused = || Problem::bad_request(TAKE_SHAPE);
    let whom = Whom {
        user: body.user,
        address: body.address,
    };
    if whom.user.is_some() == whom.address.is_some() {
        return Err(refused());
    }
    context.resource(whom.resource());
    let measure = match (&body.block, body.penalty) {
        (Some(time), None) => Measure::Block(parse::duration(time).map_err(|_| refused())?),
        (None, Some(units @ 1..)) => Measure::Penalty(units),
        _ => return Err(refused()),
    };
    match measure {
        Measure::Block(time) => {
            context.action("admin.limits.block");
            context.detail("seconds", time.as_secs());
        }
        Measure::Penalty(units) => {
            context.action("admin.limits.penalize");
            context.detail("units", units);
        }
    }
    let policy = body.policy.as_deref();
    if let Some(policy) = policy {
        let mut known = whom.keys().flat_map(|(policies, _)| policies);
        if !known.any(|known| *known == policy) {
            return Err(Problem::bad_request(POLICIES));
        }
        context.detail("policy", policy);
    }
    let own_address = client_ip(&parts).map(Key::address);
    let own = whom.user == Some(admin.github_id)
        || whom
            .address
            .map(Key::address)
            .is_some_and(|it| Some(it) == own_address);
    if own && matches!(measure, Measure::Block(_)) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this would lock out whoever asks for it",
        ));
    }
    for (policies, key) in whom.keys() {
        let asked = |name: &&&str| policy.is_none_or(|policy| policy == **name);
        for policy in policies.iter().filter(asked) {
            change(&app.limits.by_address, policy, &key, measure).await?;
            change(&app.limits.by_class, policy, &key, measure).await?;
        }
    }
    left(&app, whom).await
}

async fn change<S: Store>(
    limiter: &RateLimiter<S>,
    policy: &str,
    key: &Key,
    measure: Measure,
) -> Result<(), Problem> {
    let done = match measure {
        Measure::Block(time) => limiter.block(policy, key, time).await,
        Measure::Penalty(units) => limiter.penalize(policy, key, units).await,
    };
    known(done).map(drop)
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
        "wait_seconds": verdict.wait.as_nanos().div_ceil(1_000_000_000) as u64,
    })
}
