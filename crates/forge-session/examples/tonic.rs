//! A Tonic server for programs with access tokens: it prints one, and asks for it.
//!
//! `cargo run -p forge-session --features tonic --example tonic`, then call
//! `grpc.health.v1.Health/Check` with the metadata `authorization: Bearer …` that it prints.

use forge_session::{
    AccessTokens, Authenticated, ClientId, Kind, MemorySessionStore, NewSession,
    RequireSessionLayer, SessionLayer, Sessions, SigningKey, TokenKeys, UserId,
};
use secrecy::ExposeSecret;
use tonic::transport::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys = TokenKeys::new(SigningKey::generate()?);
    let tokens = AccessTokens::new("http://127.0.0.1:3000", "http://127.0.0.1:3000", keys);
    let sessions = Sessions::builder(MemorySessionStore::new())
        .access_tokens(tokens)
        .build()?;

    // Whoever runs this has proved to be alice, to keep the example short.
    let new = NewSession::new(UserId::new("alice")?, Kind::MCP)
        .client(ClientId::new("the-example")?)
        .scopes("health".parse()?);
    let created = sessions.create(new).await?;
    let token = sessions.issue_access_token(&created.session)?;
    println!("authorization: Bearer {}", token.token.expose_secret());
    println!("the next: {}", created.secret.expose_secret());

    let require = RequireSessionLayer::new()
        .kind(Kind::MCP)
        .scope("health")
        .admit(|me: &Authenticated, _| me.session().user.as_str() == "alice");
    let (_reporter, health) = tonic_health::server::health_reporter();
    Server::builder()
        .layer(SessionLayer::new(sessions))
        .layer(require)
        .add_service(health)
        .serve("127.0.0.1:3000".parse()?)
        .await?;
    Ok(())
}
