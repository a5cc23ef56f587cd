//! What every decision store must do, and that a monitor takes its decisions up again.

mod outbox;
#[cfg(feature = "postgres")]
mod postgres_database;
mod silences;
#[cfg(feature = "sqlite")]
mod sqlite_database;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use forge_monitor::{
    Action, Alert, AlertStore, Batch, Clock, DeadLetter, Decision, DecisionStore, Delivery, Lift,
    ManualClock, MemoryMonitorStore, Monitor, MonitorBuilder, MonitorEvent, MonitorStore,
    OutboxStats, Settled, Severity, Signal, SignalKind, Silence, StoreError, Stored, SystemClock,
    Target, Timestamp,
};
use uuid::Uuid;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + secs * 1_000_000)
}

fn decision(target: Target, since: i64, until: i64) -> Decision {
    Decision::block("failed_authentications", target, at(since), at(until))
}

fn network(text: &str) -> Target {
    Target::Network(text.parse().unwrap())
}

fn user(id: &str) -> Target {
    Target::User(id.into())
}

async fn conforms<S: MonitorStore>(store: &S) {
    reads_back_what_was_inserted(store).await;
    lists_what_ends_after_a_time(store).await;
    lifts_once(store).await;
    lifts_what_else_holds_for_the_target(store).await;
    lifts_what_was_decided_by_then(store).await;
    tells_others_what_changed(store).await;
    prunes_what_has_ended(store).await;
    leases_what_is_due_to_one_at_a_time(store).await;
    takes_the_outcome_of_the_last_try_alone(store).await;
    takes_all_deliveries_or_none(store).await;
    keeps_what_was_given_up_for_a_while(store).await;
    lets_what_was_given_up_wait_again(store).await;
    records_all_of_a_batch_or_nothing(store).await;
    withdraws_what_was_not_tried(store).await;
    outbox::conforms(store).await;
    survives_a_clock_that_is_set_back(store).await;
    silences::conforms(store).await;
}

fn lift(at_second: i64) -> Lift {
    Lift::new(at(at_second), "a test").told(true)
}

fn alert(summary: &str) -> Alert {
    Alert::new("x", "user \"7\"", Severity::Warning, summary, at(0))
}

fn delivery(sink: &str, created: i64) -> Delivery {
    Delivery::new(sink, alert("too many"), at(created))
}

async fn reads_back_what_was_inserted(store: &dyn DecisionStore) {
    let inserted = [
        decision(network("192.0.2.1/32"), 0, 10).escalation(3),
        decision(network("2001:db8::/64"), 0, 9),
        decision(network("198.51.100.0/24"), 0, 8),
        decision(user("it's \"7\"; -- \n\u{1f512}"), 0, 7).escalation(u32::MAX),
        Decision::new(Action::RequireSignIn, "x", user("7"), at(0), at(6)),
        Decision::new(Action::TightenLimit, "x", user("7"), at(0), at(5)),
        Decision::new(Action::RevokeSessions, "x", user("7"), at(0), at(4)),
    ];
    for decision in &inserted {
        store.insert(decision).await.unwrap();
    }
    let stored = store.active(at(0), 100).await.unwrap();
    assert_eq!(stored, inserted);
    assert_eq!(stored[0].action, Action::Block);

    let again = store.insert(&inserted[0]).await;
    assert!(matches!(again, Err(StoreError::Duplicate)), "{again:?}");
    let changed = inserted[0].clone().escalation(9);
    assert!(store.insert(&changed).await.is_err());
    assert_eq!(store.active(at(0), 1).await.unwrap()[0].escalation, 3);
    assert_eq!(store.prune(at(100)).await.unwrap(), 7);
}

async fn lists_what_ends_after_a_time(store: &dyn DecisionStore) {
    for n in 0..5 {
        let target = network(&format!("192.0.2.{n}/32"));
        store.insert(&decision(target, 0, 10 + n)).await.unwrap();
    }
    let targets = |list: Vec<Decision>| -> Vec<_> {
        let values = list.iter().map(|decision| decision.target.value());
        values.collect()
    };
    let ends_at_12 = store.active(at(12), 100).await.unwrap();
    assert_eq!(targets(ends_at_12), ["192.0.2.4", "192.0.2.3"]);
    let limited = store.active(at(0), 2).await.unwrap();
    assert_eq!(targets(limited), ["192.0.2.4", "192.0.2.3"]);
    assert!(store.active(at(14), 100).await.unwrap().is_empty());
    assert_eq!(store.prune(at(100)).await.unwrap(), 5);
}

async fn lifts_once(store: &dyn DecisionStore) {
    let (one, two) = (decision(user("1"), 0, 10), decision(user("2"), 0, 10));
    store.insert(&one).await.unwrap();
    store.insert(&two).await.unwrap();
    let first = lift(1);
    assert!(!store.lift(Uuid::nil(), &first).await.unwrap());
    let both = tokio::join!(store.lift(one.id, &first), store.lift(one.id, &first));
    let lifted = [both.0.unwrap(), both.1.unwrap()];
    assert_eq!(lifted.iter().filter(|lifted| **lifted).count(), 1);
    assert_eq!(
        store.active(at(0), 100).await.unwrap(),
        std::slice::from_ref(&two)
    );
    assert!(
        !store.lift(two.id, &lift(10)).await.unwrap(),
        "it has ended"
    );
    assert_eq!(store.active(at(0), 100).await.unwrap(), [two]);
    assert_eq!(store.prune(at(100)).await.unwrap(), 2);
}

async fn lifts_what_else_holds_for_the_target(store: &dyn DecisionStore) {
    let same = |since| decision(user("1"), since, 10);
    let tightened = Decision::new(Action::TightenLimit, "x", user("1"), at(0), at(10));
    let other = decision(user("2"), 0, 10);
    let over = decision(user("1"), 0, 1);
    let (one, two) = (same(0), same(2));
    for decision in [&one, &two, &tightened, &other, &over] {
        store.insert(decision).await.unwrap();
    }
    assert!(
        !store.lift(over.id, &lift(3)).await.unwrap(),
        "it has ended"
    );
    assert_eq!(store.active(at(3), 100).await.unwrap().len(), 4);
    assert!(store.lift(one.id, &lift(3)).await.unwrap());
    assert!(!store.lift(two.id, &lift(3)).await.unwrap());
    let mut held = store.active(at(3), 100).await.unwrap();
    held.sort_by_key(|of| of.target.value());
    assert_eq!(held, [tightened, other]);
    let changed = store.changed(at(3), 100).await.unwrap();
    let lifted = changed.iter().filter(|of| of.lifted.is_some());
    let mut lifted: Vec<_> = lifted.map(|of| of.decision.id).collect();
    lifted.sort();
    assert_eq!(lifted, [one.id, two.id]);
    assert_eq!(store.prune(at(100)).await.unwrap(), 5);
}

async fn lifts_what_was_decided_by_then(store: &dyn DecisionStore) {
    let same = |since, until| decision(user("1"), since, until);
    let tightened = Decision::new(Action::TightenLimit, "x", user("1"), at(0), at(10));
    let (later, other) = (same(4, 10), decision(user("2"), 0, 10));
    let (one, two, over) = (same(0, 10), same(3, 10), same(0, 3));
    for decision in [&one, &two, &over, &later, &tightened, &other] {
        store.insert(decision).await.unwrap();
    }
    let lift_alike = async || {
        let (lift, target) = (lift(3), user("1"));
        let lifted = store.lift_alike(Action::Block, &target, &lift).await;
        lifted.unwrap()
    };
    assert_eq!(lift_alike().await, 2);
    assert_eq!(lift_alike().await, 0);
    let mut held = store.active(at(3), 100).await.unwrap();
    held.sort_by_key(|of| (of.target.value(), of.since));
    assert_eq!(held, [tightened, later, other]);
    assert!(!store.lift(one.id, &lift(4)).await.unwrap());
    assert_eq!(store.prune(at(100)).await.unwrap(), 6);
}

async fn tells_others_what_changed(store: &dyn DecisionStore) {
    let (hour, began) = (Duration::from_secs(3600), SystemClock::new().now());
    // However long ago it was decided: it may be stored late.
    let (one, two) = (decision(user("1"), 0, 100), decision(user("2"), 20, 100));
    store.insert(&one).await.unwrap();
    store.insert(&two).await.unwrap();
    let changed = async |since, limit| store.changed(since, limit).await.unwrap();
    let is_new = |of: &Decision| Stored::new(of.clone(), None);
    let mut both = changed(began - hour, 10).await;
    both.sort_by_key(|stored| stored.decision.since);
    assert_eq!(both, [is_new(&one), is_new(&two)]);
    assert_eq!(changed(began + hour, 10).await, []);
    let lift = Lift::new(at(30), "the command line");
    assert!(store.lift(one.id, &lift).await.unwrap());
    let lifted = Stored::new(one.clone(), Some(lift.clone()));
    let first = [lifted.clone(), is_new(&two)];
    assert_eq!(changed(began - hour, 10).await, first);
    assert_eq!(
        changed(began - hour, 1).await,
        std::slice::from_ref(&lifted)
    );
    assert_eq!(
        changed(began + hour, 10).await,
        [lifted],
        "nobody knows it yet"
    );
    assert!(!store.lift_told(two.id).await.unwrap());
    let both = tokio::join!(store.lift_told(one.id), store.lift_told(one.id));
    assert!(both.0.unwrap() ^ both.1.unwrap());
    assert_eq!(changed(began + hour, 10).await, []);
    let known = Stored::new(one, Some(lift.told(true)));
    assert_eq!(changed(began - hour, 10).await, [known, is_new(&two)]);
    assert_eq!(store.prune(at(101)).await.unwrap(), 2);
}

async fn leases_what_is_due_to_one_at_a_time(store: &dyn AlertStore) {
    let (a, b) = (delivery("mail", 1), delivery("mail", 2));
    store.enqueue(&[a.clone(), b.clone()]).await.unwrap();
    assert_eq!(store.lease("hook", at(9), at(20)).await.unwrap(), None);
    assert_eq!(store.lease("mail", at(0), at(20)).await.unwrap(), None);
    let both = tokio::join!(
        store.lease("mail", at(1), at(20)),
        store.lease("mail", at(1), at(20))
    );
    let leased: Vec<_> = [both.0.unwrap(), both.1.unwrap()]
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(leased, [a.clone().stored(a.id, 1)]);
    let next = store.lease("mail", at(9), at(20)).await.unwrap().unwrap();
    assert_eq!((next.id, next.alert), (b.id, b.alert));
    assert_eq!(store.lease("mail", at(19), at(30)).await.unwrap(), None);
    // Whoever had it has died.
    let again = store.lease("mail", at(20), at(30)).await.unwrap().unwrap();
    assert_eq!((again.id, again.attempts), (a.id, 2));
    let outbox = store.outbox().await.unwrap();
    assert_eq!(outbox, OutboxStats::new(2, 0, Some(at(1))));
    for (id, attempts) in [(a.id, 2), (b.id, 1)] {
        let settled = store.settle(id, attempts, Settled::Delivered, at(21));
        assert!(settled.await.unwrap());
    }
    let outbox = store.outbox().await.unwrap();
    assert_eq!(outbox, OutboxStats::new(0, 0, None));
    assert_eq!(store.forget(at(21)).await.unwrap(), 0);
    assert_eq!(store.forget(at(22)).await.unwrap(), 2);
}

async fn takes_the_outcome_of_the_last_try_alone(store: &dyn AlertStore) {
    let sent = delivery("mail", 1);
    store.enqueue(std::slice::from_ref(&sent)).await.unwrap();
    store.lease("mail", at(1), at(2)).await.unwrap().unwrap();
    store.lease("mail", at(2), at(9)).await.unwrap().unwrap();
    let settle = async |attempts, settled, time| {
        let settled = store.settle(sent.id, attempts, settled, at(time));
        settled.await.unwrap()
    };
    assert!(!settle(1, Settled::Delivered, 3).await);
    assert!(settle(2, Settled::Again(at(5)), 3).await);
    assert_eq!(store.lease("mail", at(4), at(9)).await.unwrap(), None);
    let third = store.lease("mail", at(5), at(9)).await.unwrap().unwrap();
    assert_eq!(third.attempts, 3);
    assert!(settle(3, Settled::Delivered, 6).await);
    assert!(!settle(3, Settled::Delivered, 6).await);
    assert_eq!(store.lease("mail", at(900), at(999)).await.unwrap(), None);
    assert_eq!(store.forget(at(100)).await.unwrap(), 1);
}

async fn takes_all_deliveries_or_none(store: &dyn AlertStore) {
    let (a, b) = (delivery("mail", 1), delivery("hook", 1));
    store.enqueue(std::slice::from_ref(&a)).await.unwrap();
    let twice = store.enqueue(&[b.clone(), a.clone()]).await;
    assert!(matches!(twice, Err(StoreError::Duplicate)), "{twice:?}");
    assert_eq!(store.lease("hook", at(9), at(20)).await.unwrap(), None);
    store.lease("mail", at(9), at(20)).await.unwrap().unwrap();
    store.settle(a.id, 1, Settled::Dead, at(9)).await.unwrap();
    assert_eq!(store.forget(at(100)).await.unwrap(), 1);
}

async fn keeps_what_was_given_up_for_a_while(store: &dyn AlertStore) {
    let sent = delivery("mail", 1);
    store.enqueue(std::slice::from_ref(&sent)).await.unwrap();
    store.lease("mail", at(1), at(2)).await.unwrap().unwrap();
    let settled = store.settle(sent.id, 1, Settled::Dead, at(5));
    assert!(settled.await.unwrap());
    let outbox = store.outbox().await.unwrap();
    assert_eq!(outbox, OutboxStats::new(0, 1, None));
    assert_eq!(store.lease("mail", at(900), at(999)).await.unwrap(), None);
    assert_eq!(store.forget(at(5)).await.unwrap(), 0);
    assert_eq!(store.forget(at(6)).await.unwrap(), 1);
}

async fn lets_what_was_given_up_wait_again(store: &dyn AlertStore) {
    let sent = [
        delivery("mail", 1),
        delivery("mail", 2),
        delivery("mail", 3),
    ];
    store.enqueue(&sent).await.unwrap();
    for time in 5..8 {
        let leased = store.lease("mail", at(4), at(99)).await.unwrap().unwrap();
        let settled = match time {
            7 => Settled::Delivered,
            _ => Settled::Dead,
        };
        store.settle(leased.id, 1, settled, at(time)).await.unwrap();
    }
    let dead = store.dead(10).await.unwrap();
    let [a, b, c] = sent;
    let expected = |of: &Delivery, time| DeadLetter::new(of.clone().stored(of.id, 1), at(time));
    assert_eq!(dead, [expected(&b, 6), expected(&a, 5)]);
    assert_eq!(store.dead(1).await.unwrap(), [expected(&b, 6)]);
    for id in [Uuid::nil(), c.id] {
        assert!(!store.requeue(id, &lift(9)).await.unwrap());
    }
    let by = lift(9);
    let both = tokio::join!(store.requeue(a.id, &by), store.requeue(a.id, &by));
    assert!(both.0.unwrap() ^ both.1.unwrap());
    let outbox = store.outbox().await.unwrap();
    assert_eq!(outbox, OutboxStats::new(1, 1, Some(at(9))));
    // As if it were new: what is said of an earlier try is not of this one.
    assert!(!store.settle(a.id, 1, Settled::Dead, at(9)).await.unwrap());
    let again = store.lease("mail", at(9), at(99)).await.unwrap().unwrap();
    assert_eq!((again.id, again.attempts, again.alert), (a.id, 1, a.alert));
    assert!(
        store
            .settle(a.id, 1, Settled::Delivered, at(9))
            .await
            .unwrap()
    );
    assert_eq!(store.forget(at(100)).await.unwrap(), 3);
}

/// What waits for the sink, due by then.
async fn due(store: &dyn AlertStore, sink: &str, time: i64) -> Vec<Delivery> {
    let mut due = Vec::new();
    while let Some(delivery) = store.lease(sink, at(time), at(time + 99)).await.unwrap() {
        let settled = store.settle(delivery.id, delivery.attempts, Settled::Delivered, at(time));
        assert!(settled.await.unwrap());
        due.push(delivery);
    }
    due
}

fn batch(decisions: &[&Decision], deliveries: &[&Delivery]) -> Batch {
    let mut batch = Batch::default();
    batch.decisions = decisions.iter().map(|of| Arc::new((*of).clone())).collect();
    batch.deliveries = deliveries.iter().map(|of| (*of).clone()).collect();
    batch
}

async fn records_all_of_a_batch_or_nothing(store: &dyn MonitorStore) {
    let (one, two) = (decision(user("1"), 0, 10), decision(user("2"), 0, 10));
    let (mail, hook) = (delivery("mail", 1), delivery("hook", 1));
    store.record(&Batch::default()).await.unwrap();
    store.record(&batch(&[&one], &[&mail])).await.unwrap();
    for known in [
        batch(&[&two, &one], &[&hook]),
        batch(&[&two], &[&hook, &mail]),
    ] {
        let again = store.record(&known).await;
        assert!(matches!(again, Err(StoreError::Duplicate)), "{again:?}");
    }
    assert_eq!(store.active(at(0), 9).await.unwrap(), [one]);
    assert_eq!(due(store, "hook", 9).await, []);
    let got = due(store, "mail", 9).await;
    assert_eq!(got, [mail.clone().stored(mail.id, 1)]);
    assert_eq!(store.prune(at(100)).await.unwrap(), 1);
    assert_eq!(store.forget(at(100)).await.unwrap(), 1);
}

async fn withdraws_what_was_not_tried(store: &dyn MonitorStore) {
    let later = |of: Delivery| of.due(at(50));
    let (tried, parked, stays) = (
        delivery("mail", 1),
        later(delivery("mail", 2)),
        later(delivery("mail", 3)),
    );
    let first = batch(&[], &[&tried, &parked, &stays]);
    store.record(&first).await.unwrap();
    store.lease("mail", at(9), at(20)).await.unwrap().unwrap();
    assert_eq!(
        store.lease("mail", at(9), at(20)).await.unwrap(),
        None,
        "not due"
    );
    let instead = delivery("mail", 10);
    let mut second = batch(&[], &[&instead]);
    second.withdrawn = vec![tried.id, parked.id, Uuid::nil()];
    store.record(&second).await.unwrap();
    let got: Vec<_> = due(store, "mail", 60)
        .await
        .iter()
        .map(|of| of.id)
        .collect();
    assert_eq!(got, [tried.id, instead.id, stays.id]);
    assert_eq!(store.forget(at(100)).await.unwrap(), 3);
}

async fn survives_a_clock_that_is_set_back(store: &dyn AlertStore) {
    const DAY: i64 = 86_400;
    let sent = delivery("mail", DAY);
    store.enqueue(std::slice::from_ref(&sent)).await.unwrap();
    let lease = async |now| store.lease("mail", at(now), at(now + 20)).await.unwrap();
    assert!(lease(DAY).await.is_some());
    assert!(
        lease(0).await.is_some(),
        "a day ahead is no time to wait for"
    );
    assert!(lease(DAY).await.is_some());
    let settled = store.settle(sent.id, 3, Settled::Delivered, at(1));
    assert!(settled.await.unwrap());
    assert_eq!(store.forget(at(2)).await.unwrap(), 1);
}

async fn prunes_what_has_ended(store: &dyn DecisionStore) {
    for until in [10, 11, 12] {
        store.insert(&decision(user("7"), 0, until)).await.unwrap();
    }
    assert_eq!(store.prune(at(11)).await.unwrap(), 1);
    assert_eq!(store.active(at(0), 100).await.unwrap().len(), 2);
    assert_eq!(store.prune(at(13)).await.unwrap(), 2);
}

/// `open` opens the same store again, as after a restart.
async fn survives_a_restart<S, F>(open: impl Fn() -> F)
where
    S: MonitorStore,
    F: Future<Output = S>,
{
    let clock = ManualClock::new(at(0));
    let client: IpAddr = "2001:db8::1".parse().unwrap();
    let monitor = |store: S| -> MonitorBuilder {
        Monitor::builder()
            .built_in_scenarios()
            .escalation_jitter(0)
            .store(store)
            .clock(clock.clone())
    };
    let fail = async |monitor: &Monitor| {
        for _ in 0..6 {
            monitor.emit(Signal::new(SignalKind::AuthFailed).address(client));
        }
        monitor.flush().await;
        monitor.guard().address(client).unwrap()
    };

    let first = monitor(open().await).start().await.unwrap();
    assert_eq!(fail(&first).await.escalation, 0);
    clock.advance(Duration::from_secs(900));
    let second_block = fail(&first).await;
    assert_eq!(second_block.remaining(at(900)), Duration::from_secs(1800));
    first.shutdown().await;

    clock.advance(Duration::from_secs(600));
    let second = monitor(open().await).start().await.unwrap();
    let restored = second.guard().address(client).unwrap();
    assert_eq!(*restored, *second_block);
    assert_eq!(restored.remaining(at(1500)), Duration::from_secs(1200));
    assert_eq!(second.blocks(), [Arc::clone(&restored)]);
    clock.advance(Duration::from_secs(1200));
    assert!(second.guard().address(client).is_none());
    let third_block = fail(&second).await;
    assert_eq!(third_block.escalation, 2);
    second.lift(third_block.id, "a test").await.unwrap();
    second.shutdown().await;

    let third = monitor(open().await).start().await.unwrap();
    assert!(third.guard().address(client).is_none(), "it was lifted");
    third.shutdown().await;
}

/// Looks again and again, for a minute at most; with the time paused it goes on when nobody works.
async fn until(condition: impl Fn() -> bool) {
    let came_true = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let minute = Duration::from_secs(60);
    tokio::time::timeout(minute, came_true)
        .await
        .expect("it came true");
}

/// Two monitors on one store, as of two processes; the second one hears of what the first does.
async fn shares_what_is_decided<S: MonitorStore + Clone>(store: S) {
    let clock = ManualClock::new(at(0));
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let monitor = async || {
        let told = Arc::clone(&told);
        let builder = Monitor::builder().built_in_scenarios().store(store.clone());
        let builder = builder
            .clock(clock.clone())
            .on_event(move |event: &MonitorEvent| {
                if let MonitorEvent::DecisionLifted(decision, lift) = event {
                    told.lock()
                        .unwrap()
                        .push((decision.id, lift.by.to_string()));
                }
            });
        builder.start().await.unwrap()
    };
    let (one, two) = (monitor().await, monitor().await);
    let client: IpAddr = [192, 0, 2, 1].into();
    for _ in 0..6 {
        one.emit(Signal::new(SignalKind::AuthFailed).address(client));
    }
    one.flush().await;
    let block = one.guard().address(client).unwrap();
    let hears = async |monitor: &Monitor, blocked: bool| {
        // The store is asked once a second, or when it says that something has changed.
        until(|| monitor.guard().address(client).is_some() == blocked).await;
    };
    hears(&two, true).await;
    assert_eq!(*two.guard().address(client).unwrap(), *block);
    // From outside, as the command line does it.
    let lift = Lift::new(at(1), "the command line");
    assert!(store.lift(block.id, &lift).await.unwrap());
    hears(&one, false).await;
    hears(&two, false).await;
    until(|| !told.lock().unwrap().is_empty()).await;
    one.flush().await;
    two.flush().await;
    assert_eq!(
        *told.lock().unwrap(),
        [(block.id, "the command line".to_owned())],
        "one of them tells it"
    );
}

#[tokio::test(start_paused = true)]
async fn memory_is_shared() {
    shares_what_is_decided(MemoryMonitorStore::new()).await;
}

#[tokio::test]
async fn memory_conforms() {
    conforms(&MemoryMonitorStore::new()).await;
}

#[tokio::test]
async fn memory_survives_a_restart_of_the_monitor() {
    let store = MemoryMonitorStore::new();
    survives_a_restart(|| async { store.clone() }).await;
}
