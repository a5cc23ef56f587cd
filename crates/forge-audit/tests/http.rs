//! The layer on an Axum router.
#![cfg(feature = "axum")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{get, post};
use common::{Faulty, Mode};
use forge_audit::{
    Actor, AuditContext, AuditLayer, AuditLog, Event, Kind, ManualClock, MemoryAuditStore, Order,
    Outcome, Policy, Query, Record, Severity, Source, Timestamp,
};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

async fn log() -> AuditLog {
    AuditLog::open(Arc::new(MemoryAuditStore::new()))
        .await
        .unwrap()
}

async fn records(log: &AuditLog) -> Vec<Record> {
    log.flush().await.unwrap();
    log.query(&Query::new().order(Order::OldestFirst))
        .await
        .unwrap()
        .records
}

/// Sends a request and reads the whole response.
async fn call(app: &Router, request: http::request::Builder) -> (StatusCode, String) {
    let response = app
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_request_is_one_event_with_who_where_what_and_how_it_ended() {
    let clock = ManualClock::new(Timestamp::from_micros(0));
    let store = Arc::new(MemoryAuditStore::new());
    let log = AuditLog::builder(store)
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    let layer = AuditLayer::new(log.clone())
        .identify(|parts: &Parts| parts.extensions.get::<Actor>().cloned().unwrap_or_default())
        .source_of(|parts: &Parts| Source::of(parts).address("192.0.2.7".parse().unwrap()));
    let work = move || async move {
        clock.advance(Duration::from_micros(1234));
        "done"
    };
    let app = Router::new().route("/api/me", get(work)).layer(layer);
    let request = Request::get("/api/me?token=gho_secret")
        .header("user-agent", "curl/8\u{9}x")
        .header("x-request-id", "r-1")
        .extension(Actor::new("7").login("octo"));
    assert_eq!(call(&app, request).await, (StatusCode::OK, "done".into()));

    let records = records(&log).await;
    assert_eq!(records.len(), 1);
    let shown = serde_json::to_value(&records[0].event).unwrap();
    assert_eq!(
        shown,
        json!({
            "kind": "data_access", "action": "http.request", "outcome": "success", "severity": "low",
            "actor": { "id": "7", "login": "octo" },
            "source": { "address": "192.0.2.7", "user_agent": "curl/8\\tx" },
            "resource": "GET /api/me", "request_id": "r-1",
            "details": {
                "method": "GET", "path": "/api/me", "status": 200, "duration_us": 1234,
                "response": "complete",
            },
        })
    );
}

#[tokio::test]
async fn the_outcome_follows_the_status() {
    let log = log().await;
    let answer = |code| get(move || async move { StatusCode::from_u16(code).unwrap() });
    let mut app = Router::new();
    let cases = [
        (204, Outcome::Success, Severity::Low),
        (303, Outcome::Success, Severity::Low),
        (401, Outcome::Denied, Severity::Medium),
        (403, Outcome::Denied, Severity::Medium),
        (404, Outcome::Failure, Severity::Low),
        (429, Outcome::Denied, Severity::Medium),
        (500, Outcome::Error, Severity::Medium),
    ];
    for (code, ..) in cases {
        app = app.route(&format!("/{code}"), answer(code));
    }
    let app = app.layer(AuditLayer::new(log.clone()));
    for (code, ..) in cases {
        call(&app, Request::get(format!("/{code}"))).await;
    }
    let seen: Vec<_> = records(&log)
        .await
        .iter()
        .map(|r| (r.event.result(), r.event.level()))
        .collect();
    assert_eq!(
        seen,
        cases.map(|(_, outcome, severity)| (outcome, severity))
    );
}

#[tokio::test]
async fn a_handler_says_what_the_layer_cannot_know_or_suppresses_the_event() {
    let log = log().await;
    let revoke = |audit: AuditContext| async move {
        audit.kind(Kind::Session);
        audit.action("session.revoke");
        audit.resource("session/9");
        audit.severity(Severity::Medium);
        audit.outcome(Outcome::Failure);
        audit.actor(Actor::new("9"));
        audit.detail("reason", "lost laptop");
        audit.detail("refresh_token", "ghr_x");
        audit.detail("status", 999);
    };
    let quiet = |audit: AuditContext| async move { audit.suppress() };
    let app = Router::new()
        .route("/revoke", post(revoke))
        .route("/quiet", get(quiet))
        .layer(AuditLayer::new(log.clone()));
    call(&app, Request::get("/quiet")).await;
    call(&app, Request::post("/revoke")).await;
    let records = records(&log).await;
    assert_eq!(records.len(), 1);
    let event = &records[0].event;
    assert_eq!(
        (event.kind(), event.action()),
        (Kind::Session, "session.revoke")
    );
    assert_eq!(
        (event.target(), event.who().id()),
        (Some("session/9"), Some("9"))
    );
    assert_eq!(
        (event.level(), event.result()),
        (Severity::Medium, Outcome::Failure)
    );
    let details = event.details_value().unwrap();
    assert_eq!(details["reason"], "lost laptop");
    assert_eq!(details["refresh_token"], "[redacted]");
    assert_eq!(details["status"], 200);
}

#[tokio::test]
async fn a_handler_with_a_context_refuses_to_run_without_the_layer() {
    let app = Router::new().route("/", get(|_: AuditContext| async {}));
    assert_eq!(
        call(&app, Request::get("/")).await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

#[tokio::test]
async fn the_policy_chooses_what_is_recorded() {
    let log = log().await;
    let layer = AuditLayer::new(log.clone()).policy(|parts: &Parts| match parts.uri.path() {
        "/livez" => Policy::None,
        _ => Policy::Metadata,
    });
    let app = Router::new()
        .route("/livez", get(|| async {}))
        .route("/other", get(|| async {}))
        .layer(layer);
    call(&app, Request::get("/livez")).await;
    call(&app, Request::get("/other")).await;
    let paths: Vec<_> = records(&log)
        .await
        .iter()
        .map(|r| r.event.target().unwrap().to_owned())
        .collect();
    assert_eq!(paths, ["GET /other"]);
}

#[tokio::test]
async fn a_request_that_must_be_recorded_is_refused_when_it_cannot_be() {
    let store = Faulty::new(Mode::Works);
    let log = AuditLog::open(store.clone()).await.unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let counter = served.clone();
    let work = move |audit: AuditContext| async move {
        // Not for a handler to decide.
        audit.suppress();
        counter.fetch_add(1, SeqCst);
        "secret"
    };
    let layer = AuditLayer::new(log.clone()).policy(Policy::Required);
    let app = Router::new().route("/admin", get(work)).layer(layer);
    let request = || Request::get("/admin").header("x-request-id", "r-1");

    let (status, body) = call(&app, request()).await;
    // Durable before the answer: no flush.
    assert_eq!(
        (status, body.as_str(), log.head().seq),
        (StatusCode::OK, "secret", 1)
    );

    // Recorded, though the store's answer is lost.
    store.set(Mode::LosesTheAnswer);
    assert_eq!(call(&app, request()).await.0, StatusCode::OK);
    assert_eq!(log.head().seq, 2);

    store.set(Mode::Fails);
    let (status, body) = call(&app, request()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&problem["status"], &problem["request_id"]),
        (&503.into(), &"r-1".into())
    );
    assert_eq!(served.load(SeqCst), 3);

    // Now it is known: the service is not asked any more.
    assert_eq!(
        call(&app, request()).await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(served.load(SeqCst), 3);

    store.set(Mode::Works);
    log.flush().await.unwrap();
    assert_eq!(call(&app, request()).await.0, StatusCode::OK);
    // The refusal of the fourth was kept until it could be written; the third is in the gap.
    let records = records(&log).await;
    let statuses: Vec<_> = records
        .iter()
        .map(|r| r.event.details_value().unwrap()["status"].clone())
        .collect();
    let gap = records
        .iter()
        .position(|r| r.event.action() == "audit.gap")
        .unwrap();
    assert_eq!(records[gap].event.details_value().unwrap()["refused"], 1);
    let kept: Vec<_> = statuses.iter().filter(|s| !s.is_null()).collect();
    assert_eq!(kept, [200, 200, 503, 200]);
}

#[tokio::test]
async fn a_request_is_served_when_its_event_is_lost() {
    let store = Faulty::new(Mode::Hangs);
    let log = AuditLog::builder(store.clone())
        .capacity(1)
        .open()
        .await
        .unwrap();
    let app = Router::new()
        .route("/", get(|| async {}))
        .layer(AuditLayer::new(log.clone()));
    for _ in 0..4 {
        assert_eq!(call(&app, Request::get("/")).await.0, StatusCode::OK);
    }
    store.given(1).await;
    store.set(Mode::Works);
    let records = records(&log).await;
    let lost = |r: &Record| r.event.details_value()?.get("count")?.as_u64();
    assert_eq!(records.iter().filter_map(lost).sum::<u64>(), 3);
}

/// A body without an end, or one that breaks at once.
struct Endless {
    breaks: bool,
}

impl http_body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        if self.breaks {
            return std::task::Poll::Ready(Some(Err(std::io::Error::other("on purpose"))));
        }
        let frame = http_body::Frame::data(bytes::Bytes::from_static(b"more"));
        std::task::Poll::Ready(Some(Ok(frame)))
    }
}

#[tokio::test]
async fn a_request_cut_short_is_recorded_as_that() {
    let log = log().await;
    let body = |breaks| move || async move { Response::new(Body::new(Endless { breaks })) };
    let app = Router::new()
        .route("/never", get(std::future::pending::<()>))
        .route(
            "/panics",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
        .route("/endless", get(body(false)))
        .route("/breaks", get(body(true)))
        .layer(AuditLayer::new(log.clone()));

    // The client goes away before there is a response.
    let mut never = Box::pin(
        app.clone()
            .oneshot(Request::get("/never").body(Body::empty()).unwrap()),
    );
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(never.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    drop(never);

    let panics = app
        .clone()
        .oneshot(Request::get("/panics").body(Body::empty()).unwrap());
    assert!(tokio::spawn(panics).await.unwrap_err().is_panic());

    // The client goes away within the response.
    let request = Request::get("/endless").body(Body::empty()).unwrap();
    let mut response = app.clone().oneshot(request).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);

    // The response breaks off by itself.
    let request = Request::get("/breaks").body(Body::empty()).unwrap();
    let mut response = app.clone().oneshot(request).await.unwrap();
    assert!(response.body_mut().frame().await.unwrap().is_err());
    drop(response);

    let ends: Vec<_> = records(&log)
        .await
        .iter()
        .map(|r| {
            r.event.details_value().unwrap()["response"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(ends, ["cancelled", "cancelled", "partial", "partial"]);
    // What they had done by then is not known: not that they failed.
    let cut = records(&log).await;
    let outcomes = cut[..2].iter().map(|r| r.event.result());
    assert_eq!(outcomes.collect::<Vec<_>>(), [Outcome::Error; 2]);
}

#[tokio::test]
async fn what_a_client_sends_cannot_forge_a_line_or_grow_an_event() {
    let log = log().await;
    let app = Router::new()
        .fallback(|| async {})
        .layer(AuditLayer::new(log.clone()));
    let request = Request::get(format!("/{}", "a".repeat(10_000)))
        .header("user-agent", [b'x', 0xff, b'\t', 0xc2, 0x9b].as_slice())
        .header("x-request-id", "not an id");
    call(&app, request).await;
    let records = records(&log).await;
    let event: &Event = &records[0].event;
    assert_eq!(event.origin().agent(), Some("x\u{fffd}\\t\\u{9b}"));
    assert_eq!(event.request(), None);
    assert!(event.target().unwrap().len() <= 256);
}
