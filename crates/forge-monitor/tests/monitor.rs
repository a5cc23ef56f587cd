//! The monitor as a whole: what it tells, whom it calls, and what it survives.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_monitor::{
    Alert, AlertState, BoxError, Decision, DecisionStore, HealthStatus, Lift, LiftError,
    ManualClock, Monitor, MonitorBuilder, MonitorEvent, OnMonitorEvent, Scenario, Severity, Signal,
    SignalClass, SignalKind, StartError, StoreError, StoreFuture, Stored, Timestamp,
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
    let of_one = ["ScenarioPanicked", "DecisionMade", "AlertRaised"];
    assert_eq!(told.names(), [of_one, of_one].concat());
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
    let Some(MonitorEvent::AlertRaised(last)) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!((last.count, last.state), (2, AlertState::Resolved));
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

    fn lift_told(&self, _: Uuid) -> StoreFuture<'_, bool> {
        Box::pin(async { down() })
    }

    fn prune(&self, _: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async { down() })
    }
}

#[tokio::test]
async fn with_the_store_down_blocks_are_enforced_and_the_failure_told() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let monitor = monitor(&clock, &told)
        .decision_store(Down)
        .start()
        .await
        .unwrap();
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
    let started = Monitor::builder()
        .decision_store(Down)
        .clock(later)
        .start()
        .await;
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
