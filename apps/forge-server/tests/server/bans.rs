//! Addresses that fail too often, and what becomes of them.

use fake_github::{OCTO_ADMIN, OCTO_USER};
use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, Browser, ROOMY, Trial, only, seconds, with_action};

pub(crate) const ATTACKER: &str = "203.0.113.9";

/// Loopback is the proxy, so that clients have addresses of their own.
async fn behind_a_proxy() -> Trial {
    let proxy = [("proxies.trusted", "127.0.0.0/8")];
    Trial::start_with(ROOMY.into_iter().chain(proxy)).await
}

pub(crate) async fn from(browser: &Browser, address: &str, path: &str) -> Answer {
    let request = browser.request(Method::GET, path);
    let request = request.header("x-forwarded-for", address);
    browser.send_uncounted(request).await
}

/// So many callbacks that nobody began.
async fn fail(trial: &Trial, address: &str, times: u32) {
    let browser = trial.browser();
    for _ in 0..times {
        let guess = "/auth/github/callback?code=x&state=guess";
        from(&browser, address, guess).await.problem(400);
    }
    trial.app.monitor.flush().await;
}

/// Looks again and again, for a minute at most.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let came_true = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let minute = std::time::Duration::from_secs(60);
    let came_true = tokio::time::timeout(minute, came_true).await;
    came_true.expect("it came true");
}

pub(crate) async fn blocks(admin: &Browser) -> Vec<Value> {
    let list = admin.get("/api/admin/blocks").await.expect(200).json();
    list["blocks"].as_array().unwrap().clone()
}

#[tokio::test]
pub(crate) async fn the_sixth_failure_closes_the_door_until_an_admin_opens_it() {
    let trial = behind_a_proxy().await;
    let browser = trial.browser();
    fail(&trial, ATTACKER, 5).await;
    from(&browser, ATTACKER, "/").await.expect(200);
    fail(&trial, ATTACKER, 1).await;

    let refused = from(&browser, ATTACKER, "/").await;
    refused.problem(403);
    for path in ["/api/me", "/auth/github/login", "/nothing"] {
        from(&browser, ATTACKER, path).await.problem(403);
    }
    // Nobody else is meant.
    from(&browser, "203.0.113.10", "/").await.expect(200);
    browser.get("/").await.expect(200);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let list = blocks(&admin).await;
    assert_eq!(list.len(), 1, "{list:?}");
    let block = &list[0];
    assert_eq!(block["scenario"], "failed_authentications");
    assert!(block["target"].to_string().contains(ATTACKER), "{block}");
    for time in ["since", "until"] {
        let time = block[time].as_str().unwrap();
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    }
    let id = block["id"].as_str().unwrap();
    let path = format!("/api/admin/blocks/{id}");
    admin.delete(&path).await.expect(204);
    from(&browser, ATTACKER, "/").await.expect(200);
    assert_eq!(blocks(&admin).await, Vec::<Value>::new());
    admin.delete(&path).await.problem(404);
    for id in ["x", "01890000-0000-7000-8000-000000000000"] {
        let path = format!("/api/admin/blocks/{id}");
        admin.delete(&path).await.problem(404);
    }

    let events = trial.audit(&admin).await;
    let made = only(&events, "monitor.block");
    assert_eq!(made["kind"], "security_violation");
    assert_eq!(made["severity"], "high");
    assert_eq!(made["details"]["scenario"], "failed_authentications");
    let turned_away = with_action(&events, "monitor.refuse");
    assert_eq!(turned_away.len(), 4);
    assert_eq!(turned_away[0]["address"], ATTACKER);
    assert_eq!(turned_away[0]["request_id"], refused.request_id());
    let lifted = only(&events, "monitor.lift");
    assert_eq!(lifted["details"]["decision"], id);
    let by = with_action(&events, "admin.blocks.lift");
    assert_eq!(by[0]["actor"]["login"], "octo-admin");
    assert_eq!(by[0]["resource"], id);
    assert_eq!(by[0]["result"], "success");
    assert!(by[1..].iter().all(|event| event["result"] == "failure"));
}

#[tokio::test]
async fn a_ban_ends_by_itself_and_does_not_feed_itself() {
    let trial = behind_a_proxy().await;
    let browser = trial.browser();
    fail(&trial, ATTACKER, 6).await;
    for _ in 0..20 {
        let guess = "/auth/github/callback?code=x&state=guess";
        from(&browser, ATTACKER, guess).await.problem(403);
    }
    trial.app.monitor.flush().await;
    trial.clock.advance(seconds(899));
    from(&browser, ATTACKER, "/").await.problem(403);
    trial.clock.advance(seconds(1));
    from(&browser, ATTACKER, "/").await.expect(200);
    // What it tried meanwhile is not held against it.
    fail(&trial, ATTACKER, 1).await;
    from(&browser, ATTACKER, "/").await.expect(200);
}

#[tokio::test]
pub(crate) async fn a_ban_outlives_a_restart() {
    let trial = behind_a_proxy().await;
    fail(&trial, ATTACKER, 6).await;
    let trial = trial.restart().await;
    let browser = trial.browser();
    from(&browser, ATTACKER, "/").await.problem(403);
    let admin = trial.sign_in(OCTO_ADMIN).await;
    assert_eq!(blocks(&admin).await.len(), 1);
}

#[tokio::test]
async fn made_up_credentials_count_and_those_that_are_over_do_not() {
    let trial = behind_a_proxy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let secret = admin.cookie("forge-dev").unwrap();
    admin.post("/auth/logout").await.expect(204);
    let with = async |address: &str, name: &str, value: &str| {
        let browser = trial.browser();
        let request = browser.request(Method::GET, "/api/me");
        let request = request.header("x-forwarded-for", address);
        let answer = browser.send_uncounted(request.header(name, value)).await;
        trial.app.monitor.flush().await;
        answer.status
    };
    let over = format!("forge-dev={secret}");
    for _ in 0..10 {
        assert_eq!(with("203.0.113.1", "cookie", &over).await, 401);
    }
    let guess = format!("forge-dev={}", "A".repeat(43));
    for (address, name, value) in [
        ("203.0.113.2", "cookie", guess.as_str()),
        ("203.0.113.3", "authorization", "Bearer made.up.token"),
    ] {
        for _ in 0..6 {
            assert_eq!(with(address, name, value).await, 401);
        }
        assert_eq!(with(address, name, value).await, 403);
    }
}

#[tokio::test]
async fn somebody_who_does_not_stop_at_the_limit_is_banned_for_a_while() {
    let settings = [
        ("proxies.trusted", "127.0.0.0/8"),
        ("limits.anonymous", "60/min burst 1"),
    ];
    let trial = Trial::start_with(settings).await;
    let browser = trial.browser();
    from(&browser, ATTACKER, "/").await.expect(200);
    for _ in 0..11 {
        from(&browser, ATTACKER, "/").await.problem(429);
    }
    trial.app.monitor.flush().await;
    trial.clock.advance(seconds(60));
    from(&browser, ATTACKER, "/").await.problem(403);
    trial.clock.advance(seconds(540));
    from(&browser, ATTACKER, "/").await.expect(200);
}

#[tokio::test]
async fn the_proxy_itself_and_loopback_are_never_banned() {
    for settings in [
        vec![
            ("proxies.trusted", "127.0.0.0/8"),
            ("monitor.never_block", ""),
        ],
        vec![],
    ] {
        let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
        fail(&trial, "not an address", 10).await;
        trial.browser().get("/").await.expect(200);
        assert_eq!(trial.app.monitor.blocks().len(), 0);
    }
}

#[tokio::test]
async fn another_sites_page_does_not_get_its_visitor_banned() {
    let trial = behind_a_proxy().await;
    let browser = trial.browser();
    for _ in 0..10 {
        let guess = "/auth/github/callback?code=x&state=guess";
        let request = browser.request(Method::GET, guess);
        let request = request.header("x-forwarded-for", "203.0.113.9");
        let request = request.header("sec-fetch-site", "cross-site");
        browser.send(request).await.problem(400);
    }
    trial.app.monitor.flush().await;
    from(&browser, ATTACKER, "/").await.expect(200);
}

#[tokio::test]
async fn headers_that_blame_another_site_save_nobody_who_goes_on() {
    let trial = behind_a_proxy().await;
    let browser = trial.browser();
    for _ in 0..16 {
        let guess = "/auth/github/callback?code=x&state=guess";
        let request = browser.request(Method::GET, guess);
        let request = request.header("x-forwarded-for", ATTACKER);
        let request = request.header("sec-fetch-site", "cross-site");
        browser.send(request).await.problem(400);
    }
    trial.app.monitor.flush().await;
    from(&browser, ATTACKER, "/").await.problem(403);
}

/// A page makes a browser ask for something; it makes it no other browser elsewhere.
#[tokio::test]
async fn headers_that_blame_another_site_do_not_hide_that_sessions_are_stolen() {
    let trial = behind_a_proxy().await;
    let victim = trial.sign_in(OCTO_USER).await;
    from(&victim, "198.51.100.7", "/api/me").await.expect(200);
    let stolen = victim.cookie("forge-dev").unwrap();
    let user = trial.sign_in(OCTO_USER).await;
    trial.clock.advance(seconds(60));
    let thief = trial.browser();
    for program in ["curl/8.5.0", "Wget/1.21", "python-requests/2.31"] {
        from(&user, "198.51.100.7", "/api/me").await.expect(200);
        let request = thief.request(Method::GET, "/api/me");
        let request = request
            .header("x-forwarded-for", ATTACKER)
            .header("user-agent", program)
            .header("cookie", format!("forge-dev={stolen}"))
            .header("sec-fetch-site", "cross-site");
        // The last one may be told to sign in itself.
        let status = thief.send_uncounted(request).await.status;
        assert!(matches!(status, 200 | 401), "{status}");
        trial.app.monitor.flush().await;
    }
    from(&user, "198.51.100.7", "/api/me").await.problem(401);
}

#[tokio::test]
pub(crate) async fn a_ban_is_listed_and_lifted_from_the_command_line_beside_the_server() {
    let trial = behind_a_proxy().await;
    fail(&trial, ATTACKER, 6).await;
    let browser = trial.browser();
    from(&browser, ATTACKER, "/").await.problem(403);

    let mut list = Vec::new();
    let store = forge_server::open_monitor_store(&trial.inputs)
        .await
        .unwrap();
    forge_server::list_blocks(&*store, false, &mut list)
        .await
        .unwrap();
    let list = String::from_utf8(list).unwrap();
    assert!(
        list.contains(&format!("block  network {ATTACKER}")),
        "{list}"
    );
    let mut said = Vec::new();
    forge_server::lift_blocks(&*store, ATTACKER, &mut said)
        .await
        .unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("failed_authentications"), "{said}");
    let again = forge_server::lift_blocks(&*store, ATTACKER, &mut Vec::new()).await;
    assert!(again.is_err());

    // The server asks its database once a second.
    until(|| trial.app.monitor.blocks().is_empty()).await;
    from(&browser, ATTACKER, "/").await.expect(200);
    trial.app.monitor.flush().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let lifted = only(&events, "monitor.lift");
    assert_eq!(lifted["details"]["by"], "the command line");
}

#[tokio::test]
async fn whoever_asks_for_what_only_scanners_look_for_is_banned_at_once() {
    let trial = behind_a_proxy().await;
    let browser = trial.browser();
    from(&browser, ATTACKER, "/.Git/config").await.problem(404);
    trial.app.monitor.flush().await;
    from(&browser, ATTACKER, "/").await.problem(403);

    let other = "203.0.113.10";
    for n in 0..40 {
        // A page that was there once is asked for again and again.
        from(&browser, other, &format!("/gone/{}", n % 15))
            .await
            .problem(404);
    }
    trial.app.monitor.flush().await;
    from(&browser, other, "/").await.expect(200);
    from(&browser, other, "/gone/16").await.problem(404);
    trial.app.monitor.flush().await;
    from(&browser, other, "/").await.problem(403);
}

#[tokio::test]
pub(crate) async fn a_user_is_banned_has_to_sign_in_again_and_has_smaller_limits() {
    use forge_monitor::{Action, Decision, Target};
    let trial =
        Trial::start_with(ROOMY.into_iter().chain([("limits.web", "60/min burst 8")])).await;
    let store = forge_server::open_monitor_store(&trial.inputs)
        .await
        .unwrap();
    let decide = async |action| {
        let now = forge_monitor::Clock::now(&trial.clock) + seconds(1);
        let target = Target::User(OCTO_USER.to_string().into());
        let decision = Decision::new(action, "a_test", target, now, now + seconds(600));
        store.insert(&decision).await.unwrap();
        // As if another node had decided it.
        let holds = || {
            let blocks = trial.app.monitor.blocks();
            blocks.iter().any(|of| of.id == decision.id)
        };
        until(holds).await;
        decision.id
    };
    let user = trial.sign_in(OCTO_USER).await;
    user.get("/api/me").await.expect(200);
    let banned = decide(Action::Block).await;
    user.get("/api/me").await.problem(403);
    trial.app.monitor.lift(banned, "a test").await.unwrap();
    user.get("/api/me").await.expect(200);

    decide(Action::RequireSignIn).await;
    user.get("/api/me").await.problem(401);
    trial.clock.advance(seconds(2));
    let user = trial.sign_in(OCTO_USER).await;
    user.get("/api/me").await.expect(200);

    trial.clock.advance(seconds(60));
    decide(Action::TightenLimit).await;
    user.get("/api/me").await.expect(200);
    user.get("/api/me").await.expect(200);
    user.get("/api/me").await.problem(429);
}

#[tokio::test]
async fn what_a_scenario_of_the_configuration_says_is_done() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "[[monitor.scenario]]\nname = 'failed_authentications'\nthreshold = 1\n";
    std::fs::write(file.path(), text).unwrap();
    let settings = [("proxies.trusted", "127.0.0.0/8")];
    let trial = Trial::with_file(ROOMY.into_iter().chain(settings), file.path()).await;
    fail(&trial, ATTACKER, 2).await;
    from(&trial.browser(), ATTACKER, "/").await.problem(403);
}
