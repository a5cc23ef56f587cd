//! The API with a token, without one, and with one that is revoked.

use std::time::Duration;

use fake_github::{OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use reqwest::{Method, Response, header};
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, SECRET, Trial};

async fn get_with(trial: &Trial, path: &str, authorization: &str) -> Response {
    trial
        .request(Method::GET, path)
        .header(header::AUTHORIZATION, authorization)
        .send()
        .await
        .unwrap()
}

async fn json_of(response: Response) -> Value {
    response.json().await.unwrap()
}

async fn is_alive(trial: &Trial, token: &str) -> bool {
    let response = get_with(trial, "/user", &format!("Bearer {token}")).await;
    response.status() == 200
}

async fn revoke(trial: &Trial, what: &str, secret: &str, body: String) -> Response {
    trial
        .request(Method::DELETE, &format!("/applications/{CLIENT_ID}/{what}"))
        .basic_auth(CLIENT_ID, Some(secret))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn tells_whom_a_token_speaks_for() {
    let trial = Trial::start().await;
    let token = trial.access_token(OCTO_ADMIN, "read:user user:email").await;
    for scheme in ["Bearer", "bearer", "token"] {
        let response = get_with(&trial, "/user", &format!("{scheme} {token}")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.headers()["x-oauth-scopes"],
            "read:user, user:email"
        );
        let user = json_of(response).await;
        assert_eq!(user["id"], OCTO_ADMIN);
        assert_eq!(user["login"], "octo-admin");
        assert_eq!(user["name"], "Octavia Admin");
        assert_eq!(user["type"], "User");
        assert_eq!(user["email"], Value::Null);
        assert_eq!(user["avatar_url"], trial.url("/avatars/u/1001?v=4"));
    }
    let avatar = trial.get("/avatars/u/1001", &[]).await;
    assert_eq!(avatar.headers()[header::CONTENT_TYPE], "image/svg+xml");
    assert!(avatar.text().await.unwrap().contains(">O</text>"));
    assert_eq!(trial.get("/avatars/u/7", &[]).await.status(), 404);
}

#[tokio::test]
async fn refuses_credentials_that_are_wrong_or_missing() {
    let trial = Trial::start().await;
    let token = trial.access_token(OCTO_ADMIN, "").await;
    for authorization in [
        "Bearer gho_000000000000000000000000000000000000",
        "Bearer",
        "Basic b2N0bzpjYXQ=",
        &format!("Digest {token}"),
    ] {
        let response = get_with(&trial, "/user", authorization).await;
        assert_eq!(response.status(), 401);
        assert_eq!(
            json_of(response).await,
            json!({
                "message": "Bad credentials",
                "documentation_url": "https://docs.github.com/rest",
                "status": "401",
            })
        );
    }
    let response = trial.request(Method::GET, "/user").send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(
        json_of(response).await["message"],
        "Requires authentication"
    );
}

#[tokio::test]
async fn refuses_a_request_without_user_agent() {
    let trial = Trial::start().await;
    let token = trial.access_token(OCTO_ADMIN, "").await;
    for (method, path) in [
        (Method::GET, "/user"),
        (Method::GET, "/user/emails"),
        (Method::GET, "/users/octo-admin"),
        (Method::DELETE, "/applications/app/token"),
    ] {
        let response = trial
            .anonymous(method, path)
            .bearer_auth(&token)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 403, "{path}");
        assert!(response.text().await.unwrap().contains("User-Agent"));
    }
}

#[tokio::test]
async fn tells_addresses_to_a_token_with_the_scope_only() {
    let trial = Trial::start().await;
    for scope in ["user:email", "user"] {
        let token = trial.access_token(OCTO_USER, scope).await;
        let response = get_with(&trial, "/user/emails", &format!("Bearer {token}")).await;
        assert_eq!(
            response.headers()["x-accepted-oauth-scopes"],
            "user, user:email"
        );
        assert_eq!(
            json_of(response).await,
            json!([{
                "email": "octo-user@example.com",
                "primary": true,
                "verified": true,
                "visibility": "private",
            }])
        );
    }
    let token = trial.access_token(OCTO_USER, "read:user").await;
    let response = get_with(&trial, "/user/emails", &format!("Bearer {token}")).await;
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn an_expiring_token_is_refused_after_eight_hours() {
    let trial = Trial::start_with(|builder| builder.expiring_tokens(true)).await;
    let token = trial.access_token(OCTO_ADMIN, "").await;
    trial.clock.advance(Duration::from_secs(28_799));
    assert!(is_alive(&trial, &token).await);
    trial.clock.advance(Duration::from_secs(1));
    assert!(!is_alive(&trial, &token).await);
}

#[tokio::test]
async fn finds_an_account_by_login_and_by_id() {
    let trial = Trial::start().await;
    for path in ["/users/octo-stranger", "/users/Octo-Stranger", "/user/1003"] {
        let response = trial.request(Method::GET, path).send().await.unwrap();
        assert_eq!(json_of(response).await["id"], OCTO_STRANGER);
    }
    for path in ["/users/nobody", "/user/7", "/user/seven"] {
        let response = trial.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(json_of(response).await["message"], "Not Found");
    }
}

#[tokio::test]
async fn revokes_one_token() {
    let trial = Trial::start().await;
    let token = trial.access_token(OCTO_ADMIN, "").await;
    let kept = trial.access_token(OCTO_ADMIN, "").await;
    let body = json!({"access_token": token}).to_string();
    assert_eq!(
        revoke(&trial, "token", SECRET, body.clone()).await.status(),
        204
    );
    assert!(!is_alive(&trial, &token).await);
    assert!(is_alive(&trial, &kept).await);
    assert_eq!(revoke(&trial, "token", SECRET, body).await.status(), 404);
}

#[tokio::test]
async fn revokes_a_grant_with_all_its_tokens() {
    let trial = Trial::start().await;
    let token = trial.access_token(OCTO_ADMIN, "gist").await;
    let other = trial.access_token(OCTO_ADMIN, "").await;
    let kept = trial.access_token(OCTO_USER, "").await;
    let body = json!({"access_token": token}).to_string();
    assert_eq!(
        revoke(&trial, "grant", SECRET, body.clone()).await.status(),
        204
    );
    assert!(!is_alive(&trial, &token).await);
    assert!(!is_alive(&trial, &other).await);
    assert!(is_alive(&trial, &kept).await);
    assert_eq!(revoke(&trial, "grant", SECRET, body).await.status(), 404);
    // The scopes given before are forgotten with the grant.
    assert_eq!(trial.sign_in(OCTO_ADMIN, "").await["scope"], "");
}

#[tokio::test]
async fn revokes_for_the_tokens_own_application_only() {
    let trial = Trial::start().await;
    let token = trial.access_token(OCTO_ADMIN, "").await;
    let body = json!({"access_token": token}).to_string();
    for what in ["token", "grant"] {
        let response = revoke(&trial, what, "wrong", body.clone()).await;
        assert_eq!(response.status(), 401);
        let request = |path: String| {
            trial
                .request(Method::DELETE, &path)
                .basic_auth("other", Some("other-secret"))
                .body(body.clone())
                .send()
        };
        for client_id in ["other", CLIENT_ID] {
            let response = request(format!("/applications/{client_id}/{what}")).await;
            assert_eq!(response.unwrap().status(), 404);
        }
        let path = format!("/applications/{CLIENT_ID}/{what}");
        let response = trial.request(Method::DELETE, &path).bearer_auth(&token);
        assert_eq!(response.send().await.unwrap().status(), 401);
    }
    assert!(is_alive(&trial, &token).await);
}

#[tokio::test]
async fn refuses_a_revocation_that_names_no_token() {
    let trial = Trial::start().await;
    for what in ["token", "grant"] {
        for body in ["{}", r#"{"access_token":""}"#] {
            let response = revoke(&trial, what, SECRET, body.into()).await;
            assert_eq!(response.status(), 422);
        }
        for body in ["", "access_token=x", "[1"] {
            let response = revoke(&trial, what, SECRET, body.into()).await;
            assert_eq!(response.status(), 400);
        }
    }
}
