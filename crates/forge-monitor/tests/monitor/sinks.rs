//! Alerts on real sockets: mail servers that misbehave, and receivers of webhooks.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Redirect};
use axum::routing::post;
use base64::Engine as _;
use forge_monitor::{AlertSink, AlertmanagerSink, EmailSink, EmailTls, WebhookForm, WebhookSink};
use http::{HeaderMap, StatusCode};
use test_support::{Smtp, SmtpFault, SmtpTls};
use tokio::sync::Semaphore;

use crate::node::{Node, State};
use crate::*;

fn alert(scope: &str) -> Alert {
    Alert::new("failed", scope, Severity::Warning, "too many", START)
}

fn mail(server: &Smtp, tls: EmailTls) -> EmailSink {
    EmailSink::builder("localhost", "Forge <forge@example.com>")
        .to("ops@example.com")
        .to("security@example.com")
        .port(server.addr.port())
        .tls(tls)
        .authority(server.certificate.clone())
        .credentials("forge", "a secret")
        .build()
        .unwrap()
}

/// A monitor whose alerts go to the mail server, and to a sink that always works.
fn monitor(server: &Smtp, clock: &ManualClock, kept: &Kept) -> MonitorBuilder {
    Monitor::builder()
        .clock(clock.clone())
        .alert_sink("mail", mail(server, EmailTls::StartTls))
        .alert_sink("kept", kept.sink())
}

/// What a sink that always works was given.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Alert>>>);

impl Kept {
    fn sink(&self) -> impl AlertSink {
        let kept = Arc::clone(&self.0);
        move |alert: Arc<Alert>| {
            kept.lock().unwrap().push((*alert).clone());
            std::future::ready(Ok(()))
        }
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[tokio::test]
async fn a_mail_is_a_mail_over_every_kind_of_tls() {
    for (served, asked) in [
        (SmtpTls::StartTls, EmailTls::StartTls),
        (SmtpTls::Wrapped, EmailTls::Tls),
    ] {
        let server = Smtp::start(served).await;
        let alert = Arc::new(alert("network 192.0.2.1"));
        mail(&server, asked).send(Arc::clone(&alert)).await.unwrap();
        let mails = server.wait_for(1).await;
        let got = &mails[0];
        assert!(got.encrypted);
        assert_eq!(got.from, "forge@example.com");
        assert_eq!(got.to, ["ops@example.com", "security@example.com"]);
        assert_eq!(
            got.header("subject").unwrap(),
            "Forge [warning] failed: network 192.0.2.1"
        );
        let id = format!("<{}@example.com>", alert.id);
        assert_eq!(got.header("message-id").unwrap(), id);
        assert!(got.message.contains("What: too many"), "{}", got.message);
        assert!(got.message.contains("<td>too many</td>"), "{}", got.message);
    }
}

#[tokio::test]
async fn nothing_is_said_in_clear_to_a_server_that_offers_no_tls_or_another_certificate() {
    let clear = Smtp::start(SmtpTls::None).await;
    let sent = mail(&clear, EmailTls::StartTls)
        .send(alert("x").into())
        .await;
    assert!(sent.is_err());
    let (one, other) = (
        Smtp::start(SmtpTls::StartTls).await,
        Smtp::start(SmtpTls::StartTls).await,
    );
    let sink = EmailSink::builder("localhost", "forge@example.com")
        .to("ops@example.com")
        .port(one.addr.port())
        .authority(other.certificate.clone())
        .build()
        .unwrap();
    assert!(sink.send(alert("x").into()).await.is_err());
    assert!(clear.mails().is_empty() && one.mails().is_empty());
}

#[tokio::test]
async fn whatever_the_mail_server_does_the_mail_arrives_once_it_works_and_others_do_not_wait() {
    let server = Smtp::start(SmtpTls::StartTls).await;
    let (clock, kept) = (ManualClock::new(START), Kept::default());
    let monitor = monitor(&server, &clock, &kept).start().await.unwrap();
    for (round, fault) in [
        SmtpFault::Refuse,
        SmtpFault::Recipient(451),
        SmtpFault::Recipient(550),
        SmtpFault::DieInData,
    ]
    .into_iter()
    .enumerate()
    {
        server.fault(fault);
        let raised = alert(&format!("user {round}"));
        monitor.raise(raised.clone());
        monitor.flush().await;
        assert_eq!(kept.count(), round + 1, "the other sink has it");
        assert_eq!(server.mails().len(), round, "{fault:?}");
        // Not before its time.
        let tried = server.connections();
        monitor.flush().await;
        assert_eq!(server.connections(), tried);
        server.fault(SmtpFault::None);
        clock.advance(Duration::from_secs(2));
        monitor.flush().await;
        let mails = server.wait_for(round + 1).await;
        let id = mails[round].header("message-id").unwrap();
        assert_eq!(id, format!("<{}@example.com>", raised.id));
    }
    let stats = monitor.stats();
    assert_eq!((stats.alerts_failed, stats.alerts_delivered), (4, 8));
    monitor.shutdown().await;
    assert_eq!(server.mails().len(), 4, "none twice");
}

#[tokio::test]
async fn a_mail_server_that_hangs_delays_no_other_sink() {
    let server = Smtp::start(SmtpTls::StartTls).await;
    server.fault(SmtpFault::Hang);
    let (clock, kept) = (ManualClock::new(START), Kept::default());
    let monitor = monitor(&server, &clock, &kept).start().await.unwrap();
    monitor.raise(alert("x"));
    while kept.count() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(monitor.stats().alerts_failed, 0, "it still hangs");
}

#[tokio::test]
async fn an_alert_that_nobody_took_is_given_up_after_hours_and_kept() {
    let server = Smtp::start(SmtpTls::StartTls).await;
    server.fault(SmtpFault::Refuse);
    let (clock, kept) = (ManualClock::new(START), Kept::default());
    let store = MemoryMonitorStore::new();
    let monitor = monitor(&server, &clock, &kept)
        .store(store.clone())
        .start()
        .await
        .unwrap();
    monitor.raise(alert("x"));
    for _ in 0..40 {
        monitor.flush().await;
        clock.advance(Duration::from_secs(900));
    }
    let stats = monitor.stats();
    // The alert, and later that it is over.
    assert_eq!((stats.alerts_dead, stats.alerts_failed), (2, 62));
    assert_eq!(store.outbox().await.unwrap().dead, 2);
}

#[tokio::test]
async fn what_waits_is_delivered_by_the_next_run_under_the_same_id() {
    let server = Smtp::start(SmtpTls::StartTls).await;
    server.fault(SmtpFault::Recipient(451));
    let (clock, kept) = (ManualClock::new(START), Kept::default());
    let store = MemoryMonitorStore::new();
    let first = monitor(&server, &clock, &kept).store(store.clone());
    let first = first.start().await.unwrap();
    let raised = alert("x");
    first.raise(raised.clone());
    first.flush().await;
    first.shutdown().await;
    server.fault(SmtpFault::None);
    clock.advance(Duration::from_secs(60));
    let second = monitor(&server, &clock, &kept).store(store).start().await;
    let mails = server.wait_for(1).await;
    let id = mails[0].header("message-id").unwrap();
    assert_eq!(id, format!("<{}@example.com>", raised.id));
    assert_eq!(kept.count(), 1, "what was delivered is not again");
    second.unwrap().shutdown().await;
}

#[tokio::test]
async fn with_the_database_down_alerts_leave_through_the_spill_file_even_by_the_next_run() {
    let server = Smtp::start(SmtpTls::StartTls).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alerts.spill");
    let (clock, kept) = (ManualClock::new(START), Kept::default());
    let run = || {
        let monitor = monitor(&server, &clock, &kept).store(Node::alone(State::Down));
        monitor.spill_file(&file)
    };
    let first = run().start().await.unwrap();
    first.raise(alert("a"));
    first.flush().await;
    server.wait_for(1).await;
    assert_eq!((kept.count(), first.stats().alerts_spilled), (1, 1));
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0, "nothing waits");

    server.fault(SmtpFault::Recipient(451));
    first.raise(alert("b"));
    first.flush().await;
    assert_eq!(kept.count(), 2);
    first.shutdown().await;
    assert!(std::fs::metadata(&file).unwrap().len() > 0);

    server.fault(SmtpFault::None);
    clock.advance(Duration::from_secs(60));
    let second = run().start().await.unwrap();
    let mails = server.wait_for(2).await;
    assert!(mails[1].header("subject").unwrap().ends_with("failed: b"));
    second.shutdown().await;
    assert_eq!(kept.count(), 2);
}

#[tokio::test]
async fn with_the_database_down_and_the_spill_file_full_the_first_alerts_are_kept_and_the_rest_counted()
 {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alerts.spill");
    let clock = ManualClock::new(START);
    let refuses = |_: Arc<Alert>| async { Err::<(), BoxError>("not now".into()) };
    let kept = Kept::default();
    let builder = || {
        let builder = Monitor::builder().clock(clock.clone());
        let builder = builder.alerts_individually(usize::MAX).spill_file(&file);
        builder.spill_bytes(8 << 10)
    };
    let first = builder().store(Node::alone(State::Down));
    let first = first.alert_sink("ops", refuses).start().await.unwrap();
    for n in 0..100 {
        first.raise(alert(&format!("{n:03}")));
    }
    first.flush().await;
    let stats = first.stats();
    assert_eq!(stats.alerts_spilled + stats.alerts_lost, 100);
    assert!((10..50).contains(&stats.alerts_spilled), "{stats:?}");
    assert!(std::fs::metadata(&file).unwrap().len() <= 16 << 10);
    assert_eq!(first.health().status(), HealthStatus::Degraded);
    first.shutdown().await;

    // Each was tried once, and is due again after seconds.
    clock.advance(Duration::from_secs(60));
    let second = builder().store(Node::alone(State::Down));
    let second = second.alert_sink("ops", kept.sink()).start().await.unwrap();
    second.flush().await;
    let mut scopes: Vec<_> = kept
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|of| of.scope.clone())
        .collect();
    let expected: Vec<_> = (0..stats.alerts_spilled)
        .map(|n| format!("{n:03}"))
        .collect();
    scopes.sort();
    assert_eq!(scopes, expected);
    second.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_others_decided_while_the_store_was_down_is_learnt_when_it_is_back() {
    let (clock, store) = (ManualClock::new(START), Node::alone(State::Up));
    let monitor = Monitor::builder().clock(clock.clone()).store(store.clone());
    let monitor = monitor.start().await.unwrap();
    monitor.flush().await;
    store.set(State::Down);
    let now = START + Duration::from_secs(1);
    let until = now + Duration::from_secs(86_400);
    let target = Target::of_address([192, 0, 2, 1].into());
    // By another node, which does reach it.
    let decision = Decision::block("x", target, now, until);
    store.store.insert(&decision).await.unwrap();
    let seconds = async |seconds: u64| {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            monitor.flush().await;
        }
    };
    for _ in 0..6 {
        clock.advance(Duration::from_secs(1800));
        seconds(2).await;
    }
    assert!(monitor.blocks().is_empty());
    store.set(State::Up);
    seconds(2).await;
    assert_eq!(*monitor.blocks()[0], decision);
}

/// A receiver of webhooks and what it was sent.
#[derive(Clone)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answer: Arc<Mutex<StatusCode>>,
    /// One for each alert that is taken and not answered.
    slow: Arc<Semaphore>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            got: Arc::default(),
            answer: Arc::default(),
            slow: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Receiver {
    async fn serve(&self) -> test_support::Server {
        async fn take(
            Shared(receiver): Shared<Receiver>,
            headers: HeaderMap,
            body: Bytes,
        ) -> StatusCode {
            let body = String::from_utf8(body.to_vec()).unwrap();
            receiver.got.lock().unwrap().push((headers, body));
            *receiver.answer.lock().unwrap()
        }
        /// Takes the alert, and never answers.
        async fn hang(Shared(receiver): Shared<Receiver>) -> StatusCode {
            receiver.slow.add_permits(1);
            std::future::pending().await
        }
        let app = Router::new()
            .route("/hook", post(take))
            .route("/api/v2/alerts", post(take))
            .route(
                "/elsewhere",
                post(async || Redirect::temporary("/hook").into_response()),
            )
            .route("/slow", post(hang))
            .with_state(self.clone());
        test_support::serve(app).await
    }

    fn got(&self) -> Vec<(HeaderMap, String)> {
        self.got.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_webhook_is_signed_and_its_receiver_checked() {
    let receiver = Receiver::default();
    let server = receiver.serve().await;
    let secret = "0123456789abcdef0123456789abcdef";
    let sink = WebhookSink::dangerous_private(&format!("{}/hook", server.url())).unwrap();
    let sink = sink.secret(secret).unwrap();
    let raised = Arc::new(alert("user 7"));
    sink.send(Arc::clone(&raised)).await.unwrap();
    sink.send(Arc::clone(&raised)).await.unwrap();
    let got = receiver.got();
    let (headers, body) = &got[0];
    let read: Alert = serde_json::from_str(body).unwrap();
    assert_eq!(read, *raised);
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("webhook-id"), raised.id.to_string());
    assert_eq!(got[1].0["webhook-id"], headers["webhook-id"]);
    let signed = format!(
        "{}.{}.{body}",
        header("webhook-id"),
        header("webhook-timestamp")
    );
    let mac = {
        use hmac::{Hmac, KeyInit, Mac};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        base64::prelude::BASE64_STANDARD.encode(mac.finalize().into_bytes())
    };
    assert_eq!(header("webhook-signature"), format!("v1,{mac}"));

    for (status, works) in [(204, true), (500, false), (404, false), (302, false)] {
        *receiver.answer.lock().unwrap() = StatusCode::from_u16(status).unwrap();
        assert_eq!(
            sink.send(Arc::clone(&raised)).await.is_ok(),
            works,
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_private_address_not_reached() {
    let receiver = Receiver::default();
    let server = receiver.serve().await;
    let there = format!("{}/elsewhere", server.url());
    let sink = WebhookSink::dangerous_private(&there).unwrap();
    let error = sink.send(alert("x").into()).await.unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
    // A name that resolves to this machine.
    let local = format!("https://localhost:{}/hook", server.addr.port());
    let sink = WebhookSink::new(&local).unwrap();
    let error = sink.send(alert("x").into()).await.unwrap_err();
    assert!(
        error.to_string().contains("not one alerts may be sent to"),
        "{error}"
    );
    assert!(receiver.got().is_empty());
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_delays_nobody_else() {
    let receiver = Receiver::default();
    let server = receiver.serve().await;
    let slow = WebhookSink::dangerous_private(&format!("{}/slow", server.url())).unwrap();
    let (clock, kept) = (ManualClock::new(START), Kept::default());
    let monitor = Monitor::builder()
        .clock(clock.clone())
        .alert_sink("slow", slow)
        .alert_sink("kept", kept.sink());
    let monitor = monitor.start().await.unwrap();
    for n in 1..=3 {
        monitor.raise(alert(&n.to_string()));
        let is_told = async {
            while kept.count() < n {
                tokio::task::yield_now().await;
            }
        };
        let minute = Duration::from_secs(60);
        tokio::time::timeout(minute, is_told).await.unwrap();
    }
    // It has the first one, and still has not answered.
    receiver.slow.acquire().await.unwrap().forget();
    let stats = monitor.stats();
    assert_eq!((stats.alerts_delivered, stats.alerts_failed), (3, 0));
    assert_eq!(receiver.slow.available_permits(), 0);
}

#[tokio::test]
async fn slack_and_alertmanager_read_what_they_know() {
    let receiver = Receiver::default();
    let server = receiver.serve().await;
    let slack = WebhookSink::dangerous_private(&format!("{}/hook", server.url())).unwrap();
    let raised = Arc::new(alert("user 7"));
    slack
        .form(WebhookForm::Slack)
        .send(Arc::clone(&raised))
        .await
        .unwrap();
    let manager = AlertmanagerSink::new(&server.url()).unwrap();
    let manager = manager.bearer("a token").unwrap();
    manager.send(Arc::clone(&raised)).await.unwrap();
    let got = receiver.got();
    let message: serde_json::Value = serde_json::from_str(&got[0].1).unwrap();
    assert_eq!(message["text"], "[warning] failed: user 7\ntoo many");
    let alerts: serde_json::Value = serde_json::from_str(&got[1].1).unwrap();
    assert_eq!(alerts[0]["labels"]["alertname"], "failed");
    assert_eq!(alerts[0]["labels"]["scope"], "user 7");
    assert_eq!(alerts[0]["startsAt"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(alerts[0]["endsAt"], "2023-11-15T22:13:20.000000Z");
    assert_eq!(got[1].0["authorization"], "Bearer a token");
}
