//! How often, and how many at once: the policies of the limits on a request's way.

use forge_monitor::Guard;
use forge_ratelimit::{
    AdjustFuture, Adjustment, BuildError, Charge, Concurrency, JsonRpc, Key, MemoryStore,
    MissingKey, Policy, Problem, Quota, RateLimiter, RateLimiterBuilder, RedisStore, Refusal,
    Respond, Store, StoreError, StoreFailure, Verdicts,
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

/// What a request costs for whom the monitor has tightened the limits.
const TIGHTENED: u32 = 4;

/// The limits. Cheap to clone; clones share the counts.
#[derive(Clone, Debug)]
pub struct Limiters {
    /// Everything from one address, and from the block it lies in. Each node counts by itself:
    /// what ends a flood must ask nobody.
    pub by_address: RateLimiter<MemoryStore<Clock>>,
    /// By user and class, by address where nobody is signed in.
    pub by_class: RateLimiter<LimitStore>,
    /// Requests of one user that are under way at once, on this node.
    pub concurrent: Concurrency,
    /// Whose limits are tightened.
    guard: Guard,
}

impl Limiters {
    /// As configured.
    ///
    /// # Errors
    /// A policy or a store that cannot be.
    pub(crate) fn new(limits: &Limits, clock: &Clock, guard: &Guard) -> Result<Self, StartError> {
        let failed =
            |error: Box<dyn std::error::Error + Send + Sync>| StartError::part("limits")(error);
        let addresses = MemoryStore::partitioned_with_clock(1, limits.capacity, clock.clone());
        let by_address = by_address(addresses, limits).build();
        let store = LimitStore::new(limits, clock).map_err(|error| failed(error.into()))?;
        let by_class = by_class(store, limits, guard).build();
        let concurrent = Concurrency::new("concurrent", limits.concurrent, user);
        Ok(Self {
            by_address: by_address.map_err(|error| failed(error.into()))?,
            by_class: by_class.map_err(|error| failed(error.into()))?,
            concurrent: concurrent
                .map_err(|error| failed(error.into()))?
                // Whoever is not signed in has so many connections instead.
                .missing_key(MissingKey::Skip)
                .announced(false),
            guard: guard.clone(),
        })
    }

    /// Takes over the quotas of another configuration, for requests from now on. What is owed and
    /// what is under way stays. Where the counts are kept does not change.
    ///
    /// # Errors
    /// A policy that cannot be; then nothing changes.
    pub(crate) fn reload(&self, limits: &Limits) -> Result<(), BuildError> {
        // What cannot be built is found before anything is replaced.
        by_address((), limits).build()?;
        by_class((), limits, &self.guard).build()?;
        self.by_address.reload(by_address((), limits))?;
        self.by_class.reload(by_class((), limits, &self.guard))?;
        self.concurrent.set_max(limits.concurrent);
        Ok(())
    }
}

fn by_address<S>(store: S, limits: &Limits) -> RateLimiterBuilder<S> {
    RateLimiter::builder(store)
        // Announced besides the class: it is all that a refusal before authentication can tell.
        .policy(Policy::new("address", limits.address, address))
        .policy(
            Policy::new("network", limits.network, network)
                .missing_key(MissingKey::Skip)
                .announced(false),
        )
        .exempt(|parts: &Parts| class(parts) == Class::Probe)
}

fn by_class<S>(store: S, limits: &Limits, guard: &Guard) -> RateLimiterBuilder<S> {
    let failure = limits.shared.as_ref().map(|shared| shared.failure);
    RateLimiter::builder(store)
        .policy(by_user("web", limits.web, Class::Web, guard))
        .policy(by_user("mcp", limits.mcp, Class::Mcp, guard))
        .policy(by_user("admin", limits.admin, Class::Admin, guard))
        .policy(of_address("auth", limits.auth, Class::Auth))
        .policy(of_address("callback", limits.callback, Class::Callback))
        .policy(of_address("health", limits.health, Class::Health))
        .policy(
            Policy::new("anonymous", limits.anonymous, address)
                .when(is_anonymous)
                .weight_by(weight(limits.anonymous, guard)),
        )
        .exempt(|parts: &Parts| class(parts) == Class::Probe)
        .store_failure(failure.unwrap_or(StoreFailure::LocalShare))
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
        let Some(SharedLimits {
            url,
            secret,
            nodes,
            deadline,
            ..
        }) = &limits.shared
        else {
            let capacity = limits.capacity;
            let store = MemoryStore::partitioned_with_clock(capacity, capacity, clock.clone());
            return Ok(Self::Memory(store));
        };
        let store = RedisStore::builder(url.expose_secret(), secret.expose_secret().as_bytes())
            .namespace("forge-limits")
            .nodes(*nodes)
            .deadline(*deadline)
            .local_capacity(2 * limits.capacity)
            .build()?;
        store.connect();
        Ok(Self::Shared(store))
    }

    /// Whether it counts: a server that is shared may be gone.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Shared(store) => store.check().await,
        }
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

fn by_user(name: &'static str, quota: Quota, of: Class, guard: &Guard) -> Policy {
    Policy::new(name, quota, user)
        .when(move |parts: &Parts| class(parts) == of)
        // Whoever is not signed in is counted by address instead.
        .missing_key(MissingKey::Skip)
        .weight_by(weight(quota, guard))
}

/// What a request costs: one unit, or several for whom the monitor has tightened the limits.
fn weight(quota: Quota, guard: &Guard) -> impl Fn(&Parts) -> u32 + Send + Sync + 'static {
    // More than the burst would never be admitted.
    let tightened = TIGHTENED.min(quota.burst().get());
    let guard = guard.clone();
    move |parts| {
        let user = parts.extensions.get::<Principal>();
        let user = user.map(|principal| principal.github_id.to_string());
        match guard.is_tightened(client_ip(parts), user.as_deref()) {
            true => tightened,
            false => 1,
        }
    }
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
