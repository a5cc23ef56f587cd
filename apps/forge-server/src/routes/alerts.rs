//! `/api/admin/silences` and `/api/admin/alerts`: what nobody wants to hear for a time, and what could
//! not be delivered.

use std::time::{Duration, SystemTime};

use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use forge_audit::{AuditContext, Kind, Severity};
use forge_monitor::{Clock as _, DeadLetter, LiftError, Silence, Timestamp};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::rfc3339;
use crate::alerts::{MAX_DEAD, scope};
use crate::app::App;
use crate::config::parse;
use crate::principal::Admin;
use crate::problem::Problem;

/// How far ahead a silence may end: nobody is to forget one for good.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);
/// How many may hold at once: as many as the monitor reads.
const MAX_SILENCES: usize = 1000;
/// How long a pattern and a comment may be, in bytes.
const MAX_PATTERN: usize = 200;
const MAX_COMMENT: usize = 1000;
const SHAPE: &str = r#"send application/json such as {"scenario":"failed_*","scope":"network 192.0.2.*","for":"2h","comment":"planned work"}, or with "until":"2026-11-30T18:00:00Z""#;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/admin/silences", get(silences).post(silence))
        .route("/api/admin/silences/{id}", delete(unsilence))
        .route("/api/admin/alerts/dead", get(dead))
        .route("/api/admin/alerts/dead/{id}/retry", post(retry))
}

/// A silence, as an admin sees it.
pub(super) fn silence_view(silence: &Silence) -> Value {
    json!({
        "id": silence.id.to_string(),
        "scenario": &*silence.scenario,
        "scope": &*silence.scope,
        "since": rfc3339(silence.since.as_micros()),
        "until": rfc3339(silence.until.as_micros()),
        "by": &*silence.by,
        "comment": &*silence.comment,
    })
}

async fn silences(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
) -> Result<Json<Value>, Problem> {
    context.action("admin.silences.read");
    let silences = app.monitor.silences().await;
    let silences = silences.map_err(|error| Problem::unavailable(&error))?;
    let silences: Vec<_> = silences.iter().map(silence_view).collect();
    Ok(Json(json!({ "silences": silences })))
}

/// The body of `POST /api/admin/silences`: an end, as a time or by how long it is until then.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    scenario: String,
    #[serde(default = "any")]
    scope: String,
    #[serde(rename = "for")]
    length: Option<String>,
    until: Option<String>,
    #[serde(default)]
    comment: String,
}

fn any() -> String {
    "*".to_owned()
}

impl Wanted {
    /// When it ends.
    fn until(&self, now: Timestamp) -> Result<Timestamp, &'static str> {
        let until = match (&self.length, &self.until) {
            (Some(length), None) => {
                let length = parse::duration(length);
                now + length.map_err(|_| r#""for" is a duration, such as 30m, 2h or 7d"#)?
            }
            (None, Some(until)) => {
                let until = humantime::parse_rfc3339(until);
                let until: SystemTime = until
                    .map_err(|_| r#""until" is a time in UTC, such as 2026-11-30T18:00:00Z"#)?;
                until.into()
            }
            (Some(_), Some(_)) => return Err(r#"give "for" or "until", not both"#),
            (None, None) => {
                return Err(r#"say how long: "for":"2h" or "until":"2026-11-30T18:00:00Z""#);
            }
        };
        match until {
            past if past <= now => Err("a silence ends in the future"),
            far if far > now + LONGEST => Err("a silence may last 90 days"),
            until => Ok(until),
        }
    }

    fn silence(self, by: String, now: Timestamp) -> Result<Silence, &'static str> {
        let until = self.until(now)?;
        let is_pattern = |text: &str| (1..=MAX_PATTERN).contains(&text.len());
        if !is_pattern(&self.scenario) || !is_pattern(&self.scope) {
            return Err(r#""scenario" and "scope" have 1 to 200 bytes"#);
        }
        if self.comment.len() > MAX_COMMENT {
            return Err(r#""comment" has at most 1000 bytes"#);
        }
        let texts = [&self.scenario, &self.scope, &self.comment];
        if texts.iter().any(|text| text.contains(char::is_control)) {
            return Err("no text of a silence may hold control characters");
        }
        let scope = scope(&self.scope)?;
        Ok(Silence::new(self.scenario, now, until)
            .scope(scope)
            .by(by, self.comment))
    }
}

async fn silence(
    State(app): State<App>,
    Admin(admin): Admin,
    Extension(context): Extension<AuditContext>,
    body: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    context.kind(Kind::ConfigurationChange);
    context.action("admin.silences.add");
    // Whoever silences alerts may have something to hide.
    context.severity(Severity::High);
    let Json(wanted) = body.map_err(|error| Problem::of_body(error.status(), SHAPE))?;
    let now = app.clock.now();
    let by = format!("github:{}", admin.github_id);
    let silence = wanted.silence(by, now).map_err(Problem::bad_request)?;
    context.resource(silence.id.to_string());
    context.detail("scenario", &*silence.scenario);
    context.detail("scope", &*silence.scope);
    context.detail("until", rfc3339(silence.until.as_micros()));
    let held = app.monitor.silences().await;
    let held = held.map_err(|error| Problem::unavailable(&error))?;
    if held.len() >= MAX_SILENCES {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "as many silences hold as may: end some first",
        ));
    }
    let view = silence_view(&silence);
    match app.monitor.silence(silence).await {
        Ok(()) => Ok((StatusCode::CREATED, Json(view))),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

async fn unsilence(
    State(app): State<App>,
    Admin(admin): Admin,
    Extension(context): Extension<AuditContext>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    context.kind(Kind::ConfigurationChange);
    context.action("admin.silences.end");
    context.severity(Severity::Medium);
    let unknown = "there is no such silence";
    let id = id
        .parse::<Uuid>()
        .map_err(|_| Problem::not_found(unknown))?;
    context.resource(id.to_string());
    let by = format!("github:{}", admin.github_id);
    done(app.monitor.unsilence(id, by).await, unknown)
}

fn letter_view(letter: &DeadLetter) -> Value {
    let (delivery, alert) = (&letter.delivery, &letter.delivery.alert);
    json!({
        "id": delivery.id.to_string(),
        "sink": &*delivery.sink,
        "given_up": rfc3339(letter.at.as_micros()),
        "attempts": delivery.attempts,
        "reason": letter.reason.as_str(),
        "alert": {
            "id": alert.id.to_string(),
            "scenario": &*alert.scenario,
            "scope": alert.scope,
            "severity": alert.severity.as_str(),
            "state": alert.state.as_str(),
            "summary": alert.summary,
            "first": rfc3339(alert.first.as_micros()),
            "last": rfc3339(alert.last.as_micros()),
            "count": alert.count,
        },
    })
}

async fn dead(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
) -> Result<Json<Value>, Problem> {
    context.action("admin.alerts.read");
    let dead = app.monitor.dead_letters(MAX_DEAD).await;
    let dead = dead.map_err(|error| Problem::unavailable(&error))?;
    let dead: Vec<_> = dead.iter().map(letter_view).collect();
    Ok(Json(json!({ "dead": dead })))
}

async fn retry(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    context.action("admin.alerts.retry");
    context.severity(Severity::Medium);
    let unknown = "no alert that was given up has this id";
    let id = id
        .parse::<Uuid>()
        .map_err(|_| Problem::not_found(unknown))?;
    context.resource(id.to_string());
    done(app.monitor.requeue(id).await, unknown)
}

fn done(done: Result<(), LiftError>, unknown: &'static str) -> Result<StatusCode, Problem> {
    match done {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(LiftError::NotFound) => Err(Problem::not_found(unknown)),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}
