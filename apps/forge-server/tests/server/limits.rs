//! How often: the quotas of each class of endpoint, as they are by default.

use fake_github::{Endpoint, OCTO_ADMIN, OCTO_USER};
use serde_json::json;

use crate::support::{ROOMY, Trial, seconds, text, with_action};

#[tokio::test]
async fn the_eleventh_rapid_call_waits_as_long_as_it_is_told() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    for left in (0..10).rev() {
        let answer = user.get("/api/me").await.expect(200);
        assert_eq!(answer.remaining("web"), left);
        assert_eq!(
            answer.all("ratelimit-policy").next(),
            Some("\"web\";q=60;w=60")
        );
    }
    let answer = user.get("/api/me").await;
    let problem = answer.problem(429);
    assert_eq!(problem["violated-policies"][0], "web");
    let wait: u64 = answer.one("retry-after").parse().unwrap();
    assert!(wait >= 1);

    trial.clock.advance(seconds(wait));
    user.get("/api/me").await.expect(200);
    user.get("/api/me").await.problem(429);
}

#[tokio::test]
async fn one_user_does_not_use_up_anothers_quota() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    for _ in 0..10 {
        user.get("/api/me").await.expect(200);
    }
    user.get("/api/me").await.problem(429);
    let again = trial.sign_in(OCTO_USER).await;
    again.get("/api/me").await.problem(429);
    let admin = trial.sign_in(OCTO_ADMIN).await;
    assert_eq!(admin.get("/api/me").await.expect(200).remaining("web"), 9);
    // Who is not signed in is counted apart, by address.
    let nobody = trial.browser().get("/").await.expect(200);
    assert_eq!(nobody.remaining("anonymous"), 4);
}

#[tokio::test]
async fn each_class_has_a_quota_of_its_own() {
    let trial = Trial::start().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    for (path, policy, left) in [
        ("/api/me", "web", 9),
        ("/", "web", 8),
        ("/api/admin/blocks", "admin", 4),
        ("/api/admin/users", "admin", 3),
        ("/api/health", "health", 59),
        ("/auth/github/login", "auth", 1),
    ] {
        assert_eq!(admin.get(path).await.remaining(policy), left, "{path}");
    }
    assert_eq!(admin.post("/auth/logout").await.remaining("callback"), 18);
}

#[tokio::test]
async fn guesses_at_a_callback_use_up_the_quota_of_sign_ins() {
    let trial = Trial::start().await;
    let browser = trial.browser();
    for left in (0..3).rev() {
        let guess = browser
            .get("/auth/github/callback?state=guess&code=x")
            .await;
        guess.problem(400);
        assert_eq!(guess.remaining("auth"), left);
    }
    browser
        .get("/auth/github/callback?state=guess&code=x")
        .await
        .problem(429);
    browser.get("/auth/github/login").await.problem(429);
}

#[tokio::test]
async fn everything_from_one_address_has_a_limit() {
    let settings = [("limits.address", "10/hour burst 10")];
    let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
    let user = trial.sign_in(OCTO_USER).await;
    for path in ["/", "/api/me", "/api/health", "/nothing", "/mcp"] {
        user.get(path).await;
    }
    trial.browser().get("/").await.expect(200);
    trial.browser().get("/").await.expect(200);
    trial.browser().get("/").await.expect(200);
    let answer = user.get("/api/me").await;
    assert_eq!(answer.problem(429)["violated-policies"][0], "address");
    assert_eq!(answer.remaining("address"), 0);
}

#[tokio::test]
async fn what_is_refused_is_on_record() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let me = user.get("/api/me").await.expect(200).json();
    for _ in 0..9 {
        user.get("/api/me").await.expect(200);
    }
    let refused = user.get("/api/me").await;
    refused.problem(429);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let found = with_action(&events, "rate_limit.exceed");
    assert_eq!(found.len(), 1);
    let event = found[0];
    assert_eq!(event["kind"], "rate_limit");
    assert_eq!(event["result"], "denied");
    assert_eq!(event["severity"], "medium");
    assert_eq!(event["actor"]["id"], OCTO_USER.to_string());
    assert_eq!(event["actor"]["session"], me["session"]["id"]);
    assert_eq!(event["resource"], "GET /api/me");
    assert_eq!(event["request_id"], refused.request_id());
    assert_eq!(event["details"]["policies"][0], "web");
}

#[tokio::test]
async fn an_admin_sees_what_is_left_to_a_user_and_gives_it_back() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    for _ in 0..10 {
        user.get("/api/me").await.expect(200);
    }
    user.get("/api/me").await.problem(429);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let path = format!("/api/admin/limits?user={OCTO_USER}");
    let limits = admin.get(&path).await.expect(200).json();
    assert_eq!(limits["limits"]["web"]["remaining"], 0);
    assert_eq!(limits["limits"]["web"]["allowed"], false);
    assert_eq!(limits["limits"]["mcp"]["remaining"], 20);
    admin.delete(&path).await.expect(204);
    user.get("/api/me").await.expect(200);

    let of_address = admin.get("/api/admin/limits?address=2001:db8::1").await;
    let of_address = of_address.expect(200).json();
    for (policy, burst) in [("address", 200), ("network", 2000), ("anonymous", 5)] {
        assert_eq!(of_address["limits"][policy]["remaining"], burst, "{policy}");
    }
    for query in ["", "?user=1&address=::1"] {
        let path = format!("/api/admin/limits{query}");
        admin.get(&path).await.problem(400);
    }
    user.get(&path).await.problem(403);
    trial.clock.advance(seconds(3600));
    let events = trial.audit(&admin).await;
    let reset = with_action(&events, "admin.limits.reset");
    assert_eq!(reset.len(), 1);
    assert_eq!(reset[0]["resource"], format!("github:{OCTO_USER}"));
}

#[tokio::test]
async fn an_admin_blocks_for_a_while_and_takes_units_away() {
    let trial = Trial::start_with([("limits.admin", "10000/s burst 10000")]).await;
    let (user, admin) = (
        trial.sign_in(OCTO_USER).await,
        trial.sign_in(OCTO_ADMIN).await,
    );
    let path = "/api/admin/limits";
    let take = json!({ "user": OCTO_USER, "penalty": 7, "policy": "web" });
    let left = admin.post_json(path, &take).await.expect(200).json();
    assert_eq!(left["limits"]["web"]["remaining"], 3);
    assert_eq!(left["limits"]["mcp"]["remaining"], 20);
    assert_eq!(left["concurrent"], json!({ "under_way": 0, "max": 32 }));
    assert_eq!(user.get("/api/me").await.expect(200).remaining("web"), 2);

    let block = json!({ "user": OCTO_USER, "block": "15m" });
    let left = admin.post_json(path, &block).await.expect(200).json();
    for policy in ["web", "mcp", "admin"] {
        assert_eq!(left["limits"][policy]["blocked"], true, "{policy}");
    }
    let refused = user.get("/api/me").await;
    assert_eq!(refused.problem(429)["violated-policies"], json!(["web"]));
    assert_eq!(refused.one("retry-after"), "900");
    trial.clock.advance(seconds(899));
    user.get("/api/me").await.problem(429);
    trial.clock.advance(seconds(1));
    user.get("/api/me").await.expect(200);

    // A block ends when an admin says so, too.
    admin.post_json(path, &block).await.expect(200);
    user.get("/api/me").await.problem(429);
    let of_user = format!("{path}?user={OCTO_USER}");
    admin.delete(&of_user).await.expect(204);
    user.get("/api/me").await.expect(200);

    for wrong in [
        json!({}),
        json!({ "user": OCTO_USER }),
        json!({ "block": "1m" }),
        json!({ "user": OCTO_USER, "address": "192.0.2.1", "block": "1m" }),
        json!({ "user": OCTO_USER, "block": "1m", "penalty": 1 }),
        json!({ "user": OCTO_USER, "block": "soon" }),
        json!({ "user": OCTO_USER, "penalty": 0 }),
        json!({ "user": OCTO_USER, "penalty": 1, "policy": "auth" }),
        json!({ "user": OCTO_USER, "penalty": 1, "for": "ever" }),
    ] {
        let problem = admin.post_json(path, &wrong).await.problem(400);
        let policies = text(&problem, "detail").contains("web, mcp and admin");
        assert_eq!(policies, wrong["policy"] == "auth", "{problem}");
    }
    let own = json!({ "user": OCTO_ADMIN, "block": "1m" });
    admin.post_json(path, &own).await.problem(409);
    let own = json!({ "address": "127.0.0.1", "block": "1m" });
    admin.post_json(path, &own).await.problem(409);
    user.post_json(path, &block).await.problem(403);

    let events = trial.audit(&admin).await;
    let penalty = with_action(&events, "admin.limits.penalize");
    assert_eq!(penalty[0]["resource"], format!("github:{OCTO_USER}"));
    assert_eq!(penalty[0]["details"]["units"], 7);
    assert_eq!(penalty[0]["details"]["policy"], "web");
    let blocks = with_action(&events, "admin.limits.block");
    assert_eq!(blocks[0]["details"]["seconds"], 900);
    assert_eq!(blocks[0]["actor"]["id"], OCTO_ADMIN.to_string());
    assert_eq!(blocks[0]["result"], "success");
}

#[tokio::test]
async fn a_user_has_so_many_requests_under_way_and_no_more() {
    let settings = ROOMY.into_iter().chain([("limits.concurrent", "1")]);
    let trial = Trial::start_with(settings).await;
    let admin = std::sync::Arc::new(trial.sign_in(OCTO_ADMIN).await);
    admin.get("/api/me").await.expect(200);

    // One that waits for GitHub is under way until GitHub answers.
    trial.github().delay(Endpoint::Users, seconds(60));
    let slow = tokio::spawn({
        let admin = std::sync::Arc::clone(&admin);
        async move {
            let stranger = json!({ "login": "octo-stranger" });
            admin.post_json("/api/admin/users", &stranger).await
        }
    });
    trial.github().wait_for_requests(Endpoint::Users, 1).await;
    let refused = admin.get("/api/me").await;
    assert_eq!(
        refused.problem(429)["violated-policies"],
        json!(["concurrent"])
    );
    assert_eq!(refused.one("retry-after"), "1");
    assert!(
        refused
            .all("ratelimit-policy")
            .any(|item| item == r#""concurrent";q=1;qu="concurrent-requests""#)
    );
    // Others are not concerned.
    trial
        .sign_in(OCTO_USER)
        .await
        .get("/api/me")
        .await
        .expect(200);

    trial.github().clear();
    slow.await.unwrap().expect(201);
    admin.get("/api/me").await.expect(200);
    let events = trial.audit(&admin).await;
    let event = with_action(&events, "rate_limit.concurrency");
    assert_eq!(event.len(), 1);
    assert_eq!(event[0]["kind"], "rate_limit");
    assert_eq!(event[0]["result"], "denied");
    assert_eq!(event[0]["details"]["at_once"], 1);
    assert_eq!(event[0]["request_id"], refused.request_id());
}

#[tokio::test]
async fn who_goes_away_before_the_answer_gives_the_place_back_when_the_work_is_done() {
    let settings = ROOMY.into_iter().chain([("limits.concurrent", "1")]);
    let trial = Trial::start_with(settings).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    trial.github().delay(Endpoint::Users, seconds(60));
    let body = json!({ "login": "octo-stranger" });
    let request = admin.request(reqwest::Method::POST, "/api/admin/users");
    let request = tokio::spawn(request.json(&body).send());
    trial.github().wait_for_requests(Endpoint::Users, 1).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    // What changes something goes on without its client, and counts on.
    admin.get("/api/me").await.problem(429);
    trial.github().clear();
    while admin.get("/api/me").await.status == 429 {
        tokio::task::yield_now().await;
    }
}
