//! Credentials for a client: what is sent, what is not, and who is told.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use forge_crypto::{
    BoxError, CredentialError, CredentialEvent, CredentialLayer, FromExtensions, Keyring,
    SealedColumn, SealedTable, StoredCredential, Vault,
};
use http::request::Parts;
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};

const USERS: SealedTable = SealedTable::new("users", "id", &["token"]);
const TOKEN: SealedColumn = USERS.column("token");

fn credential(vault: &Vault, row: &str, secret: &str) -> StoredCredential {
    let sealed = vault.seal(&TOKEN.row(row), secret).unwrap();
    StoredCredential::new(TOKEN, row, sealed)
}

fn request(credential: Option<StoredCredential>) -> Request<()> {
    let mut request = Request::get("https://api.github.com/user")
        .body(())
        .unwrap();
    if let Some(credential) = credential {
        request.extensions_mut().insert(credential);
    }
    request
}

/// Answers what it saw of the header; 401 to a token of that word.
async fn upstream(request: Request<()>) -> Result<Response<String>, Infallible> {
    let header = &request.headers()["authorization"];
    assert!(header.is_sensitive());
    assert!(!format!("{request:?}").contains("hunter2"));
    let seen = header.to_str().unwrap().to_owned();
    let status = if seen.ends_with("revoked") { 401 } else { 200 };
    Ok(Response::builder().status(status).body(seen).unwrap())
}

fn vault() -> Vault {
    Vault::new(&Keyring::generate().unwrap())
}

#[tokio::test]
async fn a_request_bears_the_credential_of_its_row() {
    let vault = vault();
    let client = CredentialLayer::new(vault.clone(), FromExtensions).layer(service_fn(upstream));
    let response = client
        .clone()
        .oneshot(request(Some(credential(&vault, "7", "hunter2"))))
        .await
        .unwrap();
    assert_eq!(response.into_body(), "Bearer hunter2");

    let client = CredentialLayer::new(vault.clone(), FromExtensions)
        .scheme("token ")
        .layer(service_fn(upstream));
    let sent = request(Some(credential(&vault, "7", "hunter2")));
    let response = client.oneshot(sent).await.unwrap();
    assert_eq!(response.into_body(), "token hunter2");
}

#[tokio::test]
async fn the_credential_is_looked_for_when_it_is_needed() {
    let vault = vault();
    let stored = credential(&vault, "7", "hunter2");
    let find = move |parts: &Parts| {
        let known = parts.uri.path() == "/user";
        let stored = stored.clone();
        async move { Ok::<_, BoxError>(known.then_some(stored)) }
    };
    let client = CredentialLayer::new(vault, find).layer(service_fn(upstream));
    let response = client.clone().oneshot(request(None)).await.unwrap();
    assert_eq!(response.into_body(), "Bearer hunter2");
    let other = Request::get("https://api.github.com/other")
        .body(())
        .unwrap();
    let error = client.oneshot(other).await.unwrap_err();
    assert!(matches!(error, CredentialError::Missing));
}

#[tokio::test]
async fn what_has_no_sound_credential_is_not_sent() {
    let vault = vault();
    let never = service_fn(|_: Request<()>| async {
        panic!("sent");
        #[expect(unreachable_code, reason = "names the type")]
        Ok::<Response<()>, Infallible>(Response::new(()))
    });
    let client = CredentialLayer::new(vault.clone(), FromExtensions).layer(never);
    let elsewhere = credential(&vault, "8", "hunter2");
    let moved = StoredCredential::new(TOKEN, "7", elsewhere.sealed().clone());
    let outcomes = [
        client.clone().oneshot(request(None)).await,
        client.clone().oneshot(request(Some(moved))).await,
        client
            .clone()
            .oneshot(request(Some(credential(&vault, "7", "two\r\nlines"))))
            .await,
    ];
    assert!(matches!(
        outcomes,
        [
            Err(CredentialError::Missing),
            Err(CredentialError::Open(_)),
            Err(CredentialError::NotAHeader)
        ]
    ));
    let mut in_clear = request(Some(credential(&vault, "7", "hunter2")));
    *in_clear.uri_mut() = "http://api.github.com/user".parse().unwrap();
    let error = client.oneshot(in_clear).await.unwrap_err();
    assert!(matches!(error, CredentialError::PlainHttp));

    let find = |_: &Parts| async { Err::<Option<StoredCredential>, BoxError>("down".into()) };
    let client = CredentialLayer::new(vault, find).layer(service_fn(upstream));
    let error = client.oneshot(request(None)).await.unwrap_err();
    assert!(matches!(error, CredentialError::Source(_)));
}

#[tokio::test]
async fn audit_is_told_and_a_401_calls_the_hook() {
    let vault = vault();
    let events = Arc::new(Mutex::new(Vec::new()));
    let (told, hooked) = (Arc::clone(&events), Arc::clone(&events));
    let client = CredentialLayer::new(vault.clone(), FromExtensions)
        .on_unauthorized(move |credential: &StoredCredential| {
            assert_eq!(credential.row(), b"8");
            hooked.lock().unwrap().push("hook".to_owned());
        })
        .on_credential(move |event: &CredentialEvent<'_>| {
            let shown = format!("{event:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("revoked"));
            let (kind, _) = shown.split_once(' ').unwrap();
            told.lock().unwrap().push(kind.to_owned());
        })
        .layer(service_fn(upstream));
    let mut sent = vec![
        Some(credential(&vault, "7", "hunter2")),
        None,
        Some(credential(&vault, "8", "revoked")),
    ];
    for credential in sent.drain(..) {
        let _ = client.clone().oneshot(request(credential)).await;
    }
    let events = events.lock().unwrap();
    assert_eq!(
        *events,
        ["Injected", "Refused", "Injected", "Unauthorized", "hook"]
    );
}
