//! The standard gRPC health service and its client: a real service without code generation.
//!
//! A test builds its server itself, so that it reads as a user's code:
//!
//! ```
//! # async fn example() {
//! let listener = test_support::listener().await;
//! let addr = listener.local_addr().unwrap();
//! tokio::spawn(
//!     tonic::transport::Server::builder()
//!         // .layer(…)
//!         .add_service(test_support::health_service())
//!         .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)),
//! );
//! let mut client = test_support::health_client(addr).await;
//! let answer = client.check(tonic_health::pb::HealthCheckRequest::default()).await;
//! # }
//! ```

use std::net::SocketAddr;

use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};

/// The health service; the server as a whole (service name `""`) is `SERVING`.
pub fn health_service() -> HealthServer<impl Health> {
    let (_reporter, service) = tonic_health::server::health_reporter();
    service
}

/// A client of the health service at `addr`, connected.
///
/// # Panics
/// When the connection is refused.
pub async fn health_client(addr: SocketAddr) -> HealthClient<Channel> {
    let channel = Endpoint::from_shared(format!("http://{addr}"))
        .expect("an address makes a valid URI")
        .connect()
        .await
        .expect("a connection");
    HealthClient::new(channel)
}
