//! Who may sign in: by id, not by login, and as long as an admin says so.

use fake_github::{Endpoint, Fault, OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Browser, ROOMY, Trial, agent, only, text};

const USERS: &str = "/api/admin/users";

async fn users(admin: &Browser) -> Vec<Value> {
    let list = admin.get(USERS).await.expect(200).json();
    list["users"].as_array().unwrap().clone()
}

async fn try_to_sign_in(trial: &Trial, account: u64) -> u16 {
    let browser = trial.browser();
    let callback = trial.begin(&browser, account).await;
    browser.get(&callback).await.status
}

#[tokio::test]
pub(crate) async fn the_last_admin_cannot_be_removed() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let me = format!("{USERS}/{OCTO_ADMIN}");
    let problem = admin.delete(&me).await.problem(409);
    assert_eq!(problem["detail"], "the last admin cannot be removed");
    admin.get("/api/me").await.expect(200);

    let second = json!({ "github_id": OCTO_STRANGER, "role": "admin" });
    admin.post_json(USERS, &second).await.expect(201);
    let second = trial.sign_in(OCTO_STRANGER).await;
    second.delete(&me).await.expect(204);
    admin.get("/api/me").await.problem(401);
    let me = format!("{USERS}/{OCTO_STRANGER}");
    second.delete(&me).await.problem(409);
}

#[tokio::test]
pub(crate) async fn whoever_is_removed_is_out_with_the_next_request() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let user = trial.sign_in(OCTO_USER).await;
    let tokens = agent(&user, "my-agent").await;
    let path = format!("{USERS}/{OCTO_USER}");
    let removed = admin.delete(&path).await.expect(204);

    user.get("/api/me").await.problem(401);
    let token = text(&tokens, "access_token");
    let browser = trial.browser();
    let answer = browser.with_token(Method::GET, "/api/me", token).await;
    answer.problem(401);
    browser
        .with_token(Method::POST, "/mcp", token)
        .await
        .problem(401);
    assert_eq!(try_to_sign_in(&trial, OCTO_USER).await, 403);
    assert!(trial.app.accounts.token(OCTO_USER).await.unwrap().is_none());
    admin.delete(&path).await.problem(404);

    let events = trial.audit(&admin).await;
    let of_request = |event: &&Value| event["request_id"] == removed.request_id();
    let event = events.iter().rfind(of_request).unwrap();
    assert_eq!(event["action"], "admin.users.disallow");
    assert_eq!(event["kind"], "allow_list_change");
    assert_eq!(event["severity"], "high");
    assert_eq!(event["actor"]["login"], "octo-admin");
    assert_eq!(event["resource"], "github:1002");
}

#[tokio::test]
pub(crate) async fn an_account_that_is_renamed_stays_in_and_its_old_login_opens_nothing() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    trial.github().rename(OCTO_USER, "octo-renamed").unwrap();
    trial.github().rename(OCTO_STRANGER, "octo-user").unwrap();
    user.get("/api/me").await.expect(200);
    assert_eq!(try_to_sign_in(&trial, OCTO_STRANGER).await, 403);

    let again = trial.sign_in(OCTO_USER).await;
    let me = again.get("/api/me").await.expect(200).json();
    assert_eq!(me["github_id"], OCTO_USER);
    assert_eq!(me["login"], "octo-renamed");
    let admin = trial.sign_in(OCTO_ADMIN).await;
    assert_eq!(users(&admin).await[1]["login"], "octo-renamed");
}

#[tokio::test]
async fn a_login_is_resolved_to_its_id_once() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let body = json!({ "login": "octo-stranger" });
    let added = admin.post_json(USERS, &body).await.expect(201);
    let expected = json!({ "github_id": OCTO_STRANGER, "role": "user", "login": "octo-stranger" });
    assert_eq!(added.json(), expected);
    assert_eq!(users(&admin).await[2], expected);
    assert_eq!(trial.github().requests(Endpoint::Users), 1);

    trial.github().rename(OCTO_STRANGER, "octo-friend").unwrap();
    let friend = trial.sign_in(OCTO_STRANGER).await;
    let me = friend.get("/api/me").await.expect(200).json();
    assert_eq!(me["login"], "octo-friend");
    assert_eq!(trial.github().requests(Endpoint::Users), 1);

    let events = trial.audit(&admin).await;
    let event = only(&events, "admin.users.allow");
    assert_eq!(event["kind"], "allow_list_change");
    assert_eq!(event["severity"], "high");
    assert_eq!(event["resource"], "github:1003");
    assert_eq!(event["details"]["role"], "user");
    assert_eq!(event["request_id"], added.request_id());
}

#[tokio::test]
pub(crate) async fn an_account_is_added_once() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    // Not to become an admin by being added again either.
    for body in [
        json!({ "github_id": OCTO_USER, "role": "admin" }),
        json!({ "login": "octo-user" }),
        json!({ "login": "OCTO-USER" }),
    ] {
        admin.post_json(USERS, &body).await.problem(409);
    }
    let list = users(&admin).await;
    assert_eq!(list.len(), 2);
    assert_eq!(list[1]["role"], "user");
}

#[tokio::test]
async fn a_body_that_names_no_account_is_refused() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    for body in [
        json!({}),
        json!([]),
        json!({ "role": "admin" }),
        json!({ "github_id": 0 }),
        json!({ "github_id": -1 }),
        json!({ "github_id": 1.5 }),
        json!({ "github_id": "1003" }),
        json!({ "github_id": u64::MAX }),
        json!({ "github_id": 1003, "login": "octo-stranger" }),
        json!({ "github_id": 1003, "role": "owner" }),
        json!({ "github_id": 1003, "admin": true }),
        json!({ "login": "" }),
        json!({ "login": "../user" }),
        json!({ "login": "a b" }),
        json!({ "login": "ä" }),
        json!({ "login": "x".repeat(65) }),
    ] {
        let answer = admin.post_json(USERS, &body).await;
        answer.problem(400);
    }
    let nobody = json!({ "login": "octo-nobody" });
    admin.post_json(USERS, &nobody).await.problem(404);
    assert_eq!(users(&admin).await.len(), 2);
    for id in ["0", "-1", "x", "18446744073709551616", "1003"] {
        for path in [format!("{USERS}/{id}"), format!("{USERS}/{id}/sessions")] {
            let answer = admin.delete(&path).await;
            match id.parse::<u64>() {
                Ok(_) => assert!(
                    [204, 400, 404].contains(&answer.status),
                    "{path}: {answer:?}"
                ),
                Err(_) => assert!(answer.problem(400)["detail"].is_string(), "{path}"),
            }
        }
    }
}

#[tokio::test]
async fn a_login_cannot_be_resolved_while_github_does_not_work() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let body = json!({ "login": "octo-stranger" });
    for fault in [Fault::Status(500), Fault::Malformed] {
        trial.github().fail(Endpoint::Users, fault);
        admin.post_json(USERS, &body).await.problem(503);
    }
    trial.github().clear();
    assert_eq!(users(&admin).await.len(), 2);
    admin.post_json(USERS, &body).await.expect(201);
}

#[tokio::test]
async fn administration_is_for_admins() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    let body = json!({ "github_id": OCTO_USER, "role": "admin" });
    user.get(USERS).await.problem(403);
    user.post_json(USERS, &body).await.problem(403);
    let admin = format!("{USERS}/{OCTO_ADMIN}");
    user.delete(&admin).await.problem(403);
    user.get("/api/admin/blocks").await.problem(403);
    user.delete("/api/admin/blocks/x").await.problem(403);
    trial.browser().get(USERS).await.problem(401);
}

#[tokio::test]
pub(crate) async fn the_first_admin_of_the_configuration_counts_while_there_is_none() {
    let trial = Trial::start_with(ROOMY).await;
    let mut inputs = trial.inputs.clone();
    let folder = trial.stop().ended().await;
    let other = OCTO_STRANGER.to_string();
    inputs.flags.push(("first_admin".to_owned(), other));
    let config = forge_server::Config::read(&inputs).unwrap();
    let clock = forge_server::Clock::standing();
    let forge = forge_server::Forge::build(config, clock).await.unwrap();
    assert!(!forge.is_first_start());
    let role = forge.app().accounts.role(OCTO_STRANGER).await.unwrap();
    assert_eq!(role, None);
    drop(folder);
}
