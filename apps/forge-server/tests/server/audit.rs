//! The audit log, as an admin reads it.

use std::collections::HashSet;

use fake_github::{OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use serde_json::{Value, json};

use crate::support::{ROOMY, Trial, only, text, with_action};

#[tokio::test]
async fn tells_in_order_who_did_what_from_where_and_how_it_ended() {
    let trial = Trial::start().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let user = trial.sign_in(OCTO_USER).await;
    let stranger = trial.browser();
    let callback = trial.begin(&stranger, OCTO_STRANGER).await;
    let turned_away = stranger.get(&callback).await;
    turned_away.problem(403);
    let me = user.get("/api/me").await.expect(200).json();
    for _ in 0..9 {
        user.get("/api/me").await.expect(200);
    }
    let limited = user.get("/api/me").await;
    limited.problem(429);
    let forbidden = user.get("/api/admin/audit").await;
    forbidden.problem(403);
    trial.clock.advance(crate::support::seconds(1));
    let mine = text(&me["session"], "id");
    let revoked = user
        .delete(&format!("/api/sessions/{mine}"))
        .await
        .expect(204);

    let events = trial.audit(&admin).await;
    let story: Vec<_> = events
        .iter()
        .map(|event| {
            let login = event["actor"]["login"].as_str().unwrap_or("-");
            (
                text(event, "action"),
                login,
                text(event, "result"),
                text(event, "severity"),
            )
        })
        .collect();
    assert_eq!(
        story,
        [
            ("auth.sign_in", "octo-admin", "success", "medium"),
            ("session.create", "octo-admin", "success", "low"),
            ("auth.sign_in", "octo-user", "success", "medium"),
            ("session.create", "octo-user", "success", "low"),
            ("auth.sign_in", "octo-stranger", "denied", "high"),
            ("rate_limit.exceed", "octo-user", "denied", "medium"),
            ("admin.access", "octo-user", "denied", "medium"),
            ("session.revoke", "octo-user", "success", "medium"),
        ]
    );

    for event in &events {
        assert_eq!(event["address"], "127.0.0.1", "{event}");
        assert_eq!(event["user_agent"], "tests/1.0", "{event}");
        assert_eq!(text(event, "request_id").len(), 36, "{event}");
        assert!(event["actor"]["id"].is_string(), "{event}");
        humantime::parse_rfc3339(text(event, "time")).unwrap();
    }
    let positions: Vec<_> = events.iter().map(|event| event["seq"].as_u64()).collect();
    assert_eq!(positions, (1..=8).map(Some).collect::<Vec<_>>());
    let of_request = |id: &str| {
        events
            .iter()
            .find(|event| event["request_id"] == id)
            .unwrap()
    };
    for (answer, action, resource) in [
        (&turned_away, "auth.sign_in", Value::Null),
        (&limited, "rate_limit.exceed", json!("GET /api/me")),
        (&forbidden, "admin.access", json!("GET /api/admin/audit")),
        (&revoked, "session.revoke", json!(mine)),
    ] {
        let event = of_request(answer.request_id());
        assert_eq!(event["action"], action);
        assert_eq!(event["resource"], resource, "{event}");
    }
}

#[tokio::test]
async fn a_users_attempt_to_read_it_is_refused_and_on_record() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let refused = user.get("/api/admin/audit").await;
    assert_eq!(refused.problem(403)["detail"], "this is for admins");
    let nobody = trial.browser().get("/api/admin/audit").await;
    nobody.problem(401);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let attempts = with_action(&events, "admin.access");
    assert_eq!(attempts.len(), 2, "{events:#?}");
    assert_eq!(attempts[0]["kind"], "authorization");
    assert_eq!(attempts[0]["result"], "denied");
    assert_eq!(attempts[0]["actor"]["id"], OCTO_USER.to_string());
    assert_eq!(attempts[0]["request_id"], refused.request_id());
    assert_eq!(attempts[1]["actor"], Value::Null);
    assert_eq!(attempts[1]["request_id"], nobody.request_id());
}

#[tokio::test]
async fn reading_it_is_on_record_too() {
    let trial = Trial::start().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    trial.audit(&admin).await;
    let events = trial.audit(&admin).await;
    let event = only(&events, "admin.audit.read");
    assert_eq!(event["kind"], "data_access");
    assert_eq!(event["result"], "success");
    assert_eq!(event["actor"]["login"], "octo-admin");
}

#[tokio::test]
async fn pages_lead_through_all_events_once() {
    let trial = Trial::roomy().await;
    let (admin, user) = (
        trial.sign_in(OCTO_ADMIN).await,
        trial.sign_in(OCTO_USER).await,
    );
    for _ in 0..20 {
        user.get("/api/admin/users").await.problem(403);
    }
    let mut seen = Vec::new();
    let mut path = "/api/admin/audit?limit=7".to_owned();
    loop {
        let page = admin.get(&path).await.expect(200).json();
        let events = page["events"].as_array().unwrap();
        assert!((1..=7).contains(&events.len()));
        let positions: Vec<u64> = events.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
        assert!(positions.is_sorted());
        seen.extend(positions.into_iter().rev());
        match page["next"].as_str() {
            Some(next) => path = format!("/api/admin/audit?limit=7&cursor={next}"),
            None => break,
        }
    }
    // What came meanwhile is before the first page, and not looked for.
    assert_eq!(seen.len(), 24);
    assert!(seen.iter().rev().copied().eq(1..=24), "{seen:?}");
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 24);
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let user = trial.sign_in(OCTO_USER).await;
    let refused = user.get("/api/admin/users").await;
    refused.problem(403);
    let id = refused.request_id();
    for (filter, count) in [
        ("actor=1002", 3),
        ("actor=1002&result=denied", 1),
        ("action=session.create", 2),
        ("kind=authorization", 1),
        ("severity=medium&actor=1002", 2),
        ("severity=high&actor=1002", 0),
        ("address=127.0.0.1&kind=session", 2),
        ("address=192.0.2.1", 0),
        ("resource=GET%20%2Fapi%2Fadmin%2Fusers", 1),
        (&format!("request_id={id}"), 1),
        ("request_id=none", 0),
    ] {
        let page = admin.get(&format!("/api/admin/audit?{filter}")).await;
        let page = page.expect(200).json();
        assert_eq!(page["events"].as_array().unwrap().len(), count, "{filter}");
    }
}

#[tokio::test]
async fn a_filter_that_means_nothing_is_refused() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let page = admin
        .get("/api/admin/audit?limit=1")
        .await
        .expect(200)
        .json();
    let cursor = format!("cursor={}&actor=1002", text(&page, "next"));
    for filter in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=many",
        "severity=worst",
        "kind=none",
        "result=maybe",
        "address=localhost",
        "cursor=x",
        &cursor,
        "actor=1&actor=2",
        "seq=1",
        "limit=1%ff",
    ] {
        let answer = admin.get(&format!("/api/admin/audit?{filter}")).await;
        answer.problem(400);
    }
}

#[tokio::test]
async fn what_clients_send_does_not_break_out_of_their_fields() {
    let trial = Trial::start_with(ROOMY).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let long = "x".repeat(10_000);
    for agent in ["a\"},{\"action\":\"forged", "\u{1b}[31mred", &long] {
        let request = admin.request(reqwest::Method::GET, "/api/admin/users");
        let agent = agent.replace('\u{1b}', "\t");
        admin
            .send(request.header("user-agent", agent))
            .await
            .expect(200);
    }
    let events = trial.audit(&admin).await;
    let agents: Vec<_> = with_action(&events, "admin.users.read")
        .iter()
        .map(|event| text(event, "user_agent").to_owned())
        .collect();
    assert_eq!(agents.len(), 3);
    assert_eq!(agents[0], "a\"},{\"action\":\"forged");
    assert!(agents[2].len() < 2000);
    trial.app.audit.verify().await.unwrap();
}

#[tokio::test]
async fn a_flood_of_refusals_does_not_fill_it_and_is_counted() {
    let trial = Trial::roomy().await;
    let browser = trial.browser();
    let refuse = async || {
        let request = browser.request(reqwest::Method::POST, "/auth/logout");
        let request = request.header("origin", "https://evil.example");
        browser.send(request).await.problem(403);
    };
    for _ in 0..30 {
        refuse().await;
    }
    trial.clock.advance(crate::support::seconds(60));
    refuse().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let refused = with_action(&events, "request.refuse");
    assert_eq!(refused.len(), 11);
    assert_eq!(refused[10]["details"]["left_out_before"], 20);
}
