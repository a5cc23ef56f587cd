//! `GET /api/admin/audit`: the audit log, by a filter that whoever follows it can use too.

use std::collections::HashSet;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use forge_audit::{
    AuditContext, Kind, MAX_LIMIT, Merged, Order, Outcome, Query, QueryError, Record, Severity,
    Timestamp,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::principal::Admin;
use crate::problem::Problem;

/// Events of one page, if nothing else is asked for.
const LIMIT: usize = 200;

/// What an admin asks for; without a filter, the latest events.
pub(super) struct Wanted {
    query: Query,
    nodes: Nodes,
    /// It says how long a page is, or where it begins.
    has_pages: bool,
}

/// Whose logs are read.
#[derive(Clone, Copy)]
enum Nodes {
    /// That of the node that answers.
    Own,
    /// Those of all nodes that share a database, as one; on a node by itself, its own.
    All,
}

static NO_KIND: LazyLock<String> = LazyLock::new(|| {
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    format!("`kind` must be one of {}", kinds.join(", "))
});

impl Wanted {
    /// Reads it from the query of the address.
    ///
    /// # Errors
    /// A parameter that means nothing here: what is not understood is never left out, since more
    /// would be found than was asked for.
    pub(super) fn of(query: Option<&str>) -> Result<Self, Problem> {
        let mut wanted = Self {
            query: Query::new().order(Order::NewestFirst).limit(LIMIT),
            nodes: Nodes::Own,
            has_pages: false,
        };
        let mut given = HashSet::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            wanted = wanted.with(&name, &value)?;
            if !given.insert(name) {
                return Err(Problem::bad_request(
                    "each parameter of the filter can be given once",
                ));
            }
        }
        Ok(wanted)
    }

    fn with(self, name: &str, value: &str) -> Result<Self, Problem> {
        let Self {
            query,
            mut nodes,
            mut has_pages,
        } = self;
        let query = match name {
            "actor" => query.actor(value),
            "action" => query.action(value),
            "kind" => query.kind(read(value, &NO_KIND)?),
            "severity" => query.at_least(read::<Severity>(
                value,
                "`severity` must be low, medium, high or critical",
            )?),
            "result" => query.outcome(read::<Outcome>(
                value,
                "`result` must be success, failure, denied or error",
            )?),
            "address" => query.address(read::<IpAddr>(
                value,
                "`address` must be an IP address, such as 192.0.2.1 or 2001:db8::1",
            )?),
            "resource" => query.resource(value),
            "request_id" => query.request_id(value),
            "from" => query.from(time(
                value,
                "`from` must be a time in UTC, such as 2026-11-01T00:00:00Z",
            )?),
            "until" => query.until(time(
                value,
                "`until` must be a time in UTC, such as 2026-11-30T18:00:00Z; what happened then is \
                 left out",
            )?),
            "text" => match value.trim() {
                "" => {
                    return Err(Problem::bad_request(
                        "`text` must have a word to look for; leave it out to find all",
                    ));
                }
                text => query.mentioning(text),
            },
            "nodes" => {
                nodes = match value {
                    "own" => Nodes::Own,
                    "all" => Nodes::All,
                    _ => return Err(Problem::bad_request("`nodes` must be own or all")),
                };
                query
            }
            "limit" => {
                has_pages = true;
                let wrong = "`limit` must be a number from 1 to 1000";
                let limit = read(value, wrong)?;
                if !(1..=MAX_LIMIT).contains(&limit) {
                    return Err(Problem::bad_request(wrong));
                }
                query.limit(limit)
            }
            "cursor" => {
                has_pages = true;
                query.cursor(value)
            }
            _ => {
                return Err(Problem::bad_request(
                    "a parameter is none of the filter's, which are actor, action, kind, severity, \
                     result, address, resource, request_id, from, until, text, nodes, limit and cursor",
                ));
            }
        };
        Ok(Self {
            query,
            nodes,
            has_pages,
        })
    }

    /// What whoever follows the log is told of.
    ///
    /// # Errors
    /// What only a list has.
    pub(super) fn followed(self) -> Result<Query, Problem> {
        if self.has_pages {
            return Err(Problem::bad_request(
                "leave out `limit` and `cursor`: a stream has no pages",
            ));
        }
        match self.nodes {
            Nodes::Own => Ok(self.query),
            Nodes::All => Err(Problem::bad_request(
                "`nodes` must be own: a stream follows the log of the node that answers",
            )),
        }
    }
}

fn read<T: FromStr>(value: &str, otherwise: &'static str) -> Result<T, Problem> {
    value.parse().map_err(|_| Problem::bad_request(otherwise))
}

/// A time in RFC 3339, as this server writes them.
fn time(value: &str, otherwise: &'static str) -> Result<Timestamp, Problem> {
    let time = humantime::parse_rfc3339(value);
    let time: SystemTime = time.map_err(|_| Problem::bad_request(otherwise))?;
    Ok(time.into())
}

/// An event, as an admin reads it.
#[derive(Serialize)]
pub(super) struct AuditView {
    /// Whose log it is in, where several are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    seq: u64,
    time: String,
    kind: &'static str,
    action: String,
    result: &'static str,
    severity: &'static str,
    actor: Value,
    address: Option<IpAddr>,
    user_agent: Option<String>,
    resource: Option<String>,
    request_id: Option<String>,
    details: Option<Value>,
    hash: String,
}

impl AuditView {
    pub(super) fn of(record: &Record) -> Self {
        let event = &record.event;
        let actor = event.who();
        Self {
            origin: None,
            seq: record.seq,
            time: record.time.to_string(),
            kind: event.kind().as_str(),
            action: event.action().to_owned(),
            result: event.result().as_str(),
            severity: event.level().as_str(),
            actor: match actor.is_anonymous() {
                true => Value::Null,
                false => json!({
                    "id": actor.id(),
                    "login": actor.login_name(),
                    "session": actor.session_id(),
                }),
            },
            address: event.origin().ip(),
            user_agent: event.origin().agent().map(str::to_owned),
            resource: event.target().map(str::to_owned),
            request_id: event.request().map(str::to_owned),
            details: event.details_value(),
            hash: record.hash.to_string(),
        }
    }
}

/// The latest events that fit the filter, in the order in which they happened; `next` leads to
/// those before them. With `text` a page may have fewer events than asked for, and still a `next`.
pub(super) async fn list(
    State(app): State<App>,
    Admin(_): Admin,
    Extension(context): Extension<AuditContext>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    context.kind(Kind::DataAccess);
    context.action("admin.audit.read");
    let Wanted { query, nodes, .. } = Wanted::of(query.as_deref())?;
    let logs = match nodes {
        Nodes::Own => None,
        Nodes::All => app.audit_logs.as_deref(),
    };
    // What is in the queue has happened already, for whoever asks.
    app.audit
        .flush()
        .await
        .map_err(|error| Problem::unavailable(&error))?;
    let (mut events, next) = match logs {
        None => {
            let page = app.audit.query(&query).await.map_err(unanswered)?;
            let events: Vec<_> = page.records.iter().map(AuditView::of).collect();
            (events, page.next)
        }
        Some(logs) => {
            let page = logs.merged(&query).await.map_err(unanswered)?;
            let view = |one: Merged| AuditView {
                origin: Some(one.origin),
                ..AuditView::of(&one.record)
            };
            (page.records.into_iter().map(view).collect(), page.next)
        }
    };
    events.reverse();
    Ok(Json(
        json!({ "events": events, "next": next.map(String::from) }),
    ))
}

fn unanswered(error: QueryError) -> Problem {
    match error {
        QueryError::Cursor => Problem::bad_request(
            "`cursor` is not one of this filter: take the `next` of its page before, or begin \
             without one",
        ),
        error => Problem::unavailable(&error),
    }
}
