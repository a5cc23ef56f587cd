//! How many at once: the permit lasts as long as the response's body.
#![cfg(feature = "axum")]

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use forge_ratelimit::{
    Concurrency, ConcurrencyDecision, ConcurrencyLayer, Key, MissingKey, OnConcurrency,
};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::ServiceExt;

fn user(parts: &Parts) -> Option<Key> {
    Some(Key::user(parts.headers.get("user")?))
}

fn two() -> Concurrency {
    Concurrency::new("streams", NonZeroU32::new(2).unwrap(), user).unwrap()
}

/// A body that the test feeds and ends.
struct Fed(UnboundedReceiver<&'static str>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.0.poll_recv(cx);
        chunk.map(|chunk| Some(Ok(Frame::data(Bytes::from(chunk?)))))
    }
}

/// A route whose responses are streams, and the other ends of those that were opened.
fn app(limit: &Concurrency) -> (Router, UnboundedReceiver<UnboundedSender<&'static str>>) {
    let (opened, streams) = unbounded_channel();
    let stream = move || {
        let (feed, chunks) = unbounded_channel();
        opened.send(feed).unwrap();
        async move { Response::new(Body::new(Fed(chunks))) }
    };
    let app = Router::new()
        .route("/", get(stream))
        .route("/short", get(|| async { "hello" }))
        .layer(ConcurrencyLayer::new(limit.clone()));
    (app, streams)
}

async fn call(app: &Router, path: &str) -> Response<Body> {
    let request = Request::get(path)
        .header("user", "1")
        .body(Body::empty())
        .unwrap();
    app.clone().oneshot(request).await.unwrap()
}

fn under_way(limit: &Concurrency) -> u32 {
    limit.under_way(&Key::user("1"))
}

#[tokio::test]
async fn a_stream_counts_until_it_ends() {
    let limit = two();
    let (app, mut streams) = app(&limit);
    let mut first = call(&app, "/").await;
    assert_eq!(
        first.headers()["ratelimit-policy"],
        r#""streams";q=2;qu="concurrent-requests""#
    );
    assert_eq!(first.headers()["ratelimit"], r#""streams";r=1"#);
    let second = call(&app, "/").await;
    assert_eq!(second.headers()["ratelimit"], r#""streams";r=0"#);
    assert_eq!(under_way(&limit), 2);

    let refused = call(&app, "/").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["ratelimit"], r#""streams";r=0"#);
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["violated-policies"][0], "streams");

    let feed = streams.try_recv().unwrap();
    feed.send("chunk").unwrap();
    let chunk = first.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(chunk.into_data().unwrap(), "chunk");
    assert_eq!(under_way(&limit), 2, "the stream goes on");
    drop(feed);
    assert!(first.body_mut().frame().await.is_none());
    assert_eq!(
        under_way(&limit),
        1,
        "at its end, though the response is still there"
    );
    assert_eq!(call(&app, "/").await.status(), StatusCode::OK);
    drop(second);
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_permit_back() {
    let limit = two();
    let (app, _streams) = app(&limit);
    let (first, second) = (call(&app, "/").await, call(&app, "/").await);
    assert_eq!(under_way(&limit), 2);
    drop((first, second));
    assert_eq!(under_way(&limit), 0);

    // So does one that leaves before there is a response.
    let never = Router::new()
        .route("/", get(std::future::pending::<()>))
        .layer(ConcurrencyLayer::new(limit.clone()));
    let waiting = tokio::spawn(async move { call(&never, "/").await });
    while under_way(&limit) == 0 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(under_way(&limit), 0);
}

#[tokio::test]
async fn a_short_body_is_whole_and_counted_once_read() {
    let limit = two();
    let (app, _streams) = app(&limit);
    for _ in 0..10 {
        let response = call(&app, "/short").await;
        assert_eq!(response.headers()["content-length"], "5");
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "hello");
    }
    assert_eq!(under_way(&limit), 0);
}

#[tokio::test]
async fn counts_by_key_and_where_it_applies() {
    let limit = two().when(|parts: &Parts| parts.uri.path() == "/");
    let (app, _streams) = app(&limit);
    let _held = (call(&app, "/").await, call(&app, "/").await);
    assert_eq!(call(&app, "/short").await.status(), StatusCode::OK);
    let of = |user: Option<&str>| {
        let request = user
            .into_iter()
            .fold(Request::get("/"), |of, user| of.header("user", user));
        app.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    assert_eq!(of(Some("2")).await.unwrap().status(), StatusCode::OK);
    assert_eq!(of(None).await.unwrap().status(), StatusCode::FORBIDDEN);
    let skipping = two().missing_key(MissingKey::Skip);
    let app = Router::new()
        .route("/", get(|| async {}))
        .layer(ConcurrencyLayer::new(skipping));
    let nobody = Request::new(Body::empty());
    assert_eq!(app.oneshot(nobody).await.unwrap().status(), StatusCode::OK);
}

fn app_of(limit: &Concurrency) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(ConcurrencyLayer::new(limit.clone()))
}

/// Everything an observer is told, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl OnConcurrency for Seen {
    fn on_concurrency(&self, parts: &Parts, decision: &ConcurrencyDecision) {
        let class = decision.key_class.map_or("nobody", |class| class.as_str());
        let (outcome, policy) = (decision.outcome.as_str(), &decision.policy);
        let (under_way, max) = (decision.under_way, decision.max);
        let line = format!("{policy} {outcome} {class} {under_way}/{max} {}", parts.uri);
        self.0.lock().unwrap().push(line);
    }

    fn on_end(&self, policy: &Arc<str>) {
        self.0.lock().unwrap().push(format!("{policy} ended"));
    }
}

#[tokio::test]
async fn an_observer_is_told_of_every_decision_and_of_every_end() {
    let (limit, seen) = (two(), Seen::default());
    let layer = ConcurrencyLayer::new(limit.clone()).on_concurrency(((), seen.clone()));
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(layer);
    let first = call(&app, "/").await;
    let second = call(&app, "/").await;
    let refused = call(&app, "/").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(refused);
    let nobody = app.clone().oneshot(Request::new(Body::empty())).await;
    assert_eq!(nobody.unwrap().status(), StatusCode::FORBIDDEN);
    drop(second);
    first.into_body().collect().await.unwrap();
    assert_eq!(
        *seen.0.lock().unwrap(),
        [
            "streams granted user 1/2 /",
            "streams granted user 2/2 /",
            "streams refused user 2/2 /",
            "streams unidentified nobody 0/2 /",
            "streams ended",
            "streams ended",
        ]
    );
    // A limit that is not announced still tells whom it refuses.
    let quiet = two().announced(false);
    let app_of_quiet = app_of(&quiet);
    let held = [
        call(&app_of_quiet, "/").await,
        call(&app_of_quiet, "/").await,
    ];
    assert!(!held[0].headers().contains_key("ratelimit"));
    let refused = call(&app_of_quiet, "/").await;
    assert_eq!(refused.headers()["ratelimit"], r#""streams";r=0"#);
    // A change holds for whoever comes from now on, whatever is under way.
    limit.set_max(NonZeroU32::MIN);
    let held = call(&app, "/").await;
    assert_eq!(held.headers()["ratelimit"], r#""streams";r=0"#);
    assert_eq!(
        call(&app, "/").await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
}
