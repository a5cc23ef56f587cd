//! The layer on Axum.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use forge_monitor::{
    InspectLayer, InspectMode, InspectOutcome, Inspection, Level, RefusedByInspection,
};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use tower::ServiceExt;

const ATTACK: &str = "/items?q=1'%20or%20'1'='1";

type Told = Arc<Mutex<Vec<(InspectOutcome, u32)>>>;

fn watched(layer: InspectLayer) -> (Router, Told) {
    let told = Told::default();
    let seen = Arc::clone(&told);
    let layer = layer.on_inspection(
        move |_: &Parts, inspection: &Inspection, outcome: InspectOutcome| {
            seen.lock().unwrap().push((outcome, inspection.score()));
        },
    );
    let app = Router::new()
        .route("/items", get(|| async { "items" }))
        .route("/below/x", get(|| async { "below" }))
        .layer(layer);
    (app, told)
}

async fn get_of(app: &Router, target: &str) -> Response<Body> {
    let request = Request::get(target).header("x-request-id", "0191-ab");
    let request = request.body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_suspicious_request_is_told_in_detect_and_refused_in_block() {
    let (app, told) = watched(InspectLayer::new(InspectMode::Detect));
    assert_eq!(get_of(&app, ATTACK).await.status(), StatusCode::OK);
    assert_eq!(told.lock().unwrap()[0].0, InspectOutcome::Suspicious);

    let (app, told) = watched(InspectLayer::new(InspectMode::Block));
    let refused = get_of(&app, ATTACK).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.extensions().get::<RefusedByInspection>().is_some());
    let problem = text(refused).await;
    assert!(problem.contains(r#""request_id":"0191-ab""#), "{problem}");
    assert!(!problem.contains("sql"), "{problem}");
    assert_eq!(get_of(&app, "/items?q=x").await.status(), StatusCode::OK);
    let told = told.lock().unwrap();
    assert_eq!(told[0].0, InspectOutcome::Refused);
    assert!(told[0].1 >= 10);
    assert_eq!(told[1], (InspectOutcome::Clean, 0));
}

#[tokio::test]
async fn nothing_is_inspected_where_it_is_off() {
    let (app, told) = watched(InspectLayer::new(InspectMode::Off));
    assert_eq!(get_of(&app, ATTACK).await.status(), StatusCode::OK);
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_high_level_refuses_more() {
    let words = "/items?q=%3Cb%20class=x%3E";
    let (app, told) = watched(InspectLayer::new(InspectMode::Block));
    assert_eq!(get_of(&app, words).await.status(), StatusCode::OK);
    assert_eq!(told.lock().unwrap()[0].0, InspectOutcome::Suspicious);
    let (app, _) = watched(InspectLayer::new(InspectMode::Block).level(Level::High));
    assert_eq!(get_of(&app, words).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn exempt_paths_pass_unread_and_only_they() {
    let layer = InspectLayer::new(InspectMode::Block)
        .exempt_path("/items")
        .exempt_path("/below/");
    let (app, told) = watched(layer);
    assert_eq!(get_of(&app, ATTACK).await.status(), StatusCode::OK);
    assert_eq!(
        get_of(&app, "/below/x?q=%3Cscript%3E").await.status(),
        StatusCode::OK
    );
    assert!(told.lock().unwrap().is_empty());
    for target in [
        "/items/?q=%3Cscript%3E",
        "/itemsx?q=%3Cscript%3E",
        "/below/%2e%2e/items?q=%3Cscript%3E",
        "/below/../items?q=%3Cscript%3E",
    ] {
        let status = get_of(&app, target).await.status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{target}");
    }
}

fn forms(max: usize) -> Router {
    let echo = |body: String| async move { body };
    let layer = InspectLayer::new(InspectMode::Block);
    Router::new()
        .route("/form", post(echo))
        .route("/free", post(echo))
        .layer(layer.forms(|parts: &Parts| parts.uri.path() == "/form", max))
}

async fn post_to(app: &Router, path: &str, kind: &str, body: Body) -> Response<Body> {
    let request = Request::post(path).header("content-type", kind);
    app.clone()
        .oneshot(request.body(body).unwrap())
        .await
        .unwrap()
}

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn forms_are_read_where_asked_for_and_passed_on_unchanged() {
    let app = forms(64);
    let good = "a=b&c=d%20e";
    let passed = post_to(&app, "/form", FORM, good.into()).await;
    assert_eq!(passed.status(), StatusCode::OK);
    assert_eq!(text(passed).await, good);

    let bad = "a=1'+or+'1'%3d'1";
    let refused = post_to(&app, "/form", FORM, bad.into()).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    for (path, kind) in [
        ("/free", FORM),
        ("/form", "application/json"),
        ("/form", "text/markdown"),
    ] {
        let passed = post_to(&app, path, kind, bad.into()).await;
        assert_eq!(passed.status(), StatusCode::OK, "{path} {kind}");
        assert_eq!(text(passed).await, bad);
    }
}

#[tokio::test]
async fn a_form_longer_than_is_read_arrives_whole() {
    let app = forms(64);
    let chunks = vec![
        format!("a={}", "x".repeat(100)),
        "y".repeat(5000),
        "&b='".to_owned(),
    ];
    let whole = chunks.concat();
    let body = Frames::body(chunks.into_iter().map(Ok));
    let passed = post_to(&app, "/form", FORM, body).await;
    assert_eq!(passed.status(), StatusCode::OK);
    assert_eq!(text(passed).await, whole);
}

#[tokio::test]
async fn a_form_that_breaks_off_is_an_error_to_who_reads_it() {
    let app = forms(64);
    let body = Frames::body([Ok("a=b".to_owned()), Err(std::io::Error::other("gone"))]);
    let answer = post_to(&app, "/form", FORM, body).await;
    assert!(answer.status().is_client_error(), "{}", answer.status());
}

/// A body that comes in these frames.
struct Frames(VecDeque<Result<Frame<Bytes>, std::io::Error>>);

impl Frames {
    fn body(frames: impl IntoIterator<Item = Result<String, std::io::Error>>) -> Body {
        let frames = frames.into_iter();
        Body::new(Self(
            frames
                .map(|frame| frame.map(|data| Frame::data(data.into())))
                .collect(),
        ))
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(self.0.pop_front())
    }
}
