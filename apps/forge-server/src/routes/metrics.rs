//! `GET /metrics`: what the server counts, for Prometheus.

use std::sync::OnceLock;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use forge_headers::Connection;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::accounts::Role;
use crate::app::App;
use crate::principal::Principal;
use crate::problem::Problem;

/// The recorder is the process's: the `metrics` facade has one.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// The bounds of histograms of time: from a microsecond to ten seconds.
const SECONDS: [f64; 15] = [
    1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0,
];

pub(super) fn routes() -> Router<App> {
    recorder();
    Router::new().route("/metrics", get(metrics))
}

fn recorder() -> Option<&'static PrometheusHandle> {
    let buckets = |builder: PrometheusBuilder| {
        builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
    };
    let install =
        || match buckets(PrometheusBuilder::new()).and_then(PrometheusBuilder::install_recorder) {
            Ok(handle) => {
                forge_monitor::RecordMetrics::begin(&["log"]);
                Some(handle)
            }
            Err(error) => {
                tracing::error!(%error, "metrics are not recorded");
                None
            }
        };
    RECORDER.get_or_init(install).as_ref()
}

/// Folds the samples together that came since the last time.
pub(crate) fn upkeep() {
    if let Some(recorder) = recorder() {
        recorder.run_upkeep();
    }
}

async fn metrics(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let principal = parts.extensions.get::<Principal>();
    let admin = principal.is_some_and(|principal| principal.role == Role::Admin);
    let near = parts
        .extensions
        .get::<Connection>()
        .is_some_and(|connection| {
            let ip = connection.client_ip;
            // A proxy that forgets to say whom it speaks for must not open this to everybody.
            let proxy = ip == connection.peer.ip().to_canonical() && app.config.proxies.trusts(ip);
            !proxy
                && app
                    .config
                    .metrics_from
                    .iter()
                    .any(|network| network.contains(&ip))
        });
    if !admin && !near {
        return Err(Problem::forbidden(
            "metrics are for admins and the networks in metrics.from",
        ));
    }
    let Some(recorder) = recorder() else {
        return Err(Problem::not_found("metrics are not recorded"));
    };
    let kind = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, recorder.render()).into_response())
}
