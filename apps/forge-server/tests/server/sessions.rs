//! What I am signed in with, and how each of it ends.

use fake_github::{OCTO_ADMIN, OCTO_USER};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Browser, HTML, Trial, agent, only, seconds, text, with_action};

async fn session_id(browser: &Browser) -> String {
    let me = browser.get("/api/me").await.expect(200).json();
    text(&me["session"], "id").to_owned()
}

async fn list(browser: &Browser) -> Vec<Value> {
    let list = browser.get("/api/sessions").await.expect(200).json();
    list["sessions"].as_array().unwrap().clone()
}

#[tokio::test]
pub(crate) async fn my_sessions_are_listed_and_nobody_elses() {
    let trial = Trial::start().await;
    trial.sign_in(OCTO_ADMIN).await;
    let first = trial.sign_in(OCTO_USER).await;
    trial.clock.advance(seconds(60));
    let second = trial.sign_in(OCTO_USER).await;
    agent(&second, "my-agent").await;

    let sessions = list(&second).await;
    let column = |name: &str| -> Vec<Value> { sessions.iter().map(|s| s[name].clone()).collect() };
    let (first, second) = (session_id(&first).await, session_id(&second).await);
    assert_eq!(sessions.len(), 3);
    assert_eq!(column("id")[1..], [json!(second), json!(first)]);
    assert_eq!(column("kind"), ["mcp", "web", "web"]);
    assert_eq!(
        column("client"),
        [json!("my-agent"), Value::Null, Value::Null]
    );
    assert_eq!(column("current"), [false, true, false]);
    assert_eq!(column("address"), ["127.0.0.1"; 3]);
    assert_eq!(column("user_agent"), ["tests/1.0"; 3]);
}

#[tokio::test]
async fn the_page_shows_my_sessions() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let id = session_id(&user).await;
    let page = user.visit("/").await;
    assert!(page.page(200).contains(&id));
}

#[tokio::test]
async fn a_session_that_is_revoked_ends_with_the_next_request() {
    let trial = Trial::start().await;
    let (here, there) = (
        trial.sign_in(OCTO_USER).await,
        trial.sign_in(OCTO_USER).await,
    );
    there.get("/api/me").await.expect(200);
    let id = session_id(&there).await;
    let path = format!("/api/sessions/{id}");
    here.delete(&path).await.expect(204);
    let refused = there.get("/api/me").await;
    refused.problem(401);
    // The browser need not send what is worth nothing.
    assert!(refused.one("set-cookie").starts_with("forge-dev=; "));
    here.get("/api/me").await.expect(200);
    here.delete(&path).await.problem(404);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let event = only(&events, "session.revoke");
    assert_eq!(event["resource"], id);
    assert_eq!(event["actor"]["id"], OCTO_USER.to_string());
    assert_eq!(event["actor"]["session"], session_id(&here).await);
    assert_eq!(event["details"]["cause"], "user");
}

#[tokio::test]
async fn somebody_elses_session_is_not_there() {
    let trial = Trial::start().await;
    let (user, admin) = (
        trial.sign_in(OCTO_USER).await,
        trial.sign_in(OCTO_ADMIN).await,
    );
    let theirs = session_id(&admin).await;
    for id in [
        &theirs,
        "01890000-0000-7000-8000-000000000000",
        "x",
        "%2e%2e",
    ] {
        user.delete(&format!("/api/sessions/{id}"))
            .await
            .problem(404);
    }
    admin.get("/api/me").await.expect(200);
    trial
        .browser()
        .delete(&format!("/api/sessions/{theirs}"))
        .await
        .problem(401);
    admin.get("/api/me").await.expect(200);
}

#[tokio::test]
pub(crate) async fn all_my_other_sessions_end_at_once() {
    let trial = Trial::start().await;
    let here = trial.sign_in(OCTO_USER).await;
    let there = trial.sign_in(OCTO_USER).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let token = agent(&there, "my-agent").await;
    here.delete("/api/sessions").await.expect(204);
    there.get("/api/me").await.problem(401);
    let token = text(&token, "access_token");
    trial
        .browser()
        .with_token(Method::GET, "/api/me", token)
        .await
        .problem(401);
    assert_eq!(list(&here).await.len(), 1);
    admin.get("/api/me").await.expect(200);
}

#[tokio::test]
pub(crate) async fn signing_out_ends_the_session_and_clears_the_browser() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let secret = user.cookie("forge-dev").unwrap();
    let answer = user.post("/auth/logout").await.expect(204);
    assert_eq!(answer.one("clear-site-data"), r#""cookies", "storage""#);
    assert_eq!(user.cookie("forge-dev"), None);
    user.get("/api/me").await.problem(401);

    // The secret itself is worth nothing any more.
    let thief = trial.browser();
    thief.plant(&format!("forge-dev={secret}"));
    thief.get("/api/me").await.problem(401);
    // Whoever is out already may press the button again.
    user.post("/auth/logout").await.expect(204);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    assert_eq!(
        only(&events, "auth.sign_out")["actor"]["login"],
        "octo-user"
    );
}

#[tokio::test]
async fn a_person_who_signs_out_comes_to_the_start() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let request = user.request(Method::POST, "/auth/logout");
    let request = request.header("origin", trial.app.config.public(""));
    let answer = user.send(request.header("accept", HTML)).await.expect(303);
    assert_eq!(answer.location(), "/");
    assert!(
        user.visit("/")
            .await
            .page(200)
            .contains("Sign in with GitHub")
    );
}

#[tokio::test]
async fn signing_out_works_when_the_quota_is_used_up() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    for _ in 0..10 {
        user.get("/api/me").await.expect(200);
    }
    user.get("/api/me").await.problem(429);
    user.post("/auth/logout").await.expect(204);
    user.get("/api/me").await.problem(401);
}

#[tokio::test]
pub(crate) async fn the_fourth_session_takes_the_place_of_the_oldest() {
    let trial = Trial::start().await;
    let mut browsers = Vec::new();
    for _ in 0..4 {
        browsers.push(trial.sign_in(OCTO_USER).await);
        trial.clock.advance(seconds(60));
    }
    browsers[0].get("/api/me").await.problem(401);
    for browser in &browsers[1..] {
        browser.get("/api/me").await.expect(200);
    }
    assert_eq!(list(&browsers[3]).await.len(), 3);
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let by = session_id(&browsers[3]).await;
    assert_eq!(only(&events, "session.evict")["details"]["by"], by);
}

#[tokio::test]
async fn an_agents_sessions_are_counted_apart() {
    let settings = [("sessions.mcp.max", "1")];
    let trial = Trial::start_with(settings).await;
    let user = trial.sign_in(OCTO_USER).await;
    let first = agent(&user, "one").await;
    trial.clock.advance(seconds(60));
    let second = agent(&user, "two").await;
    let browser = trial.browser();
    let (first, second) = (text(&first, "access_token"), text(&second, "access_token"));
    browser
        .with_token(Method::GET, "/api/me", first)
        .await
        .problem(401);
    browser
        .with_token(Method::GET, "/api/me", second)
        .await
        .expect(200);
    user.get("/api/me").await.expect(200);
}

async fn refresh(browser: &Browser, token: &str, client: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("client_id", client),
    ];
    let answer = browser.post_form("/auth/token", &form).await;
    (answer.status, answer.json())
}

#[tokio::test]
pub(crate) async fn a_refresh_token_is_exchanged_for_the_next() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    let browser = trial.browser();
    let mut tokens = agent(&user, "my-agent").await;
    for _ in 0..3 {
        // An hour, and half a minute for clocks that differ.
        trial.clock.advance(seconds(3631));
        let over = text(&tokens, "access_token");
        let answer = browser.with_token(Method::GET, "/api/me", over).await;
        answer.problem(401);
        let (status, next) = refresh(&browser, text(&tokens, "refresh_token"), "my-agent").await;
        assert_eq!(status, 200);
        assert_eq!(next["token_type"], "Bearer");
        assert_eq!(next["expires_in"], 3600);
        assert_eq!(next["session"]["id"], tokens["session"]["id"]);
        assert_ne!(next["refresh_token"], tokens["refresh_token"]);
        let token = text(&next, "access_token");
        let me = browser.with_token(Method::GET, "/api/me", token).await;
        assert_eq!(me.expect(200).json()["session"]["kind"], "mcp");
        tokens = next;
    }
}

#[tokio::test]
pub(crate) async fn a_refresh_token_that_comes_twice_ends_its_session() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    let browser = trial.browser();
    let stolen = agent(&user, "my-agent").await;
    let (status, next) = refresh(&browser, text(&stolen, "refresh_token"), "my-agent").await;
    assert_eq!(status, 200);

    // Too late to be the repetition of a request whose answer was lost.
    trial.clock.advance(seconds(900));
    let (status, refused) = refresh(&browser, text(&stolen, "refresh_token"), "my-agent").await;
    assert_eq!(
        (status, refused),
        (400, json!({ "error": "invalid_grant" }))
    );
    // Thief or owner, whoever is second: nothing of that session is good any more.
    let (status, _) = refresh(&browser, text(&next, "refresh_token"), "my-agent").await;
    assert_eq!(status, 400);
    for tokens in [&stolen, &next] {
        let token = text(tokens, "access_token");
        let answer = browser.with_token(Method::GET, "/api/me", token).await;
        answer.problem(401);
    }
    user.get("/api/me").await.expect(200);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let event = only(&events, "session.reuse");
    assert_eq!(event["kind"], "security_violation");
    assert_eq!(event["severity"], "high");
    assert_eq!(event["resource"], stolen["session"]["id"]);
    assert_eq!(event["request_id"].as_str().unwrap().len(), 36);
    assert_eq!(event["address"], "127.0.0.1");
    assert_eq!(only(&events, "session.revoke")["details"]["cause"], "reuse");
}

#[tokio::test]
async fn what_is_no_refresh_is_refused_in_the_words_of_oauth() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    let tokens = agent(&user, "my-agent").await;
    let (good, access) = (
        text(&tokens, "refresh_token"),
        text(&tokens, "access_token"),
    );
    let cookie = user.cookie("forge-dev").unwrap();
    let browser = trial.browser();
    let form = |kind, token, client| {
        [
            ("grant_type", kind),
            ("refresh_token", token),
            ("client_id", client),
        ]
    };
    let kind = "refresh_token";
    for (form, error) in [
        (form("password", good, "my-agent"), "unsupported_grant_type"),
        (form(kind, good, "another"), "invalid_grant"),
        (form(kind, "guessed", "my-agent"), "invalid_grant"),
        (form(kind, access, "my-agent"), "invalid_grant"),
        (form(kind, &cookie, "my-agent"), "invalid_grant"),
        (form(kind, good, ""), "invalid_request"),
        (form(kind, good, "a\nb"), "invalid_request"),
        (form(kind, good, &"x".repeat(257)), "invalid_request"),
    ] {
        let answer = browser.post_form("/auth/token", &form).await.expect(400);
        assert_eq!(answer.json(), json!({ "error": error }), "{form:?}");
    }
    for body in ["", "grant_type=refresh_token", "\u{0}", "a=%ff"] {
        let request = browser.request(Method::POST, "/auth/token").body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = browser.send(request).await.expect(400);
        assert_eq!(answer.json(), json!({ "error": "invalid_request" }));
    }
    let json = json!({ "grant_type": "refresh_token" });
    browser.post_json("/auth/token", &json).await.expect(400);

    // None of it has spent the good one.
    let (status, _) = refresh(&browser, good, "my-agent").await;
    assert_eq!(status, 200);
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let refused = with_action(&events, "auth.refresh");
    let reasons: Vec<_> = refused
        .iter()
        .map(|e| text(&e["details"], "reason"))
        .collect();
    assert_eq!(
        reasons,
        ["wrong_client", "malformed", "malformed", "wrong_carrier"]
    );
}

#[tokio::test]
async fn an_agent_neither_makes_nor_ends_sessions_nor_administers() {
    let trial = Trial::start().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let tokens = agent(&admin, "my-agent").await;
    let token = text(&tokens, "access_token");
    let browser = trial.browser();
    let mine = format!("/api/sessions/{}", session_id(&admin).await);
    for (method, path) in [
        (Method::POST, "/api/sessions"),
        (Method::DELETE, "/api/sessions"),
        (Method::DELETE, &mine),
        (Method::GET, "/api/admin/audit"),
    ] {
        let answer = browser.with_token(method, path, token).await;
        let detail = answer.problem(403);
        assert!(text(&detail, "detail").starts_with("sign in at a browser"));
    }
    browser
        .with_token(Method::GET, "/api/sessions", token)
        .await
        .expect(200);
    admin.get("/api/me").await.expect(200);
}

#[tokio::test]
async fn a_body_that_asks_for_no_session_is_told_how_to() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"mcp\"",
        "{\"kind\":\"mcp\"}",
        "{\"kind\":\"web\",\"client\":\"x\"}",
        "{\"kind\":\"mcp\",\"client\":\"\"}",
        "{\"kind\":\"mcp\",\"client\":\"a\\u0000b\"}",
        "{\"kind\":\"mcp\",\"client\":7}",
        "{\"kind\":\"mcp\",\"client\":\"x\",\"user\":1001}",
        "{\"kind\":\"mcp\",\"kind\":\"mcp\",\"client\":\"x\"}",
        "\u{feff}{}",
    ] {
        let request = user.request(Method::POST, "/api/sessions").body(body);
        let request = request.header("content-type", "application/json");
        user.send(request).await.problem(400);
    }
    let deep = "[".repeat(100_000);
    for body in [deep.as_bytes(), b"{\"kind\":\"\xff\"}"] {
        let request = user.request(Method::POST, "/api/sessions");
        let request = request.header("content-type", "application/json");
        user.send(request.body(body.to_vec())).await.problem(400);
    }
    let request = user.request(Method::POST, "/api/sessions");
    let request = request.body(r#"{"kind":"mcp","client":"x"}"#);
    user.send(request).await.problem(400);
    assert_eq!(list(&user).await.len(), 1);
}

#[tokio::test]
pub(crate) async fn sessions_and_tokens_outlive_a_restart() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let tokens = agent(&user, "my-agent").await;
    let over = trial.sign_in(OCTO_ADMIN).await;
    let secret = over.cookie("forge-dev").unwrap();
    over.post("/auth/logout").await.expect(204);

    let trial = trial.restart().await;
    user.get("/api/me").await.expect(200);
    let token = text(&tokens, "access_token");
    let browser = trial.browser();
    browser
        .with_token(Method::GET, "/api/me", token)
        .await
        .expect(200);
    let (status, _) = refresh(&browser, text(&tokens, "refresh_token"), "my-agent").await;
    assert_eq!(status, 200);
    over.plant(&format!("forge-dev={secret}"));
    over.get("/api/me").await.problem(401);
}

#[tokio::test]
async fn the_page_makes_a_token_for_an_agent_and_shows_it_once() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let home = user.visit("/").await;
    assert!(home.page(200).contains(r#"action="/tokens""#));

    let form = [("client", " <b>agent</b> ")];
    let made = user.submit("/tokens", &form, "same-origin").await;
    let page = made.page(201);
    assert!(!page.contains("<b>"), "{page}");
    let shown = |after: &str| {
        let (_, rest) = page.split_once(&format!("<h2>{after}</h2>")).unwrap();
        let (_, rest) = rest.split_once("<p><code>").unwrap();
        rest.split_once("</code>").unwrap().0.to_owned()
    };
    let (access, refresh) = (shown("Access token"), shown("Refresh token"));
    let agent = trial.browser();
    let me = agent.with_token(Method::GET, "/api/me", &access).await;
    let me = me.expect(200).json();
    assert_eq!(me["session"]["client"], "<b>agent</b>");
    assert_eq!(me["session"]["kind"], "mcp");
    // Nothing shows it again.
    let home = user.visit("/").await;
    let home = home.page(200);
    assert!(
        home.contains("<strong>mcp</strong> &#60;b&#62;agent"),
        "{home}"
    );
    assert!(!home.contains(&access) && !home.contains(&refresh));
    let next = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*refresh),
        ("client_id", "<b>agent</b>"),
    ];
    agent.post_form("/auth/token", &next).await.expect(200);
    // A name passes for nothing else on the page.
    let form = [("client", "\u{202e}gents")];
    let deceiving = user.submit("/tokens", &form, "same-origin").await;
    deceiving.page(201);
    let home = user.visit("/").await;
    let home = home.page(200);
    assert!(
        home.contains(r"<strong>mcp</strong> \u{202e}gents"),
        "{home}"
    );
}

#[tokio::test]
async fn the_form_for_a_token_is_for_people_at_this_servers_own_page() {
    let trial = Trial::roomy().await;
    let form = [("client", "my-agent")];
    // Who is not signed in finds the way there, which is back at the start: a browser follows no
    // form to another origin, and so no redirect of one.
    let nobody = trial.browser();
    let sent = nobody.submit("/tokens", &form, "same-origin").await;
    let page = sent.page(401);
    assert!(page.contains(r#"href="/auth/github/login""#), "{page}");
    assert!(!sent.one("www-authenticate").is_empty());

    let user = trial.sign_in(OCTO_USER).await;
    for site in ["cross-site", "same-site"] {
        let refused = user.submit("/tokens", &form, site).await;
        assert!(refused.page(403).contains("You may not do this."));
    }
    for client in ["", "  ", "a\nb", &"x".repeat(257)] {
        let form = [("client", client)];
        let refused = user.submit("/tokens", &form, "same-origin").await;
        let told = refused
            .page(400)
            .contains("The name must be 1 to 256 bytes");
        assert!(told, "{client:?}: {refused:?}");
    }
    let unnamed = [("name", "my-agent")];
    let refused = user.submit("/tokens", &unnamed, "same-origin").await;
    assert!(
        refused.page(400).contains("Send a form with"),
        "{refused:?}"
    );
    let json = json!({ "client": "my-agent" });
    user.post_json("/tokens", &json).await.problem(400);
    assert_eq!(list(&user).await.len(), 1);

    // A token makes no further one, and is not offered to.
    let tokens = agent(&user, "my-agent").await;
    let token = text(&tokens, "access_token");
    let request = nobody.request(Method::POST, "/tokens").form(&form);
    nobody.send(request.bearer_auth(token)).await.problem(403);
    let page = nobody.with_token(Method::GET, "/", token).await;
    assert!(!page.page(200).contains("/tokens"));
}
