//! What every response bears, whatever its status. [`Browser::send`](crate::support::Browser)
//! looks at each: the security headers, the request's id, what is left of the quota.

use std::collections::HashSet;

use fake_github::{Endpoint, Fault, OCTO_ADMIN, OCTO_USER};
use reqwest::Method;
use serde_json::json;

use crate::support::{HTML, ROOMY, Trial, seconds};

#[tokio::test]
async fn every_status_bears_the_headers() {
    let trial = Trial::start_with([("limits.anonymous", "6/hour burst 6")]).await;
    let (user, nobody) = (trial.sign_in(OCTO_USER).await, trial.browser());
    let mcp = json!({ "kind": "mcp", "client": "tests" });
    let long = "x".repeat(trial.app.config.bounds.body + 1);
    let long = json!({ "kind": "mcp", "client": long });

    user.get("/").await.expect(200);
    user.post_json("/api/sessions", &mcp).await.expect(201);
    nobody.get("/auth/github/login").await.expect(303);
    user.get("/auth/github/login?next=a&next=b")
        .await
        .problem(400);
    nobody.get("/api/me").await.problem(401);
    nobody.post("/mcp").await.problem(401);
    user.get("/api/admin/audit").await.problem(403);
    user.get("/nothing").await.problem(404);
    user.delete("/api/sessions/nothing").await.problem(404);
    user.post("/api/me").await.problem(405);
    user.post_json("/api/sessions", &long).await.problem(413);
    for path in ["/api/health", "/metrics", "/.well-known/jwks.json"] {
        nobody.get(path).await.expect(200);
    }
    nobody.get("/api/me").await.problem(401);
    nobody.get("/api/me").await.problem(401);
    nobody.get("/api/me").await.problem(401);
    nobody.get("/api/me").await.problem(429);
    user.post("/auth/logout").await.expect(204);
    let bad = nobody.with_token(Method::GET, "/api/me", "forged").await;
    bad.problem(401);

    trial.clock.advance(seconds(60));
    let callback = trial.begin(&nobody, OCTO_USER).await;
    trial.github().fail(Endpoint::Token, Fault::Status(500));
    nobody.get(&callback).await.problem(503);
}

#[tokio::test]
async fn a_page_that_refuses_bears_them_too() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    for (path, status) in [
        ("/nothing", 404),
        ("/api/admin/audit", 403),
        ("/auth/logout", 405),
        ("/auth/github/login?next=a&next=b", 400),
    ] {
        let answer = user.visit(path).await;
        assert!(answer.page(status).contains(answer.request_id()), "{path}");
    }
    // A script of the page is no person.
    let request = user.request(Method::GET, "/nothing").header("accept", HTML);
    let request = request.header("sec-fetch-mode", "cors");
    user.send(request).await.problem(404);
}

#[tokio::test]
async fn probes_bear_the_security_headers_and_no_limit() {
    let trial = Trial::start_with([("limits.address", "1/hour burst 1")]).await;
    let browser = trial.browser();
    for _ in 0..3 {
        for path in ["/livez", "/readyz"] {
            let answer = browser.probe(path).await.expect(200);
            assert!(!answer.headers.contains_key("ratelimit"));
            assert_eq!(answer.json(), json!({ "status": "up" }));
        }
    }
    browser.get("/api/health").await.expect(200);
    browser.get("/api/health").await.problem(429);
    browser.probe("/livez").await.expect(200);
}

#[tokio::test]
async fn each_request_gets_an_id_of_its_own_whatever_the_client_sends() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let mut ids = HashSet::new();
    for _ in 0..5 {
        let request = browser.request(Method::GET, "/api/me");
        let answer = browser.send(request.header("x-request-id", "mine")).await;
        assert_ne!(answer.problem(401)["request_id"], "mine");
        assert!(ids.insert(answer.request_id().to_owned()));
    }
}

#[tokio::test]
async fn the_same_holds_over_http_2() {
    let trial = Trial::start().await;
    let http = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    let url = trial.url().join("/api/me").unwrap();
    let response = http.get(url).send().await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    let answer = crate::support::Answer::read(response).await;
    answer.problem(401);
    answer.assert_counted();
}

#[tokio::test]
async fn the_metrics_count_and_are_not_for_everybody() {
    let settings = [("metrics.from", "192.0.2.0/24")];
    let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
    trial.browser().get("/metrics").await.problem(403);
    let user = trial.sign_in(OCTO_USER).await;
    user.get("/metrics").await.problem(403);
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let answer = admin.get("/metrics").await.expect(200);
    for name in ["forge_ratelimit_", "forge_session_", "forge_audit_"] {
        assert!(answer.body.contains(name), "{name} in {}", answer.body);
    }
}
