//! The monitor as a whole: what it tells, whom it calls, and what it survives.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_monitor::{
    Action, Alert, AlertState, AlertStore, Batch, BoxError, DeadLetter, Decision, DecisionStore,
    Delivery, HealthStatus, Lift, LiftError, ManualClock, Monitor, MonitorBuilder, MonitorEvent,
    MonitorStore, OnMonitorEvent, OutboxStats, Scenario, Settled, Severity, Signal, SignalClass,
    SignalKind, Silence, StartError, StoreError, StoreFuture, Stored, Target, Timestamp,
};
use uuid::Uuid;

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn client(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn failed(last: u8) -> Signal {
    Signal::new(SignalKind::AuthFailed).address(client(last))
}

fn first_failure() -> Scenario {
    Scenario::count("first_failure", SignalClass::AuthFailed)
        .threshold(0)
        .block_for(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<MonitorEvent>>>);

impl Told {
    /// The variants' names, without those that come all the time.
    fn names(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let names = events.iter().map(|event| {
            let text = format!("{event:?}");
            let end = text.find(|c: char| !c.is_alphanumeric());
            text[..end.unwrap_or(text.len())].to_owned()
        });
        names
            .filter(|name| !["SignalProcessed", "Vitals"].contains(&name.as_str()))
            .collect()
    }
}

impl OnMonitorEvent for Told {
    fn on_event(&self, event: &MonitorEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn monitor(clock: &ManualClock, told: &Told) -> MonitorBuilder {
    Monitor::builder()
        .scenario(first_failure())
        .clock(clock.clone())
        .on_event(told.clone())
}

#[tokio::test]
async fn tells_a_block_from_its_decision_to_its_end() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let monitor = monitor(&clock, &told).start().await.unwrap();
    monitor.emit(failed(1));
    monitor.flush().await;
    assert_eq!(told.names(), ["DecisionMade", "AlertRaised"]);
    assert_eq!(monitor.blocks().len(), 1);
    clock.advance(Duration::from_secs(60));
    monitor.flush().await;
    assert_eq!(told.names()[2..], ["DecisionExpired", "AlertRaised"]);
    assert!(monitor.blocks().is_empty());
    let stats = monitor.stats();
    assert_eq!((stats.signals, stats.decisions, stats.blocks), (1, 1, 0));
}

#[tokio::test]
async fn lifts_a_block_once() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let monitor = monitor(&clock, &told).start().await.unwrap();
    monitor.emit(failed(1));
    monitor.flush().await;
    let id = monitor.blocks()[0].id;
    assert!(matches!(
        monitor.lift(Uuid::nil(), "a test").await,
        Err(LiftError::NotFound)
    ));
    assert_eq!(monitor.lift(id, "a test").await.unwrap().id, id);
    assert!(monitor.guard().address(client(1)).is_none());
    assert!(matches!(
        monitor.lift(id, "a test").await,
        Err(LiftError::NotFound)
    ));
    assert_eq!(told.names()[2..], ["DecisionLifted", "AlertRaised"]);
    monitor.shutdown().await;
    assert!(matches!(
        monitor.lift(id, "a test").await,
        Err(LiftError::Stopped)
    ));
}

#[tokio::test]
async fn calls_every_responder_and_sink_and_survives_those_that_fail() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let (decisions, alerts) = (
        Arc::new(Mutex::new(Vec::new())),
        Arc::new(Mutex::new(Vec::new())),
    );
    let responder = {
        let decisions = Arc::clone(&decisions);
        move |decision: Arc<Decision>| {
            decisions.lock().unwrap().push(decision);
            std::future::ready(Ok::<(), BoxError>(()))
        }
    };
    let sink = {
        let alerts = Arc::clone(&alerts);
        move |alert: Arc<Alert>| {
            alerts.lock().unwrap().push(alert);
            std::future::ready(Ok::<(), BoxError>(()))
        }
    };
    let monitor = monitor(&clock, &told)
        .responder(|_: Arc<Decision>| async { Err::<(), BoxError>("no".into()) })
        .responder(|_: Arc<Decision>| async { panic!("on purpose") })
        .responder(responder)
        .alert_sink("broken", |_: Arc<Alert>| async { panic!("on purpose") })
        .alert_sink("kept", sink)
        .start()
        .await
        .unwrap();
    for last in [1, 2] {
        monitor.emit(failed(last));
    }
    monitor.flush().await;
    assert_eq!(*decisions.lock().unwrap(), monitor.blocks());
    let alerts = alerts.lock().unwrap();
    assert_eq!(alerts.len(), 2);
    assert_eq!(alerts[0].scope, "network 192.0.2.1");
    assert_eq!(
        alerts[0].summary,
        "blocked for 60 s: more than 0 matching signals in 900 s"
    );
    let stats = monitor.stats();
    assert_eq!(stats.responders_failed, 4);
    assert_eq!(stats.alerts_failed, 2);
    assert_eq!(stats.panics, 4);
}

#[tokio::test(start_paused = true)]
async fn a_hung_responder_delays_neither_the_block_nor_the_others() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let handled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handled);
    let monitor = monitor(&clock, &told)
        .responder(|_: Arc<Decision>| std::future::pending::<Result<(), BoxError>>())
        .responder(move |_: Arc<Decision>| {
            counter.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok::<(), BoxError>(()))
        })
        .start()
        .await
        .unwrap();
    monitor.emit(failed(1));
    while handled.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(monitor.guard().address(client(1)).is_some());
    assert_eq!(monitor.stats().responders_failed, 0);
    // The paused time moves on to the time-out when nothing else is left to do.
    monitor.flush().await;
    assert_eq!(monitor.stats().responders_failed, 1);
}

#[tokio::test]
async fn a_panicking_observer_or_scenario_does_not_end_the_monitor() {
    let touchy = Scenario::count("touchy", |_: &SignalKind| -> bool { panic!("on purpose") })
        .build()
        .unwrap();
    let (clock, told) = (ManualClock::new(START), Told::default());
    let monitor = Monitor::builder()
        .scenario(touchy)
        .scenario(first_failure())
        .on_event(|_: &MonitorEvent| panic!("on purpose"))
        .on_event(told.clone())
        .clock(clock.clone())
        .start()
        .await
        .unwrap();
    monitor.emit(failed(1));
    monitor.emit(failed(2));
    monitor.flush().await;
    assert_eq!(monitor.blocks().len(), 2);
    let names = told.names();
    let (panics, others): (Vec<_>, Vec<_>) = names
        .iter()
        .map(String::as_str)
        .partition(|name| *name == "ScenarioPanicked");
    assert_eq!(panics.len(), 2);
    let of_one = ["DecisionMade", "AlertRaised"];
    assert_eq!(others, [of_one, of_one].concat());
    // Two of the scenario; of the observer one for each event, those included that are not named.
    assert!(monitor.stats().panics >= 2 + 8);
    assert_eq!(monitor.health().status(), HealthStatus::Degraded);
    clock.advance(Duration::from_secs(300));
    assert_eq!(monitor.health().status(), HealthStatus::Up);
    monitor.shutdown().await;
    assert_eq!(monitor.health().status(), HealthStatus::Down);
}

#[tokio::test]
async fn a_full_queue_drops_signals_and_counts_them() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let monitor = monitor(&clock, &told).queue(4).start().await.unwrap();
    // The monitor's task does not run before this one awaits.
    for last in 0..10 {
        monitor.emit(failed(last));
    }
    let stats = monitor.stats();
    assert_eq!((stats.signals_dropped, stats.queue_depth), (6, 4));
    assert_eq!(monitor.health().status(), HealthStatus::Degraded);
    assert_eq!(told.names(), ["SignalDropped"; 6]);
    monitor.flush().await;
    assert_eq!(monitor.blocks().len(), 4);
    assert_eq!(monitor.stats().queue_depth, 0);
}

#[tokio::test]
async fn shutdown_decides_stores_and_alerts_what_is_queued() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let store = forge_monitor::MemoryMonitorStore::new();
    let monitor = monitor(&clock, &told)
        .blocks_per_minute(1)
        .store(store.clone())
        .start()
        .await
        .unwrap();
    for last in 1..=3 {
        monitor.emit(failed(last));
    }
    tokio::join!(monitor.shutdown(), monitor.shutdown());
    assert_eq!(store.active(START, 10).await.unwrap().len(), 1);
    let events = told.0.lock().unwrap().clone();
    let caps: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            MonitorEvent::AlertRaised(alert) if alert.severity == Severity::Critical => {
                Some((alert.scope.as_str(), alert.count))
            }
            _ => None,
        })
        .collect();
    assert_eq!(caps, [("cap", 1), ("cap", 1)], "at once, and what waited");

    monitor.emit(failed(4));
    assert_eq!(monitor.stats().signals_dropped, 1);
    monitor.flush().await;
    assert!(monitor.guard().address(client(1)).is_some());
    monitor.shutdown().await;
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_monitor_and_keeps_what_was_emitted() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let (done, mut ended) = tokio::sync::watch::channel(false);
    let monitor = monitor(&clock, &told)
        .responder(move |_: Arc<Decision>| {
            done.send_replace(true);
            std::future::ready(Ok::<(), BoxError>(()))
        })
        .start()
        .await
        .unwrap();
    monitor.emit(failed(1));
    drop(monitor);
    // Fails when the responder, and with it the sender, is dropped without having been called.
    ended.wait_for(|done| *done).await.unwrap();
    // The responder lives as long as the monitor's tasks.
    while ended.changed().await.is_ok() {}
}

#[tokio::test]
async fn alerts_of_one_client_are_grouped() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let monitor = monitor(&clock, &told)
        .alert_cool_down(Duration::from_secs(600))
        .start()
        .await
        .unwrap();
    let raised = || told.names().iter().filter(|n| *n == "AlertRaised").count();
    for _ in 0..3 {
        monitor.emit(failed(1));
        monitor.flush().await;
        let id = monitor.blocks()[0].id;
        monitor.lift(id, "a test").await.unwrap();
    }
    assert_eq!(raised(), 2, "that it began, and that it is over");
    clock.advance(Duration::from_secs(600));
    monitor.flush().await;
    assert_eq!(raised(), 3);
    let events = told.0.lock().unwrap();
    let last = events.iter().rev().find_map(|event| match event {
        MonitorEvent::AlertRaised(alert) => Some(alert),
        _ => None,
    });
    let last = last.unwrap();
    assert_eq!((last.count, last.state), (2, AlertState::Resolved));
}

/// Keeps what it is sent: the scopes, how often each happened, and the notices' ids.
#[derive(Clone, Default)]
struct Mailbox(Arc<Mutex<Vec<Alert>>>);

impl Mailbox {
    fn sink(&self) -> impl forge_monitor::AlertSink {
        let mailbox = Arc::clone(&self.0);
        move |alert: Arc<Alert>| {
            mailbox.lock().unwrap().push((*alert).clone());
            std::future::ready(Ok(()))
        }
    }

    fn got(&self) -> Vec<(String, u64)> {
        let got = self.0.lock().unwrap();
        got.iter().map(|of| (of.scope.clone(), of.count)).collect()
    }
}

#[tokio::test]
async fn what_is_held_back_is_delivered_by_the_next_run_where_this_one_dies() {
    let store = forge_monitor::MemoryMonitorStore::new();
    let mailbox = Mailbox::default();
    let start = async |clock: &ManualClock| {
        let builder = monitor(clock, &Told::default()).store(store.clone());
        let builder = builder.alert_sink("ops", mailbox.sink());
        builder.alerts_individually(1).start().await.unwrap()
    };
    let clock = ManualClock::new(START);
    let killed = start(&clock).await;
    for last in 1..=4 {
        killed.emit(failed(last));
    }
    killed.flush().await;
    let first = ("network 192.0.2.1".to_owned(), 1);
    assert_eq!(mailbox.got(), std::slice::from_ref(&first));
    // Its clock stands from now on, as that of a process that is gone.
    let next_clock = ManualClock::new(START + Duration::from_secs(900 + 60));
    let next = start(&next_clock).await;
    next.flush().await;
    let several = ("several".to_owned(), 1);
    assert_eq!(mailbox.got(), [first.clone(), several]);

    // Whoever lives to the end of the cool-down tells all of it, once.
    mailbox.0.lock().unwrap().clear();
    let clock = ManualClock::new(START + Duration::from_secs(86_400));
    let lives = start(&clock).await;
    for last in 11..=14 {
        lives.emit(failed(last));
    }
    lives.flush().await;
    clock.advance(Duration::from_secs(900));
    lives.flush().await;
    clock.advance(Duration::from_secs(900));
    lives.flush().await;
    let got = mailbox.got();
    let several: Vec<_> = got.iter().filter(|(scope, _)| scope == "several").collect();
    assert_eq!(several, [&("several".to_owned(), 3)]);
    for monitor in [&lives, &next] {
        monitor.shutdown().await;
    }
    assert_eq!(store.outbox().await.unwrap().waiting, 0);
}

#[tokio::test]
async fn what_is_silenced_while_it_is_held_back_is_not_told_later() {
    let store = forge_monitor::MemoryMonitorStore::new();
    let (clock, mailbox) = (ManualClock::new(START), Mailbox::default());
    let builder = monitor(&clock, &Told::default()).store(store.clone());
    let builder = builder.alert_sink("ops", mailbox.sink());
    let monitor = builder.alerts_individually(1).start().await.unwrap();
    for last in 1..=2 {
        monitor.emit(failed(last));
    }
    monitor.flush().await;
    assert_eq!(store.outbox().await.unwrap().waiting, 1);
    let until = START + Duration::from_secs(86_400);
    monitor
        .silence(Silence::new("first_failure", START, until))
        .await
        .unwrap();
    clock.advance(Duration::from_secs(900));
    monitor.flush().await;
    assert_eq!(store.outbox().await.unwrap().waiting, 0);
    clock.advance(Duration::from_secs(3600));
    monitor.flush().await;
    assert_eq!(mailbox.got().len(), 1);
}

#[tokio::test]
async fn what_is_held_back_for_hours_is_not_told_before() {
    let store = forge_monitor::MemoryMonitorStore::new();
    let (clock, mailbox) = (ManualClock::new(START), Mailbox::default());
    let builder = monitor(&clock, &Told::default()).store(store.clone());
    let builder = builder.alert_cool_down(Duration::from_secs(4 * 3600));
    let builder = builder.alert_sink("ops", mailbox.sink());
    let monitor = builder.alerts_individually(1).start().await.unwrap();
    for last in 1..=3 {
        monitor.emit(failed(last));
    }
    let several = || {
        mailbox
            .got()
            .iter()
            .filter(|(scope, _)| scope == "several")
            .count()
    };
    for _ in 0..4 * 12 - 1 {
        monitor.flush().await;
        clock.advance(Duration::from_secs(300));
        monitor.flush().await;
        assert_eq!((several(), store.outbox().await.unwrap().waiting), (0, 1));
    }
    clock.advance(Duration::from_secs(300));
    monitor.flush().await;
    assert_eq!((several(), store.outbox().await.unwrap().waiting), (1, 0));
}

/// A store that takes its time for a batch.
struct Slow(
    Arc<tokio::sync::Semaphore>,
    forge_monitor::MemoryMonitorStore,
);

impl DecisionStore for Slow {
    fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()> {
        self.1.insert(decision)
    }

    fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>> {
        self.1.active(at, limit)
    }

    fn changed(&self, since: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        self.1.changed(since, limit)
    }

    fn lift<'a>(&'a self, id: Uuid, lift: &'a Lift) -> StoreFuture<'a, bool> {
        self.1.lift(id, lift)
    }

    fn lift_alike<'a>(
        &'a self,
        action: Action,
        target: &'a Target,
        lift: &'a Lift,
    ) -> StoreFuture<'a, u64> {
        self.1.lift_alike(action, target, lift)
    }

    fn lift_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
        self.1.lift_told(id)
    }

    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        self.1.prune(before)
    }
}

impl AlertStore for Slow {
    fn enqueue<'a>(&'a self, deliveries: &'a [Delivery]) -> StoreFuture<'a, ()> {
        self.1.enqueue(deliveries)
    }

    fn lease<'a>(
        &'a self,
        sink: &'a str,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreFuture<'a, Option<Delivery>> {
        self.1.lease(sink, now, until)
    }

    fn settle<'a>(
        &'a self,
        id: Uuid,
        attempts: u32,
        settled: Settled,
        at: Timestamp,
    ) -> StoreFuture<'a, bool> {
        self.1.settle(id, attempts, settled, at)
    }

    fn dead(&self, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.1.dead(limit)
    }

    fn requeue(&self, id: Uuid, at: Timestamp) -> StoreFuture<'_, bool> {
        self.1.requeue(id, at)
    }

    fn outbox(&self) -> StoreFuture<'_, OutboxStats> {
        self.1.outbox()
    }

    fn forget(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        self.1.forget(before)
    }

    fn silence<'a>(&'a self, silence: &'a Silence) -> StoreFuture<'a, ()> {
        self.1.silence(silence)
    }

    fn unsilence(&self, id: Uuid, at: Timestamp) -> StoreFuture<'_, bool> {
        self.1.unsilence(id, at)
    }

    fn silences(&self, at: Timestamp) -> StoreFuture<'_, Vec<Silence>> {
        self.1.silences(at)
    }
}

impl MonitorStore for Slow {
    fn record<'a>(&'a self, batch: &'a Batch) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.0.acquire().await.unwrap().forget();
            self.1.record(batch).await
        })
    }
}

#[tokio::test]
async fn nobody_is_told_of_a_decision_before_it_is_stored_with_its_alert() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let (may_go_on, store) = (
        Arc::new(tokio::sync::Semaphore::new(0)),
        forge_monitor::MemoryMonitorStore::new(),
    );
    let builder = monitor(&clock, &told).store(Slow(Arc::clone(&may_go_on), store.clone()));
    let mailbox = Mailbox::default();
    let monitor = builder
        .alert_sink("ops", mailbox.sink())
        .start()
        .await
        .unwrap();
    monitor.emit(failed(1));
    let is_enforced = async {
        while monitor.guard().address(client(1)).is_none() {
            tokio::task::yield_now().await;
        }
    };
    let minute = Duration::from_secs(60);
    tokio::time::timeout(minute, is_enforced).await.unwrap();
    // It is enforced, and that is all.
    assert!(told.names().is_empty() && mailbox.got().is_empty());
    assert!(store.active(START, 9).await.unwrap().is_empty());
    may_go_on.add_permits(1);
    monitor.flush().await;
    assert_eq!(
        told.names(),
        ["DecisionMade", "AlertRaised", "AlertDelivered"]
    );
    assert_eq!(store.active(START, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn more_than_a_store_that_hangs_leaves_room_for_goes_through_the_spill_and_none_is_lost() {
    const ALERTS: usize = 3000;
    let clock = ManualClock::new(START);
    let (may_go_on, store) = (
        Arc::new(tokio::sync::Semaphore::new(0)),
        forge_monitor::MemoryMonitorStore::new(),
    );
    let mailbox = Mailbox::default();
    let builder = Monitor::builder().clock(clock.clone());
    let builder = builder.store(Slow(Arc::clone(&may_go_on), store));
    let builder = builder.alert_sink("ops", mailbox.sink());
    let monitor = builder.alerts_individually(usize::MAX);
    let monitor = monitor.start().await.unwrap();
    for n in 0..ALERTS {
        let summary = "too many";
        monitor.raise(Alert::new(
            "x",
            &n.to_string(),
            Severity::Warning,
            summary,
            START,
        ));
    }
    let is_full = async {
        while monitor.stats().alerts_spilled == 0 {
            tokio::task::yield_now().await;
        }
    };
    let minute = Duration::from_secs(60);
    tokio::time::timeout(minute, is_full).await.unwrap();
    may_go_on.add_permits(ALERTS);
    monitor.flush().await;
    let stats = monitor.stats();
    assert_eq!((stats.alerts as usize, stats.alerts_lost), (ALERTS, 0));
    let mut scopes: Vec<usize> = mailbox
        .got()
        .iter()
        .map(|(scope, _)| scope.parse().unwrap())
        .collect();
    scopes.sort_unstable();
    assert!(scopes.into_iter().eq(0..ALERTS));
}

/// A store that is down.
struct Down;

fn down<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("down".into()))
}

impl DecisionStore for Down {
    fn insert<'a>(&'a self, _: &'a Decision) -> StoreFuture<'a, ()> {
        Box::pin(async { down() })
    }

    fn active(&self, at: Timestamp, _: usize) -> StoreFuture<'_, Vec<Decision>> {
        // The first question, at the start, is about the past.
        Box::pin(async move { if at < START { Ok(Vec::new()) } else { down() } })
    }

    fn changed(&self, _: Timestamp, _: usize) -> StoreFuture<'_, Vec<Stored>> {
        Box::pin(async { down() })
    }

    fn lift<'a>(&'a self, _: Uuid, _: &'a Lift) -> StoreFuture<'a, bool> {
        Box::pin(async { panic!("on purpose") })
    }

    fn lift_alike<'a>(&'a self, _: Action, _: &'a Target, _: &'a Lift) -> StoreFuture<'a, u64> {
        Box::pin(async { down() })
    }

    fn lift_told(&self, _: Uuid) -> StoreFuture<'_, bool> {
        Box::pin(async { down() })
    }

    fn prune(&self, _: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async { down() })
    }
}

impl AlertStore for Down {
    fn enqueue<'a>(&'a self, _: &'a [Delivery]) -> StoreFuture<'a, ()> {
        Box::pin(async { down() })
    }

    fn lease<'a>(
        &'a self,
        _: &'a str,
        _: Timestamp,
        _: Timestamp,
    ) -> StoreFuture<'a, Option<Delivery>> {
        Box::pin(async { down() })
    }

    fn settle<'a>(&'a self, _: Uuid, _: u32, _: Settled, _: Timestamp) -> StoreFuture<'a, bool> {
        Box::pin(async { down() })
    }

    fn dead(&self, _: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        Box::pin(async { down() })
    }

    fn requeue(&self, _: Uuid, _: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(async { down() })
    }

    fn outbox(&self) -> StoreFuture<'_, OutboxStats> {
        Box::pin(async { down() })
    }

    fn forget(&self, _: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async { down() })
    }

    fn silence<'a>(&'a self, _: &'a Silence) -> StoreFuture<'a, ()> {
        Box::pin(async { down() })
    }

    fn unsilence(&self, _: Uuid, _: Timestamp) -> StoreFuture<'_, bool> {
        Box::pin(async { down() })
    }

    fn silences(&self, _: Timestamp) -> StoreFuture<'_, Vec<Silence>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

impl MonitorStore for Down {
    fn record<'a>(&'a self, _: &'a Batch) -> StoreFuture<'a, ()> {
        Box::pin(async { down() })
    }
}

#[tokio::test]
async fn with_the_store_down_blocks_are_enforced_and_the_failure_told() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let monitor = monitor(&clock, &told).store(Down).start().await.unwrap();
    monitor.emit(failed(1));
    monitor.flush().await;
    let blocked = monitor.guard().address(client(1)).unwrap();
    assert_eq!(told.names().last().unwrap(), "StoreFailed");
    assert_eq!(monitor.stats().store_failures, 1);
    let lifted = monitor.lift(blocked.id, "a test").await;
    assert!(matches!(lifted, Err(LiftError::Store(_))), "{lifted:?}");
    assert!(monitor.guard().address(client(1)).is_none());
}

#[tokio::test]
async fn does_not_start_where_it_cannot_know_whom_it_has_blocked() {
    let later = ManualClock::new(START + Duration::from_secs(86_400 * 30));
    let started = Monitor::builder().store(Down).clock(later).start().await;
    assert!(matches!(started, Err(StartError::Store(_))));
}

#[tokio::test]
async fn does_not_start_with_two_scenarios_of_one_name() {
    let started = Monitor::builder()
        .built_in_scenarios()
        .built_in_scenarios()
        .start()
        .await;
    assert!(matches!(started, Err(StartError::DuplicateScenario)));
}

#[tokio::test]
async fn setting_the_clock_does_not_move_the_window() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .clock(clock.clone())
        .on_event(told.clone())
        .start()
        .await
        .unwrap();
    for jump in [-86_400_000_000_i64, 0, 86_400_000_000, 0, -1, 1] {
        clock.set(Timestamp::from_micros(START.as_micros() + jump));
        monitor.emit(failed(1));
        monitor.flush().await;
    }
    assert_eq!(monitor.stats().decisions, 1);
}
