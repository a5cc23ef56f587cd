//! Signing in again before what matters: after a while, and where a session is used in an odd way.

use fake_github::{OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::{Answer, Browser, HTML, ROOMY, Trial, seconds, text, with_action};

const USERS: &str = "/api/admin/users";

/// Everything an admin can change.
const CHANGES: [(Method, &str); 9] = [
    (Method::POST, USERS),
    (Method::DELETE, "/api/admin/users/1003"),
    (Method::DELETE, "/api/admin/users/1003/sessions"),
    (Method::DELETE, "/api/admin/sessions"),
    (Method::DELETE, "/api/admin/blocks/x"),
    (Method::POST, "/api/admin/silences"),
    (Method::DELETE, "/api/admin/silences/x"),
    (Method::POST, "/api/admin/alerts/dead/x/retry"),
    (Method::DELETE, "/api/admin/limits?user=1003"),
];

#[track_caller]
fn assert_asked(answer: &Answer, max_age: u64) {
    let problem = answer.problem(401);
    assert_eq!(problem["detail"], "sign in again to do this");
    let sign_in = problem["sign_in"].as_str().unwrap();
    assert!(
        sign_in.ends_with("/auth/github/login") && sign_in.starts_with("http://"),
        "{sign_in}"
    );
    let challenge = answer.one("www-authenticate");
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    for part in [
        r#"error="insufficient_user_authentication""#.to_owned(),
        format!(r#"max_age="{max_age}""#),
    ] {
        assert!(challenge.contains(&part), "{challenge}");
    }
}

#[tokio::test]
async fn an_admin_changes_nothing_an_hour_after_the_sign_in() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let add = json!({ "github_id": OCTO_STRANGER });
    trial.clock.advance(seconds(3600));
    admin.post_json(USERS, &add).await.expect(201);
    trial.clock.advance(seconds(1));
    for (method, path) in CHANGES {
        let answer = admin.send(admin.request(method, path).json(&add)).await;
        assert_asked(&answer, 3600);
    }
    // What is only read, and what is one's own, goes on.
    let list = admin.get(USERS).await.expect(200).json();
    assert_eq!(list["users"].as_array().unwrap().len(), 3);
    admin.get("/api/me").await.expect(200);

    let callback = trial.begin(&admin, OCTO_ADMIN).await;
    admin.get(&callback).await.expect(303);
    admin.delete("/api/admin/users/1003").await.expect(204);
    let events = trial.audit(&admin).await;
    let refused = with_action(&events, "admin.access");
    assert_eq!(refused.len(), CHANGES.len());
    for event in refused {
        assert_eq!(event["kind"], "authorization");
        assert_eq!(event["result"], "denied");
        assert_eq!(text(&event["actor"], "login"), "octo-admin");
    }
}

#[tokio::test]
async fn how_long_ago_is_configured() {
    let settings = ROOMY.into_iter().chain([("admin.recent_sign_in", "15m")]);
    let trial = Trial::start_with(settings).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    trial.clock.advance(seconds(901));
    assert_asked(&admin.delete("/api/admin/sessions").await, 900);
}

const HOME: (&str, &str) = ("192.0.2.1", "Mozilla/5.0 (X11; Linux) Firefox/128.0");
const AWAY: (&str, &str) = ("198.51.100.1", "Mozilla/5.0 (Windows) Chrome/126.0");

/// The request as it comes from there, by way of the proxy.
fn from((address, agent): (&str, &str), request: RequestBuilder) -> RequestBuilder {
    request
        .header("x-forwarded-for", address)
        .header("user-agent", agent)
}

/// A browser that is signed in from home, and one with its cookie elsewhere.
async fn stolen(trial: &Trial, account: u64) -> (Browser, Browser) {
    let owner = trial.browser();
    let callback = trial.begin(&owner, account).await;
    let back = from(HOME, owner.request(Method::GET, &callback));
    owner.send(back).await.expect(303);
    let thief = trial.browser();
    let secret = owner.cookie("forge-dev").unwrap();
    thief.plant(&format!("forge-dev={secret}"));
    (owner, thief)
}

async fn behind_a_proxy() -> Trial {
    let proxy = [("proxies.trusted", "127.0.0.0/8")];
    Trial::start_with(ROOMY.into_iter().chain(proxy)).await
}

#[tokio::test]
async fn a_session_that_is_used_in_an_odd_way_is_asked_to_sign_in_again() {
    let trial = behind_a_proxy().await;
    let (owner, thief) = stolen(&trial, OCTO_ADMIN).await;
    // At home nothing is asked.
    let list = from(HOME, owner.request(Method::GET, USERS));
    owner.send(list).await.expect(200);
    // Elsewhere it is, by whoever it is, also to read.
    let me = from(AWAY, thief.request(Method::GET, "/api/me"));
    thief.send(me).await.expect(200);
    for (method, path) in CHANGES.into_iter().chain([(Method::GET, USERS)]) {
        let answer = thief.send(from(AWAY, thief.request(method, path))).await;
        assert_asked(&answer, 0);
    }
    // A person who navigates there is sent to sign in, and back.
    let visit = from(AWAY, thief.request(Method::GET, USERS)).header("accept", HTML);
    let answer = thief.send(visit).await.expect(303);
    assert_eq!(
        answer.location(),
        "/auth/github/login?next=%2Fapi%2Fadmin%2Fusers"
    );
    // It is the session that is asked, so its owner is too; a new one is not.
    let list = from(HOME, owner.request(Method::GET, USERS));
    assert_asked(&owner.send(list).await, 0);
    let callback = trial.begin(&owner, OCTO_ADMIN).await;
    let back = from(HOME, owner.request(Method::GET, &callback));
    owner.send(back).await.expect(303);
    let list = from(HOME, owner.request(Method::GET, USERS));
    owner.send(list).await.expect(200);
    // And the old one is over.
    let me = from(AWAY, thief.request(Method::GET, "/api/me"));
    thief.send(me).await.problem(401);
}

#[tokio::test]
async fn a_session_that_is_used_in_an_odd_way_makes_no_token() {
    let trial = behind_a_proxy().await;
    let (_, thief) = stolen(&trial, OCTO_USER).await;
    let wanted = json!({ "kind": "mcp", "client": "my-agent" });
    let request = from(AWAY, thief.request(Method::POST, "/api/sessions"));
    assert_asked(&thief.send(request.json(&wanted)).await, 0);
    // Nor by the page's form.
    let request = from(AWAY, thief.request(Method::POST, "/tokens"));
    let request = request.form(&[("client", "my-agent")]);
    assert_asked(&thief.send(request).await, 0);
    // To end sessions is always possible.
    let request = from(AWAY, thief.request(Method::DELETE, "/api/sessions"));
    assert!(thief.send(request).await.status < 300);
}
