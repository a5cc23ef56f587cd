//! Scenarios: which signals of whom are too many, too different, or come in the wrong order, and
//! what follows.

mod build;
mod built_in;
mod detector;
mod rule;
#[cfg(feature = "toml")]
mod text;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::Severity;
use crate::decision::{Action, Target};
use crate::signal::{MatchSignal, Signal};

pub use build::ScenarioBuilder;
pub(crate) use detector::{Detector, Hashed, Hasher, LaneKind, Observed};
pub(crate) use rule::Rule;
pub use rule::{Distinct, Weight};
#[cfg(feature = "toml")]
pub use text::{ScenarioError, Scenarios};

/// By what a scenario counts, and so whom it is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// By the client's address; IPv6 by /64. A signal without an address is not counted.
    #[default]
    Address,
    /// By the user's id. A signal without a user is not counted.
    User,
    /// By the component whose health changed. Other signals are not counted.
    Component,
}

impl Scope {
    pub(crate) fn target(self, signal: &Signal) -> Option<Target> {
        match self {
            Self::Address => signal.address.map(Target::of_address),
            Self::User => signal.user.as_deref().map(|user| Target::User(user.into())),
            Self::Component => match &signal.kind {
                crate::SignalKind::HealthChanged { component, .. } => {
                    Some(Target::Component(component.as_ref().into()))
                }
                _ => None,
            },
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::User => "user",
            Self::Component => "component",
        }
    }
}

/// A rule over signals, and what follows where it is met.
///
/// ```
/// use std::time::Duration;
/// use forge_monitor::{Action, Scenario, Scope, SignalClass};
///
/// let scenario = Scenario::count("tool_burst", SignalClass::ToolCall)
///     .scope(Scope::User)
///     .threshold(100)
///     .window(Duration::from_secs(60))
///     .respond([Action::TightenLimit])
///     .hold_for(Duration::from_secs(300))
///     .simulate(true)
///     .build()?;
/// assert_eq!(scenario.name(), "tool_burst");
/// # Ok::<(), forge_monitor::BuildError>(())
/// ```
///
/// There are five kinds: [`count`](Self::count), [`leaky_bucket`](Self::leaky_bucket),
/// [`distinct`](Self::distinct), [`sequence`](Self::sequence) and [`first`](Self::first).
#[derive(Clone)]
pub struct Scenario {
    name: Arc<str>,
    rule: Rule,
    scope: Scope,
    reset_on: Option<Arc<dyn MatchSignal>>,
    respond: Vec<Action>,
    hold_for: Duration,
    severity: Severity,
    simulate: bool,
    capacity: usize,
}

impl Scenario {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its decisions are only reported, not enforced.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.simulate
    }

    /// What is done where the rule is met; nothing but an alert where it is empty.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.respond
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(crate) fn holds_for(&self) -> Duration {
        self.hold_for
    }

    pub(crate) fn grade(&self) -> Severity {
        self.severity
    }

    pub(crate) fn by(&self) -> Scope {
        self.scope
    }

    /// What a person reads in an alert.
    pub(crate) fn summary(&self) -> String {
        self.rule.summary()
    }

    /// Whether it tells the first from the later ones.
    pub(crate) fn is_about_firsts(&self) -> bool {
        matches!(self.rule, Rule::First { .. })
    }

    /// Whether the state that it is about is over when a signal of its reset comes, as a
    /// component's that works again.
    pub(crate) fn has_end(&self) -> bool {
        self.scope == Scope::Component && self.reset_on.is_some()
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("rule", &self.rule.summary())
            .field("scope", &self.scope)
            .field("respond", &self.respond)
            .field("hold_for", &self.hold_for)
            .field("severity", &self.severity)
            .field("simulate", &self.simulate)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
