//! What it decides and tells, whom it calls, and what it survives.

use crate::*;

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
    assert_eq!(alerts[0].summary, "blocked for 60 s: a matching signal");
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
