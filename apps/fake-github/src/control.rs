//! The handle by which a test moves the stand-in, in the same process or over HTTP.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;

use crate::{ControlError, Endpoint, Fault, Organization, site::Shared};

/// Renames accounts, slows endpoints down, makes them fail, and tells what happened. Clones are
/// the same handle.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Gives an account another login. Its id and tokens stay; the old login is free for others.
    ///
    /// # Errors
    ///
    /// When no account has this id, another has the login, or GitHub would not take the login.
    pub fn rename(&self, account_id: u64, login: &str) -> Result<(), ControlError> {
        self.shared.state().rename(account_id, login)
    }

    /// Adds an organization, or changes the one of the same id: its login, its members, its teams,
    /// what it lets applications see.
    pub fn set_organization(&self, organization: Organization) {
        self.shared.state().set_organization(organization);
    }

    /// Takes an organization away. Its login is free for others.
    pub fn remove_organization(&self, id: u64) {
        self.shared.state().remove_organization(id);
    }

    /// Holds every request to the endpoint back for `delay` of tokio's time, from its arrival.
    /// Zero, or [`clear`](Self::clear), lets them go on, those held back already as well.
    pub fn delay(&self, endpoint: Endpoint, delay: Duration) {
        self.shared.faults.delay(endpoint, delay);
    }

    /// Makes every request to the endpoint fail, until [`clear`](Self::clear).
    pub fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.shared.faults.fail(endpoint, fault);
    }

    /// Ends every delay and fault.
    pub fn clear(&self) {
        self.shared.faults.clear();
    }

    /// Every access token and refresh token alive now, for a test that looks for them where they
    /// should not be.
    pub fn tokens_issued(&self) -> Vec<String> {
        let now = self.shared.now();
        self.shared.state().live_tokens(now)
    }

    /// How many requests the endpoint has seen, those held back or failed included.
    pub fn requests(&self, endpoint: Endpoint) -> u64 {
        self.shared.faults.requests(endpoint)
    }

    /// Waits until the endpoint has seen `count` requests in all.
    pub async fn wait_for_requests(&self, endpoint: Endpoint, count: u64) {
        self.shared.faults.wait_for_requests(endpoint, count).await;
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

/// A body must say it is JSON, which a page of another origin cannot without a preflight, and
/// there is no answer to that.
pub(crate) fn routes(control: Control) -> Router {
    Router::new()
        .route("/rename", post(rename))
        .route("/delay", post(delay))
        .route("/fail", post(fail))
        .route("/clear", post(clear))
        .route("/requests", get(requests))
        .route("/tokens", get(tokens))
        .with_state(control)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delay {
    endpoint: Endpoint,
    milliseconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    endpoint: Endpoint,
    fault: Fault,
}

async fn rename(State(control): State<Control>, Json(body): Json<Rename>) -> Response {
    match control.rename(body.id, &body.login) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
    }
}

async fn delay(State(control): State<Control>, Json(body): Json<Delay>) -> StatusCode {
    control.delay(
        body.endpoint,
        Duration::from_millis(body.milliseconds.into()),
    );
    StatusCode::NO_CONTENT
}

async fn fail(State(control): State<Control>, Json(body): Json<Fail>) -> StatusCode {
    control.fail(body.endpoint, body.fault);
    StatusCode::NO_CONTENT
}

async fn clear(State(control): State<Control>) -> StatusCode {
    control.clear();
    StatusCode::NO_CONTENT
}

async fn requests(State(control): State<Control>) -> Json<BTreeMap<&'static str, u64>> {
    let counted = Endpoint::ALL.map(|endpoint| (endpoint.name(), control.requests(endpoint)));
    Json(counted.into_iter().collect())
}

async fn tokens(State(control): State<Control>) -> Json<Vec<String>> {
    Json(control.tokens_issued())
}
