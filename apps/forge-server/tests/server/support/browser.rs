//! A client with cookies of its own that follows no redirect.

use std::sync::Arc;

use reqwest::cookie::{CookieStore, Jar};
use reqwest::{Client, Method, RequestBuilder, Url};
use serde_json::Value;

use super::Answer;

/// What a browser accepts where a person navigates.
pub(crate) const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

pub(crate) struct Browser {
    http: Client,
    jar: Arc<Jar>,
    base: Url,
}

impl Browser {
    pub(crate) fn new(base: Url) -> Self {
        let jar = Arc::new(Jar::default());
        let http = Client::builder()
            .user_agent("tests/1.0")
            .redirect(reqwest::redirect::Policy::none())
            .cookie_provider(Arc::clone(&jar))
            .no_proxy()
            .build()
            .unwrap();
        Self { http, jar, base }
    }

    /// A request to be completed and [sent](Self::send).
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.base.join(path).unwrap())
    }

    /// The answer, which says what is left of the quota.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = self.send_uncounted(request).await;
        answer.assert_counted();
        answer
    }

    /// The answer to what no limit counts: a probe, or what is refused before it is counted.
    pub(crate) async fn send_uncounted(&self, request: RequestBuilder) -> Answer {
        Answer::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn probe(&self, path: &str) -> Answer {
        self.send_uncounted(self.request(Method::GET, path)).await
    }

    /// As a person who navigates there.
    pub(crate) async fn visit(&self, path: &str) -> Answer {
        let request = self.request(Method::GET, path);
        let request = request.header("accept", HTML);
        self.send(request.header("sec-fetch-mode", "navigate"))
            .await
    }

    /// As a person who sends a form of the page they are at.
    pub(crate) async fn submit(&self, path: &str, form: &[(&str, &str)], site: &str) -> Answer {
        let request = self.request(Method::POST, path).form(form);
        let request = request.header("accept", HTML);
        let request = request.header("sec-fetch-mode", "navigate");
        self.send(request.header("sec-fetch-site", site)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(self.request(Method::POST, path)).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.send(self.request(Method::POST, path).form(form)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// The request with a bearer token.
    pub(crate) async fn with_token(&self, method: Method, path: &str, token: &str) -> Answer {
        self.send(self.request(method, path).bearer_auth(token))
            .await
    }

    /// The value of a cookie it has.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.jar.cookies(&self.base)?;
        let pairs = cookies.to_str().unwrap().split("; ");
        let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(found, _)| *found == name)?;
        Some(value.to_owned())
    }

    /// The cookies it has of sign-ins under way, in the order in which they were begun.
    pub(crate) fn sign_ins(&self) -> Vec<(String, String)> {
        let cookies = self.jar.cookies(&self.base);
        let text = cookies.map_or_else(String::new, |cookies| cookies.to_str().unwrap().to_owned());
        let pairs = text.split("; ").filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(name, _)| name.starts_with("forge-sign-in-dev-"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Gives it a cookie, as a `Set-Cookie` would.
    pub(crate) fn plant(&self, cookie: &str) {
        self.jar.add_cookie_str(cookie, &self.base);
    }
}
