//! The health service and its client over a real connection.

use test_support::{health_client, health_service, listener};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

#[tokio::test]
async fn the_health_service_answers_over_loopback() {
    let listener = listener().await;
    let addr = listener.local_addr().unwrap();
    tokio::spawn(
        Server::builder()
            .add_service(health_service())
            .serve_with_incoming(TcpIncoming::from(listener)),
    );

    let answer = health_client(addr)
        .await
        .check(HealthCheckRequest::default())
        .await
        .unwrap();
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
}
