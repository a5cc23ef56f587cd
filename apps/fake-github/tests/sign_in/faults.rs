//! What a test can do to the stand-in, in its process and over HTTP.

use std::time::Duration;

use fake_github::{
    Client, ControlError, Endpoint, FakeGithub, Fault, OCTO_ADMIN, OCTO_STRANGER, OCTO_USER,
    ServeError,
};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::{CALLBACK, CLIENT_ID, Trial};

const HOUR: Duration = Duration::from_secs(3600);

async fn login(trial: &Trial, token: &str) -> String {
    let request = trial.request(Method::GET, "/user").bearer_auth(token);
    let user: Value = request.send().await.unwrap().json().await.unwrap();
    user["login"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_renamed_account_keeps_its_id_and_tokens() {
    let trial = Trial::start().await;
    let control = trial.server.control();
    let token = trial.access_token(OCTO_ADMIN, "").await;
    control.rename(OCTO_ADMIN, "octo-former").unwrap();
    assert_eq!(login(&trial, &token).await, "octo-former");

    // The old login may be somebody else's now.
    control.rename(OCTO_STRANGER, "octo-admin").unwrap();
    let request = trial.request(Method::GET, "/users/octo-admin");
    let user: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(user["id"], OCTO_STRANGER);

    assert_eq!(control.rename(7, "x"), Err(ControlError::UnknownAccount));
    assert_eq!(
        control.rename(OCTO_USER, "octo-admin"),
        Err(ControlError::LoginTaken)
    );
    assert_eq!(
        control.rename(OCTO_USER, "not a login"),
        Err(ControlError::InvalidLogin)
    );
}

#[tokio::test]
async fn an_endpoint_fails_with_a_status_until_cleared() {
    let trial = Trial::start().await;
    let control = trial.server.control();
    let token = trial.access_token(OCTO_ADMIN, "").await;
    let user = || {
        trial
            .request(Method::GET, "/user")
            .bearer_auth(&token)
            .send()
    };
    control.fail(Endpoint::User, Fault::Status(500));
    assert_eq!(user().await.unwrap().status(), 500);
    // Others go on.
    let response = trial.request(Method::GET, "/users/octo-admin").send();
    assert_eq!(response.await.unwrap().status(), 200);
    control.clear();
    assert_eq!(user().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_malformed_answer_is_no_json() {
    let trial = Trial::start().await;
    trial
        .server
        .control()
        .fail(Endpoint::User, Fault::Malformed);
    let response = trial.request(Method::GET, "/user").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/json; charset=utf-8"
    );
    assert!(response.json::<Value>().await.is_err());
}

#[tokio::test]
async fn every_endpoint_can_fail_and_is_counted() {
    let trial = Trial::start().await;
    let control = trial.server.control();
    for (endpoint, method, path) in [
        (Endpoint::Authorize, Method::GET, "/login/oauth/authorize"),
        (Endpoint::Authorize, Method::POST, "/login/oauth/authorize"),
        (Endpoint::Token, Method::POST, "/login/oauth/access_token"),
        (Endpoint::DeviceCode, Method::POST, "/login/device/code"),
        (Endpoint::DevicePage, Method::GET, "/login/device"),
        (Endpoint::DevicePage, Method::POST, "/login/device"),
        (Endpoint::User, Method::GET, "/user"),
        (Endpoint::Emails, Method::GET, "/user/emails"),
        (Endpoint::Users, Method::GET, "/users/octo-admin"),
        (Endpoint::Users, Method::GET, "/user/1001"),
        (
            Endpoint::RevokeToken,
            Method::DELETE,
            "/applications/app/token",
        ),
        (
            Endpoint::RevokeGrant,
            Method::DELETE,
            "/applications/app/grant",
        ),
    ] {
        let before = control.requests(endpoint);
        let request = || trial.request(method.clone(), path).send();
        assert_ne!(request().await.unwrap().status(), 502, "{path}");
        control.fail(endpoint, Fault::Status(502));
        assert_eq!(request().await.unwrap().status(), 502, "{path}");
        control.clear();
        assert_eq!(control.requests(endpoint), before + 2, "{path}");
    }
}

#[tokio::test]
async fn a_failing_token_endpoint_does_not_spend_the_code() {
    let trial = Trial::start().await;
    let control = trial.server.control();
    let code = trial.code(OCTO_ADMIN, &[]).await;
    control.fail(Endpoint::Token, Fault::Status(503));
    let form = [("client_id", CLIENT_ID), ("code", &code)];
    let response = trial.post("/login/oauth/access_token", &form).await;
    assert_eq!(response.status(), 503);
    assert!(control.tokens_issued().is_empty());
    control.clear();
    let token = trial.token(&[("code", &code)]).await;
    let access_token = token["access_token"].as_str().unwrap().to_owned();
    assert_eq!(control.tokens_issued(), [access_token]);
}

#[tokio::test]
async fn a_delayed_endpoint_holds_requests_back_until_cleared() {
    let trial = Trial::start().await;
    let control = trial.server.control();
    control.delay(Endpoint::User, HOUR);
    let held = tokio::spawn(trial.request(Method::GET, "/user").send());
    control.wait_for_requests(Endpoint::User, 1).await;
    // Another endpoint answers meanwhile.
    let response = trial.request(Method::GET, "/users/octo-admin").send();
    assert_eq!(response.await.unwrap().status(), 200);
    assert!(!held.is_finished());
    control.clear();
    assert_eq!(held.await.unwrap().unwrap().status(), 401);
}

#[tokio::test]
async fn a_delay_ends_by_itself_and_a_shorter_one_counts_at_once() {
    let trial = Trial::start().await;
    let control = trial.server.control();
    control.delay(Endpoint::User, Duration::from_millis(1));
    let response = trial.request(Method::GET, "/user").send().await.unwrap();
    assert_eq!(response.status(), 401);

    control.delay(Endpoint::User, HOUR);
    let held = tokio::spawn(trial.request(Method::GET, "/user").send());
    control.wait_for_requests(Endpoint::User, 2).await;
    control.delay(Endpoint::User, Duration::ZERO);
    assert_eq!(held.await.unwrap().unwrap().status(), 401);
}

#[tokio::test]
async fn a_shutdown_lets_delayed_requests_go_on_and_then_stops_listening() {
    let trial = Trial::start().await;
    let control = trial.server.control();
    let addr = trial.server.addr();
    control.delay(Endpoint::User, HOUR);
    let held = tokio::spawn(trial.request(Method::GET, "/user").send());
    control.wait_for_requests(Endpoint::User, 1).await;
    trial.server.shutdown().await;
    assert_eq!(held.await.unwrap().unwrap().status(), 401);
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn the_same_is_done_over_http() {
    let trial = Trial::start().await;
    let token = trial.access_token(OCTO_ADMIN, "").await;
    let post = |path: &'static str, body: Value| {
        let request = trial.request(Method::POST, path).json(&body).send();
        async move { request.await.unwrap().status() }
    };
    let read = |path: &'static str| {
        let request = trial.request(Method::GET, path).send();
        async move { request.await.unwrap().json::<Value>().await.unwrap() }
    };
    let user = || async {
        let request = trial.request(Method::GET, "/user").bearer_auth(&token);
        request.send().await.unwrap()
    };

    let rename = json!({"id": 1001, "login": "octo-new"});
    assert_eq!(post("/_fake/rename", rename).await, 204);
    assert_eq!(login(&trial, &token).await, "octo-new");
    let taken = json!({"id": 1001, "login": "octo-user"});
    assert_eq!(post("/_fake/rename", taken).await, 422);

    let fail = json!({"endpoint": "user", "fault": {"status": 500}});
    assert_eq!(post("/_fake/fail", fail).await, 204);
    assert_eq!(user().await.status(), 500);
    let fail = json!({"endpoint": "user", "fault": "malformed"});
    assert_eq!(post("/_fake/fail", fail).await, 204);
    assert!(user().await.json::<Value>().await.is_err());
    assert_eq!(post("/_fake/clear", Value::Null).await, 204);
    assert_eq!(user().await.status(), 200);

    let delay = json!({"endpoint": "user", "milliseconds": 3_600_000});
    assert_eq!(post("/_fake/delay", delay).await, 204);
    let held = tokio::spawn(trial.request(Method::GET, "/user").send());
    trial
        .server
        .control()
        .wait_for_requests(Endpoint::User, 5)
        .await;
    assert_eq!(post("/_fake/clear", Value::Null).await, 204);
    assert_eq!(held.await.unwrap().unwrap().status(), 401);

    assert_eq!(read("/_fake/tokens").await, json!([token]));
    let counted = read("/_fake/requests").await;
    assert_eq!(counted["user"], 5);
    assert_eq!(counted["token"], 1);
    assert_eq!(counted["emails"], 0);
}

#[tokio::test]
async fn a_control_request_that_is_wrong_is_refused() {
    let trial = Trial::start().await;
    for (path, body) in [
        (
            "/_fake/fail",
            json!({"endpoint": "nothing", "fault": "malformed"}),
        ),
        ("/_fake/fail", json!({"endpoint": "user"})),
        (
            "/_fake/delay",
            json!({"endpoint": "user", "milliseconds": -1}),
        ),
        (
            "/_fake/rename",
            json!({"id": 1001, "login": "x", "more": 1}),
        ),
    ] {
        let request = trial.request(Method::POST, path).json(&body);
        assert_eq!(request.send().await.unwrap().status(), 422, "{path}");
    }
    // What a form of a foreign page could send.
    let body = json!({"id": 1001, "login": "x"}).to_string();
    let request = trial.request(Method::POST, "/_fake/rename").body(body);
    let request = request.header(header::CONTENT_TYPE, "text/plain");
    assert_eq!(request.send().await.unwrap().status(), 415);
}

#[tokio::test]
async fn only_loopback_is_listened_on_and_answered() {
    let client = Client::new(CLIENT_ID, "secret", CALLBACK.parse().unwrap());
    let github = FakeGithub::builder().client(client).build().unwrap();
    for addr in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = github.serve(addr.parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, ServeError::NotLoopback(_)), "{addr}");
    }

    let trial = Trial::start().await;
    let with_host = |host: &str| {
        let request = trial.request(Method::GET, "/users/octo-admin");
        request.header(header::HOST, host).send()
    };
    for host in ["evil.test", "evil.test:3002", "127.0.0.1.evil.test"] {
        assert_eq!(with_host(host).await.unwrap().status(), 421, "{host}");
    }
    for host in ["localhost", "localhost:3002", "[::1]:3002", "127.0.0.1"] {
        assert_eq!(with_host(host).await.unwrap().status(), 200, "{host}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_says_so() {
    let trial = Trial::start().await;
    let client = Client::new(CLIENT_ID, "secret", CALLBACK.parse().unwrap());
    let github = FakeGithub::builder().client(client).build().unwrap();
    let error = github.serve(trial.server.addr()).await.unwrap_err();
    assert!(matches!(error, ServeError::Bind { .. }));
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn anything_else_is_not_found() {
    let trial = Trial::start().await;
    for path in ["/", "/octo-admin", "/_fake/nothing"] {
        assert_eq!(trial.get(path, &[]).await.status(), 404, "{path}");
    }
}
