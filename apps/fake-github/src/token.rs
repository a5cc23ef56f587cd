//! `POST /login/oauth/access_token`: a code, a refresh token or a device code for an access token.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use crate::{
    Client,
    params::Params,
    site::Site,
    state::{ACCESS_LIFETIME, Issued, OAuthError, REFRESH_LIFETIME},
};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub(crate) async fn exchange(
    State(site): State<Site>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let fields = match issue(&site, &params) {
        Ok(issued) => issued_fields(issued),
        Err(error) => error_fields(error),
    };
    answer(&headers, StatusCode::OK, fields)
}

fn issue(site: &Site, params: &Params) -> Result<Issued, OAuthError> {
    let client = site
        .shared
        .client(params.text("client_id"))
        .ok_or(OAuthError::IncorrectClientCredentials)?;
    let now = site.shared.now();
    match params.get("grant_type") {
        None | Some("authorization_code") => {
            if !has_secret(client, params) {
                return Err(OAuthError::IncorrectClientCredentials);
            }
            site.shared.state().redeem_code(
                &client.id,
                params.text("code"),
                params.get("redirect_uri"),
                params.get("code_verifier"),
                now,
            )
        }
        Some("refresh_token") => {
            // No secret is for the state to judge; a wrong one is wrong in any case.
            let has_secret = has_secret(client, params);
            if !has_secret && params.get("client_secret").is_some() {
                return Err(OAuthError::IncorrectClientCredentials);
            }
            let refresh_token = params.text("refresh_token");
            site.shared
                .state()
                .refresh(&client.id, refresh_token, has_secret, now)
        }
        Some(DEVICE_GRANT) => {
            let device_code = params.text("device_code");
            site.shared
                .state()
                .poll_device(&client.id, device_code, now)
        }
        Some(_) => Err(OAuthError::UnsupportedGrantType),
    }
}

fn has_secret(client: &Client, params: &Params) -> bool {
    params
        .get("client_secret")
        .is_some_and(|secret| client.has_secret(secret))
}

fn issued_fields(issued: Issued) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("access_token".into(), issued.access_token.into());
    fields.insert("scope".into(), issued.scopes.join(",").into());
    fields.insert("token_type".into(), "bearer".into());
    if let Some(refresh_token) = issued.refresh_token {
        fields.insert("expires_in".into(), ACCESS_LIFETIME.as_secs().into());
        fields.insert("refresh_token".into(), refresh_token.into());
        fields.insert(
            "refresh_token_expires_in".into(),
            REFRESH_LIFETIME.as_secs().into(),
        );
    }
    fields
}

fn error_fields(error: OAuthError) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("error".into(), error.code().into());
    fields.insert("error_description".into(), error.description().into());
    fields.insert("error_uri".into(), error.uri().into());
    if let OAuthError::SlowDown(interval) = error {
        fields.insert("interval".into(), interval.into());
    }
    fields
}

/// Form-encoded, or JSON when the client accepts it.
pub(crate) fn answer(
    headers: &HeaderMap,
    status: StatusCode,
    fields: Map<String, Value>,
) -> Response {
    let (kind, body) = if accepts_json(headers) {
        (
            "application/json; charset=utf-8",
            Value::Object(fields).to_string(),
        )
    } else {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &fields {
            match value {
                Value::String(text) => form.append_pair(name, text),
                other => form.append_pair(name, &other.to_string()),
            };
        }
        (
            "application/x-www-form-urlencoded; charset=utf-8",
            form.finish(),
        )
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

fn accepts_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
