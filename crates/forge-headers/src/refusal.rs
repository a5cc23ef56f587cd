//! Refusals as responses: RFC 9457 problem details for HTTP, a `grpc-status` for gRPC.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

/// A response body that a refusal can be written into.
///
/// Implemented for the bodies of `http-body-util`, and for those of Axum and Tonic behind the
/// features `axum` and `tonic`. Implement it for your own body type to use the layers with it.
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

/// What a request was refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The peer's address is unknown, so the client's is too: 500.
    PeerUnknown,
    /// No host, more than one, a malformed one, or `Host` and `:authority` differ: 400.
    HostInvalid,
    /// The host is not on the allow-list: 421.
    HostNotAllowed,
    /// The request came in clear and cannot be redirected: 403.
    InsecureTransport,
    /// A preflight for an origin, method or header that is not allowed: 403.
    CorsPreflight,
    /// A request that changes state, or a WebSocket, from another origin: 403.
    CrossOrigin,
}

impl RefusalKind {
    /// The kind as a word for metrics and audit: `peer_unknown`, `host_invalid`,
    /// `host_not_allowed`, `insecure_transport`, `cors_preflight` or `cross_origin`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PeerUnknown => "peer_unknown",
            Self::HostInvalid => "host_invalid",
            Self::HostNotAllowed => "host_not_allowed",
            Self::InsecureTransport => "insecure_transport",
            Self::CorsPreflight => "cors_preflight",
            Self::CrossOrigin => "cross_origin",
        }
    }
}

/// Why a request is not passed on, in the words a client may read.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    kind: RefusalKind,
    status: StatusCode,
    grpc_code: u8,
    title: &'static str,
    detail: &'static str,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind) -> Self {
        let (status, grpc_code, title, detail) = match kind {
            RefusalKind::PeerUnknown => (
                StatusCode::INTERNAL_SERVER_ERROR,
                13,
                "Internal Server Error",
                "the server cannot tell who is calling",
            ),
            RefusalKind::HostInvalid => (
                StatusCode::BAD_REQUEST,
                3,
                "Bad Request",
                "the request needs exactly one well-formed host",
            ),
            RefusalKind::HostNotAllowed => (
                StatusCode::MISDIRECTED_REQUEST,
                7,
                "Misdirected Request",
                "this server does not answer for the requested host",
            ),
            RefusalKind::InsecureTransport => (
                StatusCode::FORBIDDEN,
                7,
                "Forbidden",
                "the request has to be sent over https",
            ),
            RefusalKind::CorsPreflight => (
                StatusCode::FORBIDDEN,
                7,
                "Forbidden",
                "the origin, method or header is not allowed",
            ),
            RefusalKind::CrossOrigin => (
                StatusCode::FORBIDDEN,
                7,
                "Forbidden",
                "requests from other origins are not allowed here",
            ),
        };
        Self {
            kind,
            status,
            grpc_code,
            title,
            detail,
        }
    }

    /// What the request was refused for.
    pub fn kind(&self) -> RefusalKind {
        self.kind
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
        // The texts above hold nothing to escape (a test says so), nor does a request id.
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
///
/// The problem carries the request id where a layer further out wrote one into the request's
/// `x-request-id`. Neither form may be cached.
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
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
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

    const KINDS: [RefusalKind; 6] = [
        RefusalKind::PeerUnknown,
        RefusalKind::HostInvalid,
        RefusalKind::HostNotAllowed,
        RefusalKind::InsecureTransport,
        RefusalKind::CorsPreflight,
        RefusalKind::CrossOrigin,
    ];

    fn parts(name: &str, value: &str) -> Parts {
        let request = Request::builder().header(name, value).body(()).unwrap();
        request.into_parts().0
    }

    async fn body(response: Response<Full<Bytes>>) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn is_problem_json_with_the_request_id_for_http() {
        let refusal = Refusal::new(RefusalKind::HostNotAllowed);
        let response = Problem.respond(&parts("x-request-id", "0191-ab"), &refusal);
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(
            body(response).await,
            r#"{"type":"about:blank","title":"Misdirected Request","status":421,"detail":"this server does not answer for the requested host","request_id":"0191-ab"}"#
        );
    }

    #[tokio::test]
    async fn leaves_out_a_request_id_that_is_not_safe_to_repeat() {
        for id in ["", "a\"b", "a b", &"x".repeat(65)] {
            let refusal = Refusal::new(RefusalKind::CrossOrigin);
            let response = Problem.respond(&parts("x-request-id", id), &refusal);
            assert!(!body(response).await.contains("request_id"), "{id:?}");
        }
    }

    #[test]
    fn is_a_status_of_trailers_only_for_grpc() {
        let parts = parts("content-type", "application/grpc+proto");
        let refusal = Refusal::new(RefusalKind::CrossOrigin);
        let response: Response<Full<Bytes>> = Problem.respond(&parts, &refusal);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "7");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    }

    #[test]
    fn texts_need_no_escape_in_json_and_in_a_grpc_message() {
        let plain = |b: u8| (b' '..=b'~').contains(&b) && !matches!(b, b'"' | b'\\' | b'%');
        for refusal in KINDS.map(Refusal::new) {
            assert!(refusal.title.bytes().all(plain), "{}", refusal.title);
            assert!(refusal.detail.bytes().all(plain), "{}", refusal.detail);
        }
    }
}
