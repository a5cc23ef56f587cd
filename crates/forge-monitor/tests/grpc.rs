//! The guard on a Tonic server, over a real connection.
#![cfg(feature = "tonic")]

use std::net::IpAddr;

use forge_monitor::{GuardLayer, Monitor, NeverBlock, PeerAddress, Signal, SignalKind};
use tonic::Code;
use tonic::transport::{Channel, Server, server::TcpIncoming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A server behind the guard, and a client of it on 127.0.0.1.
async fn guarded(monitor: &Monitor) -> HealthClient<Channel> {
    let listener = test_support::listener().await;
    let addr = listener.local_addr().unwrap();
    tokio::spawn(
        Server::builder()
            .layer(GuardLayer::new(monitor.guard(), PeerAddress))
            .add_service(test_support::health_service())
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    test_support::health_client(addr).await
}

async fn check(client: &mut HealthClient<Channel>) -> Result<ServingStatus, tonic::Status> {
    let answer = client.check(HealthCheckRequest::default()).await?;
    Ok(answer.into_inner().status())
}

async fn fail(monitor: &Monitor, times: usize) {
    for _ in 0..times {
        let signal = Signal::new(SignalKind::AuthFailed).address(IpAddr::from([127, 0, 0, 1]));
        monitor.emit(signal);
    }
    monitor.flush().await;
}

#[tokio::test]
async fn a_blocked_client_is_denied_permission_until_the_block_is_lifted() {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .never_block(NeverBlock::dangerous_empty())
        .start()
        .await
        .unwrap();
    let mut client = guarded(&monitor).await;
    fail(&monitor, 5).await;
    assert_eq!(check(&mut client).await.unwrap(), ServingStatus::Serving);
    fail(&monitor, 1).await;
    let denied = check(&mut client).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(
        denied.message(),
        "requests from this client are not accepted at present"
    );
    monitor
        .lift(monitor.blocks()[0].id, "a test")
        .await
        .unwrap();
    assert_eq!(check(&mut client).await.unwrap(), ServingStatus::Serving);
}

#[tokio::test]
async fn loopback_is_never_blocked_by_default() {
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .start()
        .await
        .unwrap();
    let mut client = guarded(&monitor).await;
    fail(&monitor, 20).await;
    assert_eq!(check(&mut client).await.unwrap(), ServingStatus::Serving);
}
