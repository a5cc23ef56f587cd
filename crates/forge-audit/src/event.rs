//! An event: who did what to what, from where, and how it ended.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use crate::details::Details;
use crate::escape::bounded;
use crate::kind::{Kind, Outcome, Severity};
use crate::redact::Redaction;

pub(crate) const MAX_ACTION: usize = 64;
pub(crate) const MAX_TEXT: usize = 256;

/// Who did it. Every part may be unknown; all of them unknown is [`Actor::anonymous`].
///
/// Texts are cut to 256 bytes, and characters that deceive a reader are written as escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Actor {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
}

impl Actor {
    /// Somebody who is not known.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The account with this id, which never changes: a number, not a name.
    #[must_use]
    pub fn new(id: impl AsRef<str>) -> Self {
        Self {
            id: Some(bounded(id.as_ref(), MAX_TEXT)),
            ..Self::default()
        }
    }

    /// The name the account bore at the time.
    #[must_use]
    pub fn login(mut self, login: impl AsRef<str>) -> Self {
        self.login = Some(bounded(login.as_ref(), MAX_TEXT));
        self
    }

    /// The id of the session, which is not its secret.
    #[must_use]
    pub fn session(mut self, session: impl AsRef<str>) -> Self {
        self.session = Some(bounded(session.as_ref(), MAX_TEXT));
        self
    }

    /// The id of the account.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The name the account bore.
    pub fn login_name(&self) -> Option<&str> {
        self.login.as_deref()
    }

    /// The id of the session.
    pub fn session_id(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Whether nothing is known.
    pub fn is_anonymous(&self) -> bool {
        *self == Self::default()
    }
}

/// Where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Source {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<String>,
}

impl Source {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The address of the client; an IPv4-mapped one is kept as IPv4.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address.to_canonical());
        self
    }

    /// What the client says it is, cut to 256 bytes and escaped.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl AsRef<str>) -> Self {
        self.user_agent = Some(bounded(user_agent.as_ref(), MAX_TEXT));
        self
    }

    /// The address of the client.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address
    }

    /// What the client says it is.
    pub fn agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }
}

/// One thing that happened.
///
/// Every part is made safe and brought within its bound when it is set, so that no event can be
/// too large, break a line or carry a secret under a usual name. Nothing of that fails: an event
/// that is cut is worth more than one that is lost.
///
/// ```
/// use forge_audit::{Actor, Event, Kind, Outcome, Severity, Source};
/// use serde_json::json;
///
/// let event = Event::new(Kind::Session, "session.revoke")
///     .actor(Actor::new("583231").login("octo-admin"))
///     .source(Source::new().address("192.0.2.7".parse()?).user_agent("curl/8.5"))
///     .resource("session/0198c2f0")
///     .outcome(Outcome::Success)
///     .severity(Severity::Medium)
///     .details(&json!({ "reason": "lost laptop", "refresh_token": "ghr_secret" }));
/// assert_eq!(event.details_value().unwrap()["refresh_token"], "[redacted]");
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[must_use]
pub struct Event {
    pub(crate) kind: Kind,
    pub(crate) action: Cow<'static, str>,
    pub(crate) outcome: Outcome,
    pub(crate) severity: Severity,
    pub(crate) actor: Actor,
    pub(crate) source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) details: Option<Details>,
}

impl Event {
    /// An event of this kind: a success of low severity, by nobody known, until told otherwise.
    ///
    /// `action` names what was done in dotted lower case, such as `auth.sign_in`. It is cut to 64
    /// bytes; whatever is not a lower-case letter, a digit, `.` or `_` becomes `_`.
    pub fn new(kind: Kind, action: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            action: action_name(action.into()),
            outcome: Outcome::Success,
            severity: Severity::Low,
            actor: Actor::anonymous(),
            source: Source::new(),
            resource: None,
            request_id: None,
            details: None,
        }
    }

    /// How it ended. The default is [`Outcome::Success`].
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// How much it matters. The default is [`Severity::Low`].
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Who did it. The default is nobody known.
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// Where it came from. The default is nowhere known.
    pub fn source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// What it was done to, cut to 256 bytes and escaped.
    pub fn resource(mut self, resource: impl AsRef<str>) -> Self {
        self.resource = Some(bounded(resource.as_ref(), MAX_TEXT));
        self
    }

    /// The id of the request it belongs to, cut to 256 bytes and escaped.
    pub fn request_id(mut self, id: impl AsRef<str>) -> Self {
        self.request_id = Some(bounded(id.as_ref(), MAX_TEXT));
        self
    }

    /// What else there is to know, without secrets as the default [`Redaction`] knows them, and cut
    /// with a marker to 16 KiB of JSON.
    pub fn details(self, details: &Value) -> Self {
        self.details_redacted(details, &Redaction::new())
    }

    /// As [`details`](Self::details), with a redaction of your own.
    pub fn details_redacted(mut self, details: &Value, redaction: &Redaction) -> Self {
        self.details = Details::of(&redaction.apply(details));
        self
    }

    /// What kind of thing happened.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was done.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// How it ended.
    pub fn result(&self) -> Outcome {
        self.outcome
    }

    /// How much it matters.
    pub fn level(&self) -> Severity {
        self.severity
    }

    /// Who did it.
    pub fn who(&self) -> &Actor {
        &self.actor
    }

    /// Where it came from.
    pub fn origin(&self) -> &Source {
        &self.source
    }

    /// What it was done to.
    pub fn target(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// The id of the request it belongs to.
    pub fn request(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// What else there is to know, taken apart.
    pub fn details_value(&self) -> Option<Value> {
        self.details.as_ref()?.value()
    }

    /// What else there is to know, as JSON.
    pub fn details_json(&self) -> Option<&str> {
        self.details.as_ref().map(Details::as_str)
    }
}

/// The action within its alphabet and bound; borrowed when it is already.
pub(crate) fn action_name(action: Cow<'static, str>) -> Cow<'static, str> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_');
    if (1..=MAX_ACTION).contains(&action.len()) && action.bytes().all(fits) {
        return action;
    }
    if action.is_empty() {
        return Cow::Borrowed("_");
    }
    let one = |c: char| {
        let c = c.to_ascii_lowercase();
        if c.is_ascii() && fits(c as u8) {
            c
        } else {
            '_'
        }
    };
    Cow::Owned(action.chars().take(MAX_ACTION).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_part_is_brought_within_its_bound() {
        let huge = "é\u{202e}\n".repeat(100_000);
        let event = Event::new(Kind::System, huge.clone())
            .actor(Actor::new(&huge).login(&huge).session(&huge))
            .source(Source::new().user_agent(&huge))
            .resource(&huge)
            .request_id(&huge)
            .details(&json!({ "text": huge }));
        assert_eq!(event.action().len(), MAX_ACTION);
        for text in [
            event.who().id(),
            event.who().login_name(),
            event.who().session_id(),
            event.origin().agent(),
            event.target(),
            event.request(),
        ] {
            let text = text.unwrap();
            assert!(text.len() <= MAX_TEXT && text.len() > MAX_TEXT - 8);
            assert!(!text.chars().any(crate::escape::deceives));
        }
        assert!(event.details_value().unwrap().to_string().len() <= crate::redact::MAX_DETAILS);
    }

    #[test]
    fn an_action_keeps_to_its_alphabet() {
        let action = |text: &'static str| Event::new(Kind::System, text).action().to_owned();
        assert_eq!(action("auth.sign_in"), "auth.sign_in");
        assert_eq!(action("Auth Sign-In\n"), "auth_sign_in_");
        assert_eq!(action(""), "_");
    }

    #[test]
    fn an_ipv4_mapped_address_is_kept_as_ipv4() {
        let source = Source::new().address("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(source.ip().unwrap().to_string(), "192.0.2.7");
    }
}
