//! The layers on a Tonic server, called over a real socket.
#![cfg(feature = "tonic")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use forge_headers::{
    Connection, ConnectionLayer, Cors, CorsLayer, CrossOriginGuardLayer, HostAllowList,
    HostAllowListLayer, HttpsLayer, Refusal, Scheme, SecurityHeaders, SecurityHeadersLayer, Stack,
    TrustedProxies,
};
use http::request::Parts;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

type Seen = Arc<Mutex<Vec<Connection>>>;

/// Every layer in the recommended order; the listener says it is over `scheme`.
async fn serve(hosts: HostAllowList, scheme: Scheme) -> (SocketAddr, Seen) {
    let listener = test_support::listener().await;
    let addr = listener.local_addr().unwrap();
    let seen = Seen::default();
    let recorded = Arc::clone(&seen);
    let proxies = TrustedProxies::new(["127.0.0.0/8".parse().unwrap()]);
    let server = Server::builder()
        .layer(ConnectionLayer::new(proxies).scheme(scheme))
        .layer(SecurityHeadersLayer::new(SecurityHeaders::api()))
        .layer(HostAllowListLayer::new(hosts.clone()))
        .layer(HttpsLayer::new(hosts))
        .layer(CorsLayer::new(Cors::none()))
        .layer(
            CrossOriginGuardLayer::new().on_refusal(move |parts: &Parts, _: &Refusal| {
                let connection = parts.extensions.get::<Connection>();
                recorded.lock().unwrap().extend(connection.cloned());
            }),
        )
        .add_service(test_support::health_service())
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    (addr, seen)
}

fn check() -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest::default())
}

#[tokio::test]
async fn a_call_passes_and_bears_the_headers() {
    let (addr, _) = serve(HostAllowList::loopback(), Scheme::Https).await;
    let mut client = test_support::health_client(addr).await;
    let answer = client.check(check()).await.unwrap();
    assert_eq!(answer.get_ref().status(), ServingStatus::Serving);
    let metadata = answer.metadata();
    assert_eq!(metadata.get("x-content-type-options").unwrap(), "nosniff");
    assert_eq!(metadata.get("cache-control").unwrap(), "no-store");
    assert!(metadata.contains_key("strict-transport-security"));
}

#[tokio::test]
async fn a_call_for_another_host_is_refused() {
    let hosts = HostAllowList::new(["api.example.com"]).unwrap();
    let (addr, _) = serve(hosts, Scheme::Https).await;
    let mut client = test_support::health_client(addr).await;
    let status = client.check(check()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "this server does not answer for the requested host"
    );
    assert!(status.metadata().contains_key("strict-transport-security"));
}

#[tokio::test]
async fn a_call_in_clear_is_refused() {
    let (addr, _) = serve(HostAllowList::loopback(), Scheme::Http).await;
    let mut client = test_support::health_client(addr).await;
    let status = client.check(check()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), "the request has to be sent over https");
    assert!(!status.metadata().contains_key("strict-transport-security"));
}

#[tokio::test]
async fn a_call_from_another_origin_is_refused_and_its_client_known() {
    let (addr, seen) = serve(HostAllowList::loopback(), Scheme::Https).await;
    let mut client = test_support::health_client(addr).await;
    let mut request = check();
    let metadata = request.metadata_mut();
    metadata.insert("origin", "https://evil.example".parse().unwrap());
    metadata.insert("x-forwarded-for", "198.51.100.7".parse().unwrap());
    let status = client.check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);

    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].client_ip.to_string(), "198.51.100.7");
    assert_eq!(seen[0].peer.ip(), addr.ip());
    assert_eq!(seen[0].host.as_ref().unwrap().to_string(), addr.to_string());
}

#[tokio::test]
async fn the_whole_stack_is_one_line() {
    let listener = test_support::listener().await;
    let addr = listener.local_addr().unwrap();
    let proxies = TrustedProxies::new(["127.0.0.0/8".parse().unwrap()]);
    let stack = Stack::new(HostAllowList::loopback(), SecurityHeaders::api())
        .trusted_proxies(proxies)
        .scheme(Scheme::Https);
    let server = Server::builder()
        .layer(stack)
        .add_service(test_support::health_service())
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    let mut client = test_support::health_client(addr).await;
    let answer = client.check(check()).await.unwrap();
    assert!(answer.metadata().contains_key("strict-transport-security"));

    let mut request = check();
    let metadata = request.metadata_mut();
    metadata.insert("origin", "https://evil.example".parse().unwrap());
    let status = client.check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.metadata().contains_key("strict-transport-security"));
}
