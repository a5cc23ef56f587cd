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
//! # Feature flags
//!
//! None is on by default.
//!
//! - `axum`: the layer on an [`axum`](https://docs.rs/axum) router, addresses from `ConnectInfo`.
//! - `tonic`: the layer on a [`tonic`](https://docs.rs/tonic) server, addresses from
//!   `TcpConnectInfo`.
//! - `metrics`: the observer `RecordMetrics`.
//!
//! # Security
//!
//! - Memory is bounded by the store's capacity. A flood of new keys evicts those that owe
//!   nothing or least, never first the one that is throttled.
//! - Keys are stored as hashes under a secret of the process.
//! - No header chooses the key unless you write an extractor that reads one. Behind a proxy read
//!   the address that a trusted-proxy layer resolved, never `X-Forwarded-For` itself.

mod clock;
mod decision;
mod error;
mod fields;
mod future;
mod gcra;
mod key;
mod layer;
mod limiter;
#[cfg(feature = "metrics")]
mod metrics;
mod on_decision;
mod policy;
mod quota;
mod refusal;
mod service;
mod store;

pub use clock::{Clock, ManualClock, SystemClock};
pub use decision::{Decision, PolicyVerdict};
pub use error::{BoxError, BuildError, QuotaError, StoreError};
pub use future::ResponseFuture;
pub use key::{Key, KeyClass, KeyExtractor, PeerAddress};
pub use layer::RateLimitLayer;
pub use limiter::{RateLimiter, RateLimiterBuilder, StoreFailure};
#[cfg(feature = "metrics")]
pub use metrics::RecordMetrics;
pub use on_decision::OnDecision;
pub use policy::{Condition, MissingKey, Policy};
pub use quota::Quota;
pub use refusal::{Problem, Refusal, RefusalBody, Respond};
pub use service::RateLimit;
pub use store::memory::MemoryStore;
pub use store::{Charge, Charges, MAX_POLICIES, Store, Verdict, Verdicts};
