//! Requests that no honest client sends: each is refused as it should be, and nothing breaks.

use fake_github::{OCTO_ADMIN, OCTO_USER};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ROOMY, Trial, seconds, text, with_action};

/// Sends bytes as they are: the status and everything that comes back.
async fn raw(trial: &Trial, bytes: impl AsRef<[u8]>) -> (u16, String) {
    let answer = test_support::raw(trial.addr, bytes).await;
    let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
    (status.unwrap_or_default(), answer)
}

fn get(trial: &Trial, path: &str, headers: &str) -> Vec<u8> {
    let host = trial.addr;
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n").into()
}

async fn assert_serves(trial: &Trial) {
    trial.browser().get("/").await.expect(200);
}

/// The reasons for which credentials or requests were refused, as they are on record.
async fn reasons(trial: &Trial, action: &str) -> Vec<String> {
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let found = with_action(&events, action).into_iter();
    let reason = |event: &Value| {
        assert_eq!(event["address"], "127.0.0.1");
        assert_eq!(text(event, "request_id").len(), 36);
        text(&event["details"], "reason").to_owned()
    };
    found.map(reason).collect()
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let trial = Trial::roomy().await;
    let long = format!("x: {}\r\n", "y".repeat(70 * 1024));
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    for headers in [long, many] {
        let (status, answer) = raw(&trial, get(&trial, "/", &headers)).await;
        assert_eq!(status, 431, "{answer}");
    }
    let long = get(&trial, &format!("/{}", "a".repeat(70 * 1024)), "");
    let (status, answer) = raw(&trial, long).await;
    assert!(matches!(status, 414 | 431), "{answer}");
    assert_serves(&trial).await;
}

#[tokio::test]
async fn a_request_needs_one_host_and_one_of_ours() {
    let trial = Trial::roomy().await;
    let addr = trial.addr;
    for (head, expected) in [
        (format!("host: {addr}\r\nhost: {addr}"), 400),
        (format!("host: {addr}\r\nhost: evil.example"), 400),
        (format!("x: {addr}"), 400),
        ("host: ".to_owned(), 400),
        (format!("host: {addr}, evil.example"), 400),
        (format!("host: user@{addr}"), 400),
        ("host: evil.example".to_owned(), 421),
        (format!("host: {}", addr.ip()), 421),
        (format!("host: {addr}.evil.example"), 400),
        (format!("host: {addr}"), 200),
        (format!("host: localhost:{}", addr.port()), 200),
    ] {
        let request = format!("GET / HTTP/1.1\r\nconnection: close\r\n{head}\r\n\r\n");
        let (status, answer) = raw(&trial, request).await;
        assert_eq!(status, expected, "{head}: {answer}");
        assert!(answer.contains("\r\nx-content-type-options: nosniff\r\n"));
        assert!(answer.contains("\r\nx-request-id: "), "{answer}");
        assert_eq!(answer.contains("application/problem+json"), status != 200);
    }
    let absolute =
        format!("GET http://evil.example/ HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    let (status, answer) = raw(&trial, absolute).await;
    assert!(matches!(status, 400 | 421), "{answer}");
    let reasons = reasons(&trial, "request.refuse").await;
    assert!(
        reasons.iter().all(|reason| reason.starts_with("host_")),
        "{reasons:?}"
    );
    assert_eq!(reasons.len(), 10);
}

#[tokio::test]
async fn bytes_that_are_no_request_are_refused() {
    let trial = Trial::roomy().await;
    let host = trial.addr;
    let with_host = |line: &[u8]| {
        let rest = format!(" HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        [line, rest.as_bytes()].concat()
    };
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        with_host(b"GET /\xff\xfe"),
        with_host(b"GET /?next=\xff\xfe"),
        with_host(b"GET /\x00"),
        with_host(b"G\x01T /"),
        get(&trial, "/", "x: a\x00b\r\n"),
        get(&trial, "/", "content-length: 5\r\ncontent-length: 6\r\n"),
        get(&trial, "/", "content-length: -1\r\n"),
    ] {
        let (status, answer) = raw(&trial, &bytes).await;
        let shown = String::from_utf8_lossy(&bytes);
        assert!(
            answer.is_empty() || (400..500).contains(&status),
            "{shown:?}: {answer}"
        );
    }
    assert_serves(&trial).await;
}

#[tokio::test]
async fn a_query_that_is_no_utf_8_is_refused_or_read_as_what_it_is() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    for path in [
        "/auth/github/login?next=%ff%fe",
        "/auth/github/login?next=%",
        "/auth/github/login?%ff=%ff",
    ] {
        let answer = user.get(path).await.expect(303);
        let out = trial
            .decide(answer.location(), OCTO_USER, "authorize")
            .await;
        assert_eq!(user.get(&out).await.expect(303).location(), "/");
    }
    let refused = user.get("/auth/github/callback?state=%ff&code=%fe").await;
    refused.problem(400);
    user.get("/api/sessions?%ff").await.expect(200);
    user.get("/%ff").await.problem(404);
    user.delete("/api/sessions/%ff").await.problem(400);
}

#[tokio::test]
async fn a_cookie_that_is_none_of_ours_signs_nobody_in() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    let good = user.cookie("forge-dev").unwrap();
    let (first, rest) = good.split_at(1);
    let changed = if first == "A" { "B" } else { "A" };
    for (cookie, reason) in [
        ("forge-dev=".to_owned(), Some("malformed")),
        ("forge-dev=x".to_owned(), Some("malformed")),
        (format!("forge-dev={changed}{rest}"), Some("unknown")),
        (
            format!("forge-dev={good}; forge-dev={good}"),
            Some("ambiguous"),
        ),
        (format!("forge-dev=\"{good}\""), Some("malformed")),
        (format!("forge-dev={good}{good}"), Some("malformed")),
        (
            format!("forge-dev={good}; x={}", "y".repeat(17_000)),
            Some("malformed"),
        ),
        (format!("FORGE-DEV={good}"), None),
        (format!("__Host-forge={good}"), None),
        (";;==;forge-dev;".to_owned(), None),
    ] {
        let browser = trial.browser();
        let request = browser.request(Method::GET, "/api/me");
        let answer = browser.send(request.header("cookie", &cookie)).await;
        answer.problem(401);
        // What is worth nothing need not be sent again.
        let cleared = answer.headers.contains_key("set-cookie");
        assert_eq!(cleared, reason.is_some(), "{cookie}");
    }
    let bytes = b"forge-dev=\xff\xfe".to_vec();
    let browser = trial.browser();
    let request = browser.request(Method::GET, "/api/me");
    browser
        .send(request.header("cookie", bytes))
        .await
        .problem(401);
    assert_eq!(
        reasons(&trial, "auth.credential").await,
        [
            "malformed",
            "malformed",
            "unknown",
            "ambiguous",
            "malformed",
            "malformed",
            "malformed",
            "malformed"
        ]
    );
    user.get("/api/me").await.expect(200);
}

#[tokio::test]
async fn a_token_that_is_none_of_ours_is_refused() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    let tokens = crate::support::agent(&user, "my-agent").await;
    let good = text(&tokens, "access_token");
    let parts: Vec<_> = good.split('.').collect();
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{}.", parts[1]);
    let swapped = format!("{}.{}.{}", parts[0], parts[1], "A".repeat(parts[2].len()));
    let long = "x".repeat(5000);
    let refresh = text(&tokens, "refresh_token");
    let browser = trial.browser();
    let mut sent = 0;
    for authorization in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer x".to_owned(),
        "Bearer a.b.c".to_owned(),
        format!("Bearer {good}x"),
        format!("Bearer {good} {good}"),
        format!("Bearer {unsigned}"),
        format!("Bearer {swapped}"),
        format!("Bearer {long}"),
        format!("Bearer {refresh}"),
        format!("Bearer {}", user.cookie("forge-dev").unwrap()),
    ] {
        let request = browser.request(Method::GET, "/api/me");
        let request = request.header("authorization", &authorization);
        let answer = browser.send(request).await;
        answer.problem(401);
        let challenge = answer.one("www-authenticate");
        assert!(
            challenge.contains(r#"error="invalid_token""#),
            "{challenge}"
        );
        sent += 1;
        trial.clock.advance(seconds(60));
    }
    // Twice, or where it ends up in logs: a bad request, whatever it is worth.
    let request = browser.request(Method::GET, "/api/me").bearer_auth(good);
    browser.send(request.bearer_auth(good)).await.problem(400);
    let path = format!("/api/me?access_token={good}");
    browser.get(&path).await.problem(400);
    // Another scheme is not ours, and no sign-in.
    let request = browser.request(Method::GET, "/api/me");
    let basic = request.basic_auth("octo-user", Some(good));
    browser.send(basic).await.problem(401);
    // A bad token is not made good by a cookie.
    user.with_token(Method::GET, "/api/me", "x")
        .await
        .problem(401);
    let reasons = reasons(&trial, "auth.credential").await;
    assert_eq!(reasons.len(), sent + 3, "{reasons:?}");
    browser
        .with_token(Method::GET, "/api/me", good)
        .await
        .expect(200);
}

#[tokio::test]
async fn another_sites_page_may_not_act_for_somebody_signed_in() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    let own = trial.app.config.public("");
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for (method, path) in [
            (Method::POST, "/auth/logout"),
            (Method::POST, "/api/sessions"),
            (Method::DELETE, "/api/sessions"),
        ] {
            let request = user.request(method, path).header(name, value);
            user.send(request).await.problem(403);
        }
        trial.clock.advance(seconds(60));
    }
    // To look is allowed: a link leads here, and the way back from GitHub.
    let request = user.request(Method::GET, "/api/me");
    let request = request.header("sec-fetch-site", "cross-site");
    user.send(request).await.expect(200);

    let found = reasons(&trial, "request.refuse").await;
    assert_eq!(found, ["cross_origin"; 15]);
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let event = with_action(&events, "request.refuse")[0];
    assert_eq!(event["kind"], "security_violation");
    assert_eq!(event["result"], "denied");
    assert_eq!(event["resource"], "POST /auth/logout");
    assert_eq!(event["actor"]["login"], "octo-user");

    let request = user.request(Method::POST, "/auth/logout");
    user.send(request.header("origin", own)).await.expect(204);
}

#[tokio::test]
async fn scripts_of_allowed_origins_may_read_refusals_too() {
    let settings = [("cors.origins", "https://app.example")];
    let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
    let browser = trial.browser();
    for (origin, allowed) in [
        ("https://app.example", true),
        ("https://evil.example", false),
        ("http://app.example", false),
        ("https://app.example.evil.example", false),
        ("null", false),
    ] {
        let request = browser.request(Method::GET, "/api/me");
        let answer = browser.send(request.header("origin", origin)).await;
        answer.problem(401);
        let allow = answer.all("access-control-allow-origin").next();
        assert_eq!(allow, allowed.then_some(origin));

        let preflight = browser
            .request(Method::OPTIONS, "/api/sessions")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type");
        let answer = browser.send_uncounted(preflight).await;
        assert_eq!(answer.status, if allowed { 204 } else { 403 }, "{answer:?}");
        assert_eq!(
            answer.headers.contains_key("access-control-allow-methods"),
            allowed
        );
    }
    let user = trial.sign_in(OCTO_USER).await;
    let request = user.request(Method::POST, "/auth/logout");
    let request = request.header("origin", "https://app.example");
    user.send(request).await.expect(204);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_wherever_it_goes() {
    let settings = [("bounds.body", "4096")];
    let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let tokens = crate::support::agent(&admin, "my-agent").await;
    let token = text(&tokens, "access_token");
    let long = "x".repeat(5000);
    for path in ["/api/sessions", "/api/admin/users"] {
        let body = json!({ "kind": long, "client": "x", "login": "octo-user" });
        admin.post_json(path, &body).await.problem(413);
    }
    let form = [("grant_type", long.as_str())];
    admin.post_form("/auth/token", &form).await.expect(413);
    let request = admin.request(Method::POST, "/mcp").bearer_auth(token);
    let request = request.header("accept", "application/json, text/event-stream");
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": long });
    admin.send(request.json(&body)).await.expect(413);

    // Nor in pieces, of which nobody says how many come.
    let host = trial.addr;
    let head = |path: &str, kind: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\ncontent-type: application/{kind}\r\n\
             transfer-encoding: chunked\r\n\r\n"
        )
    };
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    for (path, kind) in [("/auth/token", "x-www-form-urlencoded"), ("/mcp", "json")] {
        let head = head(path, kind);
        let request = format!("{head}{}0\r\n\r\n", chunk.repeat(8));
        let (status, answer) = raw(&trial, request).await;
        assert_eq!(status, 413, "{path}: {answer}");
        // A body that breaks off is the client's mistake too.
        let (status, answer) = raw(&trial, format!("{head}{chunk}xyz\r\n")).await;
        assert_eq!(status, 400, "{path}: {answer}");
    }
    assert_serves(&trial).await;
}

#[tokio::test]
async fn the_limit_of_bodies_is_the_one_that_is_configured() {
    let settings = [("bounds.body", "8388608")];
    let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
    let user = trial.sign_in(OCTO_USER).await;
    for (megabytes, status) in [(6, 400), (9, 413)] {
        let client = "x".repeat(megabytes * 1024 * 1024);
        let body = json!({ "kind": "mcp", "client": client });
        user.post_json("/api/sessions", &body).await.problem(status);
    }
}

#[tokio::test]
async fn a_method_or_a_path_that_is_not_there_is_told_so() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    for (method, path, status) in [
        (Method::GET, "/auth/logout", 405),
        (Method::PUT, "/api/sessions", 405),
        (Method::POST, "/", 405),
        (Method::PATCH, "/api/admin/users", 405),
        (Method::TRACE, "/", 405),
        (Method::OPTIONS, "/api/me", 405),
        (Method::GET, "/api", 404),
        (Method::GET, "/api/me/", 404),
        (Method::GET, "/API/ME", 404),
        (Method::GET, "/.git/config", 404),
    ] {
        let answer = user.send(user.request(method.clone(), path)).await;
        answer.problem(status);
        assert_eq!(answer.headers.contains_key("allow"), status == 405);
    }
    for path in ["/static/../../etc/passwd", "//api/me", "/./api/me"] {
        assert_eq!(raw(&trial, get(&trial, path, "")).await.0, 404);
    }
    let head = user.request(Method::HEAD, "/");
    assert_eq!(user.send(head).await.expect(200).body, "");
}
