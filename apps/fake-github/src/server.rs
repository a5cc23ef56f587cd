//! Serves a stand-in on loopback.

use std::{fmt, net::SocketAddr, time::Duration};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time};

use crate::{Control, FakeGithub, ServeError};

/// How long a shutdown waits for open requests.
const PATIENCE: Duration = Duration::from_secs(5);

/// A stand-in that is being served. It ends when dropped.
#[must_use]
pub struct Running {
    addr: SocketAddr,
    base_url: String,
    control: Control,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// The address listened on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL everything lies under, without a slash at the end: `http://127.0.0.1:3002`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The handle to rename, delay and fail.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Stops listening, lets open requests end (requests held back by a delay go on at once) and
    /// waits for that, five seconds at most.
    pub async fn shutdown(self) {
        self.control.clear();
        // The receiver is gone only when serving has ended already.
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        if time::timeout(PATIENCE, self.task).await.is_err() {
            abort.abort();
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("addr", &self.addr)
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

pub(crate) async fn serve(github: &FakeGithub, addr: SocketAddr) -> Result<Running, ServeError> {
    if !addr.ip().is_loopback() {
        return Err(ServeError::NotLoopback(addr));
    }
    let bind_error = |source| ServeError::Bind { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(bind_error)?;
    let addr = listener.local_addr().map_err(bind_error)?;
    let default_base_url = format!("http://{addr}");
    let router = github.router_at(&default_base_url);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        // Ends with the sender's word, or when the sender is dropped. Serving never fails:
        // errors of accept are retried.
        let _ = axum::serve(listener, router)
            .with_graceful_shutdown(async move {
                let _ = stopped.await;
            })
            .await;
    });
    Ok(Running {
        addr,
        base_url: github.base_url_or(&default_base_url),
        control: github.control(),
        stop,
        task,
    })
}
