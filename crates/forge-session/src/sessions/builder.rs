//! Putting [`Sessions`] together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::access_token::AccessTokens;
use crate::cache::Cache;
use crate::clock::{Clock, SystemClock};
use crate::error::BuildError;
use crate::kind::Kind;
use crate::on_event::{OnEvent, OnRevoked};
use crate::policy::KindPolicy;
use crate::sessions::{Sessions, Shared};
use crate::store::SessionStore;
use crate::threat::{ByScore, Sightings, ThreatPolicy};
use crate::ticket::Tickets;

/// How long a session that is over stays in the store by default.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many sessions are remembered by default, and for how long.
const CACHED: usize = 10_000;
const CACHE_TTL: Duration = Duration::from_secs(5);

/// The longest that another node may not know of a revocation.
const MAX_CACHE_TTL: Duration = Duration::from_secs(60);

/// How long a use waits for others to be written with it by default.
const WRITE_BEHIND: Duration = Duration::from_secs(5);

/// Makes [`Sessions`].
#[must_use]
pub struct SessionsBuilder {
    shared: Shared,
    cached: usize,
    cache_ttl: Duration,
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
                policies: policies.into(),
                access_tokens: None,
                retention: RETENTION,
                write_behind: WRITE_BEHIND,
                clock: Arc::new(SystemClock),
                on_event: Arc::new(()),
                on_revoked: Arc::new(()),
                threat_policy: Arc::new(ByScore::default()),
                cache: Cache::new(0, Duration::ZERO),
                sightings: Sightings::new(),
                tickets: Tickets::default(),
                watchers: Arc::default(),
            },
            cached: CACHED,
            cache_ttl: CACHE_TTL,
        }
    }

    /// Adds a kind, or replaces its policy.
    pub fn policy(mut self, kind: Kind, policy: KindPolicy) -> Self {
        self.shared.policies.retain(|(of, _)| *of != kind);
        self.shared.policies.push((kind, policy));
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

    /// Remembers up to `capacity` sessions that were found good, each for `ttl`; 10 000 for five
    /// seconds by default. With a `ttl` of zero the store is asked with each request.
    ///
    /// On this node a revocation holds from the next request on, whatever is remembered. Where
    /// several nodes share the store, `ttl` is how long one of them may not know of it if it is
    /// not told.
    pub fn cache(mut self, capacity: usize, ttl: Duration) -> Self {
        (self.cached, self.cache_ttl) = (capacity, ttl);
        self
    }

    /// Lets a use of a session wait so long for others to be written with it; five seconds by
    /// default.
    pub fn write_behind(mut self, write_behind: Duration) -> Self {
        self.shared.write_behind = write_behind;
        self
    }

    /// Tells `on_revoked` what has been revoked here, for other nodes; nobody by default.
    pub fn on_revoked(mut self, on_revoked: impl OnRevoked) -> Self {
        self.shared.on_revoked = Arc::new(on_revoked);
        self
    }

    /// Asks `policy` what to do when a session is used in a way that may mean theft;
    /// [`ByScore`] by default.
    pub fn threat_policy(mut self, policy: impl ThreatPolicy) -> Self {
        self.shared.threat_policy = Arc::new(policy);
        self
    }

    /// The sessions.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when a policy or the access tokens make no sense.
    pub fn build(self) -> Result<Sessions, BuildError> {
        let mut shared = self.shared;
        if self.cache_ttl > MAX_CACHE_TTL {
            return Err(BuildError::CacheTtl);
        }
        shared.cache = Cache::new(self.cached, self.cache_ttl);
        let mut policies = shared.policies.iter();
        policies.try_for_each(|(_, policy)| policy.check())?;
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
