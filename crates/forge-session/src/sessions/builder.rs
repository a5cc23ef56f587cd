//! Putting [`Sessions`] together.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::access_token::AccessTokens;
use crate::clock::{Clock, SystemClock};
use crate::error::BuildError;
use crate::kind::Kind;
use crate::on_event::OnEvent;
use crate::policy::KindPolicy;
use crate::sessions::{Sessions, Shared};
use crate::store::SessionStore;

/// How long a session that is over stays in the store by default.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Makes [`Sessions`].
#[must_use]
pub struct SessionsBuilder {
    shared: Shared,
}

impl SessionsBuilder {
    pub(super) fn new(store: impl SessionStore) -> Self {
        let policies = [
            (Kind::WEB, KindPolicy::cookie()),
            (Kind::MCP, KindPolicy::bearer()),
        ];
        Self {
            shared: Shared {
                store: Arc::new(store),
                policies: HashMap::from(policies),
                access_tokens: None,
                retention: RETENTION,
                clock: Arc::new(SystemClock),
                on_event: Arc::new(()),
            },
        }
    }

    /// Adds a kind, or replaces its policy.
    pub fn policy(mut self, kind: Kind, policy: KindPolicy) -> Self {
        self.shared.policies.insert(kind, policy);
        self
    }

    /// Issues and accepts access tokens. Without this, none is issued and all are refused.
    pub fn access_tokens(mut self, access_tokens: AccessTokens) -> Self {
        self.shared.access_tokens = Some(access_tokens);
        self
    }

    /// Keeps sessions that are over for `retention` before [`Sessions::sweep`] deletes them;
    /// seven days by default.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.shared.retention = retention;
        self
    }

    /// Reads the time from `clock`; the system's by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.shared.clock = Arc::new(clock);
        self
    }

    /// Tells `on_event` what happens; nobody by default.
    pub fn on_event(mut self, on_event: impl OnEvent) -> Self {
        self.shared.on_event = Arc::new(on_event);
        self
    }

    /// The sessions.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when a policy or the access tokens make no sense.
    pub fn build(self) -> Result<Sessions, BuildError> {
        let shared = self.shared;
        shared.policies.values().try_for_each(KindPolicy::check)?;
        shared
            .access_tokens
            .iter()
            .try_for_each(AccessTokens::check)?;
        Ok(Sessions {
            shared: Arc::new(shared),
        })
    }
}

impl fmt::Debug for SessionsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsBuilder")
            .field("policies", &self.shared.policies)
            .finish_non_exhaustive()
    }
}
