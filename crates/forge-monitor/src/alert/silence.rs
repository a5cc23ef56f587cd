//! What is not told: silences by a person, and inhibitions by graver alerts.

use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::Alert;
use crate::clock::Timestamp;
use crate::decision::Lift;
use crate::pattern::fits;

/// No alert that fits it is sent for a time: for planned work, or for what is known already.
///
/// The scenario and the scope are patterns in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Silence {
    /// The id, a UUIDv7.
    #[serde(serialize_with = "super::as_text")]
    pub id: Uuid,
    /// Which scenarios.
    pub scenario: Arc<str>,
    /// Which scopes, such as `network 192.0.2.*`.
    pub scope: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Who wants it.
    pub by: Arc<str>,
    /// Why.
    pub comment: Arc<str>,
    /// Whether the observers of a monitor need not be told of it, because whoever made it has told
    /// them. Who makes it in the store alone, beside a running monitor, leaves it to that monitor to
    /// notice and to tell.
    #[serde(skip)]
    pub told: bool,
}

impl Silence {
    /// A silence with a new id, about every scope, by nobody in particular.
    #[must_use]
    pub fn new(scenario: impl Into<Arc<str>>, since: Timestamp, until: Timestamp) -> Self {
        Self {
            id: Uuid::now_v7(),
            scenario: scenario.into(),
            scope: "*".into(),
            since,
            until,
            by: "".into(),
            comment: "".into(),
            told: false,
        }
    }

    /// Sets the id, for stores that read a silence back.
    #[must_use]
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// Sets which scopes.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Arc<str>>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Sets who wants it, and why.
    #[must_use]
    pub fn by(mut self, by: impl Into<Arc<str>>, comment: impl Into<Arc<str>>) -> Self {
        self.by = by.into();
        self.comment = comment.into();
        self
    }

    /// Sets whether the observers need not be told.
    #[must_use]
    pub fn told(mut self, told: bool) -> Self {
        self.told = told;
        self
    }

    /// Whether the alert is not to be sent at `now`.
    #[must_use]
    pub fn covers(&self, alert: &Alert, now: Timestamp) -> bool {
        now < self.until && fits(&self.scenario, &alert.scenario) && fits(&self.scope, &alert.scope)
    }
}

/// A silence as a store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredSilence {
    /// The silence.
    pub silence: Silence,
    /// How it was ended, where somebody did that before its time.
    pub ended: Option<Lift>,
}

impl StoredSilence {
    /// A silence, and how it was ended.
    #[must_use]
    pub fn new(silence: Silence, ended: Option<Lift>) -> Self {
        Self { silence, ended }
    }
}

/// While an alert of one kind is firing, those of another are not sent: with the database down,
/// nobody needs to hear from everything that needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibition {
    source: (Arc<str>, Arc<str>),
    target: (Arc<str>, Arc<str>),
}

impl Inhibition {
    /// While an alert fits the patterns of scenario and scope of `source`, those that fit `target`
    /// are not sent.
    #[must_use]
    pub fn new(source: (&str, &str), target: (&str, &str)) -> Self {
        let owned = |(scenario, scope): (&str, &str)| (scenario.into(), scope.into());
        Self {
            source: owned(source),
            target: owned(target),
        }
    }

    pub(super) fn is_caused_by(&self, source: &Alert) -> bool {
        fits(&self.source.0, &source.scenario) && fits(&self.source.1, &source.scope)
    }

    pub(super) fn concerns(&self, target: &Alert) -> bool {
        fits(&self.target.0, &target.scenario) && fits(&self.target.1, &target.scope)
    }
}
