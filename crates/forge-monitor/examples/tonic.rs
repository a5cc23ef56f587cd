//! A monitor around a Tonic server: who is blocked gets `PERMISSION_DENIED`.
//!
//! `cargo run -p forge-monitor --features tonic --example tonic`

use forge_monitor::{GuardLayer, LogSink, Monitor, PeerAddress};
use tonic::transport::Server;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .alert_sink("log", LogSink)
        .start()
        .await?;
    let (_, health) = tonic_health::server::health_reporter();
    let address = "127.0.0.1:50051".parse()?;
    println!("http://{address}");
    Server::builder()
        .layer(GuardLayer::new(monitor.guard(), PeerAddress))
        .add_service(health)
        .serve(address)
        .await?;
    Ok(())
}
