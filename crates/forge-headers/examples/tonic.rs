//! A Tonic service that speaks TLS no further than its proxy.
//!
//! `cargo run --example tonic --features tonic`

use forge_headers::{HostAllowList, SecurityHeaders, Stack, TrustedProxies};
use tonic::transport::Server;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stack = Stack::new(HostAllowList::loopback(), SecurityHeaders::api())
        .trusted_proxies(TrustedProxies::parse(["127.0.0.0/8"])?);
    for finding in stack.audit() {
        println!("{finding}");
    }
    let (_, health) = tonic_health::server::health_reporter();
    Server::builder()
        .layer(stack)
        .add_service(health)
        .serve("127.0.0.1:50051".parse()?)
        .await?;
    Ok(())
}
