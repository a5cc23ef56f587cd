//! How often: the policies of the two limits on a request's way.

use forge_ratelimit::{BuildError, Key, MemoryStore, MissingKey, Policy, Quota, RateLimiter};
use http::request::Parts;

use crate::class::Class;
use crate::clock::Clock;
use crate::config::Limits;
use crate::principal::Principal;
use crate::wiring::client_ip;

/// The two limits.
#[derive(Debug)]
pub(crate) struct Limiters {
    /// Everything from one address.
    pub by_address: RateLimiter<MemoryStore<Clock>>,
    /// By user and class, by address where nobody is signed in.
    pub by_class: RateLimiter<MemoryStore<Clock>>,
}

impl Limiters {
    /// As configured.
    ///
    /// # Errors
    /// A policy that cannot be.
    pub(crate) fn new(limits: &Limits, clock: &Clock) -> Result<Self, BuildError> {
        let store = || MemoryStore::with_clock(limits.capacity, clock.clone());
        let by_address = RateLimiter::builder(store())
            // What the other limit says is of more use to a client.
            .policy(Policy::new("address", limits.address, address).announced(false))
            .exempt(|parts: &Parts| class(parts) == Class::Probe)
            .build()?;
        let by_class = RateLimiter::builder(store())
            .policy(by_user("web", limits.web, Class::Web))
            .policy(by_user("mcp", limits.mcp, Class::Mcp))
            .policy(by_user("admin", limits.admin, Class::Admin))
            .policy(of_address("auth", limits.auth, Class::Auth))
            .policy(of_address("callback", limits.callback, Class::Callback))
            .policy(of_address("health", limits.health, Class::Health))
            .policy(Policy::new("anonymous", limits.anonymous, address).when(is_anonymous))
            .exempt(|parts: &Parts| class(parts) == Class::Probe)
            .build()?;
        Ok(Self {
            by_address,
            by_class,
        })
    }
}

fn by_user(name: &'static str, quota: Quota, of: Class) -> Policy {
    Policy::new(name, quota, user)
        .when(move |parts: &Parts| class(parts) == of)
        // Whoever is not signed in is counted by address instead.
        .missing_key(MissingKey::Skip)
}

fn of_address(name: &'static str, quota: Quota, of: Class) -> Policy {
    Policy::new(name, quota, address).when(move |parts: &Parts| class(parts) == of)
}

fn is_anonymous(parts: &Parts) -> bool {
    matches!(class(parts), Class::Web | Class::Mcp | Class::Admin) && user(parts).is_none()
}

fn user(parts: &Parts) -> Option<Key> {
    let principal = parts.extensions.get::<Principal>()?;
    Some(Key::user(principal.github_id.to_be_bytes()))
}

fn address(parts: &Parts) -> Option<Key> {
    client_ip(parts).map(Key::address)
}

fn class(parts: &Parts) -> Class {
    parts
        .extensions
        .get::<Class>()
        .copied()
        .unwrap_or(Class::Web)
}
