//! A stand-in being served, and a client that follows no redirect.

use std::collections::BTreeMap;

use fake_github::{Builder, Client, FakeGithub, ManualClock, Running};
use reqwest::{Method, RequestBuilder, Response, header, redirect::Policy};
use serde_json::Value;
use url::Url;

pub(crate) const CLIENT_ID: &str = "app";
pub(crate) const SECRET: &str = "app-secret";
pub(crate) const CALLBACK: &str = "http://127.0.0.1/auth/callback";
pub(crate) const AUTHORIZE: &str = "/login/oauth/authorize";

pub(crate) struct Trial {
    pub(crate) server: Running,
    pub(crate) clock: ManualClock,
    http: reqwest::Client,
}

impl Trial {
    pub(crate) async fn start() -> Self {
        Self::start_with(|builder| builder).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let clock = ManualClock::default();
        let builder = FakeGithub::builder()
            .client(Client::new(CLIENT_ID, SECRET, CALLBACK.parse().unwrap()))
            .client(Client::new(
                "other",
                "other-secret",
                CALLBACK.parse().unwrap(),
            ))
            .clock(clock.clone());
        let github = change(builder).build().unwrap();
        let server = github.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
        // Needed where the workspace is built as a whole; one of the tests is the first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            server,
            clock,
            http,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.base_url())
    }

    /// A request without a `User-Agent`.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path)
            .header(header::USER_AGENT, "tests")
    }

    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Response {
        let url = Url::parse_with_params(&self.url(path), query).unwrap();
        self.http.get(url).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        self.request(Method::POST, path)
            .form(form)
            .send()
            .await
            .unwrap()
    }

    /// Posts to the token endpoint as the application, and reads the JSON answer.
    pub(crate) async fn token(&self, fields: &[(&str, &str)]) -> Value {
        let mut form = BTreeMap::from([("client_id", CLIENT_ID), ("client_secret", SECRET)]);
        form.extend(fields.iter().copied());
        let response = self
            .request(Method::POST, "/login/oauth/access_token")
            .header(header::ACCEPT, "application/json")
            .form(&form)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// The code for an account that authorizes.
    pub(crate) async fn code(&self, account: u64, more: &[(&str, &str)]) -> String {
        let account = account.to_string();
        let mut form = vec![
            ("client_id", CLIENT_ID),
            ("account", account.as_str()),
            ("decision", "authorize"),
        ];
        form.extend(more);
        let response = self.post(AUTHORIZE, &form).await;
        callback(&response).1["code"].clone()
    }

    /// A token answer of the web flow.
    pub(crate) async fn sign_in(&self, account: u64, scope: &str) -> Value {
        let code = self.code(account, &[("scope", scope)]).await;
        self.token(&[("code", &code)]).await
    }

    pub(crate) async fn access_token(&self, account: u64, scope: &str) -> String {
        let answer = self.sign_in(account, scope).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

/// Where a redirect goes: the URL without its query, and the query.
pub(crate) fn callback(response: &Response) -> (String, BTreeMap<String, String>) {
    assert_eq!(response.status(), 302);
    let location = response.headers()[header::LOCATION].to_str().unwrap();
    let mut url = Url::parse(location).unwrap();
    let query = url.query_pairs().into_owned().collect();
    url.set_query(None);
    (url.into(), query)
}

/// The hidden fields of a page's form, as a browser would send them.
pub(crate) fn hidden_fields(html: &str) -> Vec<(String, String)> {
    html.split(r#"<input type="hidden" name=""#)
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once(r#"" value=""#).unwrap();
            let (value, _) = rest.split_once(r#"">"#).unwrap();
            let value = value
                .replace("&#60;", "<")
                .replace("&#62;", ">")
                .replace("&#34;", "\"")
                .replace("&#39;", "'")
                .replace("&#38;", "&");
            (name.to_owned(), value)
        })
        .collect()
}
