//! The web flow: the page, the callback, the token.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use fake_github::{Account, OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use reqwest::{Method, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{AUTHORIZE, CALLBACK, CLIENT_ID, SECRET, Trial, callback, hidden_fields};

// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const WITH_CHALLENGE: [(&str, &str); 2] = [
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

#[tokio::test]
async fn a_browser_signs_in_with_the_form_of_the_page() {
    let trial = Trial::start().await;
    let redirect_uri = "http://127.0.0.1:4567/auth/callback";
    let mut query = vec![
        ("client_id", CLIENT_ID),
        ("redirect_uri", redirect_uri),
        ("scope", "read:user user:email"),
        ("state", "a&b=\"c\" <d>"),
    ];
    query.extend(WITH_CHALLENGE);
    let page = trial.get(AUTHORIZE, &query).await;
    assert_eq!(page.status(), 200);
    let html = page.text().await.unwrap();

    let mut form = hidden_fields(&html);
    form.push(("account".into(), OCTO_USER.to_string()));
    form.push(("decision".into(), "authorize".into()));
    let response = trial
        .request(Method::POST, AUTHORIZE)
        .form(&form)
        .send()
        .await
        .unwrap();
    let (url, answer) = callback(&response);
    assert_eq!(url, redirect_uri);
    assert_eq!(answer["state"], "a&b=\"c\" <d>");
    assert_eq!(answer["iss"], trial.url("/login/oauth"));
    assert_eq!(answer["code"].len(), 20);
    assert_eq!(answer.len(), 3);

    let token = trial
        .token(&[
            ("code", &answer["code"]),
            ("redirect_uri", redirect_uri),
            ("code_verifier", VERIFIER),
        ])
        .await;
    let access_token = token["access_token"].as_str().unwrap();
    assert!(access_token.starts_with("gho_"));
    assert_eq!(access_token.len(), 40);
    assert_eq!(
        token,
        json!({"access_token": access_token, "scope": "read:user,user:email", "token_type": "bearer"})
    );
}

#[tokio::test]
async fn the_page_has_one_form_with_every_account_and_says_what_it_is() {
    let trial = Trial::start().await;
    let query = [
        ("client_id", CLIENT_ID),
        ("state", "\"><script>alert(1)</script>"),
    ];
    let page = trial.get(AUTHORIZE, &query).await;
    let headers = page.headers().clone();
    let html = page.text().await.unwrap();

    assert!(html.contains("This is a local stand-in, not GitHub."));
    assert_eq!(html.matches("<form").count(), 1);
    for (id, login) in [
        (OCTO_ADMIN, "octo-admin"),
        (OCTO_USER, "octo-user"),
        (OCTO_STRANGER, "octo-stranger"),
    ] {
        assert!(html.contains(&format!(r#"name="account" value="{id}""#)));
        assert!(html.contains(login));
    }
    for absent in ["<script", "src=", "href=", "@import", " checked"] {
        assert!(!html.contains(absent), "{absent}");
    }

    let style = html.split_once("<style>").unwrap().1;
    let style = style.split_once("</style>").unwrap().0;
    let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none';"));
    assert!(policy.contains(&format!("style-src 'sha256-{hash}'")));
    assert!(
        !policy.contains("form-action"),
        "it would stop the redirect back"
    );
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
}

#[tokio::test]
async fn the_login_parameter_preselects_an_account() {
    let trial = Trial::start().await;
    let checked = |html: &str| {
        let mut chosen = html.match_indices(" checked").map(|(at, _)| at);
        let at = chosen.next()?;
        assert_eq!(chosen.next(), None);
        let start = html[..at].rfind("value=\"")? + 7;
        html[start..].split_once('"')?.0.parse::<u64>().ok()
    };
    for (login, expected) in [
        ("octo-stranger", Some(OCTO_STRANGER)),
        ("OCTO-User", Some(OCTO_USER)),
        ("nobody", None),
    ] {
        let page = trial
            .get(AUTHORIZE, &[("client_id", CLIENT_ID), ("login", login)])
            .await;
        assert_eq!(checked(&page.text().await.unwrap()), expected);
    }
}

#[tokio::test]
async fn cancel_sends_back_access_denied() {
    let trial = Trial::start().await;
    let form = [
        ("client_id", CLIENT_ID),
        ("redirect_uri", CALLBACK),
        ("state", "xyz"),
        ("decision", "cancel"),
    ];
    let (url, answer) = callback(&trial.post(AUTHORIZE, &form).await);
    assert_eq!(url, CALLBACK);
    assert_eq!(answer["error"], "access_denied");
    assert_eq!(
        answer["error_description"],
        "The user has denied your application access."
    );
    assert_eq!(answer["state"], "xyz");
    assert_eq!(answer["iss"], trial.url("/login/oauth"));
    assert!(!answer.contains_key("code"));
}

#[tokio::test]
async fn an_unknown_client_gets_a_404_page_and_no_redirect() {
    let trial = Trial::start().await;
    let query = [("client_id", "nobody"), ("redirect_uri", CALLBACK)];
    for response in [
        trial.get(AUTHORIZE, &query).await,
        trial.get(AUTHORIZE, &[]).await,
        trial.post(AUTHORIZE, &query).await,
    ] {
        assert_eq!(response.status(), 404);
        assert!(!response.headers().contains_key(header::LOCATION));
        assert!(
            response
                .text()
                .await
                .unwrap()
                .contains("Application not found")
        );
    }
}

#[tokio::test]
async fn a_redirect_uri_that_does_not_match_goes_to_the_registered_one() {
    let trial = Trial::start().await;
    for redirect_uri in [
        "http://evil.test/auth/callback",
        "http://127.0.0.1/other",
        "http://127.0.0.1/auth/callback/../../other",
        "/auth/callback",
        "javascript:alert(1)",
    ] {
        let query = [
            ("client_id", CLIENT_ID),
            ("redirect_uri", redirect_uri),
            ("state", "xyz"),
        ];
        let mut form = query.to_vec();
        form.extend([("account", "1001"), ("decision", "authorize")]);
        for response in [
            trial.get(AUTHORIZE, &query).await,
            trial.post(AUTHORIZE, &form).await,
        ] {
            let (url, answer) = callback(&response);
            assert_eq!(url, CALLBACK, "{redirect_uri}");
            assert_eq!(answer["error"], "redirect_uri_mismatch");
            assert_eq!(answer["state"], "xyz");
            assert!(!answer.contains_key("code"));
        }
    }
}

#[tokio::test]
async fn without_a_redirect_uri_the_registered_one_is_used() {
    let trial = Trial::start().await;
    let form = [
        ("client_id", CLIENT_ID),
        ("account", "1001"),
        ("decision", "authorize"),
    ];
    let (url, answer) = callback(&trial.post(AUTHORIZE, &form).await);
    assert_eq!(url, CALLBACK);
    assert!(!answer.contains_key("state"));
    let token = trial
        .token(&[("code", &answer["code"]), ("redirect_uri", CALLBACK)])
        .await;
    assert!(token["access_token"].is_string());
}

#[tokio::test]
async fn the_query_of_a_redirect_uri_is_kept() {
    let trial = Trial::start().await;
    let form = [
        ("client_id", CLIENT_ID),
        (
            "redirect_uri",
            "http://127.0.0.1/auth/callback/sub?tenant=a",
        ),
        ("account", "1001"),
        ("decision", "authorize"),
    ];
    let (url, answer) = callback(&trial.post(AUTHORIZE, &form).await);
    assert_eq!(url, "http://127.0.0.1/auth/callback/sub");
    assert_eq!(answer["tenant"], "a");
    assert!(answer.contains_key("code"));
}

#[tokio::test]
async fn a_form_without_account_or_decision_is_shown_again() {
    let trial = Trial::start().await;
    for (more, problem) in [
        (vec![("decision", "authorize")], "Choose an account."),
        (
            vec![("decision", "authorize"), ("account", "7")],
            "Choose an account.",
        ),
        (vec![("account", "1001")], "Authorize or cancel."),
    ] {
        let mut form = vec![("client_id", CLIENT_ID), ("state", "kept")];
        form.extend(more);
        let response = trial.post(AUTHORIZE, &form).await;
        assert_eq!(response.status(), 422);
        let html = response.text().await.unwrap();
        assert!(html.contains(problem));
        assert!(hidden_fields(&html).contains(&("state".into(), "kept".into())));
    }
}

#[tokio::test]
async fn a_code_works_once_and_for_ten_minutes() {
    let trial = Trial::start().await;
    let code = trial.code(OCTO_ADMIN, &[]).await;
    assert!(trial.token(&[("code", &code)]).await["access_token"].is_string());
    assert_bad_code(&trial.token(&[("code", &code)]).await);

    let code = trial.code(OCTO_ADMIN, &[]).await;
    trial.clock.advance(Duration::from_secs(599));
    assert!(trial.token(&[("code", &code)]).await["access_token"].is_string());

    let code = trial.code(OCTO_ADMIN, &[]).await;
    trial.clock.advance(Duration::from_secs(600));
    assert_bad_code(&trial.token(&[("code", &code)]).await);
    assert_bad_code(&trial.token(&[("code", "0123456789abcdef0123")]).await);
    assert_bad_code(&trial.token(&[]).await);
}

#[tokio::test]
async fn wrong_credentials_are_refused_with_status_200_and_do_not_spend_the_code() {
    let trial = Trial::start().await;
    let code = trial.code(OCTO_ADMIN, &[]).await;
    for (id, secret) in [
        ("nobody", SECRET),
        (CLIENT_ID, "wrong"),
        (CLIENT_ID, ""),
        (CLIENT_ID, "other-secret"),
    ] {
        let answer = trial
            .token(&[
                ("client_id", id),
                ("client_secret", secret),
                ("code", &code),
            ])
            .await;
        assert_eq!(answer["error"], "incorrect_client_credentials");
        assert_eq!(
            answer["error_description"],
            "The client_id and/or client_secret passed are incorrect."
        );
        assert!(
            answer["error_uri"]
                .as_str()
                .unwrap()
                .starts_with("https://docs.github.com/")
        );
    }
    let other = [
        ("client_id", "other"),
        ("client_secret", "other-secret"),
        ("code", code.as_str()),
    ];
    assert_bad_code(&trial.token(&other).await);
    assert!(trial.token(&[("code", &code)]).await["access_token"].is_string());
}

#[tokio::test]
async fn the_token_request_names_the_same_redirect_uri() {
    let trial = Trial::start().await;
    let code = trial.code(OCTO_ADMIN, &[("redirect_uri", CALLBACK)]).await;
    let other = "http://127.0.0.1/auth/callback/other";
    let answer = trial
        .token(&[("code", &code), ("redirect_uri", other)])
        .await;
    assert_eq!(answer["error"], "redirect_uri_mismatch");
}

#[tokio::test]
async fn a_challenge_needs_its_verifier() {
    let trial = Trial::start().await;
    for verifier in ["", "wrong", CHALLENGE] {
        let code = trial.code(OCTO_ADMIN, &WITH_CHALLENGE).await;
        let fields = [("code", code.as_str()), ("code_verifier", verifier)];
        assert_bad_code(&trial.token(&fields).await);
    }
}

#[tokio::test]
async fn no_other_challenge_method_is_taken() {
    let trial = Trial::start().await;
    for challenge in [
        vec![
            ("code_challenge", VERIFIER),
            ("code_challenge_method", "plain"),
        ],
        vec![("code_challenge", CHALLENGE)],
        vec![("code_challenge_method", "S256")],
        vec![
            ("code_challenge", "short"),
            ("code_challenge_method", "S256"),
        ],
    ] {
        let mut query = vec![("client_id", CLIENT_ID), ("state", "xyz")];
        query.extend(challenge);
        let (url, answer) = callback(&trial.get(AUTHORIZE, &query).await);
        assert_eq!(url, CALLBACK);
        assert_eq!(answer["error"], "invalid_request");
        assert_eq!(answer["state"], "xyz");
    }
}

#[tokio::test]
async fn the_answer_is_form_encoded_unless_json_is_asked_for() {
    let trial = Trial::start().await;
    let code = trial.code(OCTO_ADMIN, &[("scope", "gist,repo")]).await;
    let form = [
        ("client_id", CLIENT_ID),
        ("client_secret", SECRET),
        ("code", &code),
    ];
    let response = trial.post("/login/oauth/access_token", &form).await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/x-www-form-urlencoded; charset=utf-8"
    );
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let body = response.text().await.unwrap();
    assert!(body.starts_with("access_token=gho_"), "{body}");
    assert!(
        body.ends_with("&scope=gist%2Crepo&token_type=bearer"),
        "{body}"
    );

    let response = trial.post("/login/oauth/access_token", &form).await;
    assert_eq!(response.status(), 200);
    let body = response.text().await.unwrap();
    assert!(body.starts_with("error=bad_verification_code&"), "{body}");
}

#[tokio::test]
async fn the_token_request_may_be_json() {
    let trial = Trial::start().await;
    let code = trial.code(OCTO_ADMIN, &[]).await;
    let send = |body: String| {
        trial
            .request(Method::POST, "/login/oauth/access_token")
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .send()
    };
    let body = json!({"client_id": CLIENT_ID, "client_secret": SECRET, "code": code});
    let answer: Value = send(body.to_string()).await.unwrap().json().await.unwrap();
    assert!(answer["access_token"].is_string());
    assert_eq!(send("{\"code\":".into()).await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let trial = Trial::start().await;
    let long = "x".repeat(17 * 1024);
    for path in ["/login/oauth/access_token", AUTHORIZE, "/login/device/code"] {
        let response = trial.post(path, &[("code", &long)]).await;
        assert_eq!(response.status(), 413, "{path}");
    }
}

#[tokio::test]
async fn another_grant_type_is_not_supported() {
    let trial = Trial::start().await;
    let answer = trial.token(&[("grant_type", "password")]).await;
    assert_eq!(answer["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn expiring_tokens_are_refreshed_once() {
    let trial = Trial::start_with(|builder| builder.expiring_tokens(true)).await;
    let first = trial.sign_in(OCTO_ADMIN, "").await;
    let access_token = first["access_token"].as_str().unwrap();
    let refresh_token = first["refresh_token"].as_str().unwrap();
    assert!(access_token.starts_with("ghu_"));
    assert!(refresh_token.starts_with("ghr_"));
    assert_eq!(refresh_token.len(), 80);
    assert_eq!(first["expires_in"], 28_800);
    assert_eq!(first["refresh_token_expires_in"], 15_897_600);
    assert_eq!(first["scope"], "");

    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
    ];
    for wrong in ["wrong", ""] {
        let mut fields = refresh.to_vec();
        fields.push(("client_secret", wrong));
        let answer = trial.token(&fields).await;
        assert_eq!(answer["error"], "incorrect_client_credentials");
    }
    let second = trial.token(&refresh).await;
    assert!(second["access_token"].as_str().unwrap().starts_with("ghu_"));
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let live = trial.server.control().tokens_issued();
    assert_eq!(live.len(), 2);
    assert!(!live.contains(&access_token.to_owned()));

    let answer = trial.token(&refresh).await;
    assert_eq!(answer["error"], "bad_refresh_token");
    assert_eq!(
        answer["error_description"],
        "The refresh token passed is incorrect or expired."
    );
}

#[tokio::test]
async fn asking_for_no_scope_gives_those_of_before() {
    let trial = Trial::start().await;
    assert_eq!(trial.sign_in(OCTO_ADMIN, "").await["scope"], "");
    trial.sign_in(OCTO_ADMIN, "user:email").await;
    assert_eq!(trial.sign_in(OCTO_ADMIN, "gist").await["scope"], "gist");
    assert_eq!(
        trial.sign_in(OCTO_ADMIN, "").await["scope"],
        "gist,user:email"
    );
}

#[tokio::test]
async fn an_account_with_an_unverified_address_gets_no_token() {
    let trial = Trial::start_with(|builder| {
        builder.account(Account::new(5, "fresh").email_verified(false))
    })
    .await;
    let answer = trial.sign_in(5, "").await;
    assert_eq!(answer["error"], "unverified_user_email");
}

#[tokio::test]
async fn the_issuer_is_the_one_configured() {
    let issuer = "https://github.com/login/oauth";
    let trial = Trial::start_with(|builder| builder.issuer(issuer)).await;
    let form = [("client_id", CLIENT_ID), ("decision", "cancel")];
    let (_, answer) = callback(&trial.post(AUTHORIZE, &form).await);
    assert_eq!(answer["iss"], issuer);
}

fn assert_bad_code(answer: &Value) {
    assert_eq!(answer["error"], "bad_verification_code");
    assert_eq!(
        answer["error_description"],
        "The code passed is incorrect or expired."
    );
    assert!(answer.get("access_token").is_none());
}
