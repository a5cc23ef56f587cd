//! The layer on a Tonic server.
#![cfg(feature = "tonic")]

use std::num::NonZeroU32;
use std::time::Duration;

use forge_ratelimit::{
    Concurrency, ConcurrencyLayer, Key, MemoryStore, PeerAddress, Policy, Quota, RateLimitLayer,
    RateLimiter,
};
use tonic::transport::{Channel, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

type Client = HealthClient<Channel>;

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
    assert_eq!(status.metadata().get("retry-after").unwrap(), "1800");
    // What Google's libraries read: a `RetryInfo` among the status's details.
    let retry = status.get_details_retry_info().expect("a RetryInfo");
    assert_eq!(retry.retry_delay, Some(Duration::from_secs(1800)));
}

#[tokio::test]
async fn a_concurrency_limit_counts_a_stream_for_as_long_as_it_lasts() {
    let limit = Concurrency::new("streams", NonZeroU32::MIN, PeerAddress).unwrap();
    let listener = test_support::listener().await;
    let address = listener.local_addr().unwrap();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = Server::builder()
        .layer(ConcurrencyLayer::new(limit.clone()))
        .add_service(health);
    tokio::spawn(server.serve_with_incoming(incoming));

    let mut client = test_support::health_client(address).await;
    let watch =
        |mut client: Client| async move { client.watch(HealthCheckRequest::default()).await };
    let mut stream = watch(client.clone()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let refused = client
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    drop(stream);
    let key = Key::address(address.ip());
    while limit.under_way(&key) > 0 {
        tokio::task::yield_now().await;
    }
    assert!(client.check(HealthCheckRequest::default()).await.is_ok());
}
