//! The report collector, called as browsers call it.
#![cfg(feature = "reports")]

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use forge_headers::{Report, ReportCollector};
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::ServiceExt;

const VIOLATION: &str = r#"{"csp-report":{"effective-directive":"img-src","blocked-uri":"data"}}"#;

type Seen = Arc<Mutex<Vec<Report>>>;

fn collector(seen: &Seen) -> ReportCollector<impl Fn(&Parts, &[Report]) + use<>> {
    let seen = Arc::clone(seen);
    ReportCollector::new(move |_: &Parts, reports: &[Report]| {
        seen.lock().unwrap().extend_from_slice(reports);
    })
}

#[tokio::test]
async fn hands_on_what_was_reported() {
    let seen = Seen::default();
    let request = Request::post("/")
        .header("content-type", "application/csp-report")
        .body(Full::new(Bytes::from(VIOLATION)))
        .unwrap();
    let response = collector(&seen).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    let seen = seen.lock().unwrap();
    let [Report::CspViolation(violation)] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(violation.effective_directive, "img-src");
    assert_eq!(violation.blocked_url, "data");
}

#[tokio::test]
async fn refuses_the_rest_and_tells_nobody() {
    const CSP: &str = "application/csp-report";
    let long = format!(r#"{{"csp-report":{{"sample":"{}"}}}}"#, "a".repeat(17_000));
    for (method, media, length, body, status) in [
        ("GET", CSP, None, VIOLATION, StatusCode::METHOD_NOT_ALLOWED),
        (
            "POST",
            "application/json",
            None,
            VIOLATION,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        ("POST", CSP, None, "{", StatusCode::BAD_REQUEST),
        ("POST", CSP, None, &*long, StatusCode::PAYLOAD_TOO_LARGE),
        (
            "POST",
            CSP,
            Some("17000"),
            VIOLATION,
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ] {
        let seen = Seen::default();
        let mut request = Request::builder()
            .method(method)
            .header("content-type", media);
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let response = collector(&seen).oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert!(seen.lock().unwrap().is_empty());
        let allow = response.headers().contains_key("allow");
        assert_eq!(allow, status == StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn stops_reading_a_body_without_an_end() {
    let request = Request::post("/")
        .header("content-type", "application/reports+json")
        .body(Endless)
        .unwrap();
    let response = collector(&Seen::default()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// A body that sends as long as it is read.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        let spaces = Bytes::from_static(&[b' '; 4096]);
        Poll::Ready(Some(Ok(http_body::Frame::data(spaces))))
    }
}
