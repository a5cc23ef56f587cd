//! Refusals as responses: RFC 9457 problem details for HTTP, a `grpc-status` for gRPC.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

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
}

impl Refusal {
    /// 403, `PERMISSION_DENIED`: the client is blocked. Not why, nor until when.
    pub(crate) fn blocked() -> Self {
        Self::forbidden("requests from this client are not accepted at present")
    }

    /// 403, `PERMISSION_DENIED`: whether the client is blocked cannot be told.
    pub(crate) fn unidentified() -> Self {
        Self::forbidden("the request cannot be attributed to a client")
    }

    /// 403, `PERMISSION_DENIED`: the request looks like an attack. Not which rule it met.
    pub(crate) fn inspected() -> Self {
        Self::forbidden("the request is not accepted in this form")
    }

    fn forbidden(detail: &'static str) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            grpc_code: 7,
            title: "Forbidden",
            detail,
        }
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
        if is_grpc(parts) {
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
        }
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
        let refusal = Refusal::blocked();
        let response: Response<Full<Bytes>> = Problem.respond(&parts, &refusal);
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body(response).await,
            r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"requests from this client are not accepted at present","request_id":"0191-ab"}"#
        );
    }

    #[tokio::test]
    async fn leaves_out_a_request_id_that_is_not_safe_to_repeat() {
        for id in ["", "a\"b", "a b", &"x".repeat(65)] {
            let parts = parts(|r| r.header("x-request-id", id));
            let response: Response<Full<Bytes>> = Problem.respond(&parts, &Refusal::unidentified());
            assert!(!body(response).await.contains("request_id"), "{id:?}");
        }
    }

    #[test]
    fn is_a_status_of_trailers_only_for_grpc() {
        let parts = parts(|r| r.header(CONTENT_TYPE, "application/grpc+proto"));
        let response: Response<Full<Bytes>> = Problem.respond(&parts, &Refusal::blocked());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "7");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    }
}
