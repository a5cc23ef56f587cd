//! Alerts: grouped, held back, silenced, and not lost meanwhile.

use crate::*;

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
