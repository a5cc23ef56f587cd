//! The loopback server and its clients.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, routing::get};
use http::{Request, StatusCode};
use test_support::{raw, send, serve};
use tokio::{net::TcpStream, time::timeout};

fn router() -> Router {
    Router::new().route(
        "/peer",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
    )
}

#[tokio::test]
async fn a_handler_sees_the_peer_address() {
    let server = serve(router()).await;
    let request = Request::get(format!("{}/peer", server.url())).body(Body::empty());
    let response = send(request.unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.body(), "127.0.0.1");
}

#[tokio::test]
async fn raw_bytes_are_sent_as_they_are() {
    let server = serve(router()).await;
    let answer = raw(
        server.addr,
        "GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n127.0.0.1"), "{answer}");

    let answer = raw(server.addr, b"GET /\xff\x00 what\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_dropped_server_refuses_connections() {
    let server = serve(router()).await;
    let addr = server.addr;
    assert!(TcpStream::connect(addr).await.is_ok());
    drop(server);
    // The listener closes as soon as the server's task runs again.
    let closes = async { while TcpStream::connect(addr).await.is_ok() {} };
    timeout(Duration::from_secs(30), closes).await.unwrap();
}
