//! `GET /api/me`: who I am, and until when.

use fake_github::{OCTO_ADMIN, OCTO_USER};
use serde_json::json;

use crate::support::{Trial, seconds};

#[tokio::test]
pub(crate) async fn tells_the_principal_behind_a_session() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let me = user.get("/api/me").await.expect(200).json();
    assert_eq!(me["github_id"], OCTO_USER);
    assert_eq!(me["login"], "octo-user");
    assert_eq!(me["roles"], json!(["user"]));
    let session = &me["session"];
    assert_eq!(session["id"].as_str().unwrap().len(), 36);
    assert_eq!(session["kind"], "web");
    assert_eq!(session["address"], "127.0.0.1");
    assert_eq!(session["user_agent"], "tests/1.0");
    assert_eq!(session["created_user_agent"], "tests/1.0");
    assert_eq!(session["current"], true);

    let time = |name: &str| {
        let text = session[name].as_str().unwrap();
        humantime::parse_rfc3339(text).unwrap()
    };
    let idle = trial.app.config.sessions.web.idle;
    assert_eq!(time("expires_at"), time("created_at") + idle);
}

#[tokio::test]
async fn an_admin_is_a_user_too() {
    let trial = Trial::start().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let me = admin.get("/api/me").await.expect(200).json();
    assert_eq!(me["github_id"], OCTO_ADMIN);
    assert_eq!(me["roles"], json!(["user", "admin"]));
}

#[tokio::test]
async fn nobody_is_told_to_sign_in() {
    let trial = Trial::start().await;
    let answer = trial.browser().get("/api/me").await;
    assert_eq!(
        answer.problem(401)["detail"],
        "sign in, or send an access token"
    );
    let metadata = trial.app.resource_metadata_url();
    assert!(answer.one("www-authenticate").contains(&metadata));
}

#[tokio::test]
async fn a_person_who_is_nobody_is_led_to_the_sign_in_and_back() {
    let trial = Trial::start().await;
    let browser = trial.browser();
    let answer = browser.visit("/api/me?a=b&c=%2Fd").await.expect(303);
    let login = answer.location();
    assert_eq!(
        login,
        "/auth/github/login?next=%2Fapi%2Fme%3Fa%3Db%26c%3D%252Fd"
    );
    let out = browser.visit(login).await.expect(303);
    let back = trial.decide(out.location(), OCTO_USER, "authorize").await;
    let answer = browser.visit(&back).await.expect(303);
    assert_eq!(answer.location(), "/api/me?a=b&c=%2Fd");
}

#[tokio::test]
pub(crate) async fn a_session_ends_when_it_is_not_used() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let idle = trial.app.config.sessions.web.idle;
    trial.clock.advance(idle - seconds(1));
    user.get("/api/me").await.expect(200);
    trial.clock.advance(idle - seconds(1));
    user.get("/api/me").await.expect(200);
    trial.clock.advance(idle);
    user.get("/api/me").await.problem(401);
}

#[tokio::test]
async fn a_session_ends_however_much_it_is_used() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let web = &trial.app.config.sessions.web;
    let half_a_day = web.idle / 2;
    let half_days = web.absolute.as_secs() / half_a_day.as_secs();
    for _ in 1..half_days {
        trial.clock.advance(half_a_day);
        user.get("/api/me").await.expect(200);
    }
    trial.clock.advance(half_a_day);
    user.get("/api/me").await.problem(401);
}
