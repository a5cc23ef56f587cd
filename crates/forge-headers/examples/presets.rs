//! Serves a preset over https, for the tools that judge it: see `tests/presets/run`.
//!
//! `cargo run --example presets --features axum -- strict 8443 8080 certificate.pem`

#[path = "../tests/support/tls.rs"]
mod tls;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::response::Html;
use axum::routing::get;
use forge_headers::{CspNonce, HostAllowList, Scheme, SecurityHeaders, Stack};
use http::request::Parts;
use tls::Tls;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [preset, https, http, certificate] = &arguments[..] else {
        return Err("needs a preset, a port for https, one for http, and a file".into());
    };
    let headers = match preset.as_str() {
        "api" => SecurityHeaders::api(),
        "web_app" => SecurityHeaders::web_app(),
        "strict" => SecurityHeaders::strict(),
        _ => return Err("the presets are api, web_app and strict".into()),
    };
    let tls = Tls::bind("localhost", https.parse()?).await;
    let tcp = TcpListener::bind(("127.0.0.1", http.parse()?)).await?;
    let stack = Stack::new(HostAllowList::loopback(), headers)
        .https_port(https.parse::<u16>()?)
        .peer_addr(|_: &Parts| Some(SocketAddr::from(([127, 0, 0, 1], 9))));
    std::fs::write(certificate, tls.certificate.pem())?;

    let app = Router::new().route("/", get(page));
    let over_https = app.clone().layer(stack.clone().scheme(Scheme::Https));
    let in_clear = app.layer(stack);
    tokio::try_join!(async { axum::serve(tls, over_https).await }, async {
        axum::serve(tcp, in_clear).await
    },)?;
    Ok(())
}

async fn page(request: Request) -> Html<String> {
    let nonce = request.extensions().get::<CspNonce>();
    let script = match nonce {
        Some(nonce) => format!(r#"<script nonce="{nonce}">document.title = "ready"</script>"#),
        None => r#"<script src="/app.js"></script>"#.to_owned(),
    };
    Html(format!("<!doctype html><title>Preset</title>{script}"))
}
