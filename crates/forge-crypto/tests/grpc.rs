//! The layer on a Tonic server, over a real socket.
#![cfg(feature = "tonic")]

use std::sync::{Arc, Mutex};
use std::task::{self, Poll};

use forge_crypto::{
    Context, CredentialLayer, FromExtensions, Keyring, SealedColumn, SealedTable, StoredCredential,
    Vault, VaultLayer,
};
use secrecy::ExposeSecret;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::service::LayerExt;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::layer::layer_fn;
use tower::{Layer, ServiceBuilder};

/// A gRPC service around another: it seals what the call brings in `secret`, opens what it brings
/// in `sealed`, and answers with the outcome as metadata.
#[derive(Clone)]
struct SealMetadata<S>(S);

impl<S> Service<http::Request<Body>> for SealMetadata<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match handle(&request) {
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
            Ok((name, value)) => {
                let answer = self.0.call(request);
                Box::pin(async move {
                    let mut response = answer.await?;
                    response.headers_mut().insert(name, value.parse().unwrap());
                    Ok(response)
                })
            }
        }
    }
}

fn handle(request: &http::Request<Body>) -> Result<(&'static str, String), Status> {
    let vault = Vault::from_extensions(request.extensions())?;
    let place = Context::new("users", "token", "ada");
    if let Some(secret) = request.headers().get("secret") {
        return Ok(("sealed", vault.seal(&place, secret)?.into_string()));
    }
    let sealed = request.headers()["sealed"].to_str().unwrap();
    let opened = vault.open_string(&place, sealed)?;
    Ok(("secret", opened.expose_secret().to_owned()))
}

/// Calls the server with one piece of metadata and returns another of the answer.
async fn call(
    addr: std::net::SocketAddr,
    sent: (&'static str, &str),
    wanted: &str,
) -> Result<String, Status> {
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request
        .metadata_mut()
        .insert(sent.0, sent.1.parse().unwrap());
    let mut client = test_support::health_client(addr).await;
    let response = client.check(request).await?;
    Ok(response
        .metadata()
        .get(wanted)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned())
}

#[tokio::test]
async fn a_grpc_service_seals_and_opens_with_the_vault_of_the_layer() {
    let vault = Vault::new(&Keyring::generate().unwrap());
    let listener = test_support::listener().await;
    let addr = listener.local_addr().unwrap();
    let service = ServiceBuilder::new()
        .layer(layer_fn(SealMetadata))
        .named_layer(test_support::health_service());
    tokio::spawn(
        Server::builder()
            .layer(VaultLayer::new(vault.clone()))
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener)),
    );

    let sealed = call(addr, ("secret", "hunter2"), "sealed").await.unwrap();
    let place = Context::new("users", "token", "ada");
    assert_eq!(
        vault.open(&place, &sealed).unwrap().expose_secret(),
        b"hunter2"
    );
    let opened = call(addr, ("sealed", &sealed), "secret").await.unwrap();
    assert_eq!(opened, "hunter2");

    let elsewhere = vault.seal(&Context::new("users", "token", "bob"), "hunter2");
    let status = call(addr, ("sealed", elsewhere.unwrap().as_str()), "secret")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), "could not open sealed value");
}

#[tokio::test]
async fn a_grpc_service_without_the_layer_is_refused() {
    let listener = test_support::listener().await;
    let addr = listener.local_addr().unwrap();
    let service = ServiceBuilder::new()
        .layer(layer_fn(SealMetadata))
        .named_layer(test_support::health_service());
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    let status = call(addr, ("secret", "hunter2"), "sealed")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(
        status.message(),
        "the service is not set up to handle secrets"
    );
}

/// A gRPC service around another that wants the credential `hunter2`.
#[derive(Clone)]
struct RequireCredential<S>(S);

impl<S> Service<http::Request<Body>> for RequireCredential<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.headers().get("authorization") {
            Some(header) if header == "Bearer hunter2" => Box::pin(self.0.call(request)),
            _ => Box::pin(async { Ok(Status::unauthenticated("who are you?").into_http()) }),
        }
    }
}

#[tokio::test]
async fn a_tonic_channel_bears_a_stored_credential() {
    const TOKEN: SealedColumn = SealedTable::new("users", "id", &["token"]).column("token");
    let listener = test_support::listener().await;
    let addr = listener.local_addr().unwrap();
    let service = ServiceBuilder::new()
        .layer(layer_fn(RequireCredential))
        .named_layer(test_support::health_service());
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    let vault = Vault::new(&Keyring::generate().unwrap());
    let rejected = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&rejected);
    let layer = CredentialLayer::new(vault.clone(), FromExtensions).on_unauthorized(
        move |credential: &StoredCredential| told.lock().unwrap().push(credential.row().to_vec()),
    );
    let channel = Channel::from_shared(format!("http://{addr}")).unwrap();
    let channel = layer.layer(channel.connect().await.unwrap());
    let call = |row: &'static str, secret: &'static str| {
        let mut client = HealthClient::new(channel.clone());
        let sealed = vault.seal(&TOKEN.row(row), secret).unwrap();
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        let credential = StoredCredential::new(TOKEN, row, sealed);
        request.extensions_mut().insert(credential);
        async move { client.check(request).await }
    };
    assert!(call("7", "hunter2").await.is_ok());
    let status = call("8", "outdated").await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(*rejected.lock().unwrap(), [b"8"]);

    let mut client = HealthClient::new(channel);
    let without = client.check(HealthCheckRequest::default()).await;
    assert!(
        without
            .unwrap_err()
            .message()
            .contains("no stored credential")
    );
}
