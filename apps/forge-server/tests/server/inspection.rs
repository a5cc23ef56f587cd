//! Requests that look like an attack: told, and refused where that is asked for.

use fake_github::OCTO_ADMIN;

use crate::support::{ROOMY, Trial, only, with_action};

const ATTACK: &str = "/nothing?token=hidden&q=1'%20or%20'1'='1";

#[tokio::test]
async fn by_default_a_suspicious_request_is_on_record_and_goes_on() {
    let trial = Trial::start().await;
    let browser = trial.browser();
    let answer = browser.get(ATTACK).await;
    answer.problem(404);
    browser.get("/nothing?q=plain").await.problem(404);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let event = only(&events, "request.inspect");
    assert_eq!(event["kind"], "security_violation");
    assert_eq!(event["request_id"], answer.request_id());
    assert_eq!(event["details"]["rules"][0]["place"], "query_value");
    assert!(event["details"]["score"].as_u64().unwrap() >= 10);
    // Which rule, not what was in the query.
    assert!(!event.to_string().contains("hidden"), "{event}");
}

#[tokio::test]
async fn where_asked_for_it_is_refused_and_exempt_paths_are_not() {
    let settings = [
        ("inspection.mode", "block"),
        ("inspection.exempt", "/free/"),
    ];
    let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
    let browser = trial.browser();
    browser.probe(ATTACK).await.problem(403);
    browser.get("/free/x?q=%3Cscript%3E").await.problem(404);
    browser.probe("/livez").await.expect(200);
    for _ in 0..20 {
        browser.probe(ATTACK).await.problem(403);
    }
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let told = with_action(&events, "request.inspect");
    assert_eq!(told.len(), 10);
    assert_eq!(told[0]["result"], "denied");
}
