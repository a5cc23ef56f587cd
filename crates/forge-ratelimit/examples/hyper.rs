//! A server of Hyper alone, without a framework and without features.
//!
//! `cargo run -p forge-ratelimit --example hyper`

use std::convert::Infallible;

use bytes::Bytes;
use forge_ratelimit::{MemoryStore, PeerAddress, Policy, Quota, RateLimitLayer, RateLimiter};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer, service_fn};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello\n")))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = RateLimiter::builder(MemoryStore::new(100_000))
        .policy(Policy::new("web", Quota::WEB, PeerAddress))
        .build()?;
    let limited = RateLimitLayer::new(limiter).layer(service_fn(hello));
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let limited = limited.clone();
        // Nobody else puts the address of the connection where the policy looks for it.
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            tower::Service::call(&mut limited.clone(), request)
        });
        tokio::spawn(async move {
            let service = TowerToHyperService::new(service);
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("a connection failed: {error}");
            }
        });
    }
}
