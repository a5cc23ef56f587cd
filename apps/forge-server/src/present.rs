//! How a refusal looks: a page where a person navigates, problem details for everybody else.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::pages::{Message, html};
use crate::problem::Problem;
use crate::request_id;
use crate::sign_in::LocalPath;

/// Presents the responses from further in that refuse or fail.
pub(crate) async fn present(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let person = navigates(&parts);
    let is_form = parts.method == Method::POST;
    let id = request_id::of(&parts).map(str::to_owned);
    let nonce = crate::pages::nonce(&parts);
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    let response = next.run(Request::from_parts(parts, body)).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    if person {
        if status == StatusCode::UNAUTHORIZED && !is_form {
            return redirect_to_sign_in(response.headers(), &target);
        }
        if !is_html(response.headers()) {
            let message = if status == StatusCode::UNAUTHORIZED {
                // A browser follows no form to GitHub, as the policy of our pages wants it.
                Message::sign_in_again(id.as_deref(), &nonce)
            } else {
                let detail = response.extensions().get::<Problem>().map(Problem::detail);
                Message::refused(status, detail, id.as_deref(), &nonce)
            };
            return replaced(response, html(&message), "text/html; charset=utf-8");
        }
        return response;
    }
    let problem = response.extensions().get::<Problem>();
    if problem.is_some() || is_plain(response.headers()) {
        let json = Problem::json(status, problem, id.as_deref());
        return replaced(response, json, "application/problem+json");
    }
    response
}

/// Whether a person's browser asks for a page to show, as Fetch Metadata or `Accept` says.
fn navigates(parts: &Parts) -> bool {
    let header = |name: &str| parts.headers.get(name).map(HeaderValue::as_bytes);
    let html = parts
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| {
            accept
                .split(',')
                .any(|kind| kind.trim().starts_with("text/html"))
        });
    let mode = header("sec-fetch-mode");
    match parts.method {
        Method::GET | Method::HEAD => html && mode.is_none_or(|mode| mode == b"navigate"),
        // A form that a person sends; a program may accept pages too.
        Method::POST => html && mode.is_some_and(|mode| mode == b"navigate"),
        _ => false,
    }
}

fn redirect_to_sign_in(headers: &HeaderMap, target: &str) -> Response {
    let next = LocalPath::parse(target);
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("next", next.as_str())
        .finish();
    let mut redirect = Redirect::to(&format!("/auth/github/login?{query}")).into_response();
    for name in ["set-cookie", "ratelimit", "ratelimit-policy"] {
        for value in headers.get_all(name) {
            redirect.headers_mut().append(name, value.clone());
        }
    }
    redirect
}

fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// What the framework answers by itself, such as a 405: plain text or nothing.
pub(crate) fn is_plain(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

fn replaced(response: Response, body: String, kind: &'static str) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Response::from_parts(parts, Body::from(body))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_person_navigates_a_script_does_not() {
        let navigates = |method: &str, headers: &[(&str, &str)]| {
            let mut request = http::Request::builder().method(method);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            super::navigates(&request.body(()).unwrap().into_parts().0)
        };
        let browser = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        assert!(navigates("GET", &[browser]));
        assert!(navigates("GET", &[browser, ("sec-fetch-mode", "navigate")]));
        assert!(!navigates("GET", &[browser, ("sec-fetch-mode", "cors")]));
        assert!(!navigates("POST", &[browser]));
        let mode = ("sec-fetch-mode", "navigate");
        assert!(navigates("POST", &[browser, mode]));
        assert!(!navigates("POST", &[("accept", "*/*"), mode]));
        assert!(!navigates("DELETE", &[browser, mode]));
        assert!(!navigates("GET", &[("accept", "*/*")]));
        assert!(!navigates("GET", &[]));
    }
}
