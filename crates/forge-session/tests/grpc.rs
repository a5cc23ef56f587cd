//! The layers on a Tonic server.
#![cfg(feature = "tonic")]

#[expect(dead_code, reason = "each test file uses its part")]
mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Ground, client};
use forge_session::{Authenticated, Kind, NewSession, RequireSessionLayer, SessionLayer};
use secrecy::{ExposeSecret, SecretString};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;

/// The health service for sessions of kind `mcp`; a service inside reads the session too.
async fn serve(ground: &Ground) -> SocketAddr {
    let listener = test_support::listener().await;
    let address = listener.local_addr().unwrap();
    let health =
        InterceptedService::new(
            test_support::health_service(),
            |request: Request<()>| match request.extensions().get::<Authenticated>() {
                Some(me) if me.session().user.as_str() == "github:1001" => Ok(request),
                _ => Err(Status::permission_denied("not 1001")),
            },
        );
    let server = Server::builder()
        .layer(SessionLayer::new(ground.sessions.clone()))
        .layer(RequireSessionLayer::new().kind(Kind::MCP))
        .add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    address
}

/// The health service for the scope `health`, for user 1001, who has signed in within an hour.
async fn serve_few(ground: &Ground) -> SocketAddr {
    let listener = test_support::listener().await;
    let address = listener.local_addr().unwrap();
    let require = RequireSessionLayer::new()
        .scope("health")
        .admit(|me, parts| {
            let mine = parts.uri.path().starts_with("/grpc.health.v1.Health/");
            mine && me.session().user.as_str() == "github:1001"
        })
        .signed_in_within(Duration::from_secs(3600));
    let server = Server::builder()
        .layer(SessionLayer::new(ground.sessions.clone()))
        .layer(require)
        .add_service(test_support::health_service());
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    address
}

async fn scoped(ground: &Ground, user: &str, scopes: &str) -> SecretString {
    let new = NewSession::new(common::user(user), Kind::MCP)
        .client(client())
        .scopes(scopes.parse().unwrap());
    let session = ground.sessions.create(new).await.unwrap().session;
    ground.sessions.issue_access_token(&session).unwrap().token
}

#[tokio::test]
async fn a_scope_a_condition_and_a_sign_in_of_late_are_required() {
    let ground = Ground::new();
    let address = serve_few(&ground).await;
    let ask = async |token: &SecretString| {
        let bearer = format!("Bearer {}", token.expose_secret());
        call(address, &[("authorization", &bearer)]).await
    };
    let challenge = |status: &Status| {
        let challenge = status.metadata().get("www-authenticate");
        challenge.map(|value| value.to_str().unwrap().to_owned())
    };
    ask(&scoped(&ground, "github:1001", "health more").await)
        .await
        .unwrap();
    let narrow = scoped(&ground, "github:1001", "more").await;
    let status = ask(&narrow).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let told = challenge(&status).unwrap();
    assert!(told.contains(r#"scope="health""#), "{told}");
    assert!(told.contains("insufficient_scope"), "{told}");
    let other = scoped(&ground, "github:1002", "health").await;
    let status = ask(&other).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), "this session may not do that");
    assert_eq!(challenge(&status), None);

    let new = NewSession::new(common::user("github:1001"), Kind::MCP).client(client());
    let session = ground.sessions.create(new).await.unwrap().session;
    ground.clock.advance(Duration::from_secs(3601));
    let late = ground.sessions.issue_access_token(&session).unwrap().token;
    let status = ask(&late).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "sign in again to do this");
    let told = challenge(&status).unwrap();
    assert!(told.contains(r#"max_age="3600""#), "{told}");
    assert!(told.contains("insufficient_user_authentication"), "{told}");
}

async fn call(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<(), Status> {
    let mut request = Request::new(HealthCheckRequest::default());
    for (name, value) in headers {
        let value = value.parse().unwrap();
        request.metadata_mut().append(*name, value);
    }
    let mut client = test_support::health_client(address).await;
    client.check(request).await.map(|_| ())
}

async fn code(address: SocketAddr, headers: &[(&'static str, &str)]) -> Code {
    call(address, headers).await.unwrap_err().code()
}

async fn token(ground: &Ground, user: &str) -> SecretString {
    let new = NewSession::new(common::user(user), Kind::MCP).client(client());
    let session = ground.sessions.create(new).await.unwrap().session;
    ground.sessions.issue_access_token(&session).unwrap().token
}

#[tokio::test]
async fn passes_calls_with_a_good_token_and_the_service_reads_the_session() {
    let ground = Ground::new();
    let address = serve(&ground).await;
    let mine = token(&ground, "github:1001").await;
    let bearer = format!("Bearer {}", mine.expose_secret());
    call(address, &[("authorization", &bearer)]).await.unwrap();
    let other = token(&ground, "github:1002").await;
    let bearer = format!("Bearer {}", other.expose_secret());
    let code = code(address, &[("authorization", &bearer)]).await;
    assert_eq!(code, Code::PermissionDenied);
}

#[tokio::test]
async fn answers_unauthenticated_without_a_good_token() {
    let ground = Ground::new();
    let address = serve(&ground).await;
    let status = call(address, &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "sign in to use this resource");
    let bad = [("authorization", "Bearer x")];
    let status = call(address, &bad).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the access token is not valid");
    let challenge = status.metadata().get("www-authenticate").unwrap();
    assert!(challenge.to_str().unwrap().contains("invalid_token"));
}

#[tokio::test]
async fn answers_unauthenticated_for_a_session_of_another_kind() {
    let ground = Ground::new();
    let address = serve(&ground).await;
    let created = ground.web("github:1001").await;
    let cookie = format!("__Host-forge={}", created.secret.expose_secret());
    let code = code(address, &[("cookie", &cookie)]).await;
    assert_eq!(code, Code::Unauthenticated);
}

#[tokio::test]
async fn answers_invalid_argument_for_two_tokens() {
    let ground = Ground::new();
    let address = serve(&ground).await;
    let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    assert_eq!(code(address, &two).await, Code::InvalidArgument);
}

#[tokio::test]
async fn answers_unavailable_while_the_store_fails() {
    let ground = Ground::new();
    let address = serve(&ground).await;
    let token = token(&ground, "github:1001").await;
    let bearer = format!("Bearer {}", token.expose_secret());
    ground.store.fail(true);
    let headers = [("authorization", &*bearer)];
    assert_eq!(code(address, &headers).await, Code::Unavailable);
}
