//! The vault as an argument of Axum handlers.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::error::MissingVault;
use crate::vault::Vault;

/// The vault that [`VaultLayer`](crate::VaultLayer) put at hand.
///
/// Without that layer the request is refused with 500.
impl<S: Sync> FromRequestParts<S> for Vault {
    type Rejection = MissingVault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, MissingVault> {
        Self::from_extensions(&parts.extensions)
            .cloned()
            .map_err(|_| MissingVault {
                request_id: request_id(&parts.headers),
            })
    }
}

/// 500 as problem details (RFC 9457).
impl IntoResponse for MissingVault {
    fn into_response(self) -> Response {
        let mut problem = String::from(
            r#"{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"the service is not set up to handle secrets""#,
        );
        if let Some(id) = self.request_id {
            problem.push_str(r#","request_id":""#);
            problem.push_str(&id);
            problem.push('"');
        }
        problem.push('}');
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, "application/problem+json")],
            problem,
        )
            .into_response()
    }
}

/// The id of the request, when it has a form that needs no escaping.
fn request_id(headers: &HeaderMap) -> Option<Box<str>> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    ((1..=64).contains(&id.len()) && id.bytes().all(plain)).then(|| id.into())
}
