//! An Axum service behind a proxy that ends TLS.
//!
//! `cargo run --example axum --features axum,reports`, then
//! `curl -i http://localhost:3000/ -H 'x-forwarded-proto: https' -H 'x-forwarded-for: 203.0.113.9'`

use std::net::SocketAddr;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use forge_headers::{
    CarriesCredentials, Connection, Cors, Csp, CspNonce, Environment, HostAllowList, Refusal,
    Report, ReportCollector, ReportingEndpoint, SecurityHeaders, Source, Stack, TrustedProxies,
};
use http::request::Parts;
use tokio::net::TcpListener;

const REPORTS: &str = "/.well-known/csp-report";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reports = ReportingEndpoint::new("csp", REPORTS)?;
    let csp = Csp::builder()
        .default_src([Source::NONE])
        .script_src([Source::NONCE, Source::STRICT_DYNAMIC])
        .base_uri([Source::NONE])
        .form_action([Source::SELF])
        .frame_ancestors([Source::NONE])
        .require_trusted_types_for_script(true)
        .report_to(&reports)
        .build()?;
    let headers = SecurityHeaders::strict()
        .content_security_policy(csp)
        .report_to(reports);
    let cors = Cors::builder()
        .origins(["https://www.example.com"])
        .development_origins(["http://localhost:5173"])
        .environment(Environment::Development)
        .credentials(true)
        .build()?;
    let stack = Stack::new(HostAllowList::new(["localhost:3000"])?, headers)
        .trusted_proxies(TrustedProxies::parse(["127.0.0.0/8"])?)
        .cors(cors)
        .no_store_when(CarriesCredentials)
        .exempt_path("/livez")
        .exempt_cross_origin(REPORTS)
        .on_refusal(|parts: &Parts, refusal: &Refusal| {
            println!("refused {}: {}", parts.uri.path(), refusal.kind().as_str());
        });
    for finding in stack.audit() {
        println!("{finding}");
    }

    let app = Router::new()
        .route("/", get(page))
        .route("/livez", get(|| async { "ok" }))
        .route_service(REPORTS, ReportCollector::new(reported))
        .layer(stack);
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

async fn page(connection: Connection, nonce: CspNonce) -> Html<String> {
    let client = connection.client_ip;
    Html(format!(
        r#"<!doctype html><p>You are {client}.</p><script nonce="{nonce}">console.log("hello")</script>"#
    ))
}

fn reported(_: &Parts, reports: &[Report]) {
    for report in reports {
        println!("reported: {report:?}");
    }
}
