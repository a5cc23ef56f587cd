//! Parameters as GitHub takes them: from the query, and from a body of form fields or JSON.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

/// The parameters of a request. The body's go before the query's; of two alike the last counts.
#[derive(Debug, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    /// A parameter that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A parameter, empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    fn add_form(&mut self, form: &[u8]) {
        self.0
            .extend(form_urlencoded::parse(form).map(|(name, value)| (name.into(), value.into())));
    }

    fn add_json(&mut self, json: &[u8]) -> Result<(), serde_json::Error> {
        let fields: BTreeMap<String, Value> = serde_json::from_slice(json)?;
        self.0
            .extend(fields.into_iter().filter_map(|(name, value)| match value {
                Value::String(text) => Some((name, text)),
                Value::Number(number) => Some((name, number.to_string())),
                _ => None,
            }));
        Ok(())
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let mut params = Self::default();
        if let Some(query) = request.uri().query() {
            params.add_form(query.as_bytes());
        }
        let is_json = is_json(request.headers());
        let body = Bytes::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        if !is_json {
            params.add_form(&body);
        } else if params.add_json(&body).is_err() {
            let problem = r#"{"message":"Problems parsing JSON"}"#;
            let headers = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
            return Err((StatusCode::BAD_REQUEST, headers, problem).into_response());
        }
        Ok(params)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
