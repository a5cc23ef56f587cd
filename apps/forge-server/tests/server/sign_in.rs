//! Signing in with GitHub, as a person does it.

use fake_github::{Endpoint, OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use reqwest::Method;

use crate::support::{Answer, Browser, HTML, Trial, only};

#[tokio::test]
async fn the_page_has_the_link_and_then_says_who_is_signed_in() {
    let trial = Trial::start().await;
    let browser = trial.browser();
    let page = browser.visit("/").await;
    assert!(page.page(200).contains(r#"href="/auth/github/login""#));

    let callback = trial.begin(&browser, OCTO_USER).await;
    let answer = browser.visit(&callback).await.expect(303);
    assert_eq!(answer.location(), "/");
    let page = browser.visit("/").await;
    assert!(page.page(200).contains("<strong>octo-user</strong>"));
    assert!(!page.body.contains("/auth/github/login"));
    assert!(page.body.contains("Sign out"));
}

#[tokio::test]
pub(crate) async fn admin_and_user_are_in_each_with_a_session_of_their_own() {
    let trial = Trial::start().await;
    let mut sessions = Vec::new();
    for (account, login) in [(OCTO_ADMIN, "octo-admin"), (OCTO_USER, "octo-user")] {
        let browser = trial.sign_in(account).await;
        let me = browser.get("/api/me").await.expect(200).json();
        assert_eq!(me["login"], login);
        sessions.push(me["session"]["id"].clone());
    }
    assert_ne!(sessions[0], sessions[1]);
}

#[tokio::test]
async fn github_is_asked_with_state_and_pkce_and_for_no_scope() {
    let trial = Trial::start().await;
    let answer = trial.browser().get("/auth/github/login").await.expect(303);
    let url: reqwest::Url = answer.location().parse().unwrap();
    let value = |name: &str| {
        let mut pairs = url.query_pairs().filter(|(found, _)| found == name);
        pairs.next().map(|(_, value)| value.into_owned())
    };
    assert_eq!(url.path(), "/login/oauth/authorize");
    assert_eq!(value("state").unwrap().len(), 43);
    assert_eq!(value("code_challenge").unwrap().len(), 43);
    assert_eq!(value("code_challenge_method").unwrap(), "S256");
    assert_eq!(value("redirect_uri").unwrap(), trial.app.callback_url());
    assert_eq!(value("scope"), None);

    let cookie = answer.one("set-cookie");
    let (_, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(
        attributes, "Path=/; Max-Age=600; HttpOnly; SameSite=Lax",
        "{cookie}"
    );
}

#[tokio::test]
async fn a_sign_in_sets_the_session_and_takes_its_own_secret_away() {
    let trial = Trial::start().await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    let (name, _) = browser.sign_ins().pop().unwrap();
    let answer = browser.get(&callback).await.expect(303);
    let set: Vec<_> = answer.all("set-cookie").collect();
    assert_eq!(set.len(), 2, "{set:?}");
    assert!(set[0].starts_with("forge-dev="), "{set:?}");
    assert!(set[0].ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=604800"));
    assert_eq!(
        set[1],
        format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
    );
    assert!(browser.sign_ins().is_empty());
}

async fn turn_away(trial: &Trial, browser: &Browser, accept: &str) -> Answer {
    let callback = trial.begin(browser, OCTO_STRANGER).await;
    let request = browser.request(Method::GET, &callback);
    let answer = browser.send(request.header("accept", accept)).await;
    assert_eq!(browser.cookie("forge-dev"), None, "no session is made");
    answer
}

/// Nothing of those who are allowed, and not why it was looked up.
fn assert_no_hint(answer: &Answer) {
    for hint in ["octo", "admin", "allow-list", "1001", "1002", "1003"] {
        assert!(!answer.body.contains(hint), "{hint} in {}", answer.body);
    }
}

#[tokio::test]
async fn a_stranger_at_a_browser_reads_that_the_account_is_not_allowed() {
    let trial = Trial::start().await;
    let answer = turn_away(&trial, &trial.browser(), HTML).await;
    let page = answer.page(403);
    assert!(
        page.contains("<h1>This account is not allowed</h1>"),
        "{page}"
    );
    assert!(page.contains(answer.request_id()));
    assert_no_hint(&answer);
}

#[tokio::test]
async fn a_stranger_with_a_program_is_told_the_same_as_a_problem() {
    let trial = Trial::start().await;
    for accept in ["*/*", "application/json"] {
        let answer = turn_away(&trial, &trial.browser(), accept).await;
        let problem = answer.problem(403);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("Your GitHub account may not sign in here."));
        assert_no_hint(&answer);
    }
}

#[tokio::test]
pub(crate) async fn a_strangers_token_is_given_back_to_github() {
    let trial = Trial::start().await;
    turn_away(&trial, &trial.browser(), "*/*").await;
    assert_eq!(trial.github().requests(Endpoint::RevokeToken), 1);
    assert_eq!(trial.github().tokens_issued(), Vec::<String>::new());
    trial.sign_in(OCTO_USER).await;
    assert_eq!(trial.github().tokens_issued().len(), 1);
}

#[tokio::test]
async fn next_leads_to_a_path_of_this_server_and_nowhere_else() {
    let trial = Trial::roomy().await;
    for (next, expected) in [
        ("/api/me", "/api/me"),
        ("/api/sessions?x=1%26y", "/api/sessions?x=1&y"),
        ("//evil.example", "/"),
        ("/%5Cevil.example", "/"),
        ("%2F%2Fevil.example", "/"),
        ("/%252Fevil.example", "/"),
        ("/%255Cevil.example", "/"),
        ("/%09/evil.example", "/"),
        ("/%250d%250aset-cookie:a=b", "/"),
        ("https://evil.example/", "/"),
        ("https:evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("evil.example", "/"),
        ("", "/"),
    ] {
        let browser = trial.browser();
        let login = format!("/auth/github/login?next={next}");
        let out = browser.get(&login).await.expect(303);
        let back = trial.decide(out.location(), OCTO_USER, "authorize").await;
        let answer = browser.get(&back).await.expect(303);
        assert_eq!(answer.location(), expected, "{next}");
        browser.get("/api/me").await.expect(200);
    }
}

#[tokio::test]
async fn signing_in_again_ends_the_session_the_browser_had() {
    let trial = Trial::start().await;
    let browser = trial.sign_in(OCTO_USER).await;
    let planted = browser.cookie("forge-dev").unwrap();
    let callback = trial.begin(&browser, OCTO_ADMIN).await;
    browser.get(&callback).await.expect(303);
    let me = browser.get("/api/me").await.expect(200).json();
    assert_eq!(me["login"], "octo-admin");
    assert_ne!(browser.cookie("forge-dev").unwrap(), planted);

    let thief = trial.browser();
    thief.plant(&format!("forge-dev={planted}"));
    thief.get("/api/me").await.problem(401);
    let events = trial.audit(&browser).await;
    assert_eq!(
        only(&events, "session.revoke")["details"]["cause"],
        "sign_out"
    );
}

#[tokio::test]
pub(crate) async fn two_sign_ins_of_one_browser_do_not_mix() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let first = trial.begin(&browser, OCTO_USER).await;
    let second = trial.begin(&browser, OCTO_ADMIN).await;
    for (callback, login) in [(first, "octo-user"), (second, "octo-admin")] {
        browser.get(&callback).await.expect(303);
        let me = browser.get("/api/me").await.expect(200).json();
        assert_eq!(me["login"], login);
        // Each is good once.
        browser.get(&callback).await.problem(400);
    }
    assert!(browser.sign_ins().is_empty());
}

#[tokio::test]
async fn a_way_back_that_nobody_began_disturbs_no_sign_in() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    for foreign in ["?code=x&state=guessed", "?code=x", "?state=a&state=b"] {
        let path = format!("/auth/github/callback{foreign}");
        let answer = browser.get(&path).await;
        answer.problem(400);
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
    }
    browser.get(&callback).await.expect(303);
}

#[tokio::test]
async fn a_browser_has_five_sign_ins_under_way_at_most() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    for _ in 0..12 {
        browser.get("/auth/github/login").await.expect(303);
    }
    assert_eq!(browser.sign_ins().len(), 5);
    let callback = trial.begin(&browser, OCTO_USER).await;
    browser.get(&callback).await.expect(303);
}
