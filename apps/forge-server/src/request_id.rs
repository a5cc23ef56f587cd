//! One id for each request, made here: in the log, in the audit log, and in every response.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;
use http::header::HeaderName;
use http::request::Parts;
use uuid::Uuid;

/// The header field, in the request for the layers further in and in the response.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request its id. One that the client sent is replaced: it could be anybody's.
pub(crate) async fn assign(mut request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    let id = HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"));
    request.headers_mut().insert(X_REQUEST_ID, id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

/// The id of a request that has one.
#[must_use]
pub(crate) fn of(parts: &Parts) -> Option<&str> {
    parts.headers.get(X_REQUEST_ID)?.to_str().ok()
}
