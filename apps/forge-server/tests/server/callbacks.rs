//! Ways back from GitHub that are not what was begun, and a GitHub that does not work.

use fake_github::{Endpoint, Fault, OCTO_ADMIN, OCTO_USER};

use crate::support::{Answer, Browser, Trial, seconds, with_action};

/// The failed sign-ins on record, each with its reason.
async fn failures(trial: &Trial) -> Vec<(String, String)> {
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let failed = with_action(&events, "auth.sign_in").into_iter();
    failed
        .filter(|event| event["result"] != "success")
        .map(|event| {
            assert_eq!(event["kind"], "authentication");
            assert_eq!(event["address"], "127.0.0.1");
            assert_eq!(event["user_agent"], "tests/1.0");
            assert_eq!(event["request_id"].as_str().unwrap().len(), 36);
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            (text(&event["result"]), text(&event["details"]["reason"]))
        })
        .collect()
}

fn assert_refused(browser: &Browser, answer: &Answer) {
    let problem = answer.problem(400);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.ends_with("Begin again."), "{detail}");
    assert_eq!(browser.cookie("forge-dev"), None, "no session is made");
}

#[tokio::test]
async fn a_callback_that_was_not_begun_in_this_browser_is_refused() {
    let trial = Trial::roomy().await;
    let theirs = trial.browser();
    let callback = trial.begin(&theirs, OCTO_USER).await;

    let browser = trial.browser();
    for path in [
        "/auth/github/callback",
        "/auth/github/callback?code=x",
        "/auth/github/callback?code=x&state=",
        "/auth/github/callback?code=x&state=guessed",
        &callback,
    ] {
        assert_refused(&browser, &browser.get(path).await);
    }
    // One that began itself is as foreign to what another has begun.
    browser.get("/auth/github/login").await.expect(303);
    assert_refused(&browser, &browser.get(&callback).await);

    // The one who began is not disturbed by any of that.
    theirs.get(&callback).await.expect(303);
    let reasons: Vec<_> = failures(&trial).await.into_iter().map(|(_, r)| r).collect();
    assert_eq!(
        reasons,
        [
            "missing_state",
            "missing_state",
            "foreign_state",
            "foreign_state",
            "foreign_state",
            "foreign_state"
        ]
    );
}

#[tokio::test]
pub(crate) async fn a_callback_works_once() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    let (name, secret) = browser.sign_ins().pop().unwrap();
    browser.get(&callback).await.expect(303);

    let replay = trial.browser();
    replay.plant(&format!("{name}={secret}"));
    assert_refused(&replay, &replay.get(&callback).await);
    assert_eq!(trial.github().requests(Endpoint::Token), 1);
    let expected = ("failure".to_owned(), "unknown_state".to_owned());
    assert_eq!(failures(&trial).await, [expected]);
    // Who was in stays in.
    browser.get("/api/me").await.expect(200);
}

#[tokio::test]
pub(crate) async fn a_sign_in_may_take_ten_minutes() {
    let trial = Trial::roomy().await;
    let (quick, slow) = (trial.browser(), trial.browser());
    let in_time = trial.begin(&quick, OCTO_USER).await;
    let too_late = trial.begin(&slow, OCTO_USER).await;
    trial.clock.advance(seconds(599));
    quick.get(&in_time).await.expect(303);
    trial.clock.advance(seconds(1));
    assert_refused(&slow, &slow.get(&too_late).await);
    assert_eq!(failures(&trial).await[0].1, "unknown_state");
}

#[tokio::test]
async fn a_callback_in_the_name_of_another_issuer_is_refused() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    let (head, rest) = callback.split_once("iss=").unwrap();
    let rest = rest.split_once('&').map_or("", |(_, rest)| rest);
    let forged = format!("{head}iss=https%3A%2F%2Fevil.example&{rest}");
    assert_refused(&browser, &browser.get(&forged).await);
    assert_eq!(failures(&trial).await[0].1, "wrong_issuer");
    // The code went nowhere.
    assert_eq!(trial.github().requests(Endpoint::Token), 1);
}

#[tokio::test]
async fn somebody_who_says_no_at_github_is_not_signed_in() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let out = browser.get("/auth/github/login").await.expect(303);
    let back = trial.decide(out.location(), OCTO_USER, "cancel").await;
    assert!(back.contains("error=access_denied"), "{back}");
    let page = browser.visit(&back).await;
    assert!(page.page(403).contains("<h1>Not signed in</h1>"));
    assert_eq!(browser.cookie("forge-dev"), None);
    let expected = ("failure".to_owned(), "cancelled".to_owned());
    assert_eq!(failures(&trial).await, [expected]);
}

#[tokio::test]
async fn a_code_that_github_does_not_accept_is_refused() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    for (code, reason) in [
        ("wrong", "code_refused"),
        ("", "missing_code"),
        (&"x".repeat(257), "missing_code"),
    ] {
        let callback = trial.begin(&browser, OCTO_USER).await;
        let (head, rest) = callback.split_once("code=").unwrap();
        let (_, rest) = rest.split_once('&').unwrap();
        let forged = format!("{head}code={code}&{rest}");
        assert_refused(&browser, &browser.get(&forged).await);
        assert_eq!(failures(&trial).await.last().unwrap().1, reason);
    }
}

#[tokio::test]
async fn a_code_of_another_sign_in_fails_by_pkce() {
    let trial = Trial::roomy().await;
    let (mine, theirs) = (trial.browser(), trial.browser());
    let callback = trial.begin(&mine, OCTO_USER).await;
    let stolen = trial.begin(&theirs, OCTO_ADMIN).await;
    let value = |url: &str, name: &str| {
        let (_, rest) = url.split_once(&format!("{name}=")).unwrap();
        rest.split('&').next().unwrap().to_owned()
    };
    let injected = callback.replace(&value(&callback, "code"), &value(&stolen, "code"));
    assert_refused(&mine, &mine.get(&injected).await);
    assert_eq!(failures(&trial).await[0].1, "code_refused");
}

#[tokio::test]
async fn an_error_that_github_reports_is_refused() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    let failed = callback.replace("code=", "error=redirect_uri_mismatch&not_code=");
    assert_refused(&browser, &browser.get(&failed).await);
    assert_eq!(failures(&trial).await[0].1, "error_from_github");
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_refused() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    for query in ["state=a&state=b", "code=%ff&state=%fe", "state=%zz&&==%"] {
        let path = format!("/auth/github/callback?{query}");
        assert_refused(&browser, &browser.get(&path).await);
    }
    // A second state beside the right one: nobody knows which is meant.
    let callback = format!("{callback}&state=other");
    assert_refused(&browser, &browser.get(&callback).await);
    assert_eq!(failures(&trial).await.len(), 4);
}

#[tokio::test]
async fn a_github_that_does_not_work_is_a_503_and_nobody_is_in() {
    for (endpoint, fault) in [
        (Endpoint::Token, Fault::Status(500)),
        (Endpoint::Token, Fault::Status(404)),
        (Endpoint::Token, Fault::Malformed),
        (Endpoint::User, Fault::Status(500)),
        (Endpoint::User, Fault::Status(401)),
        (Endpoint::User, Fault::Malformed),
    ] {
        let trial = Trial::roomy().await;
        let browser = trial.browser();
        let callback = trial.begin(&browser, OCTO_USER).await;
        trial.github().fail(endpoint, fault);
        let problem = browser.get(&callback).await.problem(503);
        assert_eq!(
            problem["detail"],
            "this cannot be answered right now; try again later"
        );
        assert_eq!(browser.cookie("forge-dev"), None);

        trial.github().clear();
        let expected = ("error".to_owned(), String::new());
        assert_eq!(failures(&trial).await, [expected]);
    }
}

#[tokio::test]
async fn a_github_that_is_slow_is_a_503_within_the_time_of_a_request() {
    let settings = [("bounds.request_time", "3s")];
    let trial = Trial::start_with(settings).await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    trial.github().delay(Endpoint::Token, seconds(3600));
    browser.get(&callback).await.problem(503);
    trial.github().clear();
}

#[tokio::test]
async fn a_stranger_is_turned_away_though_github_does_not_take_the_token_back() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, fake_github::OCTO_STRANGER).await;
    trial
        .github()
        .fail(Endpoint::RevokeToken, Fault::Status(500));
    browser.get(&callback).await.problem(403);
    let expected = ("denied".to_owned(), "not_on_allow_list".to_owned());
    assert_eq!(failures(&trial).await, [expected]);
}
