//! Refusals as responses: RFC 9457 problem details for HTTP, a `grpc-status` for gRPC.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::challenge::Challenge;
use crate::error::Rejection;

/// A response body that a refusal can be written into.
///
/// Implemented for the bodies of `http-body-util`, and for those of Axum and Tonic behind the
/// features `axum` and `tonic`. Implement it for your own body type to use the layer with it.
pub trait RefusalBody: Sized {
    /// A body of exactly these bytes.
    fn from_bytes(bytes: Bytes) -> Self;
}

impl RefusalBody for http_body_util::Full<Bytes> {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

impl<E> RefusalBody for http_body_util::combinators::BoxBody<Bytes, E> {
    fn from_bytes(bytes: Bytes) -> Self {
        use http_body_util::BodyExt;
        Self::new(http_body_util::Full::new(bytes).map_err(|never| match never {}))
    }
}

impl<E> RefusalBody for http_body_util::combinators::UnsyncBoxBody<Bytes, E> {
    fn from_bytes(bytes: Bytes) -> Self {
        use http_body_util::BodyExt;
        Self::new(http_body_util::Full::new(bytes).map_err(|never| match never {}))
    }
}

#[cfg(feature = "axum")]
impl RefusalBody for axum::body::Body {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::from(bytes)
    }
}

#[cfg(feature = "tonic")]
impl RefusalBody for tonic::body::Body {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::new(http_body_util::Full::new(bytes))
    }
}

/// Why a request is not passed on, in the words a client may read.
#[derive(Clone, Debug)]
pub struct Refusal {
    status: StatusCode,
    grpc_code: u8,
    title: &'static str,
    detail: &'static str,
    headers: HeaderMap,
}

impl Refusal {
    /// What becomes of a request whose bearer token is not accepted.
    pub(crate) fn of_bearer(rejection: Rejection, challenge: &Challenge) -> Self {
        match rejection {
            Rejection::InQuery | Rejection::Ambiguous => Self::bad_credentials(challenge),
            _ => Self::invalid_token(challenge),
        }
    }

    /// 400, `INVALID_ARGUMENT`: the credential is sent in a way that is not supported.
    fn bad_credentials(challenge: &Challenge) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            grpc_code: 3,
            title: "Bad Request",
            detail: "send one access token, in the Authorization field",
            headers: HeaderMap::new(),
        }
        .with_challenge(challenge, Some("invalid_request"))
    }

    /// 401, `UNAUTHENTICATED`: the access token is not accepted.
    fn invalid_token(challenge: &Challenge) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            grpc_code: 16,
            title: "Unauthorized",
            detail: "the access token is not valid",
            headers: HeaderMap::new(),
        }
        .with_challenge(challenge, Some("invalid_token"))
    }

    /// 401, `UNAUTHENTICATED`: nobody is signed in, or not in the way that is needed here.
    pub(crate) fn unauthenticated(challenge: &Challenge) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            grpc_code: 16,
            title: "Unauthorized",
            detail: "sign in to use this resource",
            headers: HeaderMap::new(),
        }
        .with_challenge(challenge, None)
    }

    /// 403, `PERMISSION_DENIED`: the session is good, but not for this.
    pub(crate) fn forbidden() -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            grpc_code: 7,
            title: "Forbidden",
            detail: "this session may not do that",
            headers: HeaderMap::new(),
        }
    }

    /// 403, `PERMISSION_DENIED`: the access token has not the scope (RFC 6750, section 3.1).
    pub(crate) fn insufficient_scope(challenge: &Challenge) -> Self {
        Self::forbidden().with_challenge(challenge, Some("insufficient_scope"))
    }

    /// 401, `UNAUTHENTICATED`: the sign-in is too long ago for this, or no longer relied on
    /// (RFC 9470, section 3).
    pub(crate) fn insufficient_user_authentication(challenge: &Challenge) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            grpc_code: 16,
            title: "Unauthorized",
            detail: "sign in again to do this",
            headers: HeaderMap::new(),
        }
        .with_challenge(challenge, Some("insufficient_user_authentication"))
    }

    /// 503, `UNAVAILABLE`: who is calling could not be decided.
    pub(crate) fn undecided() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            grpc_code: 14,
            title: "Service Unavailable",
            detail: "the session cannot be checked right now; try again later",
            headers: HeaderMap::new(),
        }
    }

    /// 500, `INTERNAL`: the service is put together in a wrong way.
    #[cfg(feature = "axum")]
    pub(crate) fn misassembled() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            grpc_code: 13,
            title: "Internal Server Error",
            detail: "the request cannot be served",
            headers: HeaderMap::new(),
        }
    }

    fn with_challenge(mut self, challenge: &Challenge, error: Option<&'static str>) -> Self {
        self.headers
            .insert(WWW_AUTHENTICATE, challenge.header(error));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The gRPC status code.
    pub fn grpc_code(&self) -> u8 {
        self.grpc_code
    }

    /// One sentence for the client; static text, never anything the client sent.
    pub fn detail(&self) -> &'static str {
        self.detail
    }

    /// The header fields that belong to the refusal, such as `WWW-Authenticate`.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn problem_json(&self, parts: &Parts) -> String {
        let mut json = format!(
            r#"{{"type":"about:blank","title":"{}","status":{},"detail":"{}""#,
            self.title,
            self.status.as_u16(),
            self.detail
        );
        if let Some(id) = request_id(parts) {
            json.push_str(r#","request_id":""#);
            json.push_str(id);
            json.push('"');
        }
        json.push('}');
        json
    }
}

/// Turns a [`Refusal`] into the response that the client sees.
///
/// Implemented for [`Problem`], the default, and for closures.
pub trait Respond<B> {
    /// The response to `parts`, a request that is not passed on.
    fn respond(&self, parts: &Parts, refusal: &Refusal) -> Response<B>;
}

impl<F, B> Respond<B> for F
where
    F: Fn(&Parts, &Refusal) -> Response<B>,
{
    fn respond(&self, parts: &Parts, refusal: &Refusal) -> Response<B> {
        self(parts, refusal)
    }
}

/// The default responder: `application/problem+json` (RFC 9457), or for a request of type
/// `application/grpc` a response of trailers only with `grpc-status`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Problem;

impl<B: RefusalBody> Respond<B> for Problem {
    fn respond(&self, parts: &Parts, refusal: &Refusal) -> Response<B> {
        let mut response = if is_grpc(parts) {
            let mut response = Response::new(B::from_bytes(Bytes::new()));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(
                "grpc-status",
                HeaderValue::from(u16::from(refusal.grpc_code)),
            );
            headers.insert("grpc-message", HeaderValue::from_static(refusal.detail));
            response
        } else {
            let json = refusal.problem_json(parts);
            let mut response = Response::new(B::from_bytes(Bytes::from(json)));
            *response.status_mut() = refusal.status;
            response.headers_mut().insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/problem+json"),
            );
            response
        };
        response.headers_mut().extend(refusal.headers.clone());
        response
    }
}

/// Whether the request speaks gRPC, whose errors are a `grpc-status` on a 200.
fn is_grpc(parts: &Parts) -> bool {
    parts
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The request id a layer further out wrote into the request, where it is safe to repeat.
fn request_id(parts: &Parts) -> Option<&str> {
    let id = parts.headers.get("x-request-id")?.to_str().ok()?;
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=64)
        .contains(&id.len())
        .then_some(id)
        .filter(|id| id.bytes().all(safe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http_body_util::{BodyExt, Full};

    fn parts(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Parts {
        build(Request::builder()).body(()).unwrap().into_parts().0
    }

    async fn body(response: Response<Full<Bytes>>) -> String {
        String::from_utf8(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn is_problem_json_with_the_request_id_for_http() {
        let parts = parts(|r| r.header("x-request-id", "0191-ab"));
        let refusal = Refusal::invalid_token(&Challenge::bearer());
        let response: Response<Full<Bytes>> = Problem.respond(&parts, &refusal);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body(response).await,
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"the access token is not valid","request_id":"0191-ab"}"#
        );
    }

    #[tokio::test]
    async fn leaves_out_a_request_id_that_is_not_safe_to_repeat() {
        for id in ["", "a\"b", "a b", &"x".repeat(65)] {
            let parts = parts(|r| r.header("x-request-id", id));
            let response: Response<Full<Bytes>> = Problem.respond(&parts, &Refusal::undecided());
            assert!(!body(response).await.contains("request_id"), "{id:?}");
        }
    }

    #[test]
    fn is_a_status_of_trailers_only_for_grpc() {
        let parts = parts(|r| r.header(CONTENT_TYPE, "application/grpc+proto"));
        let response: Response<Full<Bytes>> =
            Problem.respond(&parts, &Refusal::unauthenticated(&Challenge::bearer()));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "16");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    }
}
