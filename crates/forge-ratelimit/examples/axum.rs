//! An Axum service: by address, and by user where somebody is signed in.
//!
//! `cargo run -p forge-ratelimit --features axum --example axum`, then
//! `for i in $(seq 12); do curl -si localhost:3000 | grep -iE '^(HTTP|ratelimit:|retry)'; done`

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use forge_ratelimit::{
    Key, MemoryStore, MissingKey, PeerAddress, Policy, Quota, RateLimitLayer, RateLimiter,
};
use http::request::Parts;

/// What your authentication leaves in the request.
#[derive(Clone)]
struct User(u64);

fn user(parts: &Parts) -> Option<Key> {
    Some(Key::user(parts.extensions.get::<User>()?.0.to_be_bytes()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = RateLimiter::builder(MemoryStore::new(100_000))
        .policy(Policy::new("address", Quota::ANONYMOUS, PeerAddress))
        .policy(Policy::new("web", Quota::WEB, user).missing_key(MissingKey::Skip))
        .build()?;
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .layer(RateLimitLayer::new(limiter));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await?;
    Ok(())
}
