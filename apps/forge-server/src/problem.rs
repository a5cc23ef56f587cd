//! What a handler answers when it does not do what was asked: RFC 9457 problem details.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};

/// A problem, in words a client may read. The cause goes to the log.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: &'static str,
    // In a box, so that results are small where nothing is wrong.
    headers: Box<HeaderMap>,
    /// Members beyond those of RFC 9457, by name.
    further: Vec<(&'static str, String)>,
}

impl Problem {
    /// A problem of that status. `detail` is one sentence that says what to do about it.
    #[must_use]
    pub(crate) fn new(status: StatusCode, detail: &'static str) -> Self {
        Self {
            status,
            detail,
            headers: Box::default(),
            further: Vec::new(),
        }
    }

    /// 400
    #[must_use]
    pub(crate) fn bad_request(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What a body deserves that is not of the shape that `fix` names, or too long to read.
    pub(crate) fn of_body(status: StatusCode, fix: &'static str) -> Self {
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            Self::new(
                status,
                "the body is longer than `bounds.body` of this server allows",
            )
        } else {
            Self::bad_request(fix)
        }
    }

    /// 403
    #[must_use]
    pub(crate) fn forbidden(detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404
    #[must_use]
    pub(crate) fn not_found(detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 503, and the cause to the log.
    pub(crate) fn unavailable(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = cause, "a request could not be answered");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "this cannot be answered right now; try again later",
        )
    }

    /// Adds a header field.
    #[must_use]
    pub(crate) fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Adds a member to the document (RFC 9457, section 3.2).
    #[must_use]
    pub(crate) fn member(mut self, name: &'static str, value: String) -> Self {
        self.further.push((name, value));
        self
    }

    /// One sentence that says what to do.
    #[must_use]
    pub(crate) fn detail(&self) -> &'static str {
        self.detail
    }

    /// The document, with the id of the request where it is known.
    #[must_use]
    pub(crate) fn json(
        status: StatusCode,
        problem: Option<&Self>,
        request_id: Option<&str>,
    ) -> String {
        let mut document = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
        });
        if let Some(problem) = problem {
            document["detail"] = problem.detail.into();
            for (name, value) in &problem.further {
                document[*name] = value.as_str().into();
            }
        }
        if let Some(id) = request_id {
            document["request_id"] = id.into();
        }
        document.to_string()
    }
}

/// Without the request's id: the layer that presents responses fills it in.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Self::json(self.status, Some(&self), None);
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.extend(HeaderMap::clone(&self.headers));
        response.extensions_mut().insert(self);
        response
    }
}
