//! How often: the policies of the two limits on a request's way.

use forge_ratelimit::{
    AdjustFuture, Adjustment, Charge, JsonRpc, Key, MemoryStore, MissingKey, Policy, Problem,
    Quota, RateLimiter, RedisStore, Refusal, Respond, Store, StoreFailure, Verdicts,
};
use http::Response;
use http::request::Parts;
use secrecy::ExposeSecret;

use crate::class::Class;
use crate::clock::Clock;
use crate::config::{Limits, SharedLimits};
use crate::error::StartError;
use crate::principal::Principal;
use crate::wiring::client_ip;

/// The two limits. Cheap to clone; clones share the counts.
#[derive(Clone, Debug)]
pub struct Limiters {
    /// Everything from one address, and from the block it lies in. Each node counts by itself:
    /// what ends a flood must ask nobody.
    pub by_address: RateLimiter<MemoryStore<Clock>>,
    /// By user and class, by address where nobody is signed in.
    pub by_class: RateLimiter<LimitStore>,
}

impl Limiters {
    /// As configured.
    ///
    /// # Errors
    /// A policy or a store that cannot be.
    pub(crate) fn new(limits: &Limits, clock: &Clock) -> Result<Self, StartError> {
        let failed =
            |error: Box<dyn std::error::Error + Send + Sync>| StartError::part("limits")(error);
        let addresses = MemoryStore::partitioned_with_clock(1, limits.capacity, clock.clone());
        let by_address = RateLimiter::builder(addresses)
            // Announced besides the class: it is all that a refusal before authentication can tell.
            .policy(Policy::new("address", limits.address, address))
            .policy(
                Policy::new("network", limits.network, network)
                    .missing_key(MissingKey::Skip)
                    .announced(false),
            )
            .exempt(|parts: &Parts| class(parts) == Class::Probe)
            .build()
            .map_err(|error| failed(error.into()))?;
        let store = LimitStore::new(limits, clock).map_err(|error| failed(error.into()))?;
        let by_class = RateLimiter::builder(store)
            .policy(by_user("web", limits.web, Class::Web))
            .policy(by_user("mcp", limits.mcp, Class::Mcp))
            .policy(by_user("admin", limits.admin, Class::Admin))
            .policy(of_address("auth", limits.auth, Class::Auth))
            .policy(of_address("callback", limits.callback, Class::Callback))
            .policy(of_address("health", limits.health, Class::Health))
            .policy(Policy::new("anonymous", limits.anonymous, address).when(is_anonymous))
            .exempt(|parts: &Parts| class(parts) == Class::Probe)
            .store_failure(StoreFailure::LocalShare)
            .build()
            .map_err(|error| failed(error.into()))?;
        Ok(Self {
            by_address,
            by_class,
        })
    }
}

/// Where the limits by class are counted.
#[derive(Debug)]
pub enum LimitStore {
    /// In this process.
    Memory(MemoryStore<Clock>),
    /// In a server that all nodes share.
    Shared(RedisStore),
}

impl LimitStore {
    fn new(limits: &Limits, clock: &Clock) -> Result<Self, forge_ratelimit::RedisStoreError> {
        let Some(SharedLimits { url, secret, nodes }) = &limits.shared else {
            let capacity = limits.capacity;
            let store = MemoryStore::partitioned_with_clock(capacity, capacity, clock.clone());
            return Ok(Self::Memory(store));
        };
        let store = RedisStore::builder(url.expose_secret(), secret.expose_secret().as_bytes())
            .namespace("forge-limits")
            .nodes(*nodes)
            .local_capacity(2 * limits.capacity)
            .build()?;
        store.connect();
        Ok(Self::Shared(store))
    }
}

impl Store for LimitStore {
    type Future = <RedisStore as Store>::Future;

    fn charge(&self, charges: &[Charge]) -> Self::Future {
        match self {
            Self::Memory(store) => Box::pin(store.charge(charges)),
            Self::Shared(store) => store.charge(charges),
        }
    }

    fn charge_now(&self, charges: &[Charge], verdicts: &mut Verdicts) -> bool {
        match self {
            Self::Memory(store) => store.charge_now(charges, verdicts),
            // What no policy counts asks nobody.
            Self::Shared(_) => charges.is_empty(),
        }
    }

    fn adjust(&self, charge: &Charge, adjustment: Adjustment) -> AdjustFuture {
        match self {
            Self::Memory(store) => store.adjust(charge, adjustment),
            Self::Shared(store) => store.adjust(charge, adjustment),
        }
    }
}

/// What a refusal looks like: agents speak JSON-RPC.
pub(crate) fn respond(parts: &Parts, refusal: &Refusal) -> Response<axum::body::Body> {
    match class(parts) {
        Class::Mcp => JsonRpc.respond(parts, refusal),
        _ => Problem.respond(parts, refusal),
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

fn network(parts: &Parts) -> Option<Key> {
    client_ip(parts).and_then(Key::allocation)
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
