//! The layer on a Tonic server.
#![cfg(feature = "tonic")]

use forge_ratelimit::{MemoryStore, PeerAddress, Policy, Quota, RateLimitLayer, RateLimiter};
use tonic::transport::Server;
use tonic_health::pb::HealthCheckRequest;

#[tokio::test]
async fn answers_resource_exhausted_when_the_quota_is_used_up() {
    let limiter = RateLimiter::builder(MemoryStore::new(1000))
        .policy(Policy::new(
            "grpc",
            Quota::per_hour(2, 2).unwrap(),
            PeerAddress,
        ))
        .build()
        .unwrap();
    let listener = test_support::listener().await;
    let address = listener.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = Server::builder()
        .layer(RateLimitLayer::new(limiter))
        .add_service(health);
    tokio::spawn(server.serve_with_incoming(incoming));

    let mut client = test_support::health_client(address).await;
    for _ in 0..2 {
        let response = client.check(HealthCheckRequest::default()).await.unwrap();
        assert!(response.metadata().contains_key("ratelimit"));
    }
    let status = client
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert!(status.metadata().contains_key("retry-after"));
}
