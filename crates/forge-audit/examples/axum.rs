//! An Axum service whose administration is on record before it is answered, or refused.
//!
//! `cargo run --example axum --features axum,checkpoint,sqlite`, then
//! `curl -X POST http://localhost:3000/admin/users/7`, and end it with Ctrl-C.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use forge_audit::{
    Actor, AuditContext, AuditLayer, AuditLog, AuditStore, CheckpointKey, Kind, Policy, Query,
    SqliteAuditStore,
};
use http::request::Parts;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Arc::new(SqliteAuditStore::open("audit-example.db").await?);
    store.migrate().await?;
    // A real key is random, and kept where nobody who can write the database can read it.
    let key = CheckpointKey::new("localhost/example", &[7; 32])?;
    println!("verifies with {}", key.verifier());
    let log = AuditLog::builder(store as Arc<dyn AuditStore>)
        .coalesce(100, Duration::from_secs(10))
        .checkpoints(
            key,
            1000,
            Duration::from_secs(60),
            |note: &forge_audit::SignedNote| {
                println!("{}", note.text);
            },
        )
        .open()
        .await?;
    let layer = AuditLayer::new(log.clone())
        // From what the layer that authenticates has put there.
        .identify(|parts: &Parts| parts.extensions.get::<Actor>().cloned().unwrap_or_default())
        .policy(|parts: &Parts| match parts.uri.path() {
            "/livez" => Policy::None,
            path if path.starts_with("/admin/") => Policy::Required,
            _ => Policy::Metadata,
        });
    let app = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/admin/users/{id}", post(allow))
        .layer(layer);
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    for record in log.query(&Query::new().limit(10)).await?.records {
        println!("{} {} {}", record.seq, record.time, record.event.action());
    }
    log.verify().await?;
    log.shutdown().await?;
    Ok(())
}

async fn allow(Path(id): Path<u64>, context: AuditContext) -> &'static str {
    context.kind(Kind::AllowListChange);
    context.action("user.allow");
    context.resource(format!("user/{id}"));
    "allowed\n"
}
