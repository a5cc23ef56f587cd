//! A Tonic client whose calls bear a stored credential: opened just in time, wiped afterwards.
//!
//! `cargo run -p forge-crypto --features tonic --example tonic`, with a server that has
//! `grpc.health.v1.Health` at 127.0.0.1:3000, such as the example of forge-session.

use forge_crypto::{
    CredentialLayer, FromExtensions, Keyring, SealedColumn, SealedTable, StoredCredential, Vault,
};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::Layer;

/// Where the credential is stored.
const TOKEN: SealedColumn = SealedTable::new("users", "id", &["token"]).column("token");

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let token = std::env::args().nth(1).ok_or("which token? name it")?;
    let vault = Vault::new(&Keyring::generate()?);
    // As it would be read from the row of user 7.
    let sealed = vault.seal(&TOKEN.row("7"), &token)?;
    drop(token);

    let layer = CredentialLayer::new(vault, FromExtensions).on_unauthorized(
        |credential: &StoredCredential| eprintln!("{credential:?} is not accepted any more"),
    );
    let channel = Channel::from_static("http://127.0.0.1:3000")
        .connect()
        .await?;
    let mut client = HealthClient::new(layer.layer(channel));
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    let credential = StoredCredential::new(TOKEN, "7", sealed);
    request.extensions_mut().insert(credential);
    println!("{:?}", client.check(request).await?.into_inner());
    Ok(())
}
