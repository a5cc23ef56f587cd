//! Connections: accepted within bounds, served, and drained at the end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::activity::{Activity, OpenBody, Peers, Place};
use crate::config::Config;
use crate::error::StartError;

/// Header fields of one request, at most.
const MAX_HEADERS: usize = 100;
/// Bytes of the head of one request, at most.
const MAX_HEAD: usize = 64 * 1024;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;

/// Listens, and says where: port 0 takes a free one.
///
/// # Errors
/// The address is taken or not ours.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let listening: std::io::Result<_> = listen.await;
    listening.map_err(|source| StartError::Listen {
        address,
        flag: "--listen",
        source,
    })
}

/// Serves `router` until `shutdown` ends, then lets open requests finish.
///
/// Returns whether all of them did within the drain time.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> bool {
    let bounds = &config.bounds;
    // One address cannot take all connections. A trusted proxy brings those of many people.
    let peers = Peers::new((bounds.connections / 4).max(1));
    let connections = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    let builder = builder(config);
    tokio::pin!(shutdown);
    loop {
        let accepted = async {
            // Waiting before accepting leaves the rest in the kernel's bounded queue.
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, stream, peer) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            (permit, accepted) = accepted => match (permit, accepted) {
                (Ok(permit), Ok((stream, peer))) => (permit, stream, peer),
                (_, Err(error)) if is_of_one_connection(&error) => continue,
                (_, error) => {
                    // Out of file descriptors, most likely: trying at once would spin.
                    tracing::error!(?error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            },
        };
        let place = match config.proxies.trusts(peer.ip()) {
            true => None,
            false => match peers.admit(peer.ip()) {
                Some(place) => Some(place),
                None => {
                    metrics::counter!("forge_server_connections_refused_total").increment(1);
                    continue;
                }
            },
        };
        let routes = service(router.clone(), peer);
        let bounded = (permit, place);
        spawn(
            &builder,
            &graceful,
            routes,
            stream,
            bounded,
            bounds.header_time,
        );
    }
    drop(listener);
    tracing::info!("draining: open requests may finish");
    let drained = tokio::time::timeout(bounds.drain_time, graceful.shutdown())
        .await
        .is_ok();
    if !drained {
        tracing::warn!("some requests did not finish within the drain time");
    }
    drained
}

fn builder(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.bounds.header_time)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// The routes for one connection.
#[derive(Clone)]
struct Routes {
    router: Router,
    peer: SocketAddr,
    activity: Activity,
}

fn service(router: Router, peer: SocketAddr) -> Routes {
    let activity = Activity::default();
    Routes {
        router,
        peer,
        activity,
    }
}

impl Service<Request<Incoming>> for Routes {
    type Response = Response<OpenBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let open = self.activity.begin();
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let answer = self.router.clone().oneshot(request);
        Box::pin(async move { Ok(answer.await?.map(|body| OpenBody::new(body, open))) })
    }
}

fn spawn(
    builder: &auto::Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    routes: Routes,
    stream: TcpStream,
    bounded: (OwnedSemaphorePermit, Option<Place>),
    idle_time: Duration,
) {
    let _ = stream.set_nodelay(true);
    let (peer, activity) = (routes.peer, routes.activity.clone());
    let connection = builder
        .serve_connection(TokioIo::new(stream), routes)
        .into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // The time for a head runs only once there is one, and HTTP/2 has none.
        tokio::select! {
            ended = connection => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "connection ended");
                }
            }
            () = activity.idle(idle_time) => tracing::debug!(%peer, "idle connection closed"),
        }
        drop(bounded);
    });
}

/// Errors that concern the one connection that was about to be accepted.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
