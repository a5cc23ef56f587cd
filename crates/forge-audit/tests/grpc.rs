//! The layer on a Tonic server, over a real connection.
#![cfg(feature = "tonic")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use common::{Faulty, Mode};
use forge_audit::{
    Actor, AuditLayer, AuditLog, MemoryAuditStore, Order, Outcome, Policy, Query, Record,
};
use http::request::Parts;
use test_support::{health_client, health_service, listener};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::HealthCheckRequest;

async fn serve<P>(layer: AuditLayer<P, fn(&Parts) -> Actor>) -> SocketAddr
where
    P: forge_audit::AuditPolicy + Send + Sync + 'static,
{
    let listener = listener().await;
    let addr = listener.local_addr().unwrap();
    tokio::spawn(
        Server::builder()
            .layer(layer)
            .add_service(health_service())
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    addr
}

fn identify(_: &Parts) -> Actor {
    Actor::new("7").login("octo")
}

fn layer(log: &AuditLog) -> AuditLayer<Policy, fn(&Parts) -> Actor> {
    AuditLayer::new(log.clone()).identify(identify as fn(&Parts) -> Actor)
}

fn check(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

async fn records(log: &AuditLog) -> Vec<Record> {
    log.flush().await.unwrap();
    log.query(&Query::new().order(Order::OldestFirst))
        .await
        .unwrap()
        .records
}

#[tokio::test]
async fn a_call_is_recorded_with_the_status_of_its_trailers() {
    let log = AuditLog::open(Arc::new(MemoryAuditStore::new()))
        .await
        .unwrap();
    let mut client = health_client(serve(layer(&log)).await).await;
    client.check(check("")).await.unwrap();
    let missing = client.check(check("nobody")).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);

    let records = records(&log).await;
    let [served, missing] = &records[..] else {
        panic!("{records:?}")
    };
    for (record, outcome, code) in [
        (served, Outcome::Success, 0),
        (missing, Outcome::Failure, 5),
    ] {
        let event = &record.event;
        assert_eq!((event.action(), event.result()), ("grpc.call", outcome));
        assert_eq!(event.target(), Some("/grpc.health.v1.Health/Check"));
        assert_eq!(event.who().login_name(), Some("octo"));
        assert!(event.origin().agent().unwrap().contains("tonic"));
        let details = event.details_value().unwrap();
        assert_eq!(
            (&details["grpc_status"], &details["response"]),
            (&code.into(), &"complete".into())
        );
    }
}

#[tokio::test]
async fn a_call_that_must_be_recorded_is_refused_when_it_cannot_be() {
    let store = Faulty::new(Mode::Works);
    let log = AuditLog::open(store.clone()).await.unwrap();
    let mut client = health_client(serve(layer(&log).policy(Policy::Required)).await).await;
    client.check(check("")).await.unwrap();
    store.given(1).await;
    assert_eq!(log.head().seq, 1);
    // Recorded, though the store's answer is lost.
    store.set(Mode::LosesTheAnswer);
    client.check(check("")).await.unwrap();
    assert_eq!(log.head().seq, 2);

    store.set(Mode::Fails);
    // The first is found out when it is recorded, the next before it reaches the service.
    for _ in 0..2 {
        let refused = client.check(check("")).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable);
        assert!(refused.message().contains("cannot be recorded"));
    }
    assert!(!log.is_healthy());

    store.set(Mode::Works);
    log.flush().await.unwrap();
    client.check(check("")).await.unwrap();
}
