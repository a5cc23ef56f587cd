//! A monitor around an Axum router: six failed sign-ins, and the address is refused.
//!
//! `cargo run -p forge-monitor --features axum --example axum`, then
//! `curl http://127.0.0.1:3000/sign-in?password=guess` seven times.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::routing::get;
use forge_monitor::{
    GuardLayer, HealthGroup, HealthRegistry, LogSink, Monitor, NeverBlock, PeerAddress, Signal,
    SignalKind, health_router,
};
use http::StatusCode;

#[derive(serde::Deserialize)]
struct SignIn {
    password: String,
}

async fn sign_in(
    State(monitor): State<Monitor>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Query(given): Query<SignIn>,
) -> StatusCode {
    if given.password == "open sesame" {
        return StatusCode::OK;
    }
    monitor.emit(Signal::new(SignalKind::AuthFailed).address(client.ip()));
    StatusCode::UNAUTHORIZED
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        // Loopback is never blocked by default; this example is about loopback.
        .never_block(NeverBlock::dangerous_empty())
        .alert_sink("log", LogSink)
        .start()
        .await?;
    let health = HealthRegistry::builder()
        .check("monitor", HealthGroup::All, monitor.clone())
        .build();
    let app = Router::new()
        .route("/sign-in", get(sign_in))
        .with_state(monitor.clone())
        .layer(GuardLayer::new(monitor.guard(), PeerAddress))
        // Outside of the guard: who asks for health is no client.
        .merge(health_router(&health));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}", listener.local_addr()?);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await?;
    Ok(())
}
