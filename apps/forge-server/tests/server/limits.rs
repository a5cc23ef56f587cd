//! How often: the quotas of each class of endpoint, as they are by default.

use fake_github::{OCTO_ADMIN, OCTO_USER};

use crate::support::{ROOMY, Trial, seconds, with_action};

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
