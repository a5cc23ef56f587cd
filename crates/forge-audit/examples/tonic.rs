//! A Tonic service of which each call is on record, with the status in its trailers.
//!
//! `cargo run --example tonic --features sqlite,tonic`

use std::sync::Arc;

use forge_audit::{AuditLayer, AuditLog, Policy, SqliteAuditStore};
use http::request::Parts;
use tonic::transport::Server;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = SqliteAuditStore::open("audit-example.db").await?;
    store.migrate().await?;
    let log = AuditLog::open(Arc::new(store)).await?;
    let layer = AuditLayer::new(log).policy(|_: &Parts| Policy::Metadata);
    let (_, health) = tonic_health::server::health_reporter();
    Server::builder()
        .layer(layer)
        .add_service(health)
        .serve("127.0.0.1:50051".parse()?)
        .await?;
    Ok(())
}
