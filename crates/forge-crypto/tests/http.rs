//! The layer on an Axum router, over a real socket.
#![cfg(feature = "axum")]

use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Extension, Router};
use forge_crypto::{
    Context, CredentialLayer, FromExtensions, Keyring, SealedColumn, SealedTable, StoredCredential,
    Vault, VaultLayer,
};
use http::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use secrecy::ExposeSecret;
use tower::{Layer, ServiceExt};

async fn seal(
    vault: Vault,
    Path(user): Path<String>,
    secret: String,
) -> Result<String, StatusCode> {
    let place = Context::new("users", "token", &user);
    let sealed = vault.seal(&place, &secret);
    sealed
        .map(forge_crypto::Sealed::into_string)
        .map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)
}

async fn open(
    vault: Vault,
    Path(user): Path<String>,
    sealed: String,
) -> Result<String, StatusCode> {
    let place = Context::new("users", "token", &user);
    let opened = vault.open_string(&place, &sealed);
    opened
        .map(|secret| secret.expose_secret().to_owned())
        .map_err(|_| StatusCode::UNPROCESSABLE_ENTITY)
}

fn routes() -> Router {
    Router::new()
        .route("/seal/{user}", post(seal))
        .route("/open/{user}", post(open))
        .route(
            "/key",
            get(|Extension(vault): Extension<Vault>| async move {
                vault.primary_key_id().to_string()
            }),
        )
}

async fn call(server: &test_support::Server, path: &str, body: &str) -> (StatusCode, String) {
    let request = Request::post(format!("{}{path}", server.url()))
        .header("x-request-id", "r-1")
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = test_support::send(request).await;
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    (response.status(), body)
}

#[tokio::test]
async fn handlers_seal_and_open_with_the_vault_of_the_layer() {
    let vault = Vault::new(&Keyring::generate().unwrap());
    let server = test_support::serve(routes().layer(VaultLayer::new(vault.clone()))).await;

    let (status, sealed) = call(&server, "/seal/ada", "secret").await;
    assert_eq!(status, StatusCode::OK);
    let place = Context::new("users", "token", "ada");
    assert!(vault.open(&place, &sealed).is_ok());

    let (status, opened) = call(&server, "/open/ada", &sealed).await;
    assert_eq!((status, opened.as_str()), (StatusCode::OK, "secret"));
    let (status, _) = call(&server, "/open/bob", &sealed).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_reload_reaches_a_mounted_layer() {
    let vault = Vault::new(&Keyring::generate().unwrap());
    let server = test_support::serve(routes().layer(VaultLayer::new(vault.clone()))).await;
    let (_, sealed) = call(&server, "/seal/ada", "secret").await;

    vault.reload(&Keyring::generate().unwrap());
    let (status, _) = call(&server, "/open/ada", &sealed).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let request = Request::get(format!("{}/key", server.url()));
    let response = test_support::send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.body(), vault.primary_key_id().to_string().as_str());
}

#[tokio::test]
async fn a_handler_without_the_layer_is_refused() {
    let server = test_support::serve(routes()).await;
    let request = |id| {
        Request::post(format!("{}/seal/ada", server.url()))
            .header("x-request-id", id)
            .body(Body::from("secret"))
            .unwrap()
    };
    let response = test_support::send(request("r-1")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(
        response.body(),
        r#"{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"the service is not set up to handle secrets","request_id":"r-1"}"#
    );
    // An id that would need escaping is not passed on.
    let response = test_support::send(request(r#"","status":200,"x":""#)).await;
    assert!(
        !response
            .body()
            .windows(10)
            .any(|bytes| bytes == b"request_id")
    );
}

#[tokio::test]
async fn an_http_client_bears_a_stored_credential() {
    const TOKEN: SealedColumn = SealedTable::new("users", "id", &["token"]).column("token");
    let echo = get(|headers: HeaderMap| async move {
        headers["authorization"].to_str().unwrap().to_owned()
    });
    let server = test_support::serve(Router::new().route("/", echo)).await;

    let vault = Vault::new(&Keyring::generate().unwrap());
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let client = CredentialLayer::new(vault.clone(), FromExtensions).layer(client);
    let sealed = vault.seal(&TOKEN.row("7"), "hunter2").unwrap();
    let request = Request::get(server.url())
        .extension(StoredCredential::new(TOKEN, "7", sealed))
        .body(Body::empty());
    let response = client.oneshot(request.unwrap()).await.unwrap();
    let body = axum::body::to_bytes(Body::new(response.into_body()), 64)
        .await
        .unwrap();
    assert_eq!(body, "Bearer hunter2");
}
