//! Client address, hosts, HTTPS, security headers, CORS and cross-origin protection for Tower services.
//!
//! [`Stack`] is all of it in the right order. Each part is a layer by itself too, for Axum and
//! Tonic alike:
//!
//! | Layer | What it does | When in doubt |
//! |---|---|---|
//! | [`ConnectionLayer`] | resolves who calls, over what, to which host: [`Connection`] | peer unknown: 500 |
//! | [`SecurityHeadersLayer`] | CSP, HSTS and the rest on every response | scheme unknown: no HSTS |
//! | [`CorsLayer`] | which other origins may read | nothing is said |
//! | [`HostAllowListLayer`] | answers only for listed hosts | 400 malformed, 421 not listed |
//! | [`HttpsLayer`] | redirects what came in clear, or refuses it | scheme unknown: in clear |
//! | [`CrossOriginGuardLayer`] | which other origins may act | 403 |
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # fn app() -> Result<axum::Router, Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use forge_headers::*;
//!
//! let stack = Stack::new(
//!     HostAllowList::new(["app.example.com"])?,
//!     SecurityHeaders::web_app(),
//! )
//! .trusted_proxies(TrustedProxies::parse(["10.0.0.0/8"])?)
//! .cors(Cors::builder().origins(["https://www.example.com"]).build()?)
//! .exempt_path("/livez");
//!
//! for finding in stack.audit() {
//!     tracing::warn!(%finding, "weakens the configuration");
//! }
//!
//! let app = Router::new()
//!     .route("/", get(|connection: Connection| async move { connection.client_ip.to_string() }))
//!     .layer(stack);
//! # Ok(app)
//! # }
//! # #[cfg(feature = "axum")]
//! # app().unwrap();
//! ```
//!
//! The same, layer by layer. The order matters: on [`axum::Router`](https://docs.rs/axum) the
//! layer added last is the outermost, so that the list reads from the handler outwards:
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # fn app() -> Result<axum::Router, Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use forge_headers::*;
//!
//! let hosts = HostAllowList::new(["app.example.com"])?;
//! let origin = "https://www.example.com";
//! let cors = Cors::builder().origins([origin]).build()?;
//!
//! let app = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     // Innermost: what other origins may not do. Authentication and limits stand outside of it.
//!     .layer(CrossOriginGuardLayer::new().allow_origin(origin.parse()?))
//!     .layer(HttpsLayer::new(hosts.clone()).exempt_path("/livez"))
//!     .layer(HostAllowListLayer::new(hosts).exempt_path("/livez"))
//!     // Preflights end here, before anyone asks them to sign in.
//!     .layer(CorsLayer::new(cors))
//!     // Outside of all that may refuse, so that refusals bear the headers too.
//!     .layer(SecurityHeadersLayer::new(SecurityHeaders::web_app()))
//!     // Outermost: everything above needs to know who calls, and over what.
//!     .layer(ConnectionLayer::new(TrustedProxies::parse(["10.0.0.0/8"])?));
//! # Ok(app)
//! # }
//! # #[cfg(feature = "axum")]
//! # app().unwrap();
//! ```
//!
//! Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, so that the peer's address
//! is known. On `tonic::transport::Server::builder()` the layer added first is the outermost: the
//! same lines in the reverse order.
//!
//! Whatever catches panics and sets time limits belongs inside of [`CorsLayer`], so that those
//! responses bear the headers as well.
//!
//! # Feature flags
//!
//! - `axum`: the peer's address from `ConnectInfo` (of a Unix socket too), extractors for
//!   [`Connection`] and [`CspNonce`], refusals into Axum's body.
//! - `tonic`: the peer's address from `TcpConnectInfo`, refusals into Tonic's body.
//! - `metrics`: `RecordMetrics`, an observer that counts refusals.
//! - `reports`: `ReportCollector`, a service that takes what browsers report about violations.
//!
//! # Security
//!
//! - A forwarding header is believed only from a configured proxy, from the right, up to the first
//!   hop that is not one: no untrusted peer can be anyone but itself.
//! - Hosts and origins are parsed once and compared as values, never as prefixes or suffixes of
//!   text.
//! - What cannot be read is refused or left out; no parser panics.
//! - A refusal says what kind it is and repeats nothing the client sent but a well-formed request
//!   id.

mod audit;
mod authority;
mod connection;
mod cors;
mod cross_origin;
mod environment;
mod error;
mod future;
mod host;
mod https;
#[cfg(feature = "metrics")]
mod metrics;
mod on_refusal;
mod origin_pattern;
mod refusal;
mod refuser;
#[cfg(feature = "reports")]
mod report;
mod security;
mod stack;

pub use audit::{Finding, Severity};
pub use authority::{Host, Origin, Scheme};
pub use connection::layer::ConnectionLayer;
pub use connection::peer::{FromExtensions, Peer, PeerAddr, UnixPeer};
pub use connection::service::ConnectionService;
pub use connection::trusted_proxies::{ForwardedHeader, Resolved, TrustedProxies};
pub use connection::{Connection, client_ip};
pub use cors::Cors;
pub use cors::builder::CorsBuilder;
pub use cors::future::CorsFuture;
pub use cors::layer::CorsLayer;
pub use cors::service::CorsService;

pub use cross_origin::layer::CrossOriginGuardLayer;
pub use cross_origin::service::CrossOriginGuard;
pub use environment::Environment;
#[cfg(feature = "reports")]
pub use error::ReportError;
pub use error::{
    CorsError, CspError, HostAllowListError, HostError, HstsError, OriginError,
    PermissionsPolicyError, ReportingEndpointError, TrustedProxiesError,
};
pub use future::ResponseFuture;
pub use host::allow_list::HostAllowList;
pub use host::layer::HostAllowListLayer;
pub use host::request_host;
pub use host::service::HostAllowListService;
pub use https::layer::HttpsLayer;
pub use https::service::HttpsService;
pub use ipnet::IpNet;
#[cfg(feature = "metrics")]
pub use metrics::RecordMetrics;
pub use on_refusal::OnRefusal;
pub use refusal::{Problem, Refusal, RefusalBody, RefusalKind, Respond};
#[cfg(feature = "reports")]
pub use report::collector::ReportCollector;
#[cfg(feature = "reports")]
pub use report::future::ReportFuture;
#[cfg(feature = "reports")]
pub use report::on_report::OnReport;
#[cfg(feature = "reports")]
pub use report::{CspViolation, Disposition, OtherReport, Report};
pub use security::SecurityHeaders;
pub use security::clear_site_data::clear_site_data;
pub use security::csp::{Csp, CspBuilder, Directive};
pub use security::future::SecurityHeadersFuture;
pub use security::has_session::{CarriesCredentials, HasSession};
pub use security::hsts::Hsts;
pub use security::layer::{OverrideSecurityHeaders, SecurityHeadersLayer};
pub use security::nonce::CspNonce;
pub use security::permissions::{PermissionsPolicy, PermissionsPolicyBuilder};
pub use security::reporting::ReportingEndpoint;
pub use security::service::SecurityHeadersService;
pub use security::source::Source;
pub use security::values::{
    CrossOriginEmbedderPolicy, CrossOriginOpenerPolicy, CrossOriginResourcePolicy,
    DocumentIsolationPolicy, FrameOptions, IntegrityPolicy, ReferrerPolicy,
};
pub use stack::{Stack, StackService};
