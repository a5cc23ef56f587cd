//! The layer on Tonic.

use forge_monitor::{InspectLayer, InspectMode};
use tonic::Code;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::pb::HealthCheckRequest;

#[tokio::test]
async fn a_suspicious_call_is_denied_permission() {
    let listener = test_support::listener().await;
    let addr = listener.local_addr().unwrap();
    tokio::spawn(
        Server::builder()
            .layer(InspectLayer::new(InspectMode::Block))
            .add_service(test_support::health_service())
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    let mut client = test_support::health_client(addr).await;
    client.check(HealthCheckRequest::default()).await.unwrap();
    let mut request = ::tonic::Request::new(HealthCheckRequest::default());
    let lookup = "${jndi:ldap://h/a}".parse().unwrap();
    request.metadata_mut().insert("x-note", lookup);
    let denied = client.check(request).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}
