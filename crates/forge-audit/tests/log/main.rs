//! The log as its users see it: what is durable when, and what is lost when.

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Faulty, Mode};
use forge_audit::{
    AuditLog, AuditStore, Chain, Dropped, Event, Kind, ManualClock, MemoryAuditStore, OnRecord,
    Order, Query, Record, RecordError, Severity, Timestamp, verify_store,
};
use serde_json::{Value, json};
use tokio::sync::watch;

fn event(n: usize) -> Event {
    Event::new(Kind::System, "test").details(&json!({ "n": n }))
}

async fn all(log: &AuditLog) -> Vec<Record> {
    let query = Query::new().order(Order::OldestFirst).limit(1000);
    log.query(&query).await.unwrap().records
}

/// The numbers of the test events in the log, in order.
async fn numbers(log: &AuditLog) -> Vec<u64> {
    let number = |r: &Record| r.event.details_value()?.get("n")?.as_u64();
    all(log).await.iter().filter_map(number).collect()
}

/// The details of the gaps in the log.
async fn gaps(log: &AuditLog) -> Vec<Value> {
    let page = log.query(&Query::new().action("audit.gap")).await.unwrap();
    page.records
        .iter()
        .rev()
        .map(|r| r.event.details_value().unwrap())
        .collect()
}

fn sum(gaps: &[Value], part: &str) -> u64 {
    gaps.iter()
        .map(|gap| gap.pointer(part).unwrap().as_u64().unwrap())
        .sum()
}

#[tokio::test]
async fn what_is_recorded_is_in_the_store_when_the_receipt_comes() {
    let store = Arc::new(MemoryAuditStore::new());
    let log = AuditLog::open(store.clone()).await.unwrap();
    for seq in 1..=3 {
        let receipt = log.record(event(0)).await.unwrap();
        assert_eq!(receipt.seq, seq);
        let tail = store.tail().await.unwrap();
        assert_eq!((tail.seq, tail.time, log.head()), (seq, receipt.time, tail));
    }
}

#[tokio::test]
async fn what_has_queued_shares_a_commit() {
    let store = Faulty::new(Mode::Hangs);
    let log = AuditLog::open(store.clone()).await.unwrap();
    log.enqueue(event(0)).unwrap();
    store.given(1).await;
    for n in 1..=100 {
        log.enqueue(event(n)).unwrap();
    }
    store.set(Mode::Works);
    log.flush().await.unwrap();
    assert_eq!(numbers(&log).await, (0..=100).collect::<Vec<_>>());
    assert_eq!(*store.given.borrow(), 2);
    assert_eq!(store.largest.load(SeqCst), 100);
}

#[tokio::test]
async fn what_comes_while_the_store_writes_shares_the_next_commit() {
    let store = Faulty::new(Mode::Hangs);
    let log = AuditLog::open(store.clone()).await.unwrap();
    log.enqueue(event(0)).unwrap();
    store.given(1).await;
    (1..=5).for_each(|n| log.enqueue(event(n)).unwrap());
    // The task that writes has a look at these, and not at those that follow.
    let flushed = tokio::spawn({
        let log = log.clone();
        async move { log.flush().await }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    (6..=10).for_each(|n| log.enqueue(event(n)).unwrap());
    store.set(Mode::Works);
    flushed.await.unwrap().unwrap();
    assert_eq!(numbers(&log).await, (0..=10).collect::<Vec<_>>());
    assert_eq!(*store.given.borrow(), 2);
    assert_eq!(store.largest.load(SeqCst), 10);
}

/// A log whose store has been given two batches, of 1 and of 40 events, and hangs.
async fn two_under_way() -> (AuditLog, Arc<Faulty>) {
    let store = Faulty::deep(Mode::Hangs, 4);
    let log = AuditLog::open(store.clone()).await.unwrap();
    log.enqueue(event(0)).unwrap();
    store.given(1).await;
    for n in 1..=40 {
        log.enqueue(event(n)).unwrap();
    }
    store.given(2).await;
    (log, store)
}

#[tokio::test]
async fn what_comes_while_the_store_writes_goes_along() {
    let (log, store) = two_under_way().await;
    assert_eq!(log.head().seq, 0);
    let flushed = tokio::spawn({
        let log = log.clone();
        async move { log.flush().await }
    });
    store.set(Mode::Works);
    flushed.await.unwrap().unwrap();
    assert_eq!(numbers(&log).await, (0..=40).collect::<Vec<_>>());
    log.verify().await.unwrap();
}

#[tokio::test]
async fn of_what_follows_a_batch_that_failed_nothing_is_lost_and_the_order_stays() {
    let (log, store) = two_under_way().await;
    let refused = tokio::spawn({
        let log = log.clone();
        async move { log.record_all((100..140).map(event).collect()).await }
    });
    store.given(3).await;
    store.set(Mode::Fails);
    assert!(matches!(refused.await.unwrap(), Err(RecordError::Store(_))));
    assert_eq!(store.scan(0, 1).await.unwrap(), []);
    store.set(Mode::Works);
    log.flush().await.unwrap();
    assert_eq!(numbers(&log).await, (0..=40).collect::<Vec<_>>());
    assert_eq!(sum(&gaps(&log).await, "/refused"), 40);
    log.verify().await.unwrap();
}

#[tokio::test]
async fn batches_whose_answers_are_lost_are_not_repeated() {
    let (log, store) = two_under_way().await;
    store.set(Mode::LosesTheAnswer);
    log.flush().await.unwrap();
    assert!(log.is_healthy());
    assert_eq!(*store.given.borrow(), 2);
    assert_eq!(numbers(&log).await, (0..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn when_another_writer_comes_first_all_that_is_under_way_goes_after_it() {
    let (log, store) = two_under_way().await;
    let mut other = Chain::new();
    let record = other.append(event(1000), Timestamp::from_micros(1));
    store.inner.append([record].into()).await.unwrap();
    store.set(Mode::Works);
    log.flush().await.unwrap();
    let expected: Vec<_> = [1000].into_iter().chain(0..=40).collect();
    assert_eq!(numbers(&log).await, expected);
    assert!(gaps(&log).await.is_empty());
    log.verify().await.unwrap();
}

#[tokio::test]
async fn events_of_one_call_are_written_together_or_not_at_all() {
    let store = Faulty::new(Mode::Works);
    let log = AuditLog::builder(store.clone())
        .capacity(10)
        .reserve(2)
        .open()
        .await
        .unwrap();
    let receipts = log.record_all((0..10).map(event).collect()).await.unwrap();
    assert_eq!(
        receipts.iter().map(|r| r.seq).collect::<Vec<_>>(),
        (1..=10).collect::<Vec<_>>()
    );
    store.set(Mode::Fails);
    assert!(log.record_all((20..25).map(event).collect()).await.is_err());
    store.set(Mode::Works);
    log.flush().await.unwrap();
    assert_eq!(numbers(&log).await.len(), 10);
    assert!(log.record_all(Vec::new()).await.unwrap().is_empty());
    let many = log.record_all((0..11).map(event).collect()).await;
    assert!(matches!(many, Err(RecordError::TooMany { limit: 10 })));
}

#[tokio::test]
async fn time_never_goes_back_and_the_time_of_the_clock_is_kept() {
    let clock = ManualClock::new(Timestamp::from_micros(5_000));
    let store = Arc::new(MemoryAuditStore::new());
    let log = AuditLog::builder(store)
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    log.record(event(0)).await.unwrap();
    clock.set(Timestamp::from_micros(1_000));
    assert_eq!(log.record(event(1)).await.unwrap().time.as_micros(), 5_000);
    clock.advance(Duration::from_micros(9_000));
    log.record(event(2)).await.unwrap();
    let times: Vec<_> = all(&log)
        .await
        .iter()
        .map(|r| (r.time, r.occurred))
        .collect();
    let micros = Timestamp::from_micros;
    assert_eq!(
        times,
        [(5_000, 5_000), (5_000, 1_000), (10_000, 10_000)].map(|(a, b)| (micros(a), micros(b)))
    );
    log.verify().await.unwrap();
}

#[tokio::test]
async fn a_full_queue_drops_by_severity_and_counts_every_loss() {
    let clock = ManualClock::new(Timestamp::from_micros(1_000_000));
    let store = Faulty::new(Mode::Hangs);
    let log = AuditLog::builder(store.clone())
        .capacity(4)
        .reserve(2)
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    let of = |n, severity| log.enqueue(event(n).severity(severity));
    for n in 0..4 {
        of(n, Severity::Low).unwrap();
    }
    store.given(1).await;
    for n in 10..13 {
        clock.advance(Duration::from_secs(1));
        assert_eq!(of(n, Severity::Low), Err(Dropped::Full(Severity::Low)));
    }
    assert_eq!(
        of(13, Severity::Medium),
        Err(Dropped::Full(Severity::Medium))
    );
    of(4, Severity::High).unwrap();
    of(5, Severity::Critical).unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        of(14, Severity::Critical),
        Err(Dropped::Full(Severity::Critical))
    );
    assert_eq!(log.queue_depth(), 6);

    store.set(Mode::Works);
    log.flush().await.unwrap();
    assert_eq!(numbers(&log).await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(log.queue_depth(), 0);
    assert_eq!(
        gaps(&log).await,
        [json!({
            "count": 5,
            "dropped": { "low": 3, "medium": 1, "high": 0, "critical": 1 },
            "refused": 0,
            "from": "1970-01-01T00:00:02.000000Z",
            "until": "1970-01-01T00:00:05.000000Z",
        })]
    );
    // Recorded once, and no more.
    log.record(event(6)).await.unwrap();
    assert_eq!(gaps(&log).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_lose_nothing_uncounted() {
    let store = Arc::new(MemoryAuditStore::new());
    let log = AuditLog::builder(store.clone())
        .capacity(50)
        .reserve(10)
        .open()
        .await
        .unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let producers: Vec<_> = (0..8)
        .map(|_| {
            let (log, accepted) = (log.clone(), accepted.clone());
            tokio::task::spawn_blocking(move || {
                for n in 0..2_000 {
                    accepted.fetch_add(usize::from(log.enqueue(event(n)).is_ok()), SeqCst);
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.unwrap();
    }
    log.shutdown().await.unwrap();
    let head = verify_store(&*store, log.head()).await.unwrap();
    let (mut written, mut lost) = (0, 0);
    let mut after = 0;
    while after < head.seq {
        for stored in store.scan(after, 1000).await.unwrap() {
            after = stored.seq;
            let event = stored.event().unwrap();
            let count = || event.details_value()?.get("count")?.as_u64();
            if event.action() == "audit.gap" {
                lost += count().unwrap();
            } else {
                written += 1;
            }
        }
    }
    assert_eq!(written, accepted.load(SeqCst));
    assert_eq!(written as u64 + lost, 16_000);
}

#[tokio::test]
async fn when_the_store_fails_record_fails_closed_and_what_was_enqueued_is_kept() {
    let store = Faulty::new(Mode::Works);
    let log = AuditLog::open(store.clone()).await.unwrap();
    log.record(event(0)).await.unwrap();
    let head = log.head();
    store.set(Mode::Fails);
    log.enqueue(event(1)).unwrap();
    let refused = log.record(event(100)).await;
    assert!(matches!(refused, Err(RecordError::Store(_))), "{refused:?}");
    log.enqueue(event(2)).unwrap();
    assert!(log.record(event(101)).await.is_err());
    assert!(log.flush().await.is_err());
    assert_eq!((log.head(), log.is_healthy()), (head, false));
    assert_eq!(store.scan(1, 10).await.unwrap(), []);

    store.set(Mode::Works);
    log.flush().await.unwrap();
    assert!(log.is_healthy());
    assert_eq!(numbers(&log).await, [0, 1, 2]);
    let gaps = gaps(&log).await;
    assert_eq!((sum(&gaps, "/refused"), sum(&gaps, "/count")), (2, 2));
    log.verify().await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_failing_store_does_not_wait_for_its_next_try() {
    let store = Faulty::new(Mode::Fails);
    let builder = AuditLog::builder(store.clone()).deadline(Duration::from_secs(2));
    let log = builder.open().await.unwrap();
    // The pause between tries would be longer than the deadline before the last of these.
    for n in 0..8 {
        let refused = log.record(event(n)).await;
        assert!(
            matches!(refused, Err(RecordError::Store(_))),
            "{n}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn what_was_enqueued_is_tried_again_without_being_asked_for() {
    let store = Faulty::new(Mode::Works);
    let log = AuditLog::open(store.clone()).await.unwrap();
    store.set(Mode::Fails);
    log.enqueue(event(0)).unwrap();
    store.given(2).await;
    store.set(Mode::Works);
    let given = *store.given.borrow();
    store.given(given + 1).await;
    log.flush().await.unwrap();
    assert_eq!(numbers(&log).await, [0]);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_not_repeated() {
    let store = Faulty::new(Mode::LosesTheAnswer);
    let log = AuditLog::open(store.clone()).await.unwrap();
    assert_eq!(log.record(event(0)).await.unwrap().seq, 1);
    store.set(Mode::Works);
    assert_eq!(log.record(event(1)).await.unwrap().seq, 2);
    assert_eq!(numbers(&log).await, [0, 1]);
}

#[tokio::test]
async fn a_store_that_hangs_does_not_hold_its_callers() {
    let store = Faulty::new(Mode::Hangs);
    let deadline = Duration::from_millis(20);
    let builder = AuditLog::builder(store.clone()).capacity(1).reserve(1);
    let log = builder.deadline(deadline).open().await.unwrap();
    assert!(matches!(
        log.record(event(0)).await,
        Err(RecordError::Deadline)
    ));
    assert!(matches!(log.record(event(1)).await, Err(RecordError::Full)));
    store.set(Mode::Works);
    log.flush().await.unwrap();
    // The first was queued and is written, the second is not, and both were told so.
    assert_eq!(numbers(&log).await, [0]);
    log.record(event(2)).await.unwrap();
    assert_eq!(sum(&gaps(&log).await, "/refused"), 1);
}

#[tokio::test]
async fn a_caller_who_stops_waiting_withdraws_nothing() {
    let store = Faulty::new(Mode::Hangs);
    let log = AuditLog::builder(store.clone())
        .capacity(1)
        .reserve(1)
        .open()
        .await
        .unwrap();
    let recording = tokio::spawn({
        let log = log.clone();
        async move { log.record(event(0)).await }
    });
    store.given(1).await;
    recording.abort();
    assert!(recording.await.unwrap_err().is_cancelled());
    // This one has no room yet: giving up is a loss, and counted.
    let mut waiting = Box::pin(log.record(event(1)));
    assert!(futures_poll(&mut waiting).await.is_none());
    drop(waiting);
    store.set(Mode::Works);
    log.flush().await.unwrap();
    log.record(event(2)).await.unwrap();
    assert_eq!(numbers(&log).await, [0, 2]);
    assert_eq!(sum(&gaps(&log).await, "/refused"), 1);
}

/// Polls once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn two_logs_on_one_store_make_one_chain() {
    let store = Arc::new(MemoryAuditStore::new());
    let (a, b) = (
        AuditLog::open(store.clone()).await.unwrap(),
        AuditLog::open(store).await.unwrap(),
    );
    for n in 0..10 {
        a.record(event(2 * n)).await.unwrap();
        b.record(event(2 * n + 1)).await.unwrap();
    }
    assert_eq!(numbers(&a).await, (0..20).collect::<Vec<_>>());
    a.verify().await.unwrap();
    assert_eq!(b.verify().await.unwrap().seq, 20);
}

#[tokio::test]
async fn shutdown_writes_all_that_was_queued_and_closes() {
    let store = Faulty::new(Mode::Hangs);
    let log = AuditLog::open(store.clone()).await.unwrap();
    for n in 0..3_000 {
        log.enqueue(event(n)).unwrap();
    }
    let clone = log.clone();
    let closing = tokio::spawn(async move { clone.shutdown().await });
    store.given(1).await;
    store.set(Mode::Works);
    closing.await.unwrap().unwrap();
    assert_eq!(log.head().seq, 3_000);
    assert_eq!(log.enqueue(event(0)), Err(Dropped::Closed));
    assert!(matches!(
        log.record(event(0)).await,
        Err(RecordError::Closed)
    ));
    assert!(matches!(log.flush().await, Err(RecordError::Closed)));
    assert!(!log.is_healthy());
    log.shutdown().await.unwrap();
    assert_eq!(log.verify().await.unwrap(), log.head());
}

#[tokio::test]
async fn shutdown_tells_what_a_broken_store_did_not_take() {
    let store = Faulty::new(Mode::Works);
    let log = AuditLog::open(store.clone()).await.unwrap();
    log.record(event(0)).await.unwrap();
    store.set(Mode::Fails);
    for n in 1..=7 {
        log.enqueue(event(n)).unwrap();
    }
    let error = log.shutdown().await.unwrap_err();
    assert_eq!(error.lost, 7);
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "audit store unavailable"
    );
    assert_eq!(log.shutdown().await.unwrap_err().lost, 7);
    assert_eq!(log.head().seq, 1);
}

#[test]
fn a_runtime_that_ends_before_the_log_is_told_to_who_asks() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    let (first, store) = (runtime(), Faulty::new(Mode::Hangs));
    let log = first.block_on(async {
        let log = AuditLog::open(store.clone()).await.unwrap();
        log.enqueue(event(0)).unwrap();
        store.given(1).await;
        log.enqueue(event(1)).unwrap();
        log
    });
    drop(first);
    assert_eq!(log.enqueue(event(2)), Err(Dropped::Closed));
    let closed = runtime().block_on(log.shutdown());
    assert_eq!(closed.unwrap_err().lost, 2);
}

#[tokio::test]
async fn the_last_handle_dropped_still_writes_what_was_queued() {
    let store = Arc::new(MemoryAuditStore::new());
    let (told, mut heard) = watch::channel(0);
    let observer = move |record: &Record| {
        told.send_replace(record.seq);
    };
    let log = AuditLog::builder(store.clone())
        .on_record(observer)
        .open()
        .await
        .unwrap();
    for n in 0..10 {
        log.enqueue(event(n)).unwrap();
    }
    drop(log);
    heard.wait_for(|seq| *seq == 10).await.unwrap();
    assert_eq!(store.tail().await.unwrap().seq, 10);
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl OnRecord for Heard {
    fn on_record(&self, record: &Record) {
        self.0
            .lock()
            .unwrap()
            .push(format!("record {}", record.seq));
    }

    fn on_drop(&self, _: &Event, why: Dropped) {
        self.0.lock().unwrap().push(format!("drop {why:?}"));
    }

    fn on_commit(&self, commit: &forge_audit::Commit) {
        self.0
            .lock()
            .unwrap()
            .push(format!("commit {}", commit.records));
    }

    fn on_failure(&self, _: &forge_audit::StoreError) {
        self.0.lock().unwrap().push("failure".into());
    }
}

#[tokio::test]
async fn observers_hear_all_of_it_and_one_that_panics_ends_nothing() {
    let store = Faulty::new(Mode::Works);
    let heard = Heard::default();
    let panics = |_: &Record| panic!("an observer on purpose");
    let builder = AuditLog::builder(store.clone()).capacity(1).reserve(1);
    let log = builder
        .on_record((heard.clone(), panics))
        .open()
        .await
        .unwrap();
    log.record(event(0)).await.unwrap();
    log.flush().await.unwrap();
    store.set(Mode::Fails);
    assert!(log.record(event(1)).await.is_err());
    store.set(Mode::Hangs);
    log.enqueue(event(2)).unwrap();
    assert!(log.enqueue(event(3)).is_err());
    store.set(Mode::Works);
    log.flush().await.unwrap();
    let heard = heard.0.lock().unwrap().clone();
    assert_eq!(
        heard[..4],
        ["record 1", "commit 1", "failure", "drop Full(Low)"]
    );
    assert!(heard.contains(&"record 3".to_owned()), "{heard:?}");
}
