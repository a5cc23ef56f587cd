//! The pages a person sees: plain HTML, no script, nothing from elsewhere.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::{Account, site::Site};

pub(crate) const STYLE: &str = include_str!("../templates/style.css");

/// There is no `form-action`: Chromium holds it against the redirect after the form, which goes
/// to the application on another port.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 fits into a header")
});

/// An account as the pages list it.
pub(crate) struct Choice {
    id: u64,
    login: String,
    name: String,
    chosen: bool,
}

impl Choice {
    pub(crate) fn list(accounts: &[Account], chosen: Option<&str>) -> Vec<Self> {
        accounts
            .iter()
            .map(|account| Self {
                id: account.id,
                login: account.login.clone(),
                name: account.name.clone().unwrap_or_default(),
                chosen: chosen.is_some_and(|login| account.is_called(login)),
            })
            .collect()
    }
}

#[derive(Template)]
#[template(path = "authorize.html")]
pub(crate) struct AuthorizePage<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) destination: &'a str,
    pub(crate) scopes: Vec<&'a str>,
    /// Sent back with the form.
    pub(crate) fields: Vec<(&'static str, &'a str)>,
    pub(crate) choices: Vec<Choice>,
    pub(crate) problem: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "device.html")]
pub(crate) struct DevicePage<'a> {
    pub(crate) user_code: &'a str,
    pub(crate) choices: Vec<Choice>,
    pub(crate) problem: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "message.html")]
pub(crate) struct MessagePage {
    pub(crate) title: &'static str,
    pub(crate) text: &'static str,
}

pub(crate) fn render(status: StatusCode, page: &impl Template) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("strict-origin-when-cross-origin"),
        ),
    ];
    match page.render() {
        Ok(html) => (status, headers, Html(html)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(crate) async fn not_found() -> Response {
    let page = MessagePage {
        title: "Page not found",
        text: "There is nothing here. An application sends you to a page of this stand-in with \
               its client id; this address or client id is not known.",
    };
    render(StatusCode::NOT_FOUND, &page)
}

/// A square with the account's first letter, drawn here so that nothing is fetched elsewhere.
pub(crate) async fn avatar(State(site): State<Site>, Path(id): Path<u64>) -> Response {
    let Some(letter) = site
        .shared
        .state()
        .account(id)
        .and_then(|account| account.login.chars().find(char::is_ascii_alphanumeric))
    else {
        return not_found().await;
    };
    let hue = id.wrapping_mul(137) % 360;
    let svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" fill="hsl({hue} 45% 45%)"/><text x="32" y="43" fill="#fff" font-family="sans-serif" font-size="32" text-anchor="middle">{}</text></svg>"##,
        letter.to_ascii_uppercase()
    );
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ];
    (headers, svg).into_response()
}
