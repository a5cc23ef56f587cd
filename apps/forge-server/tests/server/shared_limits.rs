//! Limits that several nodes share through Redis, and what holds while it is gone.

use fake_github::OCTO_USER;
use serde_json::json;
use test_support::{Redis, require};

use crate::support::{Browser, Trial, seconds};

/// Slow enough that nothing is regained while a test runs.
const TEN: (&str, &str) = ("limits.web", "10/hour burst 10");

/// How many requests are admitted until one is not.
async fn admitted(user: &Browser) -> usize {
    for n in 0..100 {
        let answer = user.get("/api/me").await;
        if answer.status != 200 {
            assert_eq!(answer.problem(429)["violated-policies"], json!(["web"]));
            return n;
        }
    }
    panic!("there is no limit")
}

async fn assert_health(trial: &Trial, word: &str) {
    // Checks are asked again after two seconds.
    trial.clock.advance(seconds(3));
    let health = trial.browser().get("/api/health").await.expect(200);
    assert_eq!(health.json(), json!({ "status": word }));
    trial.browser().probe("/readyz").await.expect(200);
}

#[tokio::test]
async fn two_servers_count_a_user_together_and_a_restart_forgets_nothing() {
    let Some(redis) = require(Redis::start()) else {
        return;
    };
    let one = Trial::sharing(&redis, [TEN]).await;
    let other = Trial::sharing(&redis, [TEN]).await;
    let (here, there) = (one.sign_in(OCTO_USER).await, other.sign_in(OCTO_USER).await);
    for left in (4..10).rev() {
        assert_eq!(here.get("/api/me").await.expect(200).remaining("web"), left);
    }
    assert_eq!(there.get("/api/me").await.expect(200).remaining("web"), 3);
    assert_eq!(admitted(&there).await, 3);
    here.get("/api/me").await.problem(429);

    let one = one.restart().await;
    one.counts_together().await;
    here.get("/api/me").await.problem(429);
    assert_health(&one, "up").await;
}

#[tokio::test]
async fn while_redis_is_gone_each_node_allows_its_share_and_says_so() {
    let Some(mut redis) = require(Redis::start()) else {
        return;
    };
    let trial = Trial::sharing(&redis, [TEN]).await;
    let user = trial.sign_in(OCTO_USER).await;
    assert_eq!(user.get("/api/me").await.expect(200).remaining("web"), 9);
    assert_health(&trial, "up").await;

    redis.stop();
    assert_eq!(admitted(&user).await, 5, "one of two nodes: half of ten");
    assert_health(&trial, "degraded").await;

    // It comes back by itself; the server at the other end has forgotten all.
    redis.restart();
    trial.counts_together().await;
    assert_health(&trial, "up").await;
    assert_eq!(admitted(&user).await, 10);
}

#[tokio::test]
async fn while_redis_is_gone_requests_are_refused_or_admitted_where_that_is_configured() {
    let Some(mut redis) = require(Redis::start()) else {
        return;
    };
    let failing = |outcome| [TEN, ("limits.redis_failure", outcome)];
    let refusing = Trial::sharing(&redis, failing("refuse")).await;
    let admitting = Trial::sharing(&redis, failing("admit")).await;
    let refused = refusing.sign_in(OCTO_USER).await;
    let free = admitting.sign_in(OCTO_USER).await;
    redis.stop();
    let answer = refused.request(reqwest::Method::GET, "/api/me");
    let answer = refused.send_uncounted(answer).await;
    answer.problem(503);
    assert_eq!(answer.one("retry-after"), "1");
    refused.probe("/readyz").await.expect(200);
    for _ in 0..30 {
        free.get("/api/me").await.expect(200);
    }
}
