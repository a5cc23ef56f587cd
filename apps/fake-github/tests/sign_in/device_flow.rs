//! The device flow: codes, page, polling.

use std::time::Duration;

use fake_github::OCTO_USER;
use reqwest::{Method, header};
use serde_json::Value;

use crate::support::{CLIENT_ID, Trial};

const PAGE: &str = "/login/device";

struct Device {
    device_code: String,
    user_code: String,
}

async fn begin(trial: &Trial) -> Device {
    let answer: Value = trial
        .request(Method::POST, "/login/device/code")
        .header(header::ACCEPT, "application/json")
        .form(&[("client_id", CLIENT_ID), ("scope", "read:user")])
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(answer["verification_uri"], trial.url(PAGE));
    assert_eq!(answer["expires_in"], 900);
    assert_eq!(answer["interval"], 5);
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    Device {
        device_code: text("device_code"),
        user_code: text("user_code"),
    }
}

/// Polls without the client secret, which the device flow does not need.
async fn poll(trial: &Trial, device_code: &str) -> Value {
    trial
        .token(&[
            ("client_secret", ""),
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device_code),
        ])
        .await
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_device_gets_its_token_once_the_person_authorized_it() {
    let trial = Trial::start().await;
    let device = begin(&trial).await;
    assert_eq!(device.device_code.len(), 40);
    assert_eq!(device.user_code.len(), 9);
    assert_eq!(
        poll(&trial, &device.device_code).await["error"],
        "authorization_pending"
    );

    let page = trial.get(PAGE, &[("user_code", &device.user_code)]).await;
    assert_eq!(page.status(), 200);
    let html = page.text().await.unwrap();
    assert!(html.contains("This is a local stand-in, not GitHub."));
    assert!(html.contains(&format!(r#"value="{}""#, device.user_code)));
    assert_eq!(html.matches("<form").count(), 1);
    assert_eq!(html.matches(r#"name="account""#).count(), 3);

    let form = [
        ("user_code", device.user_code.as_str()),
        ("account", "1002"),
        ("decision", "authorize"),
    ];
    let answer = trial.post(PAGE, &form).await;
    assert_eq!(answer.status(), 200);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("Your device is connected")
    );
    // The user code takes one answer.
    assert_eq!(trial.post(PAGE, &form).await.status(), 422);

    trial.clock.advance(seconds(5));
    let token = poll(&trial, &device.device_code).await;
    assert_eq!(token["scope"], "read:user");
    assert_eq!(token["token_type"], "bearer");
    let user: Value = trial
        .request(Method::GET, "/user")
        .bearer_auth(token["access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(user["id"], OCTO_USER);

    trial.clock.advance(seconds(5));
    assert_eq!(
        poll(&trial, &device.device_code).await["error"],
        "incorrect_device_code"
    );
}

#[tokio::test]
async fn a_poll_that_comes_too_soon_is_slowed_down() {
    let trial = Trial::start().await;
    let device = begin(&trial).await;
    poll(&trial, &device.device_code).await;
    let answer = poll(&trial, &device.device_code).await;
    assert_eq!(answer["error"], "slow_down");
    assert_eq!(answer["interval"], 10);
    trial.clock.advance(seconds(9));
    let answer = poll(&trial, &device.device_code).await;
    assert_eq!(answer["error"], "slow_down");
    assert_eq!(answer["interval"], 15);
    trial.clock.advance(seconds(15));
    let answer = poll(&trial, &device.device_code).await;
    assert_eq!(answer["error"], "authorization_pending");
    assert!(answer.get("interval").is_none());
}

#[tokio::test]
async fn a_device_that_is_cancelled_is_denied() {
    let trial = Trial::start().await;
    let device = begin(&trial).await;
    let form = [
        ("user_code", device.user_code.as_str()),
        ("decision", "cancel"),
    ];
    let answer = trial.post(PAGE, &form).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("not connected"));
    assert_eq!(
        poll(&trial, &device.device_code).await["error"],
        "access_denied"
    );
}

#[tokio::test]
async fn both_codes_expire_after_fifteen_minutes() {
    let trial = Trial::start().await;
    let device = begin(&trial).await;
    trial.clock.advance(seconds(900));
    assert_eq!(
        poll(&trial, &device.device_code).await["error"],
        "expired_token"
    );
    let form = [
        ("user_code", device.user_code.as_str()),
        ("account", "1002"),
        ("decision", "authorize"),
    ];
    assert_eq!(trial.post(PAGE, &form).await.status(), 422);
}

#[tokio::test]
async fn a_device_code_is_its_clients_alone() {
    let trial = Trial::start().await;
    let device = begin(&trial).await;
    assert_eq!(poll(&trial, "0000").await["error"], "incorrect_device_code");
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let fields = |client_id| {
        [
            ("client_id", client_id),
            ("grant_type", grant),
            ("device_code", device.device_code.as_str()),
        ]
    };
    let answer = trial.token(&fields("other")).await;
    assert_eq!(answer["error"], "incorrect_device_code");
    let answer = trial.token(&fields("nobody")).await;
    assert_eq!(answer["error"], "incorrect_client_credentials");
}

#[tokio::test]
async fn an_unknown_client_gets_no_device_code() {
    let trial = Trial::start().await;
    let form = [("client_id", "nobody")];
    let response = trial.post("/login/device/code", &form).await;
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn the_codes_come_form_encoded_unless_json_is_asked_for() {
    let trial = Trial::start().await;
    let form = [("client_id", CLIENT_ID)];
    let response = trial.post("/login/device/code", &form).await;
    let body = response.text().await.unwrap();
    assert!(body.starts_with("device_code="), "{body}");
    assert!(
        body.contains("&expires_in=900&interval=5&user_code="),
        "{body}"
    );
    assert!(
        body.contains("&verification_uri=http%3A%2F%2F127.0.0.1%3A"),
        "{body}"
    );
}

#[tokio::test]
async fn the_page_says_what_is_missing() {
    let trial = Trial::start().await;
    let device = begin(&trial).await;
    let code = device.user_code.as_str();
    for (form, problem) in [
        (
            vec![("user_code", code), ("decision", "authorize")],
            "Choose an account.",
        ),
        (
            vec![("user_code", code), ("account", "1002")],
            "Authorize or cancel.",
        ),
        (
            vec![
                ("user_code", "<b>"),
                ("account", "1002"),
                ("decision", "authorize"),
            ],
            "No device waits for this code.",
        ),
    ] {
        let response = trial.post(PAGE, &form).await;
        assert_eq!(response.status(), 422);
        let html = response.text().await.unwrap();
        assert!(html.contains(problem));
        assert!(!html.contains("<b>"));
    }
}
