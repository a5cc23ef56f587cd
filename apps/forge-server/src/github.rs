//! GitHub, as a sign-in needs it: codes for tokens, tokens for accounts.
//!
//! GitHub sends the errors of its token endpoint with status 200; they are errors here.

mod organisations;

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::config::GithubConfig;
use crate::error::StartError;

/// The longest answer that is read.
const MAX_ANSWER: usize = 256 * 1024;

/// An account, as GitHub describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct GithubUser {
    /// The numeric id, which stays with the account for ever.
    pub id: u64,
    /// The login of today.
    pub login: String,
    /// The name, if one is given.
    pub name: Option<String>,
}

/// Why GitHub gave no answer that could be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GithubError {
    /// GitHub could not be reached in time.
    #[error("GitHub could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// GitHub refused, with one of its documented error codes.
    #[error("GitHub refused: {0}")]
    Refused(OauthErrorCode),
    /// GitHub wants to be asked less often.
    #[error("GitHub was asked too often")]
    Limited,
    /// GitHub answered with a status that is not a success.
    #[error("GitHub answered with status {0}")]
    Status(StatusCode),
    /// GitHub's answer is too long or not of the documented form.
    #[error("GitHub's answer could not be read")]
    Malformed,
}

/// An error code of GitHub's token endpoint; only those documented are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are GitHub's words")]
pub enum OauthErrorCode {
    BadVerificationCode,
    IncorrectClientCredentials,
    RedirectUriMismatch,
    UnverifiedUserEmail,
    AccessDenied,
    ApplicationSuspended,
    BadRefreshToken,
    UnsupportedGrantType,
    AuthorizationPending,
    SlowDown,
    ExpiredToken,
    IncorrectDeviceCode,
    DeviceFlowDisabled,
    #[serde(other)]
    Other,
}

impl fmt::Display for OauthErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadVerificationCode => "bad_verification_code",
            Self::IncorrectClientCredentials => "incorrect_client_credentials",
            Self::RedirectUriMismatch => "redirect_uri_mismatch",
            Self::UnverifiedUserEmail => "unverified_user_email",
            Self::AccessDenied => "access_denied",
            Self::ApplicationSuspended => "application_suspended",
            Self::BadRefreshToken => "bad_refresh_token",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::IncorrectDeviceCode => "incorrect_device_code",
            Self::DeviceFlowDisabled => "device_flow_disabled",
            Self::Other => "another error",
        })
    }
}

/// A token of GitHub's, and what takes its place where it expires.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GithubToken {
    /// The access token.
    pub access: SecretString,
    /// How long it lives; none where it does not expire.
    pub expires_in: Option<Duration>,
    /// What it is exchanged for the next with, once.
    pub refresh: Option<SecretString>,
}

/// A device flow that has begun (RFC 8628, section 3.2).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeviceStart {
    /// What is polled with.
    pub device_code: SecretString,
    /// What the person enters.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// How long both codes live.
    pub expires_in: Duration,
    /// How long to wait between two polls.
    pub interval: Duration,
}

/// A client of GitHub for one OAuth app.
#[derive(Clone)]
pub struct Github {
    http: reqwest::Client,
    config: GithubConfig,
    scope: Option<&'static str>,
}

impl Github {
    /// A client for the configured app, which asks people for that scope.
    ///
    /// # Errors
    /// The TLS roots of the system cannot be loaded.
    pub fn new(config: GithubConfig, scope: Option<&'static str>) -> Result<Self, StartError> {
        // Several providers may be compiled in; the process must choose one, once.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| StartError::part("GitHub client")(error.into()))?;
        Ok(Self {
            http,
            config,
            scope,
        })
    }

    /// Where the browser is sent to sign in.
    #[must_use]
    pub fn authorize_url(&self, redirect_uri: &str, state: &str, challenge: &str) -> String {
        let mut url = self.web("login/oauth/authorize");
        url.query_pairs_mut()
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", state)
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256");
        if let Some(scope) = self.scope {
            url.query_pairs_mut().append_pair("scope", scope);
        }
        url.into()
    }

    /// The issuer that GitHub names on the callback (RFC 9207).
    #[must_use]
    pub fn issuer(&self) -> String {
        self.web("login/oauth").into()
    }

    /// The origin that the sign-in form leads to, for the page's policy.
    #[must_use]
    pub fn origin(&self) -> String {
        self.config.url.origin().ascii_serialization()
    }

    /// Changes a code for a token.
    ///
    /// # Errors
    /// GitHub refused, failed, or could not be reached.
    pub async fn exchange(
        &self,
        code: &str,
        redirect_uri: &str,
        verifier: &SecretString,
    ) -> Result<GithubToken, GithubError> {
        self.token(&[
            ("client_id", self.config.client_id.as_str()),
            ("client_secret", self.config.client_secret.expose_secret()),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.expose_secret()),
        ])
        .await
    }

    /// Changes a refresh token, which is then used up, for the next token.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    pub async fn refresh(&self, refresh: &SecretString) -> Result<GithubToken, GithubError> {
        self.token(&[
            ("client_id", self.config.client_id.as_str()),
            ("client_secret", self.config.client_secret.expose_secret()),
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose_secret()),
        ])
        .await
    }

    /// Begins a device flow.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    pub async fn begin_device(&self) -> Result<DeviceStart, GithubError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Answer {
            Refused {
                error: OauthErrorCode,
            },
            Begun {
                device_code: Box<str>,
                user_code: String,
                verification_uri: String,
                expires_in: u64,
                interval: u64,
            },
        }
        let mut form = vec![("client_id", self.config.client_id.as_str())];
        form.extend(self.scope.map(|scope| ("scope", scope)));
        let request = self
            .http
            .post(self.web("login/device/code"))
            .header(http::header::ACCEPT, "application/json")
            .form(&form);
        match answer(request).await? {
            Answer::Refused { error } => Err(GithubError::Refused(error)),
            Answer::Begun {
                device_code,
                user_code,
                verification_uri,
                expires_in,
                interval,
            } => {
                let printable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
                let usable = (1..=256).contains(&device_code.len())
                    && (1..=64).contains(&user_code.len())
                    && printable(&user_code)
                    && verification_uri.len() <= 512
                    && printable(&verification_uri);
                usable
                    .then(|| DeviceStart {
                        device_code: SecretString::new(device_code),
                        user_code,
                        verification_uri,
                        expires_in: Duration::from_secs(expires_in.min(3600)),
                        interval: Duration::from_secs(interval.clamp(1, 60)),
                    })
                    .ok_or(GithubError::Malformed)
            }
        }
    }

    /// Asks whether the person has answered; until then it is refused with
    /// [`OauthErrorCode::AuthorizationPending`].
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    pub async fn poll_device(
        &self,
        device_code: &SecretString,
    ) -> Result<GithubToken, GithubError> {
        self.token(&[
            ("client_id", self.config.client_id.as_str()),
            ("device_code", device_code.expose_secret()),
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ])
        .await
    }

    async fn token(&self, form: &[(&str, &str)]) -> Result<GithubToken, GithubError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Answer {
            Refused {
                error: OauthErrorCode,
            },
            Granted {
                access_token: Box<str>,
                token_type: String,
                expires_in: Option<u64>,
                refresh_token: Option<Box<str>>,
            },
        }
        let request = self
            .http
            .post(self.web("login/oauth/access_token"))
            .header(http::header::ACCEPT, "application/json")
            .form(form);
        match answer(request).await? {
            Answer::Refused { error } => Err(GithubError::Refused(error)),
            Answer::Granted {
                access_token,
                token_type,
                expires_in,
                refresh_token,
            } => {
                let well_formed = |token: &str| {
                    (1..=1024).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
                };
                let usable = token_type.eq_ignore_ascii_case("bearer")
                    && well_formed(&access_token)
                    && refresh_token.as_deref().is_none_or(well_formed);
                let token = GithubToken {
                    access: SecretString::new(access_token),
                    expires_in: expires_in.map(Duration::from_secs),
                    refresh: refresh_token.map(SecretString::new),
                };
                usable.then_some(token).ok_or(GithubError::Malformed)
            }
        }
    }

    /// The account a token belongs to.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    pub async fn user(&self, token: &SecretString) -> Result<GithubUser, GithubError> {
        let request = self.api("user").bearer_auth(token.expose_secret());
        bounded(answer(request).await?)
    }

    /// The account that bears a login today.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange); a login nobody bears is [`GithubError::Status`] 404.
    pub async fn account_of(
        &self,
        login: &str,
        token: &SecretString,
    ) -> Result<GithubUser, GithubError> {
        let request = self
            .api(&format!("users/{login}"))
            .bearer_auth(token.expose_secret());
        bounded(answer(request).await?)
    }

    /// Gives a token back that nobody is going to use.
    ///
    /// # Errors
    /// GitHub failed or could not be reached.
    pub async fn revoke(&self, token: &SecretString) -> Result<(), GithubError> {
        let path = format!("applications/{}/token", self.config.client_id);
        let response = self
            .http
            .delete(self.api_url(&path))
            .header(http::header::ACCEPT, "application/vnd.github+json")
            .basic_auth(
                &self.config.client_id,
                Some(self.config.client_secret.expose_secret()),
            )
            .json(&serde_json::json!({ "access_token": token.expose_secret() }))
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(GithubError::Status(status))
        }
    }

    fn web(&self, path: &str) -> Url {
        join(&self.config.url, path)
    }

    fn api_url(&self, path: &str) -> Url {
        join(&self.config.api_url, path)
    }

    fn api(&self, path: &str) -> reqwest::RequestBuilder {
        self.api_with(path, None)
    }

    fn api_with(&self, path: &str, query: Option<&str>) -> reqwest::RequestBuilder {
        let mut url = self.api_url(path);
        url.set_query(query);
        self.http
            .get(url)
            .header(http::header::ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
    }
}

impl fmt::Debug for Github {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Github")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// `path` below `base`, segment by segment, so that nothing in it climbs out.
fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    url
}

async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, GithubError> {
    answer_with_headers(request).await.map(|(_, answer)| answer)
}

async fn answer_with_headers<T: DeserializeOwned>(
    request: reqwest::RequestBuilder,
) -> Result<(HeaderMap, T), GithubError> {
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    if is_limited(status, response.headers()) {
        return Err(GithubError::Limited);
    }
    if !status.is_success() {
        return Err(GithubError::Status(status));
    }
    let headers = std::mem::take(response.headers_mut());
    let mut body = zeroize::Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(GithubError::Malformed);
        }
        body.extend_from_slice(&chunk);
    }
    let answer = serde_json::from_slice(&body).map_err(|_| GithubError::Malformed)?;
    Ok((headers, answer))
}

/// GitHub says it with 429 and with 403, which is also what it says to who may not.
fn is_limited(status: StatusCode, headers: &HeaderMap) -> bool {
    let spent = headers
        .get("x-ratelimit-remaining")
        .is_some_and(|left| left == "0");
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => spent || headers.contains_key(http::header::RETRY_AFTER),
        _ => false,
    }
}

/// The URL of a failed request may hold a secret one day: it is not kept.
fn unreachable(error: reqwest::Error) -> GithubError {
    GithubError::Unreachable(error.without_url())
}

/// What GitHub says of an account is shown and stored: it is held to what GitHub allows.
fn bounded(user: GithubUser) -> Result<GithubUser, GithubError> {
    let login = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let well_formed = user.id > 0
        && i64::try_from(user.id).is_ok()
        && (1..=64).contains(&user.login.len())
        && user.login.bytes().all(login)
        && user.name.as_ref().is_none_or(|name| name.len() <= 1024);
    well_formed.then_some(user).ok_or(GithubError::Malformed)
}
