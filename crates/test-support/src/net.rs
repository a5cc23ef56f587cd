//! HTTP servers on a free loopback port, and clients for well-formed and for malformed requests.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a call may take before the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// A listener on a free port of 127.0.0.1.
///
/// # Panics
/// When loopback cannot be bound.
pub async fn listener() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port on loopback")
}

/// Serves `router` over HTTP/1.1 and HTTP/2 (prior knowledge) on a free loopback port, with the
/// peer's address as `ConnectInfo<SocketAddr>`.
///
/// # Panics
/// When loopback cannot be bound.
pub async fn serve(router: Router) -> Server {
    let listener = listener().await;
    let addr = listener.local_addr().expect("the bound address");
    let shutdown = CancellationToken::new();
    let stopped = shutdown.clone().cancelled_owned();
    tokio::spawn(async move {
        let app = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, app)
            .with_graceful_shutdown(stopped)
            .await
    });
    Server {
        addr,
        _shutdown: shutdown.drop_guard(),
    }
}

/// A running server; dropping it stops the server.
#[derive(Debug)]
#[must_use = "the server stops when this is dropped"]
pub struct Server {
    /// Where the server listens.
    pub addr: SocketAddr,
    _shutdown: DropGuard,
}

impl Server {
    /// The server's origin, without a trailing slash: `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

/// Sends one request with an absolute `http://` URI and reads the whole response; follows no
/// redirect and adds no header but `host` and the body's length.
///
/// # Panics
/// When the connection fails, or the response takes longer than 30 seconds.
pub async fn send(request: Request<Body>) -> Response<Bytes> {
    let exchange = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let response = client.request(request).await.expect("a response");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the whole body").to_bytes();
        Response::from_parts(parts, body)
    };
    timeout(PATIENCE, exchange)
        .await
        .expect("the response within 30 seconds")
}

/// Writes `bytes` to `addr` as they are and returns all that comes back until the server closes
/// the connection. A well-formed HTTP/1.1 request needs `Connection: close` for that.
///
/// A server that stops reading, or resets the connection, is no error: the answer up to then is
/// returned.
///
/// # Panics
/// When the connection is refused, or stays open for longer than 30 seconds.
pub async fn raw(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.expect("a connection");
        let (mut from_server, mut to_server) = stream.split();
        let mut answer = Vec::new();
        // Both at once: a server may answer before it has read everything.
        let (_, _) = tokio::join!(
            to_server.write_all(bytes.as_ref()),
            from_server.read_to_end(&mut answer),
        );
        String::from_utf8_lossy(&answer).into_owned()
    };
    timeout(PATIENCE, exchange)
        .await
        .expect("the server to close the connection within 30 seconds")
}
