//! Refusals as responses: RFC 9457 problem details for HTTP, a `grpc-status` for gRPC.

use arrayvec::ArrayVec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::MAX_POLICIES;
use crate::decision::Decision;
use crate::policy::PolicyName;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

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
    problem_type: &'static str,
    title: &'static str,
    detail: &'static str,
    violated: ArrayVec<PolicyName, MAX_POLICIES>,
    retry_after: Option<u64>,
}

impl Refusal {
    /// What a decision that admits nothing says to the client.
    pub(crate) fn of(decision: &Decision) -> Self {
        match decision {
            Decision::Unidentified { .. } => Self::unidentified(),
            Decision::Undecided { error, .. } => {
                // Said by the store once an outage; here for whoever looks for one request.
                tracing::debug!(
                    error = error as &dyn std::error::Error,
                    "request refused: no verdict"
                );
                Self::undecided()
            }
            Decision::Admitted(_) | Decision::Refused(_) => {
                let wait = decision.retry_after().unwrap_or_default().as_secs();
                let violated = decision.violated().map(|of| of.policy);
                Self::quota_exceeded(violated.collect(), wait.max(1))
            }
        }
    }

    /// 429, `RESOURCE_EXHAUSTED`: the quotas of the named policies are used up.
    pub(crate) fn quota_exceeded(
        violated: ArrayVec<PolicyName, MAX_POLICIES>,
        retry_after: u64,
    ) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            grpc_code: 8,
            // The type registered by draft-ietf-httpapi-ratelimit-headers.
            problem_type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
            title: "Too Many Requests",
            detail: "the quota for this client is used up; wait as long as Retry-After says",
            violated,
            retry_after: Some(retry_after),
        }
    }

    /// 503, `UNAVAILABLE`: whether the quota allows it could not be decided.
    pub(crate) fn undecided() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            grpc_code: 14,
            problem_type: "about:blank",
            title: "Service Unavailable",
            detail: "the request cannot be admitted right now; try again later",
            violated: ArrayVec::new(),
            retry_after: Some(1),
        }
    }

    /// 403, `PERMISSION_DENIED`: the request bears nothing to count it by.
    pub(crate) fn unidentified() -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            grpc_code: 7,
            problem_type: "about:blank",
            title: "Forbidden",
            detail: "the request cannot be attributed to a client",
            violated: ArrayVec::new(),
            retry_after: None,
        }
    }

    /// 429, `RESOURCE_EXHAUSTED`: as many requests of the client are under way as may be.
    pub(crate) fn too_many_at_once(policy: PolicyName) -> Self {
        let violated = [policy].into_iter().collect();
        Self {
            detail: "too many requests of this client are under way; end one first",
            ..Self::quota_exceeded(violated, 1)
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

    /// The names of the policies whose quota is used up.
    pub fn violated_policies(&self) -> &[PolicyName] {
        &self.violated
    }

    /// Whole seconds after which the same request is worth another try, for `Retry-After`.
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// The header fields that belong to the refusal: `Retry-After`, where waiting helps.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        headers
    }

    /// Appends the violated policies as a JSON array.
    fn put_policies(&self, json: &mut String) {
        let mut before = "[\"";
        for name in &self.violated {
            // Policy names are lower-case tokens (see `Policy::new`): nothing to escape.
            json.extend([before, name]);
            before = "\",\"";
        }
        json.push_str("\"]");
    }

    fn problem_json(&self, parts: &Parts) -> String {
        let mut json = String::with_capacity(384);
        json.extend([
            r#"{"type":""#,
            self.problem_type,
            r#"","title":""#,
            self.title,
            r#"","status":"#,
            self.status.as_str(),
            r#","detail":""#,
            self.detail,
            "\"",
        ]);
        if !self.violated.is_empty() {
            json.push_str(r#","violated-policies":"#);
            self.put_policies(&mut json);
        }
        if let Some(id) = request_id(parts) {
            json.extend([r#","request_id":""#, id, "\""]);
        }
        json.push('}');
        json
    }

    /// `google.rpc.Status` with a `RetryInfo`, as `grpc-status-details-bin` bears it.
    fn status_details(&self, seconds: u64) -> String {
        /// `type_url` of the one detail.
        const RETRY_INFO: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";
        let mut duration = vec![0x08];
        varint(&mut duration, seconds);
        let mut info = Vec::new();
        field(&mut info, 1, &duration);
        let mut any = Vec::new();
        field(&mut any, 1, RETRY_INFO);
        field(&mut any, 2, &info);
        let mut status = vec![0x08, self.grpc_code];
        field(&mut status, 2, self.detail.as_bytes());
        field(&mut status, 3, &any);
        // Padding is left out, as gRPC asks of senders.
        STANDARD_NO_PAD.encode(status)
    }
}

/// A field of type bytes, string or message, in the wire format of Protocol Buffers.
fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push((number << 3) | 2);
    varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
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
/// `application/grpc` a response of trailers only with `grpc-status` and, where waiting helps, a
/// `RetryInfo` in `grpc-status-details-bin`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Problem;

impl<B: RefusalBody> Respond<B> for Problem {
    fn respond(&self, parts: &Parts, refusal: &Refusal) -> Response<B> {
        let mut response = if is_grpc(parts) {
            let mut response = Response::new(B::from_bytes(Bytes::new()));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(refusal.grpc_code)));
            headers.insert(GRPC_MESSAGE, HeaderValue::from_static(refusal.detail));
            if let Some(seconds) = refusal.retry_after {
                let details = refusal.status_details(seconds);
                let details = HeaderValue::try_from(details).expect("base64 is ASCII");
                headers.insert(GRPC_DETAILS, details);
            }
            response
        } else {
            let json = refusal.problem_json(parts);
            with_body(refusal, json, "application/problem+json")
        };
        set_retry_after(&mut response, refusal);
        response
    }
}

/// A responder for JSON-RPC 2.0 endpoints, such as MCP over HTTP: the status stays, the body is an
/// error object of code -32000 (the range left to servers) without an id, since the request was
/// not read.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonRpc;

impl<B: RefusalBody> Respond<B> for JsonRpc {
    fn respond(&self, parts: &Parts, refusal: &Refusal) -> Response<B> {
        let mut json =
            String::from(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":""#);
        json.extend([
            refusal.detail,
            r#"","data":{"status":"#,
            refusal.status.as_str(),
        ]);
        if let Some(seconds) = refusal.retry_after {
            json.extend([r#","retry_after":"#, &seconds.to_string()]);
        }
        if !refusal.violated.is_empty() {
            json.push_str(r#","violated_policies":"#);
            refusal.put_policies(&mut json);
        }
        if let Some(id) = request_id(parts) {
            json.extend([r#","request_id":""#, id, "\""]);
        }
        json.push_str("}}}");
        let mut response = with_body(refusal, json, "application/json");
        set_retry_after(&mut response, refusal);
        response
    }
}

fn with_body<B: RefusalBody>(refusal: &Refusal, json: String, of: &'static str) -> Response<B> {
    let mut response = Response::new(B::from_bytes(Bytes::from(json)));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(of));
    response
}

fn set_retry_after<B>(response: &mut Response<B>, refusal: &Refusal) {
    if let Some(seconds) = refusal.retry_after {
        let value = HeaderValue::from(seconds);
        response.headers_mut().insert(RETRY_AFTER, value);
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

    fn exceeded(policies: &[&str]) -> Refusal {
        let policies = policies.iter().map(|name| PolicyName::of(name));
        Refusal::quota_exceeded(policies.collect(), 7)
    }

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
        let refusal = exceeded(&["web", "address"]);
        let response: Response<Full<Bytes>> = Problem.respond(&parts, &refusal);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body(response).await,
            r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"detail":"the quota for this client is used up; wait as long as Retry-After says","violated-policies":["web","address"],"request_id":"0191-ab"}"#
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
        let response: Response<Full<Bytes>> = Problem.respond(&parts, &exceeded(&[]));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "8");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    }

    #[tokio::test]
    async fn is_an_error_object_for_json_rpc() {
        let parts = parts(|r| r.header("x-request-id", "0191-ab"));
        let response: Response<Full<Bytes>> = JsonRpc.respond(&parts, &exceeded(&["mcp"]));
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        let body: serde_json::Value = serde_json::from_str(&body(response).await).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "jsonrpc": "2.0",
                "id": null,
                "error": {
                    "code": -32000,
                    "message": "the quota for this client is used up; wait as long as Retry-After says",
                    "data": {
                        "status": 429,
                        "retry_after": 7,
                        "violated_policies": ["mcp"],
                        "request_id": "0191-ab",
                    },
                },
            })
        );
    }
}
