//! What a server that is killed leaves behind.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use test_support::{Smtp, SmtpFault, SmtpTls};

use crate::support::{Live, browser, wait_until};

/// More than have a notice of their own within a cool-down.
const ATTACKERS: usize = 12;

/// How many bans are stored.
fn bans(data: &Path) -> i64 {
    let db = Connection::open(data.join("forge.db")).unwrap();
    let count = "SELECT count(*) FROM monitor_decisions";
    db.query_row(count, [], |row| row.get(0)).unwrap()
}

/// `(id of the alert, scope, tries, whether it is in nobody's hands)` of what waits for the mail
/// server.
fn waiting(data: &Path) -> Vec<(String, String, i64, bool)> {
    let db = Connection::open(data.join("forge.db")).unwrap();
    let mut rows = db
        .prepare(
            "SELECT alert, attempts, leased_until IS NULL FROM monitor_deliveries
             WHERE sink = 'email' AND state = 'waiting' ORDER BY created, id",
        )
        .unwrap();
    let rows = rows.query_map([], |row| {
        let alert: Value = serde_json::from_str(&row.get::<_, String>(0)?).unwrap();
        let text = |name: &str| alert[name].as_str().unwrap().to_owned();
        Ok((text("id"), text("scope"), row.get(1)?, row.get(2)?))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn alerts_that_wait_are_delivered_after_a_kill_under_the_ids_they_had() {
    let mails = Smtp::start(SmtpTls::StartTls).await;
    mails.fault(SmtpFault::Refuse);
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &mails.certificate).unwrap();
    let live = Live::start_with(&[
        "proxies.trusted=127.0.0.0/8".to_owned(),
        "limits.auth=10000/s burst 10000".to_owned(),
        "alerts.email.host=localhost".to_owned(),
        format!("alerts.email.port={}", mails.addr.port()),
        "alerts.email.from=forge@example.com".to_owned(),
        "alerts.email.to=ops@example.com".to_owned(),
        format!("alerts.email.ca={}", ca.display()),
    ])
    .await;
    let client = browser();
    let from = async |live: &Live, attacker: usize, path: &str| {
        let request = client.get(format!("{}{path}", live.url));
        let request = request.header("x-forwarded-for", format!("203.0.113.{attacker}"));
        live.ask(request).await.status()
    };
    for attacker in 1..=ATTACKERS {
        for _ in 0..6 {
            let guess = "/auth/github/callback?code=x&state=guess";
            assert_eq!(from(&live, attacker, guess).await, 400);
        }
    }
    // Each was tried, but for the one that is held back for a quarter of an hour.
    let data = live.data();
    let tried = |(_, scope, tries, free): &(String, String, i64, bool)| {
        *free && (*tries > 0) != (scope == "several")
    };
    wait_until(async || {
        let waiting = waiting(&data);
        // The last ban has no notice of its own, and may be stored after all that have.
        bans(&data) == ATTACKERS as i64 && waiting.len() == 11 && waiting.iter().all(tried)
    })
    .await;
    let mut before: Vec<_> = waiting(&data)
        .into_iter()
        .map(|(id, scope, ..)| (id, scope))
        .collect();
    assert!(mails.mails().is_empty());

    mails.fault(SmtpFault::None);
    let live = live.killed_and_started_again();
    for attacker in 1..=ATTACKERS {
        assert_eq!(from(&live, attacker, "/").await, 403, "the bans hold");
    }
    let got = mails.wait_for(10).await;
    let held = before
        .iter()
        .position(|(_, scope)| scope == "several")
        .unwrap();
    let held = before.remove(held);
    let mut expected: Vec<_> = before
        .iter()
        .map(|(id, _)| format!("<{id}@example.com>"))
        .collect();
    let mut ids: Vec<_> = got
        .iter()
        .map(|of| of.header("message-id").unwrap())
        .collect();
    ids.sort();
    ids.dedup();
    expected.sort();
    assert_eq!(ids, expected);
    // Which waits on.
    wait_until(async || waiting(&data).len() == 1).await;
    let [(id, scope, tries, _)] = &waiting(&data)[..] else {
        panic!("{:?}", waiting(&data));
    };
    assert_eq!((id, scope, *tries), (&held.0, &held.1, 0));
    live.process.signal("TERM");
    let ended = live.process.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    live.github.shutdown().await;
}
