//! Per-key request rate limiting for Tower services: Axum, Tonic, or plain Hyper.
//!
//! A request whose key cannot be read is refused, and so is one on which the store gives no
//! verdict (fail closed), unless configured otherwise.
//!
//! # Example
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use axum::{Router, routing::get};
//! use forge_ratelimit::{MemoryStore, PeerAddress, Policy, Quota, RateLimitLayer, RateLimiter};
//!
//! # #[cfg(feature = "axum")]
//! # fn app() -> Result<(), forge_ratelimit::BuildError> {
//! // Sixty requests a minute by address, ten of them at once.
//! let limiter = RateLimiter::builder(MemoryStore::new(100_000))
//!     .policy(Policy::new("web", Quota::per_minute(60, 10).unwrap(), PeerAddress))
//!     .build()?;
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(RateLimitLayer::new(limiter));
//! let service = app.into_make_service_with_connect_info::<SocketAddr>();
//! # Ok(())
//! # }
//! ```
//!
//! Several policies are evaluated all or nothing: a request pays each that applies to it, and a
//! refused request pays none. Every response says what is left in the fields `RateLimit-Policy`
//! and `RateLimit` (draft-ietf-httpapi-ratelimit-headers); a refusal is a 429 problem document
//! (RFC 9457) with `Retry-After`, or `RESOURCE_EXHAUSTED` for gRPC.
//!
//! Beyond that:
//!
//! - [`Policy`] has conditions, [tiers](Policy::tier) by principal, [weights](Policy::weight_by)
//!   and a [shadow mode](Policy::shadow); [`RateLimiter::reload`] replaces policies and keeps what
//!   is owed.
//! - Handlers give back or take more through [`Charged`]; administrators
//!   [look](RateLimiter::peek), [reset](RateLimiter::reset) and [block](RateLimiter::block).
//! - [`ConcurrencyLayer`] bounds how many requests of a key are under way at once, streams for as
//!   long as they last.
//! - A [`Store`] keeps the debts: [`MemoryStore`] in this process, `RedisStore` for several nodes.
//!
//! # Feature flags
//!
//! None is on by default.
//!
//! - `axum`: the layer on an [`axum`](https://docs.rs/axum) router, addresses from `ConnectInfo`.
//! - `tonic`: the layer on a [`tonic`](https://docs.rs/tonic) server, addresses from
//!   `TcpConnectInfo`.
//! - `metrics`: the observer `RecordMetrics`.
//! - `redis`: `RedisStore`, for quotas that several nodes share.
//!
//! # Security
//!
//! - Memory is bounded by the store's capacity. A flood of new keys evicts those that owe
//!   nothing or the smallest part, never first the one that is throttled; and a flood of
//!   addresses evicts no user.
//! - Keys are stored as hashes under a secret, of the process or of all nodes.
//! - IPv6 is counted by /64. Whoever has a /48 has 65,536 of those: add a wider tier by
//!   [`Key::allocation`].
//! - No header chooses the key unless you write an extractor that reads one. Behind a proxy count by
//!   the address that a trusted-proxy layer resolved, as in `ByAddress(forge_headers::client_ip)`
//!   (see [`ByAddress`]), never by `X-Forwarded-For` itself.

mod atomic;
mod charged;
mod clock;
mod concurrency;
mod decision;
mod error;
mod exempt;
mod fields;
mod future;
mod gcra;
mod hash;
mod key;
mod layer;
mod limiter;
#[cfg(feature = "metrics")]
mod metrics;
mod on_concurrency;
mod on_decision;
mod policy;
mod quota;
mod refusal;
mod service;
mod store;

pub use charged::Charged;
pub use clock::{Clock, ManualClock, SystemClock};
pub use concurrency::{
    Concurrency, ConcurrencyBody, ConcurrencyFuture, ConcurrencyLayer, ConcurrencyLimit,
};
pub use decision::{Decision, PolicyVerdict};
pub use error::{AdjustError, BoxError, BuildError, QuotaError, StoreError};
pub use exempt::{in_networks, on_paths};
pub use future::ResponseFuture;
pub use key::{ByAddress, Key, KeyClass, KeyExtractor, PeerAddress};
pub use layer::RateLimitLayer;
pub use limiter::{RateLimiter, RateLimiterBuilder};
#[cfg(feature = "metrics")]
pub use metrics::RecordMetrics;
pub use on_concurrency::{ConcurrencyDecision, ConcurrencyOutcome, OnConcurrency};
pub use on_decision::OnDecision;
pub use policy::{Condition, MissingKey, Policy, PolicyName, Tier, Weight};
pub use quota::Quota;
pub use refusal::{JsonRpc, Problem, Refusal, RefusalBody, Respond};
pub use service::RateLimit;
pub use store::memory::MemoryStore;
#[cfg(feature = "redis")]
pub use store::redis::{RedisStore, RedisStoreBuilder, RedisStoreError};
pub use store::{
    AdjustFuture, Adjustment, Charge, Charges, MAX_POLICIES, PolicyId, Store, StoreFailure,
    Verdict, Verdicts,
};
