//! What every store does, asked of each.

use std::sync::Arc;

use forge_audit::{
    Actor, AuditStore, Broken, Chain, Event, Fault, Head, Kind, Order, Outcome, Query, QueryError,
    Record, Severity, Source, StoreError, Stored, Timestamp, VerifyError, verify_store,
};
use serde_json::json;

type Store = Arc<dyn AuditStore>;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// The next `count` records of a log in which much varies.
fn records(chain: &mut Chain, count: u64) -> Vec<Record> {
    let first = chain.head().seq + 1;
    (first..first + count)
        .map(|n| {
            let mut event = Event::new(Kind::ALL[(n % 14) as usize], format!("act.{}", n % 3))
                .severity(Severity::ALL[(n % 4) as usize])
                .outcome(Outcome::ALL[(n % 4) as usize])
                .resource(format!("thing/{}", n % 5))
                .request_id(format!("r-{}", n / 2))
                .details(&json!({ "n": n, "text": "ü\u{0}\n" }));
            if !n.is_multiple_of(6) {
                let address = format!("192.0.2.{}", n % 7).parse().unwrap();
                event = event
                    .actor(Actor::new((n % 6).to_string()).login("octo"))
                    .source(Source::new().address(address).user_agent("curl"));
            }
            // Every second pair bears the same time.
            chain.append(event, at(1000 * (n as i64 / 2)))
        })
        .collect()
}

async fn filled(store: &Store, count: u64) -> Chain {
    let mut chain = Chain::new();
    store
        .append(records(&mut chain, count).into())
        .await
        .unwrap();
    chain
}

async fn keeps_what_it_is_given(store: Store) {
    assert_eq!(store.tail().await.unwrap(), Head::default());
    assert!(store.scan(0, 10).await.unwrap().is_empty());
    let mut chain = Chain::new();
    let all = records(&mut chain, 25);
    store.append(all[..10].into()).await.unwrap();
    store.append(all[10..].into()).await.unwrap();
    store.append([].into()).await.unwrap();
    assert_eq!(store.tail().await.unwrap(), chain.head());
    let stored: Vec<_> = all.iter().map(Stored::from).collect();
    assert_eq!(store.scan(0, 100).await.unwrap(), stored);
    assert_eq!(store.scan(7, 3).await.unwrap(), stored[7..10]);
    assert!(store.scan(25, 3).await.unwrap().is_empty());
    let page = Query::new()
        .order(Order::OldestFirst)
        .run(&*store)
        .await
        .unwrap();
    assert_eq!(page.records, all);
}

async fn appends_only_where_the_log_ends(store: Store) {
    let mut chain = filled(&store, 3).await;
    let head = chain.head();
    let next = records(&mut chain, 2);
    let elsewhere = Head {
        hash: [7; 32].into(),
        ..head
    };
    for wrong in [
        // Skips one, repeats one, follows another log.
        next[1..].to_vec(),
        records(&mut Chain::new(), 3)[2..].to_vec(),
        records(&mut Chain::resume(elsewhere), 1),
    ] {
        let refused = store.append(wrong.into()).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
        assert_eq!(store.tail().await.unwrap(), head);
    }
    store.append(next.into()).await.unwrap();
    assert_eq!(store.tail().await.unwrap(), chain.head());
}

async fn of_two_that_append_at_once_one_wins(store: Store) {
    let chain = filled(&store, 1).await;
    let contend = |n| {
        let mut chain = chain.clone();
        store.append(records(&mut chain, n).into())
    };
    let (a, b) = tokio::join!(contend(2), contend(3));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    verify_store(&*store, chain.head()).await.unwrap();
}

async fn finds_by_each_part(store: Store) {
    let mut chain = Chain::new();
    let all = records(&mut chain, 100);
    store.append(all.clone().into()).await.unwrap();
    let address: std::net::IpAddr = "192.0.2.3".parse().unwrap();
    type Keep = Box<dyn Fn(&Record) -> bool>;
    let cases: Vec<(Query, Keep)> = vec![
        (Query::new(), Box::new(|_| true)),
        (
            Query::new().from(at(20_000)),
            Box::new(|r| r.time >= at(20_000)),
        ),
        (
            Query::new().from(at(20_500)),
            Box::new(|r| r.time >= at(20_500)),
        ),
        (
            Query::new().until(at(20_000)),
            Box::new(|r| r.time < at(20_000)),
        ),
        (Query::new().until(at(99_000_000)), Box::new(|_| true)),
        (Query::new().from(at(99_000_000)), Box::new(|_| false)),
        (
            Query::new().actor("3"),
            Box::new(|r| r.event.who().id() == Some("3")),
        ),
        (
            Query::new().kind(Kind::Session),
            Box::new(|r| r.event.kind() == Kind::Session),
        ),
        (
            Query::new().action("act.1"),
            Box::new(|r| r.event.action() == "act.1"),
        ),
        (
            Query::new().at_least(Severity::High),
            Box::new(|r| r.event.level() >= Severity::High),
        ),
        (
            Query::new().outcome(Outcome::Denied),
            Box::new(|r| r.event.result() == Outcome::Denied),
        ),
        (
            Query::new().address(address),
            Box::new(move |r| r.event.origin().ip() == Some(address)),
        ),
        (
            Query::new().resource("thing/2"),
            Box::new(|r| r.event.target() == Some("thing/2")),
        ),
        (
            Query::new().request_id("r-7"),
            Box::new(|r| r.event.request() == Some("r-7")),
        ),
        (
            Query::new()
                .actor("5")
                .from(at(10_000))
                .until(at(40_000))
                .at_least(Severity::Medium),
            Box::new(|r| {
                r.event.who().id() == Some("5")
                    && r.time >= at(10_000)
                    && r.time < at(40_000)
                    && r.event.level() >= Severity::Medium
            }),
        ),
        (Query::new().actor("' OR 1=1 --"), Box::new(|_| false)),
    ];
    for (query, keep) in cases {
        let expected: Vec<_> = all.iter().filter(|r| keep(r)).cloned().collect();
        let oldest = query
            .clone()
            .order(Order::OldestFirst)
            .run(&*store)
            .await
            .unwrap();
        assert_eq!(oldest.records, expected, "{query:?}");
        let newest = query.clone().run(&*store).await.unwrap();
        assert!(newest.records.iter().rev().eq(&expected), "{query:?}");
        assert_eq!((oldest.next, newest.next), (None, None));
    }
}

async fn a_walk_skips_and_repeats_nothing_while_events_arrive(store: Store) {
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let mut chain = Chain::resume(store.tail().await.unwrap());
        store.append(records(&mut chain, 50).into()).await.unwrap();
        let before = chain.head().seq;
        let query = Query::new().action("act.1").order(order).limit(4);
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let query = query.clone();
            let query = match cursor.take() {
                Some(cursor) => query.cursor(cursor),
                None => query,
            };
            let page = query.run(&*store).await.unwrap();
            assert!(page.records.len() <= 4);
            seen.extend(page.records.iter().map(|r| r.seq));
            if chain.head().seq < before + 40 {
                store.append(records(&mut chain, 10).into()).await.unwrap();
            }
            match page.next {
                Some(next) => cursor = Some(next.into()),
                None => break,
            }
        }
        if order == Order::NewestFirst {
            seen.reverse();
        }
        let last = if order == Order::NewestFirst {
            before
        } else {
            chain.head().seq
        };
        assert_eq!(seen, (1..=last).filter(|n| n % 3 == 1).collect::<Vec<_>>());
    }
}

async fn a_cursor_of_another_query_is_an_error(store: Store) {
    filled(&store, 20).await;
    let first = Query::new().actor("1").limit(1).run(&*store).await.unwrap();
    let cursor = first.next.unwrap();
    let other = Query::new().actor("2").limit(1).cursor(cursor.as_str());
    assert!(matches!(other.run(&*store).await, Err(QueryError::Cursor)));
    let same = Query::new().actor("1").limit(5).cursor(cursor.as_str());
    assert_eq!(
        same.run(&*store).await.unwrap().records[0].seq,
        first.records[0].seq - 6
    );
}

async fn verifies_as_far_as_it_should_reach(store: Store) {
    let chain = filled(&store, 2500).await;
    let head = chain.head();
    assert_eq!(verify_store(&*store, Head::default()).await.unwrap(), head);
    assert_eq!(verify_store(&*store, head).await.unwrap(), head);
    let fault = |expected| {
        let store = Arc::clone(&store);
        async move {
            match verify_store(&*store, expected).await {
                Err(VerifyError::Broken(Broken { seq, fault, .. })) => (seq, fault),
                other => panic!("{other:?}"),
            }
        }
    };
    let longer = Head { seq: 2501, ..head };
    assert_eq!(fault(longer).await, (2501, Fault::Missing));
    let other = Head {
        hash: [1; 32].into(),
        seq: 1700,
        ..head
    };
    assert_eq!(fault(other).await, (1700, Fault::Replaced));
}

macro_rules! suite {
    ($backend:ident, $store:expr, $($behaviour:ident),+ $(,)?) => {
        mod $backend {
            $(#[tokio::test]
            async fn $behaviour() {
                let (store, _guard) = $store.await;
                super::$behaviour(store).await;
            })+
        }
    };
    ($backend:ident, $store:expr) => {
        suite!(
            $backend, $store,
            keeps_what_it_is_given,
            appends_only_where_the_log_ends,
            of_two_that_append_at_once_one_wins,
            finds_by_each_part,
            a_walk_skips_and_repeats_nothing_while_events_arrive,
            a_cursor_of_another_query_is_an_error,
            verifies_as_far_as_it_should_reach,
        );
    };
}

async fn memory() -> (Store, ()) {
    (Arc::new(forge_audit::MemoryAuditStore::new()), ())
}

suite!(memory, super::memory());

#[cfg(feature = "sqlite")]
async fn sqlite() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = forge_audit::SqliteAuditStore::open(folder.path().join("audit.db"))
        .await
        .unwrap();
    store.migrate().await.unwrap();
    (Arc::new(store), folder)
}

#[cfg(feature = "sqlite")]
suite!(sqlite, super::sqlite());
