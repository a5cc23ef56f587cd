//! A Tonic server: a rate by address, and so many streams at once.
//!
//! `cargo run -p forge-ratelimit --features tonic --example tonic`

use std::num::NonZeroU32;

use forge_ratelimit::{
    Concurrency, ConcurrencyLayer, MemoryStore, PeerAddress, Policy, Quota, RateLimitLayer,
    RateLimiter,
};
use tonic::transport::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = RateLimiter::builder(MemoryStore::new(100_000))
        .policy(Policy::new("grpc", Quota::per_minute(60, 10)?, PeerAddress))
        .build()?;
    let four = NonZeroU32::MIN.saturating_add(3);
    let streams = Concurrency::new("streams", four, PeerAddress)?;
    let (_reporter, health) = tonic_health::server::health_reporter();
    Server::builder()
        .layer(RateLimitLayer::new(limiter))
        .layer(ConcurrencyLayer::new(streams))
        .add_service(health)
        .serve("127.0.0.1:3000".parse()?)
        .await?;
    Ok(())
}
