//! A response that was read to its end, and what holds for each of them.

use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::Value;

/// What every response bears, and with which value; `None` where the value differs.
const SECURITY: [(&str, Option<&str>); 10] = [
    ("content-security-policy", None),
    ("cross-origin-embedder-policy", Some("require-corp")),
    ("cross-origin-opener-policy", Some("same-origin")),
    ("cross-origin-resource-policy", Some("same-origin")),
    ("origin-agent-cluster", Some("?1")),
    ("permissions-policy", None),
    ("referrer-policy", Some("no-referrer")),
    ("cache-control", Some("no-store")),
    ("x-content-type-options", Some("nosniff")),
    ("x-frame-options", Some("DENY")),
];

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// Reads the response; it bears what every response must.
    pub(crate) async fn read(response: Response) -> Self {
        let answer = Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        };
        answer.assert_guarded();
        answer
    }

    fn assert_guarded(&self) {
        for (name, value) in SECURITY {
            // Some say after the value where violations are reported.
            let found = self.one(name).split(';').next();
            assert!(value.is_none() || found == value, "{name}: {self:?}");
        }
        assert!(!self.headers.contains_key("server"), "{self:?}");
        let policy = self.one("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'nonce-"),
            "{policy}"
        );
        assert_eq!(self.request_id().len(), 36, "{self:?}");
    }

    /// The response says what is left of the quota.
    #[track_caller]
    pub(crate) fn assert_counted(&self) {
        assert!(self.headers.contains_key("ratelimit"), "{self:?}");
        assert!(self.headers.contains_key("ratelimit-policy"), "{self:?}");
    }

    /// What the response says is left of the policy of that name.
    #[track_caller]
    pub(crate) fn remaining(&self, policy: &str) -> u64 {
        let head = format!("\"{policy}\";r=");
        let found = self
            .all("ratelimit")
            .find_map(|item| item.strip_prefix(&head)?.split(';').next()?.parse().ok());
        found.unwrap_or_else(|| panic!("no {policy} in {self:?}"))
    }

    /// The value of a field that is there once.
    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> &str {
        let values: Vec<_> = self.all(name).collect();
        assert_eq!(values.len(), 1, "{name} in {self:?}");
        values[0]
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let name: HeaderName = name.parse().unwrap();
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap())
    }

    pub(crate) fn request_id(&self) -> &str {
        self.one("x-request-id")
    }

    pub(crate) fn location(&self) -> &str {
        self.one("location")
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.one("content-type"), "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The problem document (RFC 9457) of that status, with the id of the request.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.one("content-type"), "application/problem+json");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], status, "{self:?}");
        assert_eq!(problem["request_id"], self.request_id(), "{self:?}");
        assert!(problem["title"].is_string(), "{self:?}");
        problem
    }

    /// The page for a person, of that status.
    #[track_caller]
    pub(crate) fn page(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.one("content-type"), "text/html; charset=utf-8");
        let nonce = self.one("content-security-policy");
        let nonce = nonce.split("'nonce-").nth(1).unwrap();
        let nonce = nonce.split('\'').next().unwrap();
        assert!(self.body.contains(&format!("<style nonce=\"{nonce}\">")));
        &self.body
    }
}
