//! The device flow's own endpoints: the codes for the device, the page for the person.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde_json::Map;

use crate::{
    page::{self, Choice, DevicePage, MessagePage},
    params::Params,
    site::Site,
    state::{DEVICE_LIFETIME, Scopes},
    token,
};

/// `POST /login/device/code`
pub(crate) async fn begin(
    State(site): State<Site>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let mut fields = Map::new();
    let Some(client) = site.shared.client(params.text("client_id")) else {
        fields.insert("error".into(), "Not Found".into());
        return token::answer(&headers, StatusCode::NOT_FOUND, fields);
    };
    let scopes = Scopes::parse(params.text("scope"));
    let now = site.shared.now();
    let start = site.shared.state().begin_device(&client.id, scopes, now);
    fields.insert("device_code".into(), start.device_code.into());
    fields.insert("user_code".into(), start.user_code.into());
    fields.insert(
        "verification_uri".into(),
        format!("{}/login/device", site.base_url).into(),
    );
    fields.insert("expires_in".into(), DEVICE_LIFETIME.as_secs().into());
    fields.insert("interval".into(), start.interval.into());
    token::answer(&headers, StatusCode::OK, fields)
}

/// `GET /login/device`
pub(crate) async fn page(State(site): State<Site>, params: Params) -> Response {
    form(&site, &params, None)
}

/// `POST /login/device`
pub(crate) async fn decide(State(site): State<Site>, params: Params) -> Response {
    let account = params.text("account").parse().ok();
    let account_id = match params.text("decision") {
        "cancel" => None,
        "authorize" => match account.filter(|id| site.shared.state().account(*id).is_some()) {
            Some(account_id) => Some(account_id),
            None => return form(&site, &params, Some("Choose an account.")),
        },
        _ => return form(&site, &params, Some("Authorize or cancel.")),
    };
    let user_code = params.text("user_code");
    let now = site.shared.now();
    let decided = site
        .shared
        .state()
        .decide_device(user_code, account_id, now);
    let page = match (decided, account_id) {
        (Err(_), _) => {
            let problem = "No device waits for this code. It may be mistyped, used or expired.";
            return form(&site, &params, Some(problem));
        }
        (Ok(()), Some(_)) => MessagePage {
            title: "Your device is connected",
            text: "The device gets its token with its next request. You may close this page.",
        },
        (Ok(()), None) => MessagePage {
            title: "Your device is not connected",
            text: "You have denied access. You may close this page.",
        },
    };
    page::render(StatusCode::OK, &page)
}

fn form(site: &Site, params: &Params, problem: Option<&'static str>) -> Response {
    let choices = Choice::list(site.shared.state().accounts(), params.get("login"));
    let page = DevicePage {
        user_code: params.text("user_code"),
        choices,
        problem,
    };
    let status = match problem {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    page::render(status, &page)
}
