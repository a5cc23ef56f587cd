//! What browsers report they blocked.

use fake_github::OCTO_ADMIN;
use reqwest::Method;

use crate::support::{Trial, only};

const VIOLATION: &str = r#"{"csp-report":{"effective-directive":"script-src-elem",
    "blocked-uri":"https://evil.example/x.js?secret","document-uri":"https://forge.example/?code=x"}}"#;

#[tokio::test]
async fn a_report_is_on_record_whoever_sends_it() {
    let trial = Trial::start().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let page = admin.visit("/").await;
    let endpoints = page.one("reporting-endpoints");
    assert_eq!(endpoints, r#"forge="/.well-known/csp-report""#);
    let policy = page.one("content-security-policy");
    assert!(
        policy.contains("; report-uri /.well-known/csp-report; report-to forge"),
        "{policy}"
    );

    // As from a sandboxed frame, without cookies.
    let nobody = trial.browser();
    let report = |media: &'static str, body: &'static str| {
        nobody
            .request(Method::POST, "/.well-known/csp-report")
            .header("origin", "null")
            .header("sec-fetch-site", "cross-site")
            .header("content-type", media)
            .body(body)
    };
    let sent = nobody
        .send(report("application/csp-report", VIOLATION))
        .await;
    sent.expect(204);
    let other = nobody.send(report("application/json", VIOLATION)).await;
    other.problem(415);
    let other = nobody.send(report("application/csp-report", "{}")).await;
    other.problem(400);

    let events = trial.audit(&admin).await;
    let event = only(&events, "browser.report");
    assert_eq!(event["severity"], "low");
    let details = &event["details"];
    assert_eq!(details["directive"], "script-src-elem");
    assert_eq!(details["blocked"], "https://evil.example/x.js");
    assert_eq!(details["page"], "https://forge.example/");
}
