//! Who calls and over what, as far as it is believed.

use fake_github::{OCTO_ADMIN, OCTO_USER};
use reqwest::Method;

use crate::support::{Answer, ROOMY, Trial, seconds, text, with_action};

/// The address on record for a request that says it comes from `forwarded`.
async fn on_record(trial: &Trial, header: &str, forwarded: &str) -> String {
    let browser = trial.browser();
    let request = browser.request(Method::GET, "/api/admin/users");
    let answer = browser.send(request.header(header, forwarded)).await;
    answer.problem(401);
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let event = events
        .iter()
        .find(|event| event["request_id"] == answer.request_id());
    text(event.unwrap(), "address").to_owned()
}

#[tokio::test]
async fn a_forwarded_address_is_nothing_from_somebody_who_is_no_proxy() {
    let trial = Trial::roomy().await;
    for header in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let value = if header == "forwarded" {
            "for=203.0.113.9"
        } else {
            "203.0.113.9"
        };
        assert_eq!(on_record(&trial, header, value).await, "127.0.0.1");
    }
    let settings = [("proxies.trusted", "10.0.0.0/8")];
    let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
    let address = on_record(&trial, "x-forwarded-for", "203.0.113.9").await;
    assert_eq!(address, "127.0.0.1");
}

#[tokio::test]
async fn a_forwarded_address_is_believed_from_a_trusted_proxy() {
    let settings = [("proxies.trusted", "127.0.0.0/8, 10.0.0.0/8")];
    let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
    for (forwarded, expected) in [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        // The client may write what it likes to the left.
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("garbage", "127.0.0.1"),
        ("203.0.113.9, garbage", "127.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        let address = on_record(&trial, "x-forwarded-for", forwarded).await;
        assert_eq!(address, expected, "{forwarded}");
    }
    // The one header that is configured, and no other.
    let address = on_record(&trial, "x-real-ip", "203.0.113.9").await;
    assert_eq!(address, "127.0.0.1");
}

#[tokio::test]
async fn each_forwarded_address_has_its_own_quota() {
    let settings = [("proxies.trusted", "127.0.0.0/8")];
    let trial = Trial::start_with(settings).await;
    let browser = trial.browser();
    let from = async |address: &str| {
        let request = browser.request(Method::GET, "/");
        let request = request.header("x-forwarded-for", address);
        browser.send(request).await.status
    };
    for _ in 0..5 {
        assert_eq!(from("203.0.113.9").await, 200);
    }
    assert_eq!(from("203.0.113.9").await, 429);
    assert_eq!(from("203.0.113.10").await, 200);
    // A /64 is one customer.
    for host in 1..6 {
        assert_eq!(from(&format!("2001:db8::{host}")).await, 200);
    }
    assert_eq!(from("2001:db8::ffff").await, 429);
    assert_eq!(from("2001:db8:0:1::1").await, 200);
}

const PUBLIC: &str = "https://forge.example";

async fn over_https() -> Trial {
    let settings = [("public_url", PUBLIC), ("proxies.trusted", "127.0.0.0/8")];
    Trial::start_with(ROOMY.into_iter().chain(settings)).await
}

async fn through(trial: &Trial, proto: &str, path: &str, cookie: &str) -> Answer {
    let browser = trial.browser();
    let request = browser.request(Method::GET, path);
    let request = request
        .header("host", "forge.example")
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-forwarded-proto", proto)
        .header("cookie", cookie);
    browser.send_uncounted(request).await
}

/// What a `Set-Cookie` sets.
fn pair(cookie: &str) -> &str {
    cookie.split_once("; ").unwrap().0
}

#[tokio::test]
async fn behind_a_proxy_that_ends_tls_cookies_are_secure_and_https_is_for_ever() {
    let trial = over_https().await;
    let out = through(&trial, "https", "/auth/github/login", "")
        .await
        .expect(303);
    let hsts = out.one("strict-transport-security");
    assert_eq!(hsts, "max-age=31536000");
    let secret = out.one("set-cookie");
    assert!(secret.starts_with("__Host-forge-sign-in-"), "{secret}");
    assert!(secret.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"));

    let back = trial.decide(out.location(), OCTO_USER, "authorize").await;
    let answer = through(&trial, "https", &back, pair(secret))
        .await
        .expect(303);
    let cookie = answer.all("set-cookie").next().unwrap();
    assert!(cookie.starts_with("__Host-forge="), "{cookie}");
    assert!(
        cookie.contains("; Secure; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let me = through(&trial, "https", "/api/me", pair(cookie))
        .await
        .expect(200);
    assert_eq!(me.json()["session"]["address"], "203.0.113.9");
    // Without the prefix it is another cookie.
    let bare = pair(cookie).strip_prefix("__Host-").unwrap();
    through(&trial, "https", "/api/me", bare).await.problem(401);
}

#[tokio::test]
async fn nothing_is_answered_in_clear_where_https_is_used() {
    let trial = over_https().await;
    let answer = through(&trial, "http", "/api/me?a=b", "").await.expect(308);
    assert_eq!(answer.location(), "https://forge.example/api/me?a=b");
    assert!(!answer.headers.contains_key("strict-transport-security"));
    for path in ["/livez", "/readyz"] {
        trial.browser().probe(path).await.expect(200);
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_hand_on_the_clients_address_is_told() {
    let settings = [("proxies.trusted", "127.0.0.0/8")];
    let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
    let health = async || {
        let browser = trial.browser();
        let request = browser.request(Method::GET, "/api/health");
        let request = request.header("x-forwarded-for", "203.0.113.9");
        browser.send(request).await.expect(200).json()
    };
    let browser = trial.browser();
    let request = browser.request(Method::GET, "/");
    browser
        .send(request.header("x-forwarded-for", "203.0.113.9"))
        .await
        .expect(200);
    // What the proxy's machine asks for itself is nothing to tell.
    browser.probe("/livez").await.expect(200);
    browser.get("/metrics").await.problem(403);
    trial.clock.advance(seconds(3));
    assert_eq!(health().await["status"], "up");
    browser.get("/").await.expect(200);
    trial.clock.advance(seconds(3));
    assert_eq!(health().await["status"], "degraded");
    trial.clock.advance(seconds(10 * 60));
    assert_eq!(health().await["status"], "up");

    let trial = Trial::roomy().await;
    trial.browser().get("/").await.expect(200);
    trial.clock.advance(seconds(3));
    let health = trial.browser().get("/api/health").await.json();
    assert_eq!(health["status"], "up");
}

#[tokio::test]
async fn a_user_agent_is_kept_as_it_came() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let request = admin.request(Method::GET, "/api/admin/users");
    let request = request.header("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
    admin.send(request).await.expect(200);
    let events = trial.audit(&admin).await;
    let event = with_action(&events, "admin.users.read")[0];
    assert_eq!(event["user_agent"], "Mozilla/5.0 (X11; Linux x86_64)");
}
