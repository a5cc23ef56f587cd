//! Signing a terminal in by the device flow, and GitHub tokens that expire.

use std::sync::Arc;
use std::time::Duration;

use fake_github::{Endpoint, OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use forge_server::Login;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::support::{Browser, Trial, text};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub(crate) async fn begin(browser: &Browser) -> Value {
    let answer = browser
        .post_form("/auth/device", &[("client_id", "my-terminal")])
        .await;
    answer.expect(200).json()
}

pub(crate) async fn poll(browser: &Browser, device_code: &str, client: &str) -> (u16, Value) {
    let form = [
        ("grant_type", GRANT),
        ("device_code", device_code),
        ("client_id", client),
    ];
    let answer = browser.post_form("/auth/token", &form).await;
    (answer.status, answer.json())
}

pub(crate) fn refused(code: &str) -> (u16, Value) {
    (400, json!({ "error": code }))
}

/// Answers at GitHub as a person would.
pub(crate) async fn answer(trial: &Trial, user_code: &str, account: u64, decision: &str) {
    let form = [
        ("user_code", user_code),
        ("account", &account.to_string()),
        ("decision", decision),
    ];
    let url = format!("{}/login/device", trial.github_url());
    let sent = reqwest::Client::new().post(url).form(&form).send().await;
    assert!(sent.unwrap().status().is_success());
}

#[tokio::test]
pub(crate) async fn a_terminal_is_signed_in_after_the_person_has_answered() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let begun = begin(&browser).await;
    assert!(begun["interval"].as_u64().unwrap() >= 5);
    let code = text(&begun, "device_code");
    answer(&trial, text(&begun, "user_code"), OCTO_USER, "authorize").await;
    let (status, tokens) = poll(&browser, code, "my-terminal").await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["session"]["client"], "my-terminal");
    let token = text(&tokens, "access_token");
    let me = browser.with_token(Method::GET, "/api/me", token).await;
    assert_eq!(me.expect(200).json()["session"]["kind"], "mcp");
    // The code is used up.
    trial.clock.advance(Duration::from_secs(7));
    assert_eq!(
        poll(&browser, code, "my-terminal").await,
        refused("invalid_grant")
    );
}

#[tokio::test]
pub(crate) async fn who_polls_too_fast_is_slowed_down_before_github_hears_of_it() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let begun = begin(&browser).await;
    let code = text(&begun, "device_code");
    assert_eq!(
        poll(&browser, code, "my-terminal").await,
        refused("authorization_pending")
    );
    let asked = trial.github().requests(Endpoint::Token);
    for _ in 0..3 {
        assert_eq!(
            poll(&browser, code, "my-terminal").await,
            refused("slow_down")
        );
    }
    assert_eq!(trial.github().requests(Endpoint::Token), asked);
    // Each of them added five seconds.
    trial.clock.advance(Duration::from_secs(21));
    assert_eq!(
        poll(&browser, code, "my-terminal").await,
        refused("slow_down")
    );
}

#[tokio::test]
pub(crate) async fn denied_expired_guessed_and_not_allowed_are_refused() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let begun = begin(&browser).await;
    answer(&trial, text(&begun, "user_code"), OCTO_USER, "cancel").await;
    let code = text(&begun, "device_code");
    assert_eq!(
        poll(&browser, code, "other").await,
        refused("invalid_grant")
    );
    assert_eq!(
        poll(&browser, code, "my-terminal").await,
        refused("access_denied")
    );
    assert_eq!(
        poll(&browser, code, "my-terminal").await,
        refused("invalid_grant")
    );

    let begun = begin(&browser).await;
    trial.clock.advance(Duration::from_secs(900));
    let code = text(&begun, "device_code");
    assert_eq!(
        poll(&browser, code, "my-terminal").await,
        refused("expired_token")
    );

    for guess in ["", "x", &"A".repeat(43)] {
        assert_eq!(
            poll(&browser, guess, "my-terminal").await,
            refused("invalid_grant")
        );
    }

    let begun = begin(&browser).await;
    answer(
        &trial,
        text(&begun, "user_code"),
        OCTO_STRANGER,
        "authorize",
    )
    .await;
    let code = text(&begun, "device_code");
    assert_eq!(
        poll(&browser, code, "my-terminal").await,
        refused("access_denied")
    );
    assert!(
        trial
            .app
            .accounts
            .token(OCTO_STRANGER)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn forge_login_shows_the_code_and_keeps_the_tokens() {
    let trial = Trial::roomy().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("forge/credentials.json");
    let login = Login {
        server: trial.url(),
        client: "my-terminal".to_owned(),
        file: Some(file.clone()),
    };
    let (open, gate) = tokio::sync::watch::channel(false);
    let (shown, mut reader) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        // GitHub wants seconds between two polls: this one comes when the person has answered.
        let answered = |wait: Duration| {
            assert!(wait >= Duration::from_secs(5));
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|open| *open).await.unwrap();
            }
        };
        login.run_with(&mut Lines(shown), answered).await
    });
    let mut code = String::new();
    while code.is_empty() {
        let text = reader.recv().await.unwrap();
        let trimmed = text.trim();
        if trimmed.len() == 9 && trimmed.as_bytes()[4] == b'-' {
            code = trimmed.to_owned();
        }
    }
    answer(&trial, &code, OCTO_USER, "authorize").await;
    open.send(true).unwrap();
    running.await.unwrap().unwrap();
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let token = text(
        &kept[trial.url().as_str().trim_end_matches('/')],
        "access_token",
    );
    let me = trial
        .browser()
        .with_token(Method::GET, "/api/me", token)
        .await;
    me.expect(200);
}

/// Text as it is shown.
struct Lines(tokio::sync::mpsc::UnboundedSender<String>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
pub(crate) async fn an_expiring_github_token_is_refreshed_by_one_request_at_a_time() {
    let trial = Trial::with_expiring_tokens().await;
    trial.sign_in(OCTO_ADMIN).await;
    let accounts = Arc::new(trial.app.accounts.clone());
    let first = accounts.token(OCTO_ADMIN).await.unwrap().unwrap();
    let same = accounts.fresh_token(&trial.app.github, OCTO_ADMIN).await;
    assert_eq!(
        same.unwrap().unwrap().expose_secret(),
        first.expose_secret()
    );
    trial.clock.advance(Duration::from_secs(8 * 3600 - 200));
    let asked = trial.github().requests(Endpoint::Token);
    let all: Vec<_> = (0..8)
        .map(|_| {
            let (accounts, github) = (Arc::clone(&accounts), trial.app.github.clone());
            tokio::spawn(async move { accounts.fresh_token(&github, OCTO_ADMIN).await })
        })
        .collect();
    let mut tokens = std::collections::HashSet::new();
    for one in all {
        let token = one.await.unwrap().unwrap().unwrap();
        tokens.insert(token.expose_secret().to_owned());
    }
    assert_eq!(tokens.len(), 1);
    assert!(!tokens.contains(first.expose_secret()));
    assert_eq!(trial.github().requests(Endpoint::Token), asked + 1);
    // An outage changes nothing, and a refusal means to sign in again.
    trial.clock.advance(Duration::from_secs(8 * 3600));
    trial
        .github()
        .fail(Endpoint::Token, fake_github::Fault::Status(500));
    let result = accounts.fresh_token(&trial.app.github, OCTO_ADMIN).await;
    assert!(result.is_err());
    trial.github().clear();
    let next = accounts.fresh_token(&trial.app.github, OCTO_ADMIN).await;
    assert!(next.unwrap().is_some());
}

#[tokio::test]
async fn an_admin_ends_the_sessions_of_one_and_of_all() {
    let trial = Trial::roomy().await;
    let (user, admin) = (
        trial.sign_in(OCTO_USER).await,
        trial.sign_in(OCTO_ADMIN).await,
    );
    user.delete("/api/admin/sessions").await.problem(403);
    let path = format!("/api/admin/users/{OCTO_USER}/sessions");
    admin.delete(&path).await.expect(204);
    user.get("/api/me").await.problem(401);
    // The account is still allowed.
    let user = trial.sign_in(OCTO_USER).await;
    user.get("/api/me").await.expect(200);
    admin.delete("/api/admin/sessions").await.expect(204);
    for browser in [&user, &admin] {
        browser.get("/api/me").await.problem(401);
    }
}
