//! A store that cannot be read or written for a while: what was decided, lifted and told meanwhile.

use forge_monitor::Clock;

use crate::node::{Node, State};
use crate::*;

const HOUR: Duration = Duration::from_secs(3600);

fn builder(clock: &ManualClock) -> MonitorBuilder {
    let first_failure = Scenario::count("first_failure", SignalClass::AuthFailed)
        .threshold(0)
        .block_for(Duration::from_secs(3600))
        .build()
        .unwrap();
    Monitor::builder()
        .scenario(first_failure)
        .clock(clock.clone())
}

async fn start(clock: &ManualClock, node: &Node) -> Monitor {
    builder(clock).store(node.clone()).start().await.unwrap()
}

async fn ban(monitor: &Monitor, last: u8) -> Arc<Decision> {
    monitor.emit(failed(last));
    let is_enforced = async {
        loop {
            if let Some(block) = monitor.guard().address(client(last)) {
                return block;
            }
            tokio::task::yield_now().await;
        }
    };
    let minute = Duration::from_secs(60);
    tokio::time::timeout(minute, is_enforced).await.unwrap()
}

/// So that what is done every few seconds is done; time is paused.
async fn seconds_pass(monitors: &[&Monitor]) {
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        for monitor in monitors {
            monitor.flush().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lifted_does_not_come_back_by_a_node_that_could_not_store_it() {
    for state in [State::ReadOnly, State::Hangs] {
        let (store, clock) = (MemoryMonitorStore::new(), ManualClock::new(START));
        let (up, frail) = (Node::new(&store, State::Up), Node::new(&store, state));
        let (one, two) = (start(&clock, &up).await, start(&clock, &frail).await);
        ban(&two, 1).await;
        clock.advance(Duration::from_secs(1));
        let block = ban(&one, 1).await;
        one.flush().await;
        clock.advance(Duration::from_secs(1));
        one.lift(block.id, "a test").await.unwrap();
        if state == State::ReadOnly {
            seconds_pass(&[&one, &two]).await;
            assert!(two.guard().address(client(1)).is_none());
        }
        frail.set(State::Up);
        seconds_pass(&[&one, &two]).await;
        if state == State::ReadOnly {
            let stored = store.changed(START, 9).await.unwrap();
            assert_eq!(stored.len(), 1, "it is not even stored");
        }
        seconds_pass(&[&one, &two]).await;
        for monitor in [&one, &two] {
            assert!(monitor.guard().address(client(1)).is_none(), "{state:?}");
        }
        assert_eq!(store.active(clock.now(), 9).await.unwrap(), []);
        // Who goes on after that is found again, and that stays.
        clock.advance(Duration::from_secs(1));
        ban(&two, 1).await;
        seconds_pass(&[&one, &two]).await;
        assert!(one.guard().address(client(1)).is_some());
        assert!(two.guard().address(client(1)).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_long_after_it_was_lifted_is_lifted_there_too() {
    let (store, clock) = (MemoryMonitorStore::new(), ManualClock::new(START));
    let one = start(&clock, &Node::new(&store, State::Up)).await;
    let block = ban(&one, 1).await;
    one.lift(block.id, "a test").await.unwrap();
    seconds_pass(&[&one]).await;
    clock.advance(Duration::from_secs(600));
    // By a node that has died since.
    let alike = Decision::block("x", block.target.clone(), START, block.until);
    store.insert(&alike).await.unwrap();
    seconds_pass(&[&one]).await;
    assert!(one.guard().address(client(1)).is_none());
    assert_eq!(store.active(clock.now(), 9).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn alerts_that_leave_nothing_to_store_do_not_push_out_what_does() {
    let (store, clock) = (MemoryMonitorStore::new(), ManualClock::new(START));
    let node = Node::new(&store, State::Hangs);
    let builder = builder(&clock).store(node.clone());
    let monitor = builder.alerts_individually(usize::MAX);
    let monitor = monitor.start().await.unwrap();
    ban(&monitor, 1).await;
    let raise = async |scope: &str| {
        monitor.raise(Alert::new("x", scope, Severity::Warning, "z", START));
        tokio::task::yield_now().await;
    };
    for _ in 0..4000 {
        raise("y").await;
    }
    let second = ban(&monitor, 2).await;
    assert_eq!(monitor.stats().store_failures, 0, "there is room");
    // Of these each is told, and the queue is full.
    for n in 0..4000 {
        raise(&n.to_string()).await;
    }
    let third = ban(&monitor, 3).await;
    assert_eq!(monitor.stats().store_failures, 1);
    let fourth = ban(&monitor, 4).await;
    let lift = monitor.lift(fourth.id, "a test");
    let goes_on = async {
        tokio::task::yield_now().await;
        node.set(State::Up);
    };
    let (lifted, ()) = tokio::join!(lift, goes_on);
    assert_eq!(lifted.unwrap().id, fourth.id);
    seconds_pass(&[&monitor]).await;
    let stored = store.active(START, 9).await.unwrap();
    let mut stored: Vec<_> = stored.iter().map(|of| of.id).collect();
    stored.sort();
    assert_eq!(stored[1..], [second.id, third.id]);
    assert_eq!((stored.len(), monitor.blocks().len()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_is_held_back_while_the_store_is_down_outlives_the_process() {
    let (store, clock) = (MemoryMonitorStore::new(), ManualClock::new(START));
    let (node, mailbox) = (Node::new(&store, State::Up), Mailbox::default());
    let folder = tempfile::tempdir().unwrap();
    let run = async |clock: &ManualClock| {
        let builder = builder(clock).store(node.clone()).alerts_individually(1);
        let builder = builder.spill_file(folder.path().join("alerts.spill"));
        let builder = builder.alert_sink("ops", mailbox.sink());
        builder.start().await.unwrap()
    };
    let killed = run(&clock).await;
    ban(&killed, 1).await;
    killed.flush().await;
    node.set(State::ReadOnly);
    ban(&killed, 2).await;
    killed.flush().await;
    assert_eq!(killed.stats().alerts_spilled, 1);
    node.set(State::Up);
    seconds_pass(&[&killed]).await;
    assert_eq!(store.active(START, 9).await.unwrap().len(), 2);
    let first = ("network 192.0.2.1".to_owned(), 1);
    assert_eq!(mailbox.got(), std::slice::from_ref(&first));
    // Its clock stands from now on, as that of a process that is gone.
    let next = run(&ManualClock::new(START + Duration::from_secs(900 + 60))).await;
    next.flush().await;
    assert_eq!(mailbox.got(), [first, ("several".to_owned(), 1)]);
}

#[tokio::test]
async fn an_alert_that_was_spilled_while_it_was_held_back_is_told_once() {
    let (store, clock) = (MemoryMonitorStore::new(), ManualClock::new(START));
    let (node, mailbox) = (Node::new(&store, State::Up), Mailbox::default());
    let builder = builder(&clock).store(node.clone());
    let builder = builder.alert_sink("ops", mailbox.sink());
    let monitor = builder.start().await.unwrap();
    let raise = async || {
        monitor.raise(Alert::new("x", "y", Severity::Warning, "z", START));
        monitor.flush().await;
    };
    raise().await;
    node.set(State::ReadOnly);
    raise().await;
    node.set(State::Up);
    // The end of the cool-down, and when whoever found it in the spill would tell it.
    for seconds in [900, 120] {
        clock.advance(Duration::from_secs(seconds));
        monitor.flush().await;
    }
    let one = ("y".to_owned(), 1);
    assert_eq!(mailbox.got(), [one.clone(), one]);
}

#[tokio::test(start_paused = true)]
async fn a_lifting_that_could_not_be_stored_is_when_the_store_is_back() {
    let (store, clock) = (MemoryMonitorStore::new(), ManualClock::new(START));
    let (up, frail) = (Node::new(&store, State::Up), Node::new(&store, State::Up));
    let (one, two) = (start(&clock, &up).await, start(&clock, &frail).await);
    let told = Arc::new(Mutex::new(0));
    let counts = Arc::clone(&told);
    let watched = builder(&clock).on_event(move |event: &MonitorEvent| {
        if let MonitorEvent::DecisionLifted(..) = event {
            *counts.lock().unwrap() += 1;
        }
    });
    let three = watched.store(frail.clone()).start().await.unwrap();
    for (asks_again, last) in [(false, 1), (true, 2)] {
        let block = ban(&three, last).await;
        three.flush().await;
        seconds_pass(&[&one]).await;
        assert!(one.guard().address(client(last)).is_some());
        frail.set(State::ReadOnly);
        for _ in 0..2 {
            let lifted = three.lift(block.id, "a test").await;
            assert!(matches!(lifted, Err(LiftError::Store(_))), "{lifted:?}");
        }
        frail.set(State::Up);
        if asks_again {
            assert_eq!(three.lift(block.id, "a test").await.unwrap().id, block.id);
            assert!(store.active(START, 9).await.unwrap().is_empty());
        }
        seconds_pass(&[&one, &two]).await;
        assert!(store.active(START, 9).await.unwrap().is_empty());
        assert!(one.guard().address(client(last)).is_none());
        let again = three.lift(block.id, "a test").await;
        assert!(matches!(again, Err(LiftError::NotFound)), "{again:?}");
    }
    assert_eq!(*told.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_here_is_lifted_where_another_node_stored_the_like() {
    let (store, clock) = (MemoryMonitorStore::new(), ManualClock::new(START));
    let (up, frail) = (
        Node::new(&store, State::Up),
        Node::new(&store, State::ReadOnly),
    );
    let (one, two) = (start(&clock, &up).await, start(&clock, &frail).await);
    let block = ban(&two, 1).await;
    two.flush().await;
    ban(&one, 1).await;
    one.flush().await;
    frail.set(State::Up);
    two.lift(block.id, "a test").await.unwrap();
    assert_eq!(store.active(START, 9).await.unwrap(), []);
    seconds_pass(&[&one, &two]).await;
    assert!(one.blocks().is_empty() && two.blocks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_says_all_the_time_that_something_changed_pushes_out_no_signal() {
    let (store, clock) = (MemoryMonitorStore::new(), ManualClock::new(START));
    let node = Node::new(&store, State::Up);
    let monitor = builder(&clock).store(node.clone()).queue(2);
    let monitor = monitor.start().await.unwrap();
    monitor.flush().await;
    let before = node.asked.load(Ordering::SeqCst);
    for millisecond in 0..2000 {
        (0..9).for_each(|_| monitor.refresh());
        if millisecond % 500 == 0 {
            monitor.emit(failed(1));
            monitor.emit(failed(2));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    monitor.flush().await;
    assert_eq!(monitor.stats().signals_dropped, 0);
    let asked = node.asked.load(Ordering::SeqCst) - before;
    assert!((15..=26).contains(&asked), "{asked}");
    // What is said while it is too early is not forgotten.
    let block = Decision::block("x", Target::of_address(client(9)), START, START + HOUR);
    monitor.refresh();
    store.insert(&block).await.unwrap();
    monitor.refresh();
    tokio::time::sleep(Duration::from_millis(201)).await;
    monitor.flush().await;
    assert!(monitor.guard().address(client(9)).is_some());
}

#[tokio::test]
async fn nobody_is_told_of_a_decision_before_it_is_stored_with_its_alert() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let store = MemoryMonitorStore::new();
    let node = Node::new(&store, State::Hangs);
    let builder = monitor(&clock, &told).store(node.clone());
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
    node.set(State::Up);
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
    let node = Node::alone(State::Hangs);
    let mailbox = Mailbox::default();
    let builder = Monitor::builder().clock(clock.clone());
    let builder = builder.store(node.clone());
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
    node.set(State::Up);
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

#[tokio::test]
async fn with_the_store_down_blocks_are_enforced_and_the_failure_told() {
    let (clock, told) = (ManualClock::new(START), Told::default());
    let node = Node::alone(State::Down);
    let monitor = monitor(&clock, &told).store(node.clone());
    let monitor = monitor.start().await.unwrap();
    monitor.emit(failed(1));
    monitor.flush().await;
    let blocked = monitor.guard().address(client(1)).unwrap();
    assert_eq!(told.names().last().unwrap(), "StoreFailed");
    assert_eq!(monitor.stats().store_failures, 1);
    node.set(State::Panics);
    let lifted = monitor.lift(blocked.id, "a test").await;
    assert!(matches!(lifted, Err(LiftError::Store(_))), "{lifted:?}");
    assert!(monitor.guard().address(client(1)).is_none());
}

#[tokio::test]
async fn does_not_start_where_it_cannot_know_whom_it_has_blocked() {
    let gone = Node::alone(State::Gone);
    let started = Monitor::builder().store(gone).start().await;
    assert!(matches!(started, Err(StartError::Store(_))));
}

#[tokio::test]
async fn at_the_end_it_is_said_what_waits_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    for file in [None, Some(folder.path().join("alerts.spill"))] {
        let (clock, told) = (ManualClock::new(START), Told::default());
        let refuses = |_: Arc<Alert>| async { Err::<(), BoxError>("not now".into()) };
        let builder = monitor(&clock, &told).store(Node::alone(State::Down));
        let mut builder = builder.alert_sink("ops", refuses);
        let has_file = file.is_some();
        if let Some(file) = file {
            builder = builder.spill_file(file);
        }
        let monitor = builder.start().await.unwrap();
        monitor.raise(Alert::new("x", "y", Severity::Warning, "z", START));
        monitor.flush().await;
        assert_eq!(monitor.stats().alerts_lost, 0);
        for _ in 0..2 {
            monitor.shutdown().await;
            assert_eq!(monitor.stats().alerts_lost, u64::from(!has_file));
        }
    }
}
