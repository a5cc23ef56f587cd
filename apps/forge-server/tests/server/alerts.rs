//! From the sixth failure to a mail in a mailbox, and what an admin sees of it.

use fake_github::{OCTO_ADMIN, OCTO_USER};
use forge_server::Config;
use reqwest::Method;
use serde_json::Value;
use test_support::{Smtp, SmtpFault, SmtpTls};

use crate::support::{Answer, Browser, ROOMY, Trial, only, seconds, with_action};

const ATTACKER: &str = "203.0.113.9";

/// A server behind a proxy whose alerts go to that mail server.
pub(crate) async fn trial(mails: &Smtp) -> Trial {
    let ca = mails_ca(mails);
    let port = mails.addr.port().to_string();
    let settings = [
        ("proxies.trusted", "127.0.0.0/8"),
        ("alerts.email.host", "localhost"),
        ("alerts.email.port", &port),
        ("alerts.email.from", "Forge <forge@example.com>"),
        ("alerts.email.to", "ops@example.com"),
        ("alerts.email.ca", ca.path().to_str().unwrap()),
    ];
    Trial::start_with(ROOMY.into_iter().chain(settings)).await
}

pub(crate) fn mails_ca(mails: &Smtp) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &mails.certificate).unwrap();
    file
}

pub(crate) async fn from(browser: &Browser, path: &str) -> Answer {
    let request = browser.request(Method::GET, path);
    let request = request.header("x-forwarded-for", ATTACKER);
    browser.send_uncounted(request).await
}

pub(crate) async fn fail_six_times(trial: &Trial) {
    let browser = trial.browser();
    for _ in 0..6 {
        let guess = "/auth/github/callback?code=x&state=guess";
        from(&browser, guess).await.problem(400);
    }
    trial.app.monitor.flush().await;
}

#[tokio::test]
async fn the_seventh_request_is_refused_the_mail_is_there_and_an_admin_lifts_it() {
    let mails = Smtp::start(SmtpTls::StartTls).await;
    let trial = trial(&mails).await;
    fail_six_times(&trial).await;
    from(&trial.browser(), "/").await.problem(403);

    let got = mails.wait_for(1).await;
    assert!(got[0].encrypted);
    assert_eq!(got[0].to, ["ops@example.com"]);
    let subject = got[0].header("subject").unwrap();
    assert_eq!(
        subject,
        format!("Forge [warning] failed_authentications: network {ATTACKER}")
    );

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let list = admin.get("/api/admin/blocks").await.expect(200).json();
    let id = list["blocks"][0]["id"].as_str().unwrap();
    admin
        .delete(&format!("/api/admin/blocks/{id}"))
        .await
        .expect(204);
    from(&trial.browser(), "/").await.expect(200);
    let got = mails.wait_for(2).await;
    assert!(
        got[1]
            .header("subject")
            .unwrap()
            .starts_with("Forge [resolved]")
    );
    trial.app.monitor.flush().await;

    let events = trial.audit(&admin).await;
    let failures = with_action(&events, "auth.sign_in");
    assert_eq!(
        failures
            .iter()
            .filter(|of| of["result"] == "failure")
            .count(),
        6
    );
    assert_eq!(only(&events, "monitor.block")["details"]["decision"], id);
    assert_eq!(only(&events, "monitor.refuse")["address"], ATTACKER);
    let by = &only(&events, "monitor.lift")["details"]["by"];
    assert_eq!(*by, format!("github:{OCTO_ADMIN}"));
    let raised = with_action(&events, "monitor.alert");
    assert_eq!(raised.len(), 2);
    let delivered = with_action(&events, "monitor.alert.deliver");
    let by_mail = delivered
        .iter()
        .filter(|of| of["details"]["sink"] == "email");
    let delivered: Vec<_> = by_mail.map(|of| &of["details"]["alert"]).collect();
    assert_eq!(
        delivered,
        [
            &raised[0]["details"]["alert"],
            &raised[1]["details"]["alert"]
        ]
    );
    let message = got[0].header("message-id").unwrap();
    let alert = raised[0]["details"]["alert"].as_str().unwrap();
    assert_eq!(message, format!("<{alert}@example.com>"));
}

#[tokio::test]
pub(crate) async fn a_mail_that_waits_is_sent_after_a_restart() {
    let mails = Smtp::start(SmtpTls::StartTls).await;
    mails.fault(SmtpFault::Refuse);
    let ca = mails_ca(&mails);
    let port = mails.addr.port().to_string();
    let settings = [
        ("proxies.trusted", "127.0.0.0/8"),
        ("alerts.email.host", "localhost"),
        ("alerts.email.port", &port),
        ("alerts.email.from", "forge@example.com"),
        ("alerts.email.to", "ops@example.com"),
        ("alerts.email.ca", ca.path().to_str().unwrap()),
    ];
    let trial = Trial::start_with(ROOMY.into_iter().chain(settings)).await;
    fail_six_times(&trial).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let security = admin.get("/api/health/security").await.expect(200).json();
    assert_eq!(security["monitor"]["alerts_failed"], 1);
    mails.fault(SmtpFault::None);
    trial.clock.advance(seconds(60));
    let trial = trial.restart().await;
    let got = mails.wait_for(1).await;
    assert!(got[0].header("subject").unwrap().contains(ATTACKER));
    assert_eq!(trial.app.monitor.blocks().len(), 1);
}

#[tokio::test]
async fn a_test_alert_says_of_each_way_whether_it_works() {
    let mails = Smtp::start(SmtpTls::StartTls).await;
    let trial = trial(&mails).await;
    // The file with the certificate is gone by now: the configuration was read before.
    let config = &trial.app.config.alerts;
    let mut said = Vec::new();
    forge_server::test_alerts(config, &mut said).await.unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), "email: sent\n");
    assert!(
        mails.wait_for(1).await[0]
            .message
            .contains("this is a test")
    );
    mails.fault(SmtpFault::Recipient(550));
    let mut said = Vec::new();
    let failed = forge_server::test_alerts(config, &mut said).await;
    assert!(failed.is_err());
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.starts_with("email: failed:") && said.contains("550"),
        "{said}"
    );
    let none = Trial::start().await;
    let nothing = forge_server::test_alerts(&none.app.config.alerts, &mut Vec::new()).await;
    assert!(nothing.is_err());
}

#[tokio::test]
pub(crate) async fn a_silence_from_the_command_line_holds_in_the_server() {
    let mails = Smtp::start(SmtpTls::StartTls).await;
    let trial = trial(&mails).await;
    let now = forge_monitor::Clock::now(&trial.clock);
    let silence = forge_monitor::Silence::new("failed_*", now, now + seconds(600));
    let store = forge_server::open_monitor_store(&trial.inputs)
        .await
        .unwrap();
    store.silence(&silence).await.unwrap();
    let mut list = Vec::new();
    forge_server::list_alerts(&*store, &mut list).await.unwrap();
    assert!(
        String::from_utf8(list)
            .unwrap()
            .contains(&silence.id.to_string())
    );
    // The server asks its database once a second, and another time after that it has heard.
    let heard = trial.app.monitor.stats();
    assert_eq!(heard.alerts_suppressed, 0);
    tokio::time::timeout(seconds(30), async {
        let mut n = 0;
        loop {
            n += 1;
            let scope = format!("probe {n}");
            let at = forge_monitor::Clock::now(&trial.clock);
            let severity = forge_monitor::Severity::Info;
            let probe = forge_monitor::Alert::new("failed_probe", &scope, severity, "x", at);
            trial.app.monitor.raise(probe);
            trial.app.monitor.flush().await;
            if trial.app.monitor.stats().alerts_suppressed > 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    fail_six_times(&trial).await;
    assert_eq!(trial.app.monitor.blocks().len(), 1);
    assert!(mails.mails().is_empty());
}

#[tokio::test]
async fn health_in_detail_is_for_admins_and_every_figure_is_measured() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    for path in ["/api/health/detailed", "/api/health/security"] {
        trial.browser().get(path).await.problem(401);
        user.get(path).await.problem(403);
    }
    let admin = trial.sign_in(OCTO_ADMIN).await;
    trial.clock.advance(seconds(90));
    let detailed = admin.get("/api/health/detailed").await.expect(200);
    assert_eq!(detailed.one("cache-control"), "no-store");
    let detailed = detailed.json();
    assert_eq!(detailed["status"], "up");
    assert_eq!(detailed["version"], env!("CARGO_PKG_VERSION"));
    assert!(detailed["uptime_seconds"].as_u64().unwrap() >= 90);
    for figure in [
        &detailed["process"]["memory_bytes"],
        &detailed["process"]["threads"],
        &detailed["disk"]["free_bytes"],
        &detailed["database"]["bytes"],
        &detailed["machine"]["memory_total_bytes"],
    ] {
        assert!(figure.as_u64().unwrap() > 0, "{detailed:#}");
    }
    assert!(detailed["process"]["cpu_seconds"].as_f64().unwrap() >= 0.0);
    assert!(detailed["database"]["latency_micros"].is_u64());
    let components = detailed["components"].as_array().unwrap();
    let names: Vec<_> = components
        .iter()
        .map(|of| of["name"].as_str().unwrap())
        .collect();
    for name in ["database", "audit", "monitor"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test]
async fn health_of_security_tells_the_last_hour() {
    let mails = Smtp::start(SmtpTls::StartTls).await;
    let trial = trial(&mails).await;
    fail_six_times(&trial).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let security = admin.get("/api/health/security").await.expect(200).json();
    let hour = &security["last_hour"];
    assert_eq!(hour["failed_sign_ins"], 6);
    assert_eq!(hour["decisions"], 1);
    assert_eq!(hour["top_sources"][0]["source"], ATTACKER);
    assert_eq!(hour["top_sources"][0]["signals"], 6);
    assert_eq!(security["blocks"], 1);
    assert_eq!(security["live_sessions"], 1);
    trial.clock.advance(seconds(2 * 3600));
    let later = admin.get("/api/health/security").await.expect(200).json();
    assert_eq!(later["last_hour"]["failed_sign_ins"], 0);
    assert_eq!(later["last_hour"]["top_sources"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn what_is_on_record_can_be_replayed_with_other_scenarios() {
    let trial = Trial::start_with(
        ROOMY
            .into_iter()
            .chain([("proxies.trusted", "127.0.0.0/8")]),
    )
    .await;
    fail_six_times(&trial).await;
    let inputs = trial.inputs.clone();
    let folder = trial.stop().ended().await;
    let audit = folder.path().join("data").join("audit.db");
    let config = Config::read(&inputs).unwrap();
    let replay = async |threshold: u32| {
        let text = format!(
            "[[scenario]]\nname = 'failed_authentications'\nthreshold = {threshold}\nsimulate = true"
        );
        let scenarios = forge_monitor::Scenarios::from(forge_monitor::Scenario::built_in());
        let scenarios = scenarios.and_toml(&text).unwrap().into_vec();
        let never_block =
            forge_server::never_block(config.never_block.iter().chain(&config.trusted_proxies));
        let mut said = Vec::new();
        forge_server::replay(&audit, scenarios, never_block, &mut said)
            .await
            .unwrap();
        String::from_utf8(said).unwrap()
    };
    let as_it_was = replay(5).await;
    assert!(
        as_it_was.contains(&format!("block  network {ATTACKER}  for 900 s")),
        "{as_it_was}"
    );
    assert!(
        as_it_was.contains("failed_authentications: 1"),
        "{as_it_was}"
    );
    let stricter = replay(2).await;
    assert!(
        stricter.contains("3 more that a ban would have prevented"),
        "{stricter}"
    );
    let laxer = replay(6).await;
    assert!(!laxer.contains("failed_authentications"), "{laxer}");
}

#[test]
fn what_is_wrong_with_scenarios_and_webhooks_is_told_by_field() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = r#"
        [[monitor.scenario]]
        name = "failed_authentications"
        treshold = 3

        [[alerts.webhook]]
        name = "ops"
        url = "https://169.254.169.254/hook"

        [[alerts.webhook]]
        name = "slack"
        url = "https://hooks.example.com/x"
        form = "slak"
    "#;
    std::fs::write(file.path(), text).unwrap();
    let inputs = forge_server::config::Inputs {
        file: Some(file.path().to_owned()),
        ..Default::default()
    };
    let problems = Config::read(&inputs).err().unwrap().to_string();
    for told in [
        "monitor.scenario.failed_authentications.treshold is not known",
        "alerts.webhook.1.url cannot be used: the address is of a private network",
        "alerts.webhook.2.form is not known",
    ] {
        assert!(problems.contains(told), "{told}\n{problems}");
    }
}

/// The names of our metrics in a text, without what a histogram appends.
fn metrics_in(text: &str) -> std::collections::BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut names = std::collections::BTreeSet::new();
    for (at, _) in text.match_indices("forge_") {
        let name: String = text[at..].chars().take_while(|c| is_part(*c)).collect();
        let plain = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        names.insert(plain.unwrap_or(&name).to_owned());
    }
    names
}

#[tokio::test]
async fn every_metric_of_the_rules_and_the_dashboard_is_exported() {
    let mails = Smtp::start(SmtpTls::StartTls).await;
    let trial = trial(&mails).await;
    fail_six_times(&trial).await;
    mails.wait_for(1).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let exported = admin.get("/metrics").await.expect(200).body;
    let exported = metrics_in(&exported);
    let rules = include_str!("../../../../docs/deployment/prometheus-rules.yml");
    let dashboard = include_str!("../../../../docs/deployment/grafana-dashboard.json");
    serde_json::from_str::<Value>(dashboard).unwrap();
    for text in [rules, dashboard] {
        let named = metrics_in(text);
        assert!(named.len() > 5, "{named:?}");
        let missing: Vec<_> = named.difference(&exported).collect();
        assert!(missing.is_empty(), "{missing:?} of {exported:#?}");
    }
}

#[test]
fn promtool_accepts_the_rules() {
    let Some(promtool) = test_support::require(test_support::find(&["promtool"], "prometheus"))
    else {
        return;
    };
    let rules = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/deployment/prometheus-rules.yml"
    );
    let checked = std::process::Command::new(promtool)
        .args(["check", "rules", rules])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
    assert!(said.contains("8 rules found"), "{said}");
}
