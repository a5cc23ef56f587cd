//! Alerts to Prometheus' Alertmanager.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::json;

use super::http::Poster;
use super::reach::Reach;
use crate::alert::{Alert, AlertFuture, AlertSink, AlertState};
use crate::error::{BoxError, SinkError};

/// How long an alert goes on in Alertmanager when nobody says that it is over.
const GOES_ON: Duration = Duration::from_secs(24 * 3600);

/// Posts each alert to an Alertmanager (API v2, `POST /api/v2/alerts`).
///
/// Its labels are `alertname`, the scenario; `scope`; `severity`; and `service`, which is `forge`
/// unless set. They are the same when it is resolved, so that Alertmanager ends the same alert. An
/// Alertmanager usually stands in a private network, which is allowed here; link-local addresses
/// are not.
#[derive(Clone, Debug)]
pub struct AlertmanagerSink {
    poster: Poster,
    service: Arc<str>,
    authorization: Option<HeaderValue>,
}

impl AlertmanagerSink {
    /// A sink for an Alertmanager at that address, without `/api/v2/alerts`.
    ///
    /// # Errors
    /// [`SinkError`] where it is no http or https address, or a link-local one.
    pub fn new(url: &str) -> Result<Self, SinkError> {
        let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
        Ok(Self {
            poster: Poster::new(&url, Reach::Private)?,
            service: "forge".into(),
            authorization: None,
        })
    }

    /// The label `service`. Default: `forge`.
    #[must_use]
    pub fn service(mut self, service: impl Into<Arc<str>>) -> Self {
        self.service = service.into();
        self
    }

    /// Sends this bearer token along.
    ///
    /// # Errors
    /// [`SinkError::Secret`] where it cannot stand in a header.
    pub fn bearer(mut self, token: &str) -> Result<Self, SinkError> {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| SinkError::Secret)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    fn body(&self, alert: &Alert) -> String {
        let ends = match alert.state {
            AlertState::Firing => alert.last + GOES_ON,
            AlertState::Resolved => alert.last,
        };
        json!([{
            "labels": {
                "alertname": &*alert.scenario,
                "scope": alert.scope,
                "severity": alert.severity.as_str(),
                "service": &*self.service,
            },
            "annotations": {
                "summary": alert.title(),
                "description": alert.summary,
                "count": alert.count.to_string(),
                "id": alert.id.to_string(),
            },
            "startsAt": alert.first.to_string(),
            "endsAt": ends.to_string(),
        }])
        .to_string()
    }
}

impl AlertSink for AlertmanagerSink {
    fn send(&self, alert: Arc<Alert>) -> AlertFuture<'_> {
        Box::pin(async move {
            let mut headers = HeaderMap::new();
            if let Some(authorization) = &self.authorization {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            self.poster
                .post(headers, self.body(&alert))
                .await
                .map_err(|error| -> BoxError { error })
        })
    }
}
