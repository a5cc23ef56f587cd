//! What is streamed ends with the session that asked for it.

use fake_github::{OCTO_ADMIN, OCTO_STRANGER};
use reqwest::{Method, Response};
use serde_json::json;

use crate::support::{Browser, Trial};

/// The audit log as it grows, of which something was seen already.
async fn tail(trial: &Trial, admin: &Browser) -> Response {
    let request = admin.request(Method::GET, "/api/admin/audit/tail");
    let mut tail = request.send().await.unwrap();
    assert_eq!(tail.status(), 200);
    assert_eq!(tail.headers()["content-type"], "text/event-stream");
    trial.sign_in(OCTO_ADMIN).await;
    assert!(!tail.chunk().await.unwrap().unwrap().is_empty());
    tail
}

/// It comes to its end by itself.
async fn assert_ends(mut tail: Response) {
    while tail.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn the_tail_of_the_audit_log_ends_when_its_session_is_ended() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let tail = tail(&trial, &admin).await;
    let elsewhere = trial.sign_in(OCTO_ADMIN).await;
    let ended = elsewhere.delete("/api/sessions").await;
    assert!(ended.status < 300, "{ended:?}");
    assert_ends(tail).await;
    admin.get("/api/admin/audit/tail").await.problem(401);
}

#[tokio::test]
async fn the_tail_of_the_audit_log_ends_when_its_admin_is_removed() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let body = json!({ "github_id": OCTO_STRANGER, "role": "admin" });
    let added = admin.post_json("/api/admin/users", &body).await;
    added.expect(201);
    let other = trial.sign_in(OCTO_STRANGER).await;
    let tail = tail(&trial, &other).await;
    let path = format!("/api/admin/users/{OCTO_STRANGER}");
    admin.delete(&path).await.expect(204);
    assert_ends(tail).await;
}
