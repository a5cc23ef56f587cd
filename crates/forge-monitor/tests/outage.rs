//! A store that cannot be written for a while: what was decided and lifted meanwhile.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_monitor::{
    Action, Alert, AlertStore, Batch, BoxError, Clock, DeadLetter, Decision, DecisionStore,
    Delivery, Lift, LiftError, ManualClock, MemoryMonitorStore, Monitor, MonitorBuilder,
    MonitorEvent, MonitorStore, OutboxStats, Scenario, Settled, Severity, Signal, SignalClass,
    SignalKind, Silence, StoreError, StoreFuture, Stored, Target, Timestamp,
};
use tokio::sync::watch;
use uuid::Uuid;

const HOUR: Duration = Duration::from_secs(3600);
const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// One node's way to a store that others share: it may be read always, and written when it is up.
#[derive(Clone)]
struct Node {
    store: MemoryMonitorStore,
    state: Arc<watch::Sender<State>>,
    /// How often it was asked for what changed.
    asked: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down,
    /// Takes batches, and does not answer.
    Hangs,
}

impl Node {
    fn new(store: &MemoryMonitorStore, state: State) -> Self {
        Self {
            store: store.clone(),
            state: Arc::new(watch::channel(state).0),
            asked: Arc::default(),
        }
    }

    fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    fn if_up<'a, T: Send + 'a>(&'a self, answer: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        match *self.state.borrow() {
            State::Down => Box::pin(async { Err(StoreError::Unavailable("down".into())) }),
            _ => answer,
        }
    }
}

impl DecisionStore for Node {
    fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()> {
        self.if_up(self.store.insert(decision))
    }

    fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>> {
        self.store.active(at, limit)
    }

    fn changed(&self, since: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.store.changed(since, limit)
    }

    fn lift<'a>(&'a self, id: Uuid, lift: &'a Lift) -> StoreFuture<'a, bool> {
        self.if_up(self.store.lift(id, lift))
    }

    fn lift_alike<'a>(
        &'a self,
        action: Action,
        target: &'a Target,
        lift: &'a Lift,
    ) -> StoreFuture<'a, u64> {
        self.if_up(self.store.lift_alike(action, target, lift))
    }

    fn lift_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
        self.if_up(self.store.lift_told(id))
    }

    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        self.if_up(self.store.prune(before))
    }
}

impl AlertStore for Node {
    fn enqueue<'a>(&'a self, deliveries: &'a [Delivery]) -> StoreFuture<'a, ()> {
        self.if_up(self.store.enqueue(deliveries))
    }

    fn lease<'a>(
        &'a self,
        sink: &'a str,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreFuture<'a, Option<Delivery>> {
        self.if_up(self.store.lease(sink, now, until))
    }

    fn settle<'a>(
        &'a self,
        id: Uuid,
        attempts: u32,
        settled: Settled,
        at: Timestamp,
    ) -> StoreFuture<'a, bool> {
        self.if_up(self.store.settle(id, attempts, settled, at))
    }

    fn dead(&self, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.store.dead(limit)
    }

    fn requeue(&self, id: Uuid, at: Timestamp) -> StoreFuture<'_, bool> {
        self.if_up(self.store.requeue(id, at))
    }

    fn outbox(&self) -> StoreFuture<'_, OutboxStats> {
        self.store.outbox()
    }

    fn forget(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        self.if_up(self.store.forget(before))
    }

    fn silence<'a>(&'a self, silence: &'a Silence) -> StoreFuture<'a, ()> {
        self.if_up(self.store.silence(silence))
    }

    fn unsilence(&self, id: Uuid, at: Timestamp) -> StoreFuture<'_, bool> {
        self.if_up(self.store.unsilence(id, at))
    }

    fn silences(&self, at: Timestamp) -> StoreFuture<'_, Vec<Silence>> {
        self.store.silences(at)
    }
}

impl MonitorStore for Node {
    fn record<'a>(&'a self, batch: &'a Batch) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.state.subscribe();
            let _ = state.wait_for(|state| *state != State::Hangs).await;
            self.if_up(self.store.record(batch)).await
        })
    }
}

fn client(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn failed(last: u8) -> Signal {
    Signal::new(SignalKind::AuthFailed).address(client(last))
}

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

/// Alerts by their scope and how often each happened.
#[derive(Clone, Default)]
struct Mailbox(Arc<Mutex<Vec<(String, u64)>>>);

impl Mailbox {
    fn sink(&self) -> impl forge_monitor::AlertSink {
        let mailbox = Arc::clone(&self.0);
        move |alert: Arc<Alert>| {
            let got = (alert.scope.clone(), alert.count);
            mailbox.lock().unwrap().push(got);
            std::future::ready(Ok::<(), BoxError>(()))
        }
    }

    fn got(&self) -> Vec<(String, u64)> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lifted_does_not_come_back_by_a_node_that_could_not_store_it() {
    for state in [State::Down, State::Hangs] {
        let (store, clock) = (MemoryMonitorStore::new(), ManualClock::new(START));
        let (up, frail) = (Node::new(&store, State::Up), Node::new(&store, state));
        let (one, two) = (start(&clock, &up).await, start(&clock, &frail).await);
        ban(&two, 1).await;
        clock.advance(Duration::from_secs(1));
        let block = ban(&one, 1).await;
        one.flush().await;
        clock.advance(Duration::from_secs(1));
        one.lift(block.id, "a test").await.unwrap();
        if state == State::Down {
            seconds_pass(&[&one, &two]).await;
            assert!(two.guard().address(client(1)).is_none());
        }
        frail.set(State::Up);
        seconds_pass(&[&one, &two]).await;
        if state == State::Down {
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
    node.set(State::Down);
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
    node.set(State::Down);
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
        frail.set(State::Down);
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
    let (up, frail) = (Node::new(&store, State::Up), Node::new(&store, State::Down));
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
