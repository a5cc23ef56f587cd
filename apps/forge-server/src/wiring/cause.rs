//! The request behind an event, as each crate knows it.

use std::net::IpAddr;

use forge_audit::{Actor, Event, Kind, Source};
pub(crate) use forge_headers::client_ip;
use forge_session::Caller;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method};

use crate::principal::Principal;
use crate::request_id;

tokio::task_local! {
    /// Who asked for what is going on in this task, for observers that see no request.
    static CAUSE: Cause;
}

/// The request behind an event: who, from where, which.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    pub(super) actor: Actor,
    source: Source,
    request_id: Option<String>,
    pub(super) address: Option<IpAddr>,
    /// Whether another site's page made the visitor's browser ask, as Fetch Metadata says.
    pub(super) foreign: bool,
}

impl Cause {
    /// The cause that a request is.
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        let address = client_ip(parts);
        let mut source = Source::new();
        if let Some(address) = address {
            source = source.address(address);
        }
        if let Some(agent) = user_agent(parts) {
            source = source.user_agent(agent);
        }
        Self {
            actor: actor_of(parts),
            source,
            request_id: request_id::of(parts).map(str::to_owned),
            address,
            foreign: is_foreign(parts),
        }
    }

    /// Runs `work` with observers attributing what they are told to this cause.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CAUSE.scope(self, work).await
    }

    pub(super) fn current() -> Self {
        CAUSE.try_with(Clone::clone).unwrap_or_default()
    }

    /// The same request, by somebody it is not signed in as: for a sign-in.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// An event of this cause.
    pub fn event(&self, kind: Kind, action: &'static str) -> Event {
        let event = Event::new(kind, action)
            .actor(self.actor.clone())
            .source(self.source.clone());
        match &self.request_id {
            Some(id) => event.request_id(id),
            None => event,
        }
    }
}

/// The actor that a request's principal is.
#[must_use]
pub(crate) fn actor_of(parts: &Parts) -> Actor {
    match parts.extensions.get::<Principal>() {
        None => Actor::anonymous(),
        Some(principal) => Actor::new(principal.github_id.to_string())
            .login(&principal.login)
            .session(principal.session().id.to_string()),
    }
}

/// The caller, as sessions keep it.
#[must_use]
pub(crate) fn caller(parts: &Parts) -> Caller {
    Caller::new(client_ip(parts), user_agent(parts))
}

/// Whether another site, or a link that somebody planted, may have made the browser ask. A page
/// cannot send an `Authorization` header to another origin without its leave, nor use a method or a
/// content type that the Fetch standard does not safelist.
fn is_foreign(parts: &Parts) -> bool {
    let header = |name| parts.headers.get(name).map(HeaderValue::as_bytes);
    if parts.headers.contains_key(AUTHORIZATION)
        || !matches!(parts.method, Method::GET | Method::HEAD | Method::POST)
        || header("content-type").is_some_and(|kind| !is_safelisted(kind))
    {
        return false;
    }
    match header("sec-fetch-site") {
        Some(b"cross-site" | b"same-site") => true,
        // Opened from a mail or a document.
        Some(b"none") => header("sec-fetch-mode") == Some(b"navigate"),
        _ => false,
    }
}

/// The content types that a page may send to another origin without asking first.
fn is_safelisted(kind: &[u8]) -> bool {
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    matches!(
        &essence[..],
        b"application/x-www-form-urlencoded" | b"multipart/form-data" | b"text/plain"
    )
}

fn user_agent(parts: &Parts) -> Option<&str> {
    parts.headers.get(USER_AGENT)?.to_str().ok()
}

/// What a request is for, without its query: that may hold a secret.
#[must_use]
pub(crate) fn resource(parts: &Parts) -> String {
    format!("{} {}", parts.method, parts.uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_may_have_made_a_browser_do_is_foreign() {
        let foreign = |headers: &[(&'static str, &str)]| {
            let mut request = http::Request::new(());
            for (name, value) in headers {
                request.headers_mut().insert(*name, value.parse().unwrap());
            }
            is_foreign(&request.into_parts().0)
        };
        let site = "sec-fetch-site";
        assert!(foreign(&[(site, "cross-site")]));
        assert!(foreign(&[(site, "same-site")]));
        assert!(foreign(&[(site, "none"), ("sec-fetch-mode", "navigate")]));
        assert!(!foreign(&[(site, "none"), ("sec-fetch-mode", "cors")]));
        assert!(!foreign(&[
            (site, "same-origin"),
            ("sec-fetch-mode", "navigate")
        ]));
        assert!(!foreign(&[]));
        assert!(!foreign(&[
            (site, "cross-site"),
            ("authorization", "Bearer x")
        ]));
        // What a page cannot send elsewhere without asking.
        assert!(foreign(&[
            (site, "cross-site"),
            ("content-type", "Text/Plain; charset=utf-8")
        ]));
        assert!(!foreign(&[
            (site, "cross-site"),
            ("content-type", "application/json")
        ]));
        let mut request = http::Request::new(());
        *request.method_mut() = Method::DELETE;
        request
            .headers_mut()
            .insert(site, HeaderValue::from_static("cross-site"));
        assert!(!is_foreign(&request.into_parts().0));
    }
}
