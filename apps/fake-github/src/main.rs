//! Serves the GitHub stand-in on loopback until Ctrl-C.

use std::{
    io::{self, Write},
    net::SocketAddr,
    pin::pin,
    process::ExitCode,
};

use clap::Parser;
use fake_github::{Client, FakeGithub, OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use url::Url;

/// GitHub's sign-in as GitHub speaks it, on loopback, for local trial and for tests.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Loopback address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:3002")]
    listen: SocketAddr,

    /// Client id of the application.
    #[arg(long, default_value = "fake-client")]
    client_id: String,

    /// Client secret of the application. Never give one that GitHub has issued.
    #[arg(long, default_value = "fake-secret")]
    client_secret: String,

    /// Registered callback URL of the application; on loopback its port does not matter.
    #[arg(long, default_value = "http://127.0.0.1:3001/auth/github/callback")]
    callback_url: Url,

    /// The `iss` of the callback. Default: the address served on, followed by /login/oauth.
    #[arg(long)]
    issuer: Option<String>,

    /// Issue tokens that expire after eight hours, with a refresh token.
    #[arg(long)]
    expiring_tokens: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake-github: {error}");
            if let Some(source) = error.source() {
                eprintln!("  because {source}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(
        options.client_id,
        options.client_secret,
        options.callback_url,
    );
    let mut builder = FakeGithub::builder()
        .client(client)
        .expiring_tokens(options.expiring_tokens);
    if let Some(issuer) = options.issuer {
        builder = builder.issuer(issuer);
    }
    let server = builder.build()?.serve(options.listen).await?;
    // Polled once here, so that a Ctrl-C that comes right after the first line is heard.
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    tokio::select! {
        biased;
        result = &mut interrupted => result?,
        () = announce(server.base_url()) => interrupted.await?,
    }
    server.shutdown().await;
    Ok(())
}

/// Says where it listens. That nobody reads it does not matter.
async fn announce(base_url: &str) {
    let mut out = io::stdout();
    let _ = writeln!(
        out,
        "GitHub stand-in on {base_url}\n\
         Accounts: octo-admin ({OCTO_ADMIN}), octo-user ({OCTO_USER}), \
         octo-stranger ({OCTO_STRANGER})"
    );
    let _ = out.flush();
}
