//! Sessions for people and agents, as a layer for Tower services: limits, rotation, revocation,
//! cookies and access tokens.
//!
//! A session that cannot be looked up is refused with 503, and an access token in doubt with 401
//! (fail closed). A revoked session is a tombstone: nothing brings it back.
//!
//! # Example
//!
//! ```
//! use axum::{Router, routing::get};
//! use forge_session::{
//!     Authenticated, Kind, MemorySessionStore, NewSession, SessionCookie, SessionLayer, Sessions,
//!     UserId,
//! };
//!
//! # #[cfg(feature = "axum")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sessions = Sessions::builder(MemorySessionStore::new()).build()?;
//! let app: Router = Router::new()
//!     .route("/me", get(async |me: Authenticated| me.session().user.to_string()))
//!     .layer(SessionLayer::new(sessions.clone()));
//!
//! // Somebody has proved to be user 1001 of GitHub: make a session, answer with its cookie.
//! let user = UserId::new("github:1001")?;
//! let created = sessions.create(NewSession::new(user, Kind::WEB)).await?;
//! let set_cookie = SessionCookie::new().set_cookie(&created.secret, created.max_age());
//! # use tower::ServiceExt;
//! # let cookie = set_cookie.to_str()?.split(';').next().unwrap_or_default();
//! # for (cookie, status) in [(cookie, 200), ("", 401)] {
//! #     let request = http::Request::get("/me").header("cookie", cookie);
//! #     let response = app.clone().oneshot(request.body(axum::body::Body::empty())?).await?;
//! #     assert_eq!(response.status(), status);
//! # }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "axum"))]
//! # fn main() {}
//! ```
//!
//! Programs bear access tokens instead. Give [`Sessions`] an issuer with
//! [`access_tokens`](SessionsBuilder::access_tokens), make a session of [`Kind::MCP`], hand out
//! [`issue_access_token`](Sessions::issue_access_token) and the secret as the refresh token, and
//! put a [`RequireSessionLayer`] before what only they may reach.
//!
//! Both sorts are rows of one table, with the same limits, list and revocation. What applies to
//! which [`Kind`] is its [`KindPolicy`]; the store is a [`SessionStore`]; whoever wants to know
//! what happens is an [`OnEvent`] or an [`OnRejection`].
//!
//! # Feature flags
//!
//! None is on by default.
//!
//! - `axum`: the layers on an [`axum`](https://docs.rs/axum) router; [`Authenticated`] and
//!   `Option<Authenticated>` as extractors.
//! - `tonic`: the layers on a [`tonic`](https://docs.rs/tonic) server, whose services read
//!   [`Authenticated`] from the request's extensions.
//! - `sqlite`, `postgres`: the stores `SqliteSessionStore` and `PostgresSessionStore`.
//! - `metrics`: the observer `RecordMetrics`.
//!
//! Access tokens need no more: they are signed and verified here, and no feature of
//! [`jsonwebtoken`](https://docs.rs/jsonwebtoken), which reads their header, has to be chosen for
//! it. With none of its backends, or with both, that crate's own cryptography would panic.
//!
//! # Security
//!
//! - Secrets are 256 random bits, and 128 that those of one session have in common; stored is
//!   their SHA-256. A copy of the database opens no session. They are never in `Debug`, an event or
//!   a metric.
//! - Access tokens are `at+jwt` (RFC 9068), signed with Ed25519 or, where you choose so, HS256,
//!   validated after RFC 8725: the key says which algorithm, no header member but `alg`, `typ` and
//!   `kid`, every claim required, 30 seconds of leeway. Each is bound to a session, whose state is
//!   checked with every request.
//! - A secret is replaced by one that is derived from it and a stored salt: a refresh token with
//!   each use, a cookie after half a day. The old one yields the same successor for a short
//!   overlap. When it comes later, or one that was replaced even before, the session is revoked:
//!   then a copy is out.
//! - A session found good is remembered for a few seconds. A revocation through the same
//!   [`Sessions`] overtakes that, also one that a read of the store is just overtaking.
//! - A cookie goes along with requests that another site makes a browser send. `SameSite=Lax`
//!   keeps it out of most; put a cross-origin guard inside the layer for the rest, where
//!   [`Via::Cookie`].
//! - Make a new session at each sign-in, and revoke the one before: then a cookie that was planted
//!   before the sign-in is worth nothing (session fixation).

mod access_token;
mod authenticated;
mod body;
mod cache;
mod caller_info;
mod challenge;
mod clock;
mod cookie;
mod credential;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod key_schedule;
mod kind;
mod layer;
#[cfg(feature = "metrics")]
mod metrics;
mod on_event;
mod policy;
mod refusal;
mod require;
mod scopes;
mod secret;
mod service;
mod session;
mod sessions;
mod signing_key;
mod store;
mod threat;
mod ticket;
mod watch;

#[cfg(feature = "metrics")]
pub use crate::metrics::RecordMetrics;
pub use access_token::{AccessToken, AccessTokens};
pub use authenticated::{Authenticated, Via};
pub use body::UntilRevoked;
pub use caller_info::{CallerInfo, UserAgent};
pub use challenge::Challenge;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use cookie::SessionCookie;
pub use error::{
    AuthenticateError, BoxError, BuildError, CreateError, InvalidName, IssueError, KeyError,
    RandomError, RefreshError, Rejection, StoreError, TokenError,
};
#[cfg(feature = "axum")]
pub use extract::{Require, Requirement, SessionRequired};
pub use future::ResponseFuture;
pub use key_schedule::{KeyPlan, KeySchedule};
pub use kind::Kind;
pub use layer::SessionLayer;
pub use on_event::{OnEvent, OnRejection, OnRevoked, SessionEvent};
pub use policy::{Carrier, KindPolicy, MAX_ACCESS_TTL, OnReuse, choose_evicted};
pub use refusal::{Problem, Refusal, RefusalBody, Respond};
pub use require::future::ResponseFuture as RequireSessionFuture;
pub use require::layer::RequireSessionLayer;
pub use require::service::RequireSession;
pub use scopes::Scopes;
pub use secret::{FamilyHash, RotationSalt, SecretHash};
pub use service::Authenticate;
pub use session::{Caller, ClientId, RevokeCause, Session, SessionId, UserId};
pub use sessions::builder::SessionsBuilder;
pub use sessions::refresh::Refreshed;
pub use sessions::{Created, NewSession, Sessions};
pub use signing_key::{SigningKey, TokenKeys};
pub use store::memory::MemorySessionStore;
#[cfg(feature = "postgres")]
pub use store::postgres::PostgresSessionStore;
#[cfg(feature = "sqlite")]
pub use store::sqlite::SqliteSessionStore;
pub use store::{Found, Matched, Rotation, Selector, SessionStore, StoreFuture, Touch};
pub use threat::{Assessment, ByScore, ThreatPolicy, ThreatResponse, ThreatSignal};
