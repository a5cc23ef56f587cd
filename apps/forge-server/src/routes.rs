//! The routes, one file a family.

mod admin;
mod alerts;
mod audit;
mod auth;
mod device;
mod health;
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
use axum::extract::{DefaultBodyLimit, Request};
use forge_headers::ReportCollector;
use forge_monitor::SignalKind;
use http::StatusCode;

use crate::app::App;
use crate::problem::Problem;
use crate::wiring::Cause;

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
        .merge(alerts::routes())
        .merge(health::routes())
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
        .fallback(missing(app))
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this address does not take this method",
            )
        })
}

/// Paths that browsers ask for by themselves: that they are not there says nothing.
const ASKED_BY_BROWSERS: [&str; 3] = ["/favicon.ico", "/robots.txt", "/apple-touch-icon.png"];

/// What is at no address: the monitor is told, for scanners ask for many of them.
fn missing(app: &App) -> impl Fn(Request) -> std::future::Ready<Problem> + Clone + Send + 'static {
    let (wiring, traps) = (app.wiring.clone(), app.config.monitor.traps.clone());
    move |request| {
        let (parts, _) = request.into_parts();
        let path = parts.uri.path().to_owned();
        if !ASKED_BY_BROWSERS.contains(&path.as_str()) {
            let lower = path.to_ascii_lowercase();
            let kind = match traps.iter().any(|trap| lower.starts_with(trap.as_str())) {
                true => SignalKind::TrapTouched { path: path.into() },
                false => SignalKind::PathMissing { path: path.into() },
            };
            wiring.signal(kind, &Cause::of(&parts));
        }
        std::future::ready(Problem::not_found("there is nothing at this address"))
    }
}

/// The last microsecond that RFC 3339 can write: its years have four digits.
const LATEST: i64 = 253_402_300_799_999_999;

/// A time in RFC 3339, UTC. One that it cannot write is shown as the nearest from 1970 to 9999.
pub(crate) fn rfc3339(micros: i64) -> String {
    let since = std::time::Duration::from_micros(micros.clamp(0, LATEST).unsigned_abs());
    humantime::format_rfc3339_micros(std::time::SystemTime::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn every_time_can_be_written() {
        for (micros, text) in [
            (i64::MIN, "1970-01-01T00:00:00.000000Z"),
            (-1, "1970-01-01T00:00:00.000000Z"),
            (1, "1970-01-01T00:00:00.000001Z"),
            (253_402_300_799_999_998, "9999-12-31T23:59:59.999998Z"),
            (253_402_300_800_000_000, "9999-12-31T23:59:59.999999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(rfc3339(micros), text);
        }
    }
}
