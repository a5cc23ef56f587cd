//! What is found, page by page, and counted.

use crate::support::*;

pub(crate) async fn finds_by_each_part(store: Store) {
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

pub(crate) async fn a_walk_skips_and_repeats_nothing_while_events_arrive(store: Store) {
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

pub(crate) async fn a_cursor_of_another_query_is_an_error(store: Store) {
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

pub(crate) async fn counts_by_the_minute(store: Store) {
    let mut chain = Chain::new();
    let event = |kind| Event::new(kind, "x").severity(Severity::High);
    let minute = 60_000_000;
    for (kind, time) in [
        (Kind::Session, 0),
        (Kind::Session, minute - 1),
        (Kind::System, minute - 1),
        (Kind::Session, minute),
    ] {
        let record = chain.append(event(kind), at(time));
        store.append([record].into()).await.unwrap();
    }
    let told = |counts: Vec<Count>| -> Vec<_> {
        let one = |c: &Count| (c.minute.as_micros(), c.kind, c.severity, c.events);
        counts.iter().map(one).collect()
    };
    assert_eq!(
        told(store.counts(at(0)..at(2 * minute)).await.unwrap()),
        [
            (0, Kind::Session, Severity::High, 2),
            (0, Kind::System, Severity::High, 1),
            (minute, Kind::Session, Severity::High, 1),
        ]
    );
    let later = store.counts(at(1)..at(2 * minute)).await.unwrap();
    assert_eq!(told(later), [(minute, Kind::Session, Severity::High, 1)]);
}
