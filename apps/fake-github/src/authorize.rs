//! The first step of the web flow: the page that asks, and the answer that is sent back.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use url::Url;

use crate::{
    page::{self, AuthorizePage, Choice, MessagePage},
    params::Params,
    site::Site,
    state::{CodeRequest, Scopes},
};

const DENIED: AuthorizeError = AuthorizeError {
    code: "access_denied",
    description: "The user has denied your application access.",
    uri: "/apps/building-integrations/setting-up-and-registering-oauth-apps/troubleshooting-authorization-request-errors/#access-denied",
};
const MISMATCH: AuthorizeError = AuthorizeError {
    code: "redirect_uri_mismatch",
    description: "The redirect_uri MUST match the registered callback URL for this application.",
    uri: "/apps/building-integrations/setting-up-and-registering-oauth-apps/troubleshooting-authorization-request-errors/#redirect-uri-mismatch",
};
/// RFC 7636 section 4.4.1.
const CHALLENGE: AuthorizeError = AuthorizeError {
    code: "invalid_request",
    description: "A code_challenge must be 43 characters long and its code_challenge_method S256.",
    uri: "https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps",
};

/// `GET /login/oauth/authorize`
pub(crate) async fn page(State(site): State<Site>, params: Params) -> Response {
    match AuthorizeRequest::read(&site, &params) {
        Ok(request) => request.page(&site, None),
        Err(refusal) => refusal.into_response(),
    }
}

/// `POST /login/oauth/authorize`
pub(crate) async fn decide(State(site): State<Site>, params: Params) -> Response {
    let request = match AuthorizeRequest::read(&site, &params) {
        Ok(request) => request,
        Err(refusal) => return refusal.into_response(),
    };
    match params.text("decision") {
        "authorize" => {}
        "cancel" => return request.send_back_error(&site, &DENIED).into_response(),
        _ => return request.page(&site, Some("Authorize or cancel.")),
    }
    let code = {
        let mut state = site.shared.state();
        let account = params.text("account").parse().ok();
        let Some(account_id) = account.filter(|id| state.account(*id).is_some()) else {
            drop(state);
            return request.page(&site, Some("Choose an account."));
        };
        state.issue_code(request.authorized_by(account_id), site.shared.now())
    };
    request.send_back(&site, &[("code", &code)]).into_response()
}

/// A request to authorize that is in order.
struct AuthorizeRequest<'a> {
    client_id: &'a str,
    redirect_uri: Url,
    scope: &'a str,
    scopes: Scopes,
    state: Option<&'a str>,
    challenge: Option<&'a str>,
    login: Option<&'a str>,
}

/// How a request that is not in order is answered.
enum Refusal {
    /// With a page: there is nobody to send the browser back to.
    UnknownClient,
    SentBack(SendBack),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::UnknownClient => {
                let page = MessagePage {
                    title: "Application not found",
                    text: "No application with this client_id is registered with the stand-in.",
                };
                page::render(StatusCode::NOT_FOUND, &page)
            }
            Self::SentBack(send_back) => send_back.into_response(),
        }
    }
}

/// A redirect to a URL of the client.
struct SendBack(String);

impl IntoResponse for SendBack {
    fn into_response(self) -> Response {
        (StatusCode::FOUND, [(header::LOCATION, self.0)]).into_response()
    }
}

struct AuthorizeError {
    code: &'static str,
    description: &'static str,
    uri: &'static str,
}

impl<'a> AuthorizeRequest<'a> {
    /// Reads a request, or tells how it is refused.
    fn read(site: &Site, params: &'a Params) -> Result<Self, Refusal> {
        let client = site
            .shared
            .client(params.text("client_id"))
            .ok_or(Refusal::UnknownClient)?;
        let scope = params.text("scope");
        let mut request = Self {
            client_id: params.text("client_id"),
            redirect_uri: client.callback_url.clone(),
            scope,
            scopes: Scopes::parse(scope),
            state: params.get("state"),
            challenge: params.get("code_challenge"),
            login: params.get("login"),
        };
        if let Some(redirect_uri) = params.get("redirect_uri") {
            match Url::parse(redirect_uri) {
                Ok(url) if client.allows_redirect_to(&url) => request.redirect_uri = url,
                _ => return Err(Refusal::SentBack(request.send_back_error(site, &MISMATCH))),
            }
        }
        let method = params.get("code_challenge_method");
        let in_order = match request.challenge {
            Some(challenge) => method == Some("S256") && is_s256(challenge),
            None => method.is_none(),
        };
        if in_order {
            Ok(request)
        } else {
            Err(Refusal::SentBack(request.send_back_error(site, &CHALLENGE)))
        }
    }

    fn authorized_by(&self, account_id: u64) -> CodeRequest {
        CodeRequest {
            client_id: self.client_id.to_owned(),
            account_id,
            redirect_uri: self.redirect_uri.to_string(),
            scopes: self.scopes.clone(),
            challenge: self.challenge.map(str::to_owned),
        }
    }

    fn page(&self, site: &Site, problem: Option<&'static str>) -> Response {
        let mut fields = vec![
            ("client_id", self.client_id),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("scope", self.scope),
        ];
        if let Some(state) = self.state {
            fields.push(("state", state));
        }
        if let Some(challenge) = self.challenge {
            fields.push(("code_challenge", challenge));
            fields.push(("code_challenge_method", "S256"));
        }
        let choices = Choice::list(site.shared.state().accounts(), self.login);
        let page = AuthorizePage {
            client_id: self.client_id,
            destination: self.redirect_uri.as_str(),
            scopes: self.scopes.iter().collect(),
            fields,
            choices,
            problem,
        };
        let status = match problem {
            Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
            None => StatusCode::OK,
        };
        page::render(status, &page)
    }

    fn send_back_error(&self, site: &Site, error: &AuthorizeError) -> SendBack {
        self.send_back(
            site,
            &[
                ("error", error.code),
                ("error_description", error.description),
                ("error_uri", error.uri),
            ],
        )
    }

    /// Sends the browser to the client, with `iss` (RFC 9207) and the client's `state`.
    fn send_back(&self, site: &Site, answer: &[(&str, &str)]) -> SendBack {
        let mut url = self.redirect_uri.clone();
        url.query_pairs_mut()
            .extend_pairs(answer)
            .append_pair("iss", &site.issuer())
            .extend_pairs(self.state.map(|state| ("state", state)));
        SendBack(url.into())
    }
}

fn is_s256(challenge: &str) -> bool {
    challenge.len() == 43
        && challenge
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
