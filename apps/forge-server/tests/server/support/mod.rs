//! What every test here shares: the server on trial, and browsers to visit it with.

mod answer;
mod browser;
pub(crate) mod postgres;
mod trial;

pub(crate) use answer::Answer;
pub(crate) use browser::{Browser, HTML};
pub(crate) use trial::{CLIENT_SECRET, Node, ROOMY, Stopping, Trial};

use std::time::Duration;

use serde_json::Value;

/// The events with that action, in order.
pub(crate) fn with_action<'a>(events: &'a [Value], action: &str) -> Vec<&'a Value> {
    let fits = |event: &&Value| event["action"] == action;
    events.iter().filter(fits).collect()
}

/// The one event with that action.
pub(crate) fn only<'a>(events: &'a [Value], action: &str) -> &'a Value {
    let found = with_action(events, action);
    assert_eq!(found.len(), 1, "{action} in {events:#?}");
    found[0]
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The tokens of a new session for an agent, as `POST /api/sessions` answers them.
pub(crate) async fn agent(of: &Browser, client: &str) -> Value {
    let wanted = serde_json::json!({ "kind": "mcp", "client": client });
    let answer = of.post_json("/api/sessions", &wanted).await.expect(201);
    assert_eq!(answer.json()["token_type"], "Bearer");
    answer.json()
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}
