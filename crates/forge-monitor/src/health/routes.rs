//! The health routes for probes and load balancers.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use super::{HealthGroup, HealthRegistry, HealthStatus};

/// The routes `/livez`, `/readyz` and `/api/health`, which show the checks of
/// [`HealthGroup::Liveness`], of [`HealthGroup::Readiness`] and of all groups.
///
/// The body is the status alone, `{"status":"up"}`: who may call these routes learns nothing of
/// what lies behind. 200 for up and degraded, 503 for down, always `Cache-Control: no-store`.
pub fn health_router<S>(registry: &HealthRegistry) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let route = |group| {
        let registry = registry.clone();
        get(move || async move { response(registry.report(group).await.status) })
    };
    Router::new()
        .route("/livez", route(HealthGroup::Liveness))
        .route("/readyz", route(HealthGroup::Readiness))
        .route("/api/health", route(HealthGroup::All))
}

fn response(status: HealthStatus) -> Response<Body> {
    let json = format!(r#"{{"status":"{}"}}"#, status.as_str());
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = match status {
        HealthStatus::Up | HealthStatus::Degraded => StatusCode::OK,
        HealthStatus::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
