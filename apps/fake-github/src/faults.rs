//! Endpoints made slow, failing or malformed, and the count of what they were asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use crate::site::Shared;

/// A part of the stand-in that can be counted, delayed and made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Endpoint {
    /// `GET` and `POST /login/oauth/authorize`.
    Authorize,
    /// `POST /login/oauth/access_token`.
    Token,
    /// `POST /login/device/code`.
    DeviceCode,
    /// `GET` and `POST /login/device`.
    DevicePage,
    /// `GET /user`.
    User,
    /// `GET /user/emails`.
    Emails,
    /// `GET /users/{login}` and `GET /user/{id}`.
    Users,
    /// `GET /orgs/{org}`.
    Organization,
    /// `GET /orgs/{org}/teams/{team_slug}`.
    Team,
    /// `GET /user/memberships/orgs`.
    Memberships,
    /// `GET /organizations/{org_id}/team/{team_id}/memberships/{username}`.
    TeamMembership,
    /// `DELETE /applications/{client_id}/token`.
    RevokeToken,
    /// `DELETE /applications/{client_id}/grant`.
    RevokeGrant,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 13] = [
        Self::Authorize,
        Self::Token,
        Self::DeviceCode,
        Self::DevicePage,
        Self::User,
        Self::Emails,
        Self::Users,
        Self::Organization,
        Self::Team,
        Self::Memberships,
        Self::TeamMembership,
        Self::RevokeToken,
        Self::RevokeGrant,
    ];

    /// Its name under `/_fake`: `authorize`, `token`, `device_code`, `device_page`, `user`,
    /// `emails`, `users`, `organization`, `team`, `memberships`, `team_membership`,
    /// `revoke_token` or `revoke_grant`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Token => "token",
            Self::DeviceCode => "device_code",
            Self::DevicePage => "device_page",
            Self::User => "user",
            Self::Emails => "emails",
            Self::Users => "users",
            Self::Organization => "organization",
            Self::Team => "team",
            Self::Memberships => "memberships",
            Self::TeamMembership => "team_membership",
            Self::RevokeToken => "revoke_token",
            Self::RevokeGrant => "revoke_grant",
        }
    }
}

/// How an endpoint fails. It does nothing else then: no code or token is issued or spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// Answers with this status and a JSON message. A number that is not a final HTTP status
    /// (200 to 599) is answered as 500.
    Status(u16),
    /// Answers 200 with a body that says it is JSON and breaks off.
    Malformed,
}

impl Fault {
    fn answer(self) -> Response {
        let json = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
        match self {
            Self::Status(status) => {
                let status = StatusCode::from_u16(status)
                    .ok()
                    .filter(|status| (200..600).contains(&status.as_u16()))
                    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, json, r#"{"message":"Server Error"}"#).into_response()
            }
            Self::Malformed => (json, r#"{"id":1,"login":"oct"#).into_response(),
        }
    }
}

/// What each endpoint is told to do, and what it was asked.
#[derive(Debug)]
pub(crate) struct Faults {
    table: Mutex<Table>,
    /// Changes with the table, so that those who wait look again.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Table {
    delays: BTreeMap<Endpoint, Duration>,
    faults: BTreeMap<Endpoint, Fault>,
    requests: BTreeMap<Endpoint, u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Faults {
    pub(crate) fn delay(&self, endpoint: Endpoint, delay: Duration) {
        self.change(|table| table.delays.insert(endpoint, delay));
    }

    pub(crate) fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.change(|table| table.faults.insert(endpoint, fault));
    }

    pub(crate) fn clear(&self) {
        self.change(|table| {
            table.delays.clear();
            table.faults.clear();
        });
    }

    pub(crate) fn requests(&self, endpoint: Endpoint) -> u64 {
        let table = self.table();
        table.requests.get(&endpoint).copied().unwrap_or_default()
    }

    pub(crate) async fn wait_for_requests(&self, endpoint: Endpoint, count: u64) {
        let mut changed = self.changed.subscribe();
        while self.requests(endpoint) < count {
            // The sender lives as long as `self`.
            let _ = changed.changed().await;
        }
    }

    fn count(&self, endpoint: Endpoint) {
        self.change(|table| *table.requests.entry(endpoint).or_default() += 1);
    }

    /// Waits out the endpoint's delay, counted from now; a delay that is changed or cleared
    /// meanwhile counts as it is then.
    async fn wait(&self, endpoint: Endpoint) {
        let arrived = Instant::now();
        let mut changed = self.changed.subscribe();
        loop {
            let delay = self.table().delays.get(&endpoint).copied();
            let Some(delay) = delay else { return };
            tokio::select! {
                () = time::sleep_until(arrived + delay) => return,
                _ = changed.changed() => {}
            }
        }
    }

    fn fault(&self, endpoint: Endpoint) -> Option<Fault> {
        self.table().faults.get(&endpoint).copied()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) {
        change(&mut self.table());
        self.changed.send_replace(());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the request as it arrives, holds it back, and then fails it or lets it through.
pub(crate) async fn count_and_spoil(
    State((shared, endpoint)): State<(Arc<Shared>, Endpoint)>,
    request: Request,
    next: Next,
) -> Response {
    let faults = &shared.faults;
    faults.count(endpoint);
    faults.wait(endpoint).await;
    match faults.fault(endpoint) {
        Some(fault) => fault.answer(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_read_from_json() {
        for endpoint in Endpoint::ALL {
            let json = serde_json::to_string(&endpoint).unwrap();
            assert_eq!(json, format!("\"{}\"", endpoint.name()));
        }
    }

    #[test]
    fn answers_500_for_a_number_that_is_no_final_status() {
        for status in [0, 100, 199, 600, 1000] {
            assert_eq!(Fault::Status(status).answer().status(), 500);
        }
        assert_eq!(Fault::Status(503).answer().status(), 503);
    }
}
