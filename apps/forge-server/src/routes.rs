//! The routes, one file a family.

mod admin;
mod auth;
mod device;
mod home;
mod limits;
mod mcp;
mod me;
mod metadata;
mod metrics;
mod sessions;
mod tail;

pub(crate) use metrics::upkeep as metrics_upkeep;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use forge_headers::ReportCollector;
use http::StatusCode;

use crate::app::App;
use crate::problem::Problem;

/// Where browsers report what they blocked.
pub(crate) const BROWSER_REPORTS: &str = "/.well-known/csp-report";

/// All routes, without the layers around them.
pub(crate) fn all(app: &App) -> Router {
    Router::new()
        .merge(home::routes())
        .merge(auth::routes())
        .merge(device::routes())
        .merge(me::routes())
        .merge(sessions::routes())
        .merge(admin::routes())
        .merge(limits::routes())
        .merge(metadata::routes())
        .merge(metrics::routes())
        .with_state(app.clone())
        .merge(mcp::routes(app))
        .merge(forge_monitor::health_router(&app.health))
        .route_service(
            BROWSER_REPORTS,
            ReportCollector::new(app.wiring.on_browser_report()),
        )
        // How long a body may be is configured, and sees to every body: `stack.rs`.
        .layer(DefaultBodyLimit::disable())
        .fallback(|| async { Problem::not_found("there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this address does not take this method",
            )
        })
}

/// A time in RFC 3339, UTC.
fn rfc3339(micros: i64) -> String {
    let since = std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    humantime::format_rfc3339_micros(std::time::SystemTime::UNIX_EPOCH + since).to_string()
}
