//! A trusted proxy that does not say whom it speaks for.
//!
//! Then everybody behind it counts as one client, with one quota. That is noticed, told in the log
//! and by `/api/health`, and not refused: whoever works on the proxy's own machine asks like that too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use forge_headers::Connection;
use forge_monitor::Health;

use crate::app::App;
use crate::clock::Clock;

/// For how long it is told by `/api/health`, and how often in the log.
const TOLD_FOR: Duration = Duration::from_secs(10 * 60);

/// When a trusted proxy last sent a request without a client's address.
#[derive(Clone, Debug)]
pub struct ProxyWatch {
    clock: Clock,
    /// In seconds since the start, and one; 0 where it never was.
    last: Arc<AtomicU64>,
    logged: Arc<AtomicU64>,
}

impl ProxyWatch {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            last: Arc::default(),
            logged: Arc::default(),
        }
    }

    fn saw_one(&self) {
        metrics::counter!("forge_server_unforwarded_requests_total").increment(1);
        let now = self.clock.since_start().as_secs() + 1;
        self.last.store(now, Ordering::Relaxed);
        let logged = self.logged.load(Ordering::Relaxed);
        let is_due = logged == 0 || now - logged >= TOLD_FOR.as_secs();
        let mine = || {
            let (old, new) = (logged, now);
            let order = Ordering::Relaxed;
            self.logged.compare_exchange(old, new, order, order).is_ok()
        };
        if is_due && mine() {
            tracing::warn!(
                "a trusted proxy does not hand on the client's address: everybody behind it \
                 counts as one. Does it set the header in proxies.header?"
            );
        }
    }

    pub(crate) fn health(&self) -> Health {
        let now = self.clock.since_start().as_secs() + 1;
        match self.last.load(Ordering::Relaxed) {
            last if last > 0 && now - last < TOLD_FOR.as_secs() => {
                Health::degraded("a trusted proxy does not hand on the client's address")
            }
            _ => Health::up(),
        }
    }
}

/// Notices requests that a trusted proxy sends without a client's address. What a load balancer and
/// a collector of metrics ask for themselves is none.
pub(crate) async fn watch(State(app): State<App>, request: Request, next: Next) -> Response {
    let own = matches!(
        request.uri().path(),
        "/livez" | "/readyz" | "/api/health" | "/metrics"
    );
    if !own
        && let Some(connection) = request.extensions().get::<Connection>()
        && connection.client_ip == connection.peer.ip().to_canonical()
        && app.config.proxies.trusts(connection.client_ip)
    {
        app.proxies.saw_one();
    }
    next.run(request).await
}
