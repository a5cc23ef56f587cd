//! What waits in the outbox is given up at some time.

use forge_monitor::{DeadReason, Patience, Requeued};

use crate::*;

/// The longest that anything waits, and that anything waits without a sink.
const PATIENCE: (u64, u64) = (1000, 100);

pub(crate) async fn conforms<S: MonitorStore>(store: &S) {
    gives_up_what_waited_for_too_long(store).await;
    gives_up_what_waits_for_a_sink_that_nobody_has(store).await;
    waits_anew_for_a_sink_that_came_back(store).await;
    lets_a_try_end_before_it_gives_up(store).await;
    gives_up_each_once(store).await;
    says_who_let_it_wait_again(store).await;
    puts_right_what_a_clock_wrote_that_was_ahead(store).await;
}

fn names(sinks: &[&str]) -> Vec<Arc<str>> {
    sinks.iter().map(|name| (*name).into()).collect()
}

async fn attend(store: &dyn AlertStore, sinks: &[&str], time: i64) -> Vec<Arc<str>> {
    store.attend(&names(sinks), at(time)).await.unwrap()
}

async fn give_up(store: &dyn AlertStore, time: i64) -> Vec<(Uuid, DeadReason)> {
    let (max_age, without_sink) = PATIENCE;
    let seconds = Duration::from_secs;
    let patience = Patience::new(seconds(max_age), seconds(without_sink));
    let dead = store.give_up(at(time), patience, 9).await.unwrap();
    dead.iter().map(|of| (of.delivery.id, of.reason)).collect()
}

async fn gives_up_what_waited_for_too_long(store: &dyn AlertStore) {
    let (old, fresh) = (delivery("mail", 0), delivery("mail", 1).due(at(5)));
    store.enqueue(&[old.clone(), fresh.clone()]).await.unwrap();
    assert!(attend(store, &["mail"], 999).await.is_empty());
    assert_eq!(give_up(store, 999).await, []);
    assert_eq!(give_up(store, 1000).await, [(old.id, DeadReason::TooOld)]);
    let letter = DeadLetter::new(old.clone(), at(1000)).reason(DeadReason::TooOld);
    assert_eq!(store.dead(9).await.unwrap(), [letter]);
    let outbox = store.outbox().await.unwrap();
    assert_eq!(outbox, OutboxStats::new(1, 1, Some(at(1))));
    // As if it were new.
    assert!(store.requeue(old.id, &lift(1000)).await.unwrap());
    assert_eq!(give_up(store, 1000).await, []);
    let due = due(store, "mail", 1000).await;
    assert_eq!(due.len(), 2);
    assert_eq!(store.forget(at(2000)).await.unwrap(), 2);
}

async fn gives_up_what_waits_for_a_sink_that_nobody_has(store: &dyn AlertStore) {
    let old = [delivery("old", 1), delivery("older", 2), delivery("old", 3)];
    store.enqueue(&old).await.unwrap();
    store.enqueue(&[delivery("mail", 1)]).await.unwrap();
    // It is told once, whoever asks.
    assert_eq!(attend(store, &["mail"], 10).await, names(&["old", "older"]));
    assert!(attend(store, &["mail"], 20).await.is_empty());
    assert!(attend(store, &[], 20).await == names(&["mail"]));
    assert!(attend(store, &["mail"], 30).await.is_empty());
    assert_eq!(give_up(store, 109).await, []);
    // What came later waits as long.
    let late = delivery("old", 50);
    store.enqueue(std::slice::from_ref(&late)).await.unwrap();
    let expected = old.map(|of| (of.id, DeadReason::NoSink));
    assert_eq!(give_up(store, 110).await, expected);
    assert_eq!(give_up(store, 149).await, []);
    assert_eq!(give_up(store, 150).await, [(late.id, DeadReason::NoSink)]);
    let reasons = store.dead(9).await.unwrap();
    assert!(reasons.iter().all(|of| of.reason == DeadReason::NoSink));
    assert_eq!(due(store, "mail", 150).await.len(), 1, "it has a sink");
    assert!(attend(store, &["mail"], 160).await.is_empty());
    assert_eq!(store.forget(at(2000)).await.unwrap(), 5);
}

async fn waits_anew_for_a_sink_that_came_back(store: &dyn AlertStore) {
    let sent = delivery("new", 1);
    store.enqueue(std::slice::from_ref(&sent)).await.unwrap();
    assert_eq!(attend(store, &["mail"], 10).await, names(&["new"]));
    // Another node has it, if only for a while.
    assert!(attend(store, &["new"], 100).await.is_empty());
    assert_eq!(attend(store, &["mail"], 101).await, names(&["new"]));
    assert_eq!(give_up(store, 200).await, []);
    assert_eq!(give_up(store, 201).await, [(sent.id, DeadReason::NoSink)]);
    // With nothing that waits for it, it is not missed.
    assert!(attend(store, &["mail"], 202).await.is_empty());
    assert!(store.requeue(sent.id, &lift(300)).await.unwrap());
    assert_eq!(attend(store, &["mail"], 300).await, names(&["new"]));
    assert_eq!(give_up(store, 399).await, []);
    assert_eq!(due(store, "new", 400).await.len(), 1);
    assert!(attend(store, &["mail"], 400).await.is_empty());
    assert_eq!(store.forget(at(2000)).await.unwrap(), 1);
}

async fn says_who_let_it_wait_again(store: &dyn AlertStore) {
    let sent = [delivery("mail", 0), delivery("mail", 0)];
    store.enqueue(&sent).await.unwrap();
    assert_eq!(give_up(store, 1000).await.len(), 2);
    let untold = async |limit| store.untold_requeues(limit).await.unwrap();
    let [told, other] = sent;
    assert!(store.requeue(told.id, &lift(1001)).await.unwrap());
    assert_eq!(untold(9).await, []);
    let by = Lift::new(at(1002), "somebody else");
    assert!(store.requeue(other.id, &by).await.unwrap());
    let mut waits = other.clone();
    (waits.created, waits.due) = (by.at, by.at);
    assert_eq!(untold(9).await, [Requeued::new(waits, by)]);
    assert_eq!(untold(0).await, []);
    // It is not forgotten before it is told.
    assert_eq!(due(store, "mail", 1002).await.len(), 2);
    assert_eq!(store.forget(at(2000)).await.unwrap(), 1);
    assert_eq!(untold(9).await.len(), 1);
    let twice = tokio::join!(store.requeue_told(other.id), store.requeue_told(other.id));
    assert!(twice.0.unwrap() ^ twice.1.unwrap());
    assert!(!store.requeue_told(Uuid::nil()).await.unwrap());
    assert_eq!(untold(9).await, []);
    assert_eq!(store.forget(at(2000)).await.unwrap(), 1);
}

async fn lets_a_try_end_before_it_gives_up(store: &dyn AlertStore) {
    let sent = delivery("mail", 0);
    store.enqueue(std::slice::from_ref(&sent)).await.unwrap();
    assert!(
        store
            .lease("mail", at(990), at(1010))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(give_up(store, 1009).await, []);
    // Whoever had it has died.
    assert_eq!(give_up(store, 1010).await, [(sent.id, DeadReason::TooOld)]);
    let settled = store.settle(sent.id, 1, Settled::Delivered, at(1011));
    assert!(!settled.await.unwrap());
    assert_eq!(store.forget(at(2000)).await.unwrap(), 1);
}

async fn gives_up_each_once(store: &dyn AlertStore) {
    let sent: Vec<_> = (0..12).map(|n| delivery("mail", n)).collect();
    store.enqueue(&sent).await.unwrap();
    let first = give_up(store, 2000).await;
    let expected: Vec<_> = sent[..9].iter().map(|of| of.id).collect();
    let ids = |of: &[(Uuid, DeadReason)]| of.iter().map(|of| of.0).collect::<Vec<_>>();
    assert_eq!(
        ids(&first),
        expected,
        "the oldest, and no more than asked for"
    );
    let both = tokio::join!(give_up(store, 2000), give_up(store, 2000));
    let mut rest = [ids(&both.0), ids(&both.1)].concat();
    rest.sort();
    let mut expected: Vec<_> = sent[9..].iter().map(|of| of.id).collect();
    expected.sort();
    assert_eq!(rest, expected);
    assert_eq!(store.forget(at(3000)).await.unwrap(), 12);
}

async fn puts_right_what_a_clock_wrote_that_was_ahead(store: &dyn AlertStore) {
    const DAY: i64 = 86_400;
    let sent = delivery("old", DAY);
    store.enqueue(std::slice::from_ref(&sent)).await.unwrap();
    assert_eq!(attend(store, &[], DAY).await, names(&["old"]));
    assert_eq!(attend(store, &[], 10).await, names(&["old"]));
    assert_eq!(give_up(store, 109).await, []);
    assert_eq!(give_up(store, 110).await, [(sent.id, DeadReason::NoSink)]);
    assert!(attend(store, &[], 110).await.is_empty());
    assert_eq!(store.forget(at(2000)).await.unwrap(), 1);
}
