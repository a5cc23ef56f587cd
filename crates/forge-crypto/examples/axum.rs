//! An Axum service that keeps a secret of each user sealed, and opens it for that user alone.
//!
//! `cargo run -p forge-crypto --features axum --example axum`, then
//! `curl -X PUT -d hunter2 localhost:3000/ada; curl localhost:3000/ada; curl localhost:3000/ada/sealed`
//!
//! Who asks is taken at their word here, to keep the example short.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, put};
use forge_crypto::{Keyring, Sealed, SealedColumn, SealedTable, Vault, VaultLayer};
use http::StatusCode;
use secrecy::ExposeSecret;

/// What `users.token` is, once: rotations find the column here too.
const TOKEN: SealedColumn = SealedTable::new("users", "id", &["token"]).column("token");

/// The table, as far as an example needs one.
type Users = Arc<Mutex<HashMap<String, Sealed>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A service reads its own: `Keyring::from_file("/etc/my-service/keyring")`.
    let vault = Vault::new(&Keyring::generate()?);
    let app = Router::new()
        .route("/{user}", put(keep).get(open))
        .route("/{user}/sealed", get(sealed))
        .with_state(Users::default())
        .layer(VaultLayer::new(vault));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn keep(
    vault: Vault,
    State(users): State<Users>,
    Path(user): Path<String>,
    secret: String,
) -> Result<StatusCode, StatusCode> {
    let sealed = vault.seal(&TOKEN.row(&user), &secret);
    let sealed = sealed.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let mut users = users.lock().unwrap_or_else(PoisonError::into_inner);
    users.insert(user, sealed);
    Ok(StatusCode::NO_CONTENT)
}

async fn open(
    vault: Vault,
    State(users): State<Users>,
    Path(user): Path<String>,
) -> Result<String, StatusCode> {
    let sealed = find(&users, &user)?;
    // One that was sealed for another row does not open, whoever moved it there.
    let opened = vault.open_string(&TOKEN.row(&user), &sealed);
    let opened = opened.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(opened.expose_secret().to_owned())
}

/// What a copy of the database shows.
async fn sealed(
    State(users): State<Users>,
    Path(user): Path<String>,
) -> Result<String, StatusCode> {
    Ok(find(&users, &user)?.into_string())
}

fn find(users: &Users, user: &str) -> Result<Sealed, StatusCode> {
    let users = users.lock().unwrap_or_else(PoisonError::into_inner);
    users.get(user).cloned().ok_or(StatusCode::NOT_FOUND)
}
