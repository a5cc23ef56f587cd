//! Silences and alerts that were given up, as an admin sees to them.

use fake_github::{OCTO_ADMIN, OCTO_USER};
use serde_json::{Value, json};
use test_support::{Smtp, SmtpFault, SmtpTls};

use crate::alerts::{fail_six_times, trial};
use crate::support::{Browser, Trial, only, seconds, text, with_action};

const SILENCES: &str = "/api/admin/silences";
const DEAD: &str = "/api/admin/alerts/dead";

async fn listed(admin: &Browser, path: &str, name: &str) -> Vec<Value> {
    let list = admin.get(path).await.expect(200).json();
    list[name].as_array().unwrap().clone()
}

#[tokio::test]
pub(crate) async fn a_silence_is_made_listed_and_ended_by_an_admin_and_on_record() {
    let mails = Smtp::start(SmtpTls::StartTls).await;
    let trial = trial(&mails).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let wanted = json!({
        "scenario": "failed_*", "scope": "network 203.0.113.*", "for": "2h", "comment": "planned",
    });
    let made = admin.post_json(SILENCES, &wanted).await.expect(201).json();
    assert_eq!(made["by"], format!("github:{OCTO_ADMIN}"));
    assert_eq!(
        listed(&admin, SILENCES, "silences").await,
        std::slice::from_ref(&made)
    );
    let security = admin.get("/api/health/security").await.expect(200).json();
    assert_eq!(security["alerts"]["silences"], json!([made]));
    fail_six_times(&trial).await;
    assert_eq!(
        trial.app.monitor.blocks().len(),
        1,
        "it is decided all the same"
    );
    assert_eq!(trial.app.monitor.stats().alerts_suppressed, 1);
    assert!(mails.mails().is_empty());

    let path = format!("{SILENCES}/{}", text(&made, "id"));
    admin.delete(&path).await.expect(204);
    assert!(listed(&admin, SILENCES, "silences").await.is_empty());
    for gone in [&path, "/api/admin/silences/x"] {
        admin.delete(gone).await.problem(404);
    }
    // One with an end in the past, too far away, in two ways or in none.
    let until = json!({ "scenario": "*", "until": "2999-01-01T00:00:00Z" });
    let both = json!({ "scenario": "*", "for": "1h", "until": "2026-01-01T00:00:00Z" });
    for bad in [
        json!({}),
        json!({ "scenario": "*" }),
        json!({ "scenario": "", "for": "1h" }),
        json!({ "scenario": "*", "for": "91d" }),
        json!({ "scenario": "*", "until": "2001-01-01T00:00:00Z" }),
        json!({ "scenario": "*", "for": "1h", "forever": true }),
        json!({ "scenario": "*", "for": "1h", "comment": "\u{1b}[2J" }),
        json!({ "scenario": "x".repeat(201), "for": "1h" }),
        until,
        both,
    ] {
        admin.post_json(SILENCES, &bad).await.problem(400);
    }
    for (field, bad) in [
        ("duration", json!({ "scenario": "*", "for": "2 parsecs" })),
        (
            "not both",
            json!({ "scenario": "*", "for": "1h", "until": "2026-01-01T00:00:00Z" }),
        ),
        (
            "a scope is",
            json!({ "scenario": "*", "for": "1h", "scope": "zz" }),
        ),
        ("90 days", json!({ "scenario": "*", "for": "91d" })),
        (
            "\"comment\"",
            json!({ "scenario": "*", "for": "1h", "comment": "x".repeat(1001) }),
        ),
    ] {
        let problem = admin.post_json(SILENCES, &bad).await.problem(400);
        assert!(text(&problem, "detail").contains(field), "{problem}");
    }
    let events = trial.audit(&admin).await;
    let added = with_action(&events, "admin.silences.add");
    let added: Vec<_> = added
        .iter()
        .filter(|of| of["result"] == "success")
        .collect();
    let [added] = added[..] else {
        panic!("{added:?}");
    };
    assert_eq!(
        (&added["severity"], &added["kind"]),
        (&json!("high"), &json!("configuration_change"))
    );
    assert_eq!(added["resource"], made["id"]);
    assert_eq!(added["details"]["scope"], "network 203.0.113.*");
    let ended = with_action(&events, "admin.silences.end");
    assert_eq!((ended.len(), &ended[0]["result"]), (3, &json!("success")));
}

#[tokio::test]
async fn a_silence_about_an_address_is_about_its_network() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    for (scope, meant) in [
        ("2001:db8::1", "network 2001:db8::/64"),
        ("192.0.2.7", "network 192.0.2.7"),
        ("192.0.2.0/24", "network 192.0.2.0/24"),
        ("user 1002", "user 1002"),
    ] {
        let wanted = json!({ "scenario": "failed_*", "scope": scope, "for": "2h" });
        let made = admin.post_json(SILENCES, &wanted).await.expect(201).json();
        assert_eq!(made["scope"], meant);
    }
}

#[tokio::test]
async fn silences_and_dead_letters_are_for_admins() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    let wanted = json!({ "scenario": "*", "for": "2h" });
    for path in [SILENCES, DEAD] {
        trial.browser().get(path).await.problem(401);
        user.get(path).await.problem(403);
    }
    user.post_json(SILENCES, &wanted).await.problem(403);
    user.delete("/api/admin/silences/x").await.problem(403);
    user.post("/api/admin/alerts/dead/x/retry")
        .await
        .problem(403);
}

#[tokio::test]
pub(crate) async fn what_was_given_up_is_listed_and_tried_again() {
    let mails = Smtp::start(SmtpTls::StartTls).await;
    let trial = trial(&mails).await;
    mails.fault(SmtpFault::Recipient(550));
    fail_six_times(&trial).await;
    let give_up = async |times: usize| {
        // For some six hours.
        for _ in 0..40 {
            trial.clock.advance(seconds(900));
            trial.app.monitor.flush().await;
        }
        assert_eq!(trial.app.monitor.stats().alerts_dead as usize, times);
    };
    // That it began, and that it is over.
    give_up(2).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let dead = listed(&admin, DEAD, "dead").await;
    assert_eq!(dead.len(), 2);
    let of = |state: &str| {
        dead.iter()
            .find(|of| of["alert"]["state"] == state)
            .unwrap()
    };
    let (began, over) = (of("firing"), of("resolved"));
    assert_eq!(began["sink"], "email");
    assert_eq!(began["attempts"], 32);
    assert_eq!(began["reason"], "not_taken");
    assert_eq!(began["alert"]["scenario"], "failed_authentications");

    mails.fault(SmtpFault::None);
    let retry = format!("{DEAD}/{}/retry", text(began, "id"));
    admin.post(&retry).await.expect(204);
    let got = mails.wait_for(1).await;
    let id = text(&began["alert"], "id");
    assert_eq!(
        got[0].header("message-id").unwrap(),
        format!("<{id}@example.com>")
    );
    assert_eq!(
        listed(&admin, DEAD, "dead").await,
        std::slice::from_ref(over)
    );
    for gone in [&retry, "/api/admin/alerts/dead/x/retry"] {
        admin.post(gone).await.problem(404);
    }
    let events = trial.audit(&admin).await;
    let retried = with_action(&events, "admin.alerts.retry");
    assert_eq!((retried.len(), &retried[0]["resource"]), (3, &began["id"]));
    assert_eq!(with_action(&events, "monitor.alert.give_up").len(), 2);
    only(&events, "monitor.block");

    // And from the command line.
    let store = forge_server::open_monitor_store(&trial.inputs)
        .await
        .unwrap();
    let mut said = Vec::new();
    forge_server::list_dead_alerts(&*store, &mut said)
        .await
        .unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.starts_with(text(over, "id"))
            && said.contains("  email  ")
            && said.contains("(the sink did not take it)"),
        "{said}"
    );
    for nothing in [text(began, "id"), "x"] {
        let again = forge_server::retry_alerts(&*store, nothing, &mut Vec::new()).await;
        assert!(again.is_err());
    }
    let mut said = Vec::new();
    forge_server::retry_alerts(&*store, "all", &mut said)
        .await
        .unwrap();
    assert_eq!(said, b"1 to be tried again\n");
    assert_eq!(store.dead(9).await.unwrap(), []);
    assert_eq!(store.outbox().await.unwrap().waiting, 1);
    // Which is on record as an admin's wish is.
    let recorded = tokio::time::timeout(seconds(60), async {
        loop {
            trial.app.monitor.refresh();
            trial.app.monitor.flush().await;
            let events = trial.audit(&admin).await;
            let retried = with_action(&events, "admin.alerts.retry");
            if let [first, _, _, last] = &retried[..] {
                break ((*first).clone(), (*last).clone());
            }
        }
    });
    let (first, last) = recorded.await.unwrap();
    assert_eq!(last["resource"], over["id"]);
    assert_eq!(last["details"]["by"], "the command line");
    assert_eq!(last["details"]["sink"], "email");
    for alike in ["kind", "severity", "result"] {
        assert_eq!(last[alike], first[alike], "{alike}");
    }
    assert_eq!(store.untold_requeues(9).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_silenced_from_the_command_line_is_on_record_as_by_an_admin() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let store = forge_server::open_monitor_store(&trial.inputs)
        .await
        .unwrap();
    let wanted = forge_server::cli::SilenceAlerts {
        scenario: "failed_*".to_owned(),
        scope: "user 7".to_owned(),
        length: "2h".to_owned(),
        comment: "planned".to_owned(),
        settings: forge_server::cli::Settings::default(),
    };
    let mut id = Vec::new();
    forge_server::silence_alerts(&*store, &wanted, &mut id)
        .await
        .unwrap();
    let told = String::from_utf8(id).unwrap();
    let (id, rest) = told.split_once("  ").unwrap();
    let until = "failed_* / user 7  is silenced until 2";
    let undo = format!("`forge alerts unsilence {id}`, with the same settings");
    assert!(rest.starts_with(until) && rest.contains(&undo), "{told}");
    let recorded = async |action: &str| {
        let minute = seconds(60);
        let found = tokio::time::timeout(minute, async {
            loop {
                trial.app.monitor.refresh();
                trial.app.monitor.flush().await;
                let events = trial.audit(&admin).await;
                let found = with_action(&events, action);
                if !found.is_empty() {
                    break found.into_iter().cloned().collect::<Vec<_>>();
                }
            }
        });
        let found = found.await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    };
    let added = recorded("admin.silences.add").await;
    assert_eq!(added["kind"], "configuration_change");
    assert_eq!(
        (&added["severity"], &added["resource"]),
        (&json!("high"), &json!(id))
    );
    assert_eq!(added["details"]["by"], "the command line");
    assert_eq!(added["details"]["scenario"], "failed_*");
    assert_eq!(added["details"]["scope"], "user 7");
    forge_server::unsilence_alerts(&*store, id.parse().unwrap())
        .await
        .unwrap();
    let ended = recorded("admin.silences.end").await;
    assert_eq!(
        (&ended["severity"], &ended["resource"]),
        (&json!("medium"), &json!(id))
    );
    assert_eq!(ended["details"]["by"], "the command line");
    assert_eq!(store.untold_silences(9).await.unwrap(), []);
}

#[tokio::test]
async fn what_waits_for_a_way_that_was_taken_out_is_given_up_and_its_reason_listed() {
    let trial = Trial::roomy().await;
    let store = forge_server::open_monitor_store(&trial.inputs)
        .await
        .unwrap();
    let at = forge_monitor::Clock::now(&trial.clock);
    let severity = forge_monitor::Severity::Warning;
    let alert = forge_monitor::Alert::new("x", "user 7", severity, "y", at);
    let gone = forge_monitor::Delivery::new("webhook:old", alert, at);
    store.enqueue(&[gone]).await.unwrap();
    for hours in [1, 23, 1] {
        trial.clock.advance(seconds(hours * 3600));
        trial.app.monitor.flush().await;
        trial.app.monitor.flush().await;
    }
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let dead = listed(&admin, DEAD, "dead").await;
    assert_eq!((dead.len(), &dead[0]["reason"]), (1, &json!("no_sink")));
    let mut said = Vec::new();
    forge_server::list_dead_alerts(&*store, &mut said)
        .await
        .unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.contains("  webhook:old  ")
            && said.contains("(there is no sink of this name any more)"),
        "{said}"
    );
    let events = trial.audit(&admin).await;
    let given_up = only(&events, "monitor.alert.give_up");
    assert_eq!(given_up["details"]["reason"], "no_sink");
    let alerts = with_action(&events, "monitor.alert");
    let about = |of: &&&Value| of["details"]["scenario"] == "undelivered_alerts";
    assert_eq!(alerts.iter().filter(about).count(), 1);
}
