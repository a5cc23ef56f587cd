//! The REST API as far as a sign-in needs it (on GitHub: `api.github.com`).

pub(crate) mod organizations;

use axum::{
    body::Bytes,
    extract::{FromRequestParts, Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Account, site::Site, state::Scopes};

const USER_AGENT_REQUIRED: &str = "Request forbidden by administrative rules. Please make sure \
    your request has a User-Agent header \
    (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). \
    Check https://developer.github.com for other possible causes.\n";

/// `GET /user`
pub(crate) async fn user(State(site): State<Site>, caller: Caller) -> Response {
    let profile = profile(&site, &caller.account);
    caller.answer("", StatusCode::OK, &profile)
}

/// `GET /user/emails`; a token without a scope that allows it is answered 404.
pub(crate) async fn emails(caller: Caller) -> Response {
    let accepted = "user, user:email";
    if !caller.may_read_emails {
        return caller.answer(
            accepted,
            StatusCode::NOT_FOUND,
            &problem("Not Found", "404"),
        );
    }
    let emails = json!([{
        "email": caller.account.email,
        "primary": true,
        "verified": caller.account.email_verified,
        "visibility": "private",
    }]);
    caller.answer(accepted, StatusCode::OK, &emails)
}

/// `GET /users/{login}`
pub(crate) async fn user_by_login(
    State(site): State<Site>,
    _named: NamedAgent,
    Path(login): Path<String>,
) -> Response {
    let account = site.shared.state().account_called(&login).cloned();
    public_profile(&site, account)
}

/// `GET /user/{id}`
pub(crate) async fn user_by_id(
    State(site): State<Site>,
    _named: NamedAgent,
    Path(id): Path<String>,
) -> Response {
    let id = id.parse().ok();
    let account = id.and_then(|id| site.shared.state().account(id).cloned());
    public_profile(&site, account)
}

/// `DELETE /applications/{client_id}/token`
pub(crate) async fn revoke_token(
    State(site): State<Site>,
    _named: NamedAgent,
    Path(client_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = match token_to_revoke(&site, &client_id, &headers, &body) {
        Ok(token) => token,
        Err(refusal) => return refusal.into_response(),
    };
    let now = site.shared.now();
    let revoked = site.shared.state().revoke_token(&client_id, &token, now);
    revocation(revoked)
}

/// `DELETE /applications/{client_id}/grant`
pub(crate) async fn revoke_grant(
    State(site): State<Site>,
    _named: NamedAgent,
    Path(client_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = match token_to_revoke(&site, &client_id, &headers, &body) {
        Ok(token) => token,
        Err(refusal) => return refusal.into_response(),
    };
    let now = site.shared.now();
    let revoked = site.shared.state().revoke_grant(&client_id, &token, now);
    revocation(revoked)
}

/// A request that says what sends it. GitHub refuses others.
pub(crate) struct NamedAgent;

impl<S: Send + Sync> FromRequestParts<S> for NamedAgent {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match parts.headers.get(header::USER_AGENT) {
            Some(agent) if !agent.is_empty() => Ok(Self),
            _ => Err((StatusCode::FORBIDDEN, USER_AGENT_REQUIRED).into_response()),
        }
    }
}

/// Whom the token of a request speaks for.
pub(crate) struct Caller {
    account: Account,
    scopes: Scopes,
    client_id: String,
    may_read_emails: bool,
}

impl FromRequestParts<Site> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        NamedAgent::from_request_parts(parts, site).await?;
        let Some(authorization) = parts.headers.get(header::AUTHORIZATION) else {
            return Err(unauthorized("Requires authentication"));
        };
        let bad = || unauthorized("Bad credentials");
        let token = authorization
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| {
                scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token")
            })
            .map(|(_, token)| token.trim())
            .ok_or_else(bad)?;
        let state = site.shared.state();
        let access = state.access(token, site.shared.now()).ok_or_else(bad)?;
        let holder = &access.holder;
        let account = state.account(holder.account_id).ok_or_else(bad)?;
        Ok(Self {
            account: account.clone(),
            scopes: holder.scopes.clone(),
            client_id: holder.client_id.clone(),
            may_read_emails: holder.scopes.allow("user:email"),
        })
    }
}

impl Caller {
    fn answer(&self, accepted_scopes: &str, status: StatusCode, body: &Value) -> Response {
        let mut response = (status, json_body(body)).into_response();
        let headers = response.headers_mut();
        for (name, value) in [
            ("x-oauth-scopes", self.scopes.join(", ").as_str()),
            ("x-accepted-oauth-scopes", accepted_scopes),
            ("x-oauth-client-id", self.client_id.as_str()),
        ] {
            // A client id that is no header value is left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

#[derive(Deserialize)]
struct Revocation {
    access_token: Option<String>,
}

enum RevocationError {
    Credentials,
    OtherClient,
    Malformed,
    NoToken,
}

impl IntoResponse for RevocationError {
    fn into_response(self) -> Response {
        let (status, body) = match self {
            Self::Credentials => return unauthorized("Bad credentials"),
            Self::OtherClient => return not_found(),
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                problem("Problems parsing JSON", "400"),
            ),
            Self::NoToken => (
                StatusCode::UNPROCESSABLE_ENTITY,
                problem(
                    "Invalid request.\n\n\"access_token\" wasn't supplied.",
                    "422",
                ),
            ),
        };
        (status, json_body(&body)).into_response()
    }
}

/// The token a client names, once the client has shown it is the one in the path.
fn token_to_revoke(
    site: &Site,
    client_id: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<String, RevocationError> {
    let (user, password) = basic_credentials(headers).ok_or(RevocationError::Credentials)?;
    site.shared
        .client(&user)
        .filter(|client| client.has_secret(&password))
        .ok_or(RevocationError::Credentials)?;
    if user != client_id {
        return Err(RevocationError::OtherClient);
    }
    let revocation: Revocation =
        serde_json::from_slice(body).map_err(|_| RevocationError::Malformed)?;
    revocation
        .access_token
        .filter(|token| !token.is_empty())
        .ok_or(RevocationError::NoToken)
}

fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn revocation(revoked: bool) -> Response {
    if revoked {
        StatusCode::NO_CONTENT.into_response()
    } else {
        not_found()
    }
}

fn public_profile(site: &Site, account: Option<Account>) -> Response {
    account.map_or_else(not_found, |account| {
        json_body(&profile(site, &account)).into_response()
    })
}

/// What GitHub tells of an account. The address is not public; it is told by `/user/emails`.
fn profile(site: &Site, account: &Account) -> Value {
    let base = &site.base_url;
    let id = account.id;
    let login = &account.login;
    json!({
        "login": login,
        "id": id,
        "node_id": STANDARD.encode(format!("04:User{id}")),
        "avatar_url": format!("{base}/avatars/u/{id}?v=4"),
        "gravatar_id": "",
        "url": format!("{base}/users/{login}"),
        "html_url": format!("{base}/{login}"),
        "type": "User",
        "user_view_type": "public",
        "site_admin": false,
        "name": account.name,
        "company": null,
        "blog": "",
        "location": null,
        "email": null,
        "hireable": null,
        "bio": null,
        "twitter_username": null,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": "2011-01-25T18:44:36Z",
        "updated_at": "2024-01-25T18:44:36Z",
    })
}

fn unauthorized(message: &str) -> Response {
    let body = json_body(&problem(message, "401"));
    (StatusCode::UNAUTHORIZED, body).into_response()
}

fn not_found() -> Response {
    let body = json_body(&problem("Not Found", "404"));
    (StatusCode::NOT_FOUND, body).into_response()
}

fn problem(message: &str, status: &str) -> Value {
    json!({
        "message": message,
        "documentation_url": "https://docs.github.com/rest",
        "status": status,
    })
}

fn json_body(body: &Value) -> impl IntoResponse + use<> {
    let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (kind, body.to_string())
}
