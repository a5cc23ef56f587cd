//! The few pages a person sees.

use std::borrow::Cow;

use askama::Template;
use http::StatusCode;
use http::request::Parts;

use crate::principal::Principal;

/// The nonce of this response's policy, which lets the page's own style in.
pub(crate) fn nonce(parts: &Parts) -> String {
    parts
        .extensions
        .get::<forge_headers::CspNonce>()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The page as HTML.
pub(crate) fn html(page: &impl Template) -> String {
    // The templates are checked at compile time; rendering into memory does not fail.
    page.render().unwrap_or_default()
}

/// `GET /`
#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home<'a> {
    /// For the page's own style.
    pub nonce: &'a str,
    /// Who is signed in.
    pub principal: Option<&'a Principal>,
    /// Whether they are a person at a browser, who may make a token.
    pub is_person: bool,
    /// The user's sessions.
    pub sessions: Vec<SessionRow>,
}

/// A session, as the page shows it.
pub(crate) struct SessionRow {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// The program it is for.
    pub client: Option<String>,
    /// Where it was opened from.
    pub from: String,
    /// When it was last used, in RFC 3339.
    pub last_used: String,
    /// The same for people, to the minute.
    pub last_used_readable: String,
    /// Whether it is the one this page was asked for with.
    pub current: bool,
}

/// What `POST /tokens` made, shown this once.
#[derive(Template)]
#[template(path = "token.html")]
pub(crate) struct AgentToken<'a> {
    /// For the page's own style.
    pub nonce: &'a str,
    /// What it is for.
    pub client: &'a str,
    /// What the agent calls with.
    pub access_token: &'a str,
    /// How long that is good.
    pub minutes: u64,
    /// What it gets the next one with.
    pub refresh_token: &'a str,
    /// Where it calls.
    pub mcp: &'a str,
    /// Where it gets the next one.
    pub token: &'a str,
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "message.html")]
pub(crate) struct Message<'a> {
    nonce: &'a str,
    title: &'a str,
    text: Cow<'a, str>,
    /// Where to go on, and what that is called.
    way_on: (&'a str, &'a str),
    request_id: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// A page with that heading and sentence.
    pub(crate) fn new(
        title: &'a str,
        text: impl Into<Cow<'a, str>>,
        request_id: Option<&'a str>,
        nonce: &'a str,
    ) -> Self {
        Self {
            nonce,
            title,
            text: text.into(),
            way_on: ("/", "Back to the start"),
            request_id,
        }
    }

    /// What a person reads who sent a form without a session that is good for it. From there they
    /// come back to the start, since what a form was sent to cannot be visited.
    pub(crate) fn sign_in_again(request_id: Option<&'a str>, nonce: &'a str) -> Self {
        let text = "Nothing was done. Sign in again, then send the form once more.";
        let mut message = Self::new("Sign in again", text, request_id, nonce);
        message.way_on = ("/auth/github/login", "Sign in with GitHub");
        message
    }

    /// What a person reads when a request was refused or failed.
    pub(crate) fn refused(
        status: StatusCode,
        detail: Option<&'a str>,
        request_id: Option<&'a str>,
        nonce: &'a str,
    ) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let text = match detail {
            Some(detail) => sentence(detail),
            None => of_status(status).into(),
        };
        Self::new(title, text, request_id, nonce)
    }
}

fn of_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is no such page.",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests. Wait a moment, then try again.",
        StatusCode::FORBIDDEN => "You may not do this.",
        status if status.is_server_error() => "This does not work right now. Try again later.",
        _ => "The request could not be answered.",
    }
}

/// The detail of a problem, as a sentence.
fn sentence(detail: &str) -> Cow<'_, str> {
    let mut letters = detail.trim_end_matches('.').chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()).into(),
        None => detail.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_becomes_one_sentence() {
        assert_eq!(sentence("sign in again"), "Sign in again.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence(""), "");
    }
}
