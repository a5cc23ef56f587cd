//! The audit log, as an admin reads it.

use std::collections::HashSet;

use fake_github::{OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use forge_audit::{
    Actor, CheckpointKey, Event, Kind, Query, Severity, split_notes, stored_checkpoints,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Browser, ROOMY, Trial, only, seconds, text, with_action};

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
        ("text=get%20admin%2FUSERS", 1),
        ("text=1002&action=session.create", 1),
        ("text=nowhere", 0),
        // On a node by itself all logs are its own.
        ("nodes=all&actor=1002", 3),
    ] {
        let page = admin.get(&format!("/api/admin/audit?{filter}")).await;
        let page = page.expect(200).json();
        assert_eq!(page["events"].as_array().unwrap().len(), count, "{filter}");
    }
}

#[tokio::test]
async fn a_time_that_the_log_says_is_the_first_of_a_range_and_not_its_last() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let user = trial.sign_in(OCTO_USER).await;
    for path in ["/api/admin/users", "/api/admin/blocks"] {
        user.get(path).await.problem(403);
        trial.clock.advance(seconds(60));
    }
    let events = trial.audit(&admin).await;
    let refused = with_action(&events, "admin.access");
    let [first, second] = [0, 1].map(|n| text(refused[n], "time"));
    for (range, found) in [
        (String::new(), &[first, second][..]),
        (format!("&from={first}"), &[first, second]),
        (format!("&from={second}"), &[second]),
        (format!("&until={second}"), &[first]),
        (format!("&from={first}&until={second}"), &[first]),
        (format!("&until={first}"), &[]),
        (format!("&from={second}&until={first}"), &[]),
    ] {
        for nodes in ["own", "all"] {
            let path = format!("/api/admin/audit?nodes={nodes}&action=admin.access{range}");
            let page = admin.get(&path).await.expect(200).json();
            let events = page["events"].as_array().unwrap();
            let times: Vec<_> = events.iter().map(|event| text(event, "time")).collect();
            assert_eq!(times, found, "{range}");
        }
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
    let search = format!("cursor={}&text=get", text(&page, "next"));
    for (filter, names) in [
        ("limit=0", "`limit` must be a number from 1 to 1000"),
        ("limit=1001", "`limit` must be"),
        ("limit=-1", "`limit` must be"),
        ("limit=many", "`limit` must be"),
        ("limit=1%ff", "`limit` must be"),
        ("severity=worst", "`severity` must be low, medium,"),
        ("kind=none", "`kind` must be one of authentication, "),
        ("result=maybe", "`result` must be success,"),
        ("address=localhost", "`address` must be an IP address"),
        ("address=999.1.1.1", "`address` must be an IP address"),
        ("cursor=x", "`cursor` is not one of this filter"),
        (&cursor, "`cursor` is not one of this filter"),
        (&search, "`cursor` is not one of this filter"),
        ("nodes=some", "`nodes` must be own or all"),
        ("from=yesterday", "`from` must be a time in UTC, such as"),
        ("from=2026-11-01", "`from` must be a time"),
        ("until=", "`until` must be a time in UTC, such as"),
        ("until=10000-01-01T00:00:00Z", "`until` must be a time"),
        ("text=", "`text` must have a word"),
        ("text=%20", "`text` must have a word"),
        ("actor=1&actor=2", "can be given once"),
        (
            "seq=1",
            "a parameter is none of the filter's, which are actor,",
        ),
    ] {
        let answer = admin.get(&format!("/api/admin/audit?{filter}")).await;
        let detail = answer.problem(400)["detail"].to_string();
        assert!(detail.contains(names), "{filter}: {detail}");
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

/// The stream of events, read frame by frame.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(admin: &Browser, after: Option<u64>) -> Self {
        Self::filtered(admin, "", after).await
    }

    async fn filtered(admin: &Browser, filter: &str, after: Option<u64>) -> Self {
        let path = format!("/api/admin/audit/tail{filter}");
        let mut request = admin.request(Method::GET, &path);
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let text = String::new();
        Self { response, text }
    }

    /// The id, the name and the data of the next frame; `None` at the end.
    async fn next(&mut self) -> Option<(u64, String, Value)> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let part = |name: &str| {
                    let mut lines = frame.lines();
                    lines.find_map(|line| line.strip_prefix(name)).unwrap()
                };
                let id = part("id: ").parse().unwrap();
                let data = serde_json::from_str(part("data: ")).unwrap();
                let found = (id, part("event: ").to_owned(), data);
                self.text = rest.to_owned();
                return Some(found);
            }
            let more = timeout(seconds(20), self.response.chunk()).await.unwrap();
            let more = more.unwrap()?;
            self.text.push_str(std::str::from_utf8(&more).unwrap());
        }
    }
}

#[tokio::test]
async fn it_can_be_followed_and_taken_up_again() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let user = trial.sign_in(OCTO_USER).await;
    user.get("/api/admin/audit/tail").await.problem(403);
    trial
        .browser()
        .get("/api/admin/audit/tail")
        .await
        .problem(401);
    let request = admin.request(Method::GET, "/api/admin/audit/tail");
    let request = request.header("last-event-id", "x");
    admin.send(request).await.problem(400);

    // From the beginning, in order, and then what comes.
    let mut stream = Stream::open(&admin, Some(0)).await;
    let mut actions = Vec::new();
    for seq in 1..=8 {
        let (id, name, data) = stream.next().await.unwrap();
        assert_eq!((id, &*name, &data["seq"]), (seq, "record", &json!(seq)));
        actions.push(text(&data, "action").to_owned());
    }
    assert_eq!(actions[0], "auth.sign_in");
    assert_eq!(
        actions[7], "admin.audit.tail",
        "that it is followed is on record"
    );
    let waiting = stream.next();
    let comes = user.get("/api/admin/users");
    let ((id, _, data), _) = tokio::join!(async { waiting.await.unwrap() }, comes);
    assert_eq!((id, text(&data, "action")), (9, "admin.access"));

    // From the last one seen; and from one that is not there yet, which is told.
    let mut again = Stream::open(&admin, Some(7)).await;
    assert_eq!(again.next().await.unwrap().0, 8);
    let mut ahead = Stream::open(&admin, Some(1000)).await;
    let (id, name, data) = ahead.next().await.unwrap();
    assert_eq!((id, &*name), (1000, "gap"));
    assert_eq!(data["last"], 1000);
    // The server ends, and with it the streams.
    trial.stop().ended().await;
    for mut stream in [stream, again, ahead] {
        while stream.next().await.is_some() {}
    }
}

#[tokio::test]
async fn who_follows_it_is_told_of_what_fits_the_filter_alone() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let user = trial.sign_in(OCTO_USER).await;
    user.get("/api/admin/users").await.problem(403);
    let mut denied = Stream::filtered(&admin, "?result=denied&text=users", Some(0)).await;
    let (id, name, data) = denied.next().await.unwrap();
    assert_eq!(
        (id, &*name, text(&data, "action")),
        (5, "record", "admin.access")
    );
    // Neither that it is followed nor what the admin reads, but what is refused next.
    admin.get("/api/admin/users").await.expect(200);
    user.get("/api/admin/blocks").await.problem(403);
    user.get("/api/admin/users").await.problem(403);
    let (_, _, data) = denied.next().await.unwrap();
    assert_eq!(text(&data, "resource"), "GET /api/admin/users");
    assert_eq!(data["result"], "denied");

    for (filter, names) in [
        ("bogus=1", "a parameter is none of the filter's"),
        ("severity=worst", "`severity`"),
        ("text=", "`text`"),
        ("limit=7", "`limit`"),
        ("cursor=x", "`cursor`"),
        ("nodes=all", "`nodes`"),
    ] {
        let path = format!("/api/admin/audit/tail?{filter}");
        let answer = admin.get(&path).await;
        let detail = answer.problem(400)["detail"].to_string();
        assert!(detail.contains(names), "{filter}: {detail}");
    }
}

#[tokio::test]
async fn what_need_not_be_kept_is_dropped_and_the_rest_verifies() {
    let settings = ROOMY.into_iter().chain([
        ("audit.segment", "256"),
        ("audit.keep.low", "1h"),
        ("audit.keep.medium", "1h"),
        ("audit.hold", "4711"),
    ]);
    let trial = Trial::start_with(settings).await;
    for n in 0..600 {
        let (actor, severity) = match n {
            7 => ("4711", Severity::Low),
            8 => ("8", Severity::High),
            _ => ("9", Severity::Low),
        };
        let event = Event::new(Kind::DataAccess, "old").severity(severity);
        // Each with an address of its own, or they are a flood.
        let source =
            forge_audit::Source::new().address([10, 0, (n / 250) as u8, (n % 250) as u8].into());
        let event = event.actor(Actor::new(actor)).source(source);
        trial.app.audit.enqueue(event).unwrap();
    }
    trial.app.audit.flush().await.unwrap();
    trial.clock.advance(seconds(7200));
    let trial = trial.restart().await;
    let query = Query::new().action("audit.prune");
    while trial
        .app
        .audit
        .query(&query)
        .await
        .unwrap()
        .records
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    let old = Query::new().action("old").limit(1000);
    // The last of the three segments is not full: 88 are left of it, and the two that are kept.
    while trial.app.audit.query(&old).await.unwrap().records.len() > 90 {
        tokio::task::yield_now().await;
    }
    let left = trial.app.audit.query(&old).await.unwrap().records;
    let kept: Vec<_> = left
        .iter()
        .map(|r| r.seq)
        .filter(|seq| *seq <= 512)
        .collect();
    assert_eq!(kept, [9, 8]);
    trial.app.audit.verify().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_fills_is_an_alert_before_it_is_full() {
    let settings = ROOMY.into_iter().chain([
        ("audit.low_water", "1000000000000000"),
        ("audit.ballast", "8192"),
    ]);
    let trial = Trial::start_with(settings).await;
    assert_eq!(
        std::fs::metadata(trial.data().join("audit.db-ballast"))
            .unwrap()
            .len(),
        8192
    );
    let query = Query::new().action("audit.room");
    let told = loop {
        let found = trial.app.audit.query(&query).await.unwrap().records;
        if let Some(found) = found.into_iter().next() {
            break found.event;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(told.level(), Severity::High);
    assert!(told.details_value().unwrap()["free"].as_u64() > Some(0));
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let health = admin.get("/api/health").await.expect(200).json();
    assert_eq!(health["status"], "degraded", "{health}");
    // It goes on: there is room yet.
    trial.audit(&admin).await;
}

#[tokio::test]
async fn checkpoints_leave_the_database_and_are_signed_with_the_key_that_is_set() {
    let digits = "07".repeat(32);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("checkpoints");
    let settings = ROOMY
        .into_iter()
        .chain([("audit.checkpoint_file", file.to_str().unwrap())]);
    let trial = Trial::start_with_secrets(settings, &[("FORGE_AUDIT_KEY", &digits)]).await;
    trial.sign_in(OCTO_ADMIN).await;
    let store = std::sync::Arc::clone(trial.app.audit.store());
    assert!(!trial.data().join("audit.key").exists());
    let head = trial.app.audit.head();
    trial.stop().ended().await;
    let key = CheckpointKey::new("127.0.0.1/audit", &[7; 32])
        .unwrap()
        .verifier();
    let stored = stored_checkpoints(&*store, std::slice::from_ref(&key))
        .await
        .unwrap();
    assert!(stored.last().unwrap().0 >= head.seq);
    // Its file is written by a thread that the server does not wait for.
    let written = || std::fs::read_to_string(&file).map(|text| split_notes(&text));
    while written().is_ok_and(|notes| notes.len() < stored.len()) || !file.exists() {
        tokio::task::yield_now().await;
    }
    let last = key.open(written().unwrap().last().unwrap()).unwrap();
    assert_eq!((last.size, last.root), *stored.last().unwrap());
}

#[tokio::test]
async fn a_flood_of_alike_events_becomes_one_with_their_number() {
    let trial = Trial::roomy().await;
    for _ in 0..350 {
        trial
            .app
            .audit
            .enqueue(Event::new(Kind::ToolCall, "tool.call"))
            .unwrap();
    }
    trial.clock.advance(seconds(11));
    trial
        .app
        .audit
        .enqueue(Event::new(Kind::ToolCall, "tool.other"))
        .unwrap();
    let query = Query::new().action("tool.call").limit(1000);
    let records = loop {
        trial.app.audit.flush().await.unwrap();
        let records = trial.app.audit.query(&query).await.unwrap().records;
        if records.len() > 100 {
            break records;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(records.len(), 101);
    assert_eq!(records[0].event.details_value().unwrap()["coalesced"], 250);
}
