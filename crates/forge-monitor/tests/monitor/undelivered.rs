//! What waits for too long, or for a sink that is not there any more.

use forge_monitor::{Clock as _, DeadReason, Delivery};

use crate::node::{Node, State};
use crate::*;

const HOUR: Duration = Duration::from_secs(3600);

fn waiting(sink: &str) -> Delivery {
    let alert = Alert::new("x", "y", Severity::Warning, "too many", START);
    Delivery::new(sink, alert, START)
}

fn builder(clock: &ManualClock, store: &MemoryMonitorStore, told: &Told) -> MonitorBuilder {
    Monitor::builder()
        .clock(clock.clone())
        .store(store.clone())
        .on_event(told.clone())
}

/// Lets time go by, an hour after the other.
async fn hours_pass(hours: usize, clock: &ManualClock, monitors: &[&Monitor]) {
    for _ in 0..hours {
        clock.advance(HOUR);
        for monitor in monitors {
            monitor.flush().await;
            // What the first one led to.
            monitor.flush().await;
        }
    }
}

async fn reasons(store: &MemoryMonitorStore) -> Vec<DeadReason> {
    let dead = store.dead(9).await.unwrap();
    dead.iter().map(|of| of.reason).collect()
}

#[tokio::test]
async fn what_waits_for_a_sink_that_was_taken_out_is_given_up_after_a_day_and_told_once() {
    let (clock, told, store) = (
        ManualClock::new(START),
        Told::default(),
        MemoryMonitorStore::new(),
    );
    store
        .enqueue(&[waiting("old"), waiting("old")])
        .await
        .unwrap();
    let mailbox = Mailbox::default();
    let builder = builder(&clock, &store, &told).alert_sink("ops", mailbox.sink());
    let monitor = builder.start().await.unwrap();
    monitor.flush().await;
    hours_pass(23, &clock, &[&monitor]).await;
    assert_eq!(store.outbox().await.unwrap().waiting, 2);
    hours_pass(1, &clock, &[&monitor]).await;
    assert_eq!(reasons(&store).await, [DeadReason::NoSink; 2]);
    assert_eq!(monitor.stats().alerts_dead, 2);
    let alert = mailbox.0.lock().unwrap()[0].clone();
    assert_eq!(&*alert.scenario, "undelivered_alerts");
    assert_eq!(alert.scope, "sink old");
    assert_eq!(
        alert.summary,
        "2 alerts given up: there is no sink of this name any more"
    );
    let dead = told.names();
    let dead = dead.iter().filter(|name| *name == "AlertDead");
    assert_eq!(dead.count(), 2);
    assert_eq!(mailbox.got().len(), 1);
}

#[tokio::test]
async fn what_another_node_delivers_to_is_not_given_up_by_one_that_does_not() {
    let (clock, told, store) = (
        ManualClock::new(START),
        Told::default(),
        MemoryMonitorStore::new(),
    );
    store.enqueue(&[waiting("new")]).await.unwrap();
    let refuses = |_: Arc<Alert>| async { Err::<(), BoxError>("not now".into()) };
    let one = builder(&clock, &store, &told).start().await.unwrap();
    let two = builder(&clock, &store, &told).alert_sink("new", refuses);
    let two = two.start().await.unwrap();
    hours_pass(26, &clock, &[&one, &two]).await;
    assert_eq!(reasons(&store).await, []);
    assert!(two.stats().alerts_failed > 20, "it tries");
    // With the other gone, it takes a day from then on.
    two.shutdown().await;
    hours_pass(24, &clock, &[&one]).await;
    assert_eq!(reasons(&store).await, []);
    hours_pass(1, &clock, &[&one]).await;
    assert_eq!(reasons(&store).await, [DeadReason::NoSink]);
}

#[tokio::test]
async fn what_is_too_old_is_tried_after_a_start_before_it_is_given_up() {
    let (clock, told, store) = (
        ManualClock::new(START + 100 * HOUR),
        Told::default(),
        MemoryMonitorStore::new(),
    );
    store
        .enqueue(&[waiting("ops"), waiting("slow")])
        .await
        .unwrap();
    let mailbox = Mailbox::default();
    let refuses = |_: Arc<Alert>| async { Err::<(), BoxError>("not now".into()) };
    let builder = builder(&clock, &store, &told).alert_sink("ops", mailbox.sink());
    let monitor = builder.alert_sink("slow", refuses).start().await.unwrap();
    monitor.flush().await;
    assert_eq!(mailbox.got(), [("y".to_owned(), 1)]);
    clock.advance(Duration::from_secs(599));
    monitor.flush().await;
    assert_eq!(reasons(&store).await, []);
    clock.advance(Duration::from_secs(61));
    monitor.flush().await;
    monitor.flush().await;
    assert_eq!(reasons(&store).await, [DeadReason::TooOld]);
    let scopes: Vec<_> = mailbox.got().into_iter().map(|(scope, _)| scope).collect();
    assert_eq!(scopes, ["y", "sink slow"]);
    // That the sink does not take that either is no news.
    clock.advance(100 * HOUR);
    monitor.flush().await;
    monitor.flush().await;
    let waits = store.outbox().await.unwrap().waiting;
    hours_pass(8, &clock, &[&monitor]).await;
    assert!(store.outbox().await.unwrap().waiting <= waits);
}

/// A monitor whose only sink refuses what it is given, and that has a file for what the store does
/// not take.
async fn spilling(clock: &ManualClock, node: &Node, file: &std::path::Path, sink: &str) -> Monitor {
    let refuses = |_: Arc<Alert>| async { Err::<(), BoxError>("not now".into()) };
    let builder = Monitor::builder().clock(clock.clone()).spill_file(file);
    let builder = builder.store(node.clone()).alert_sink(sink, refuses);
    builder.start().await.unwrap()
}

#[tokio::test]
async fn what_was_spilled_for_a_sink_that_was_taken_out_goes_to_the_store() {
    let (clock, node) = (ManualClock::new(START), Node::alone(State::Down));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alerts.spill");
    let run = async |name| spilling(&clock, &node, &file, name).await;
    let first = run("old").await;
    first.raise(waiting("old").alert);
    first.flush().await;
    assert_eq!(first.stats().alerts_spilled, 1);
    first.shutdown().await;
    let second = run("new").await;
    second.flush().await;
    assert!(std::fs::metadata(&file).unwrap().len() > 0, "it stays");
    node.set(State::Up);
    clock.advance(Duration::from_secs(60));
    second.flush().await;
    let outbox = node.store.outbox().await.unwrap();
    assert_eq!(outbox.waiting, 1);
    second.flush().await;
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
}

#[tokio::test]
async fn what_cannot_be_stored_keeps_nothing_else_from_being_given_up() {
    let (clock, node) = (ManualClock::new(START), Node::alone(State::Down));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alerts.spill");
    let run = async |name| spilling(&clock, &node, &file, name).await;
    let first = run("old").await;
    first.raise(waiting("old").alert);
    first.flush().await;
    first.shutdown().await;
    node.store.enqueue(&[waiting("older")]).await.unwrap();
    node.set(State::Full);
    let second = run("new").await;
    second.flush().await;
    hours_pass(24, &clock, &[&second]).await;
    assert_eq!(reasons(&node.store).await, [DeadReason::NoSink]);
    assert!(std::fs::metadata(&file).unwrap().len() > 0, "it stays");
    node.set(State::Up);
    hours_pass(1, &clock, &[&second]).await;
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
}

#[tokio::test]
async fn what_was_spilled_and_is_not_taken_is_a_dead_letter() {
    let (clock, node) = (ManualClock::new(START), Node::alone(State::Down));
    let refuses = |_: Arc<Alert>| async { Err::<(), BoxError>("not now".into()) };
    let builder = Monitor::builder().clock(clock.clone()).store(node.clone());
    let monitor = builder.alert_sink("mail", refuses).start().await.unwrap();
    monitor.raise(waiting("mail").alert);
    monitor.flush().await;
    assert_eq!(monitor.stats().alerts_spilled, 1);
    node.set(State::Up);
    hours_pass(32, &clock, &[&monitor]).await;
    // That it began, which was spilled, and that it is over.
    assert_eq!(reasons(&node.store).await, [DeadReason::NotTaken; 2]);
    assert_eq!(monitor.stats().alerts_dead, 2);
    let id = node.store.dead(9).await.unwrap()[0].delivery.id;
    assert!(
        node.store
            .requeue(id, &Lift::new(clock.now(), "x"))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_short_grace_gives_up_nothing_that_another_node_delivers() {
    let (clock, told, store) = (
        ManualClock::new(START),
        Told::default(),
        MemoryMonitorStore::new(),
    );
    let second = Duration::from_secs(1);
    let refuses = |_: Arc<Alert>| async { Err::<(), BoxError>("not now".into()) };
    let short = || builder(&clock, &store, &told).missing_sink_grace(second);
    let one = short().start().await.unwrap();
    let two = short().alert_sink("new", refuses).start().await.unwrap();
    store.enqueue(&[waiting("new")]).await.unwrap();
    // The other may be late for a look.
    for minute in 0..30 {
        clock.advance(Duration::from_secs(60));
        one.flush().await;
        if minute % 2 == 1 {
            two.flush().await;
        }
    }
    assert_eq!(reasons(&store).await, []);
    two.shutdown().await;
    for _ in 0..11 {
        clock.advance(Duration::from_secs(60));
        one.flush().await;
    }
    assert_eq!(reasons(&store).await, [DeadReason::NoSink]);
}

#[tokio::test]
async fn after_the_store_was_away_or_the_clock_leapt_nothing_is_given_up_at_once() {
    let (clock, node) = (ManualClock::new(START), Node::alone(State::Up));
    let builder = Monitor::builder().clock(clock.clone()).store(node.clone());
    let monitor = builder.start().await.unwrap();
    let minute = async || {
        clock.advance(Duration::from_secs(60));
        monitor.flush().await;
    };
    for _ in 0..11 {
        minute().await;
    }
    node.store.enqueue(&[waiting("mail")]).await.unwrap();
    node.set(State::Down);
    hours_pass(100, &clock, &[&monitor]).await;
    node.set(State::Up);
    for _ in 0..10 {
        minute().await;
        assert_eq!(reasons(&node.store).await, []);
    }
    minute().await;
    assert_eq!(reasons(&node.store).await, [DeadReason::TooOld]);

    let fresh = Delivery::new("mail", waiting("mail").alert, clock.now());
    node.store.enqueue(&[fresh]).await.unwrap();
    clock.set(clock.now() + 100 * HOUR);
    for _ in 0..10 {
        minute().await;
        assert_eq!(reasons(&node.store).await.len(), 1);
    }
    minute().await;
    assert_eq!(reasons(&node.store).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_another_program_does_to_alerts_is_told_once_by_one_of_two_monitors() {
    let (clock, told, store) = (
        ManualClock::new(START),
        Told::default(),
        MemoryMonitorStore::new(),
    );
    let monitors = [
        builder(&clock, &store, &told).start().await.unwrap(),
        builder(&clock, &store, &told).start().await.unwrap(),
    ];
    let seconds_pass = async || {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(1100)).await;
            for monitor in &monitors {
                monitor.flush().await;
            }
        }
    };
    let silence = Silence::new("x", START, START + HOUR).by("the command line", "");
    store.silence(&silence).await.unwrap();
    seconds_pass().await;
    assert_eq!(told.names(), ["SilenceMade"]);
    let end = Lift::new(START + Duration::from_secs(1), "the command line");
    assert!(store.unsilence(silence.id, &end).await.unwrap());
    seconds_pass().await;
    assert_eq!(told.names(), ["SilenceMade", "SilenceEnded"]);
    // So is what another program lets wait again.
    let given_up = waiting("fax");
    store
        .enqueue(std::slice::from_ref(&given_up))
        .await
        .unwrap();
    let patience = Patience::new(HOUR, HOUR);
    let letters = store.give_up(START + 2 * HOUR, patience, 9).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(store.requeue(given_up.id, &end).await.unwrap());
    seconds_pass().await;
    assert_eq!(told.names()[2..], ["AlertRequeued"]);
    assert_eq!(store.untold_requeues(9).await.unwrap(), []);
    // Whoever asks a monitor for it knows.
    assert_eq!(
        store
            .give_up(START + 9 * HOUR, patience, 9)
            .await
            .unwrap()
            .len(),
        1
    );
    monitors[1].requeue(given_up.id).await.unwrap();
    let silence = Silence::new("x", START, START + HOUR);
    monitors[0].silence(silence.clone()).await.unwrap();
    monitors[1].unsilence(silence.id, "a test").await.unwrap();
    seconds_pass().await;
    assert_eq!(told.names().len(), 3);
}
