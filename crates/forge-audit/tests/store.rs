//! What every store does, asked of each.

use std::sync::Arc;

use forge_audit::{
    Actor, AuditLog, AuditStore, Broken, Chain, Count, Event, Fault, Filter, Head, Kind,
    ManualClock, Order, Outcome, Query, QueryError, Record, Retention, Severity, SignedNote,
    Source, StoreError, Stored, Timestamp, VerifyError, prove_consistency, prove_inclusion,
    tree_of, verify_store, verify_with,
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

fn filter(set: impl FnOnce(&mut Filter)) -> Filter {
    let mut filter = Filter::default();
    set(&mut filter);
    filter
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

async fn proves_that_a_record_is_in_it_and_that_it_only_grew(store: Store) {
    let mut chain = filled(&store, 300).await;
    let old = tree_of(&*store, 300).await.unwrap();
    store.append(records(&mut chain, 777).into()).await.unwrap();
    let new = tree_of(&*store, 1077).await.unwrap();
    let all = store.scan(0, 2000).await.unwrap();
    for seq in [1, 2, 255, 256, 257, 300, 512, 1024, 1025, 1077] {
        let proof = prove_inclusion(&*store, seq, 1077).await.unwrap().unwrap();
        let leaf = all[seq as usize - 1].hash;
        assert!(proof.includes(seq, leaf, 1077, new.root()), "{seq}");
        assert!(!proof.includes(seq, leaf, 1077, old.root()), "{seq}");
    }
    assert_eq!(prove_inclusion(&*store, 1078, 1077).await.unwrap(), None);
    let proof = prove_consistency(&*store, 300, 1077).await.unwrap();
    assert!(proof.extends((300, old.root()), (1077, new.root())));
    assert!(!proof.extends((301, old.root()), (1077, new.root())));
}

async fn keeps_checkpoints_in_the_order_of_their_size(store: Store) {
    let note = |size: u64, text: &str| SignedNote {
        size,
        text: text.to_owned(),
    };
    for checkpoint in [note(7, "b"), note(3, "a"), note(7, "another")] {
        store.add_checkpoint(checkpoint).await.unwrap();
    }
    assert_eq!(
        store.checkpoints(0, 9).await.unwrap(),
        [note(3, "a"), note(7, "b")]
    );
    assert_eq!(store.checkpoints(3, 9).await.unwrap(), [note(7, "b")]);
    assert_eq!(store.checkpoints(0, 1).await.unwrap(), [note(3, "a")]);
}

async fn counts_by_the_minute(store: Store) {
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

/// A log in `store` over 20 000 microseconds, and how to ask what verifies.
async fn log(store: &Store, count: u64) -> (AuditLog, ManualClock) {
    filled(store, count).await;
    let clock = ManualClock::new(at(1_000_000));
    let log = AuditLog::builder(Arc::clone(store)).clock(clock.clone());
    (log.open().await.unwrap(), clock)
}

async fn what_is_left_after_pruning_verifies(store: Store) {
    let (log, _clock) = log(&store, 2000).await;
    let before = tree_of(&*store, 2000).await.unwrap();
    let hold = filter(|f| f.request_id = Some("r-100".to_owned()));
    let micros = std::time::Duration::from_micros;
    // Of 2000 records over a second, the first half is over; of the severe ones, an eighth.
    let retention = Retention::new()
        .keep_all(micros(500_000))
        .keep(Severity::Critical, micros(875_000))
        .hold(hold.clone());
    let pruned = log.prune(&retention).await.unwrap();
    assert!(pruned > 500, "{pruned}");
    let kept = log
        .query(&Query::new().order(Order::OldestFirst).limit(1000))
        .await
        .unwrap();
    for record in &kept.records {
        let is_held = record.event.request() == Some("r-100");
        let is_severe = record.event.level() == Severity::Critical && record.seq > 249;
        let segment = record.seq > 768;
        assert!(is_held || is_severe || segment, "{}", record.seq);
        assert_ne!(record.event.action(), "audit.damaged", "{}", record.seq);
    }
    assert!(
        kept.records
            .iter()
            .any(|r| r.event.request() == Some("r-100"))
    );
    let expected = [(2000, before.root())];
    let verified = verify_with(&*store, log.head(), expected).await.unwrap();
    assert_eq!((verified.pruned, verified.checkpoints), (pruned, 1));
    assert_eq!(verified.head, log.head());
    // What stands after it is proved as before, and so is what was held.
    let (held, root) = (hold_seq(&kept), before.root());
    for (seq, hash) in [held, (kept.records[900].seq, kept.records[900].hash)] {
        let proof = prove_inclusion(&*store, seq, 2000).await.unwrap().unwrap();
        assert!(proof.includes(seq, hash, 2000, root));
    }
    let told = log
        .query(&Query::new().action("audit.prune"))
        .await
        .unwrap();
    assert_eq!(told.records.len(), 1);
    // Once more: nothing is left to do; and later the rest goes, but for what is held.
    assert_eq!(log.prune(&retention).await.unwrap(), 0);
    let retention = Retention::new().keep_all(micros(1)).hold(hold);
    log.prune(&retention).await.unwrap();
    assert_eq!(log.prune(&retention).await.unwrap(), 0);
    let verified = verify_with(&*store, log.head(), expected).await.unwrap();
    assert!(verified.pruned > 1700, "{verified:?}");
    let held = log.query(&Query::new().request_id("r-100")).await.unwrap();
    assert_eq!(held.records.len(), 2);
}

fn hold_seq(page: &forge_audit::Page) -> (u64, forge_audit::Hash) {
    let held = page
        .records
        .iter()
        .find(|r| r.event.request() == Some("r-100"));
    held.map(|r| (r.seq, r.hash)).unwrap()
}

async fn what_is_left_of_an_erased_person_verifies(store: Store) {
    let (log, _clock) = log(&store, 600).await;
    let before = tree_of(&*store, 600).await.unwrap();
    let person = filter(|f| f.actor = Some("3".to_owned()));
    let hold = Retention::new().hold(filter(|f| f.from = Some(at(299_000))));
    let query = Query::new().actor("3").limit(1000);
    let own = log.query(&query).await.unwrap().records;
    let erased = log.erase(&person, &hold, "request 4711").await.unwrap();
    assert_eq!(erased, 100);
    assert!(log.query(&query).await.unwrap().records.is_empty());
    let verified = verify_with(&*store, log.head(), [(600, before.root())])
        .await
        .unwrap();
    assert_eq!(verified.erased, 100);
    let stored = store.scan(own[5].seq - 1, 1).await.unwrap().remove(0);
    assert_eq!(stored.hash, own[5].hash);
    let left = stored.into_record();
    assert!(left.is_erased());
    assert_eq!(left.event.action(), own[5].event.action());
    assert!(left.event.who().is_anonymous() && left.event.details_value().is_none());
    let told = log
        .query(&Query::new().action("audit.erase"))
        .await
        .unwrap();
    assert_eq!(told.records[0].event.target(), Some("request 4711"));
    assert_eq!(log.erase(&person, &hold, "again").await.unwrap(), 0);
}

async fn what_is_taken_away_without_a_word_is_found(store: Store) {
    let mut chain = filled(&store, 600).await;
    store.erase(&[7]).await.unwrap();
    let fault = |store: Store| async move {
        match verify_store(&*store, Head::default()).await {
            Err(VerifyError::Broken(Broken { seq, fault, .. })) => Some((seq, fault)),
            Ok(_) => None,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(
        fault(Arc::clone(&store)).await,
        Some((7, Fault::Unexplained))
    );
    let told = Event::new(Kind::System, "audit.erase")
        .details(&json!({ "first": 7, "last": 7, "records": 1 }));
    let record = chain.append(told, at(900_000_000));
    store.append([record].into()).await.unwrap();
    assert_eq!(fault(Arc::clone(&store)).await, None);
    let mut rules = Retention::new()
        .keep_all(std::time::Duration::ZERO)
        .rules(at(1_000_000));
    rules.hold.clear();
    let span = store.prunable(&rules).await.unwrap().unwrap();
    store.prune(&rules, span).await.unwrap();
    assert_eq!(fault(store).await, Some((1, Fault::Unexplained)));
}

macro_rules! suite {
    ($backend:ident, $store:expr, $($behaviour:ident),+ $(,)?) => {
        mod $backend {
            $(#[tokio::test]
            async fn $behaviour() {
                if let Some((store, _guard)) = $store.await {
                    super::$behaviour(store).await;
                }
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
            proves_that_a_record_is_in_it_and_that_it_only_grew,
            keeps_checkpoints_in_the_order_of_their_size,
            counts_by_the_minute,
            what_is_left_after_pruning_verifies,
            what_is_left_of_an_erased_person_verifies,
            what_is_taken_away_without_a_word_is_found,
        );
    };
}

async fn memory() -> Option<(Store, ())> {
    Some((Arc::new(forge_audit::MemoryAuditStore::new()), ()))
}

suite!(memory, super::memory());

#[cfg(feature = "sqlite")]
async fn sqlite() -> Option<(Store, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    // Small segments, so that much of a log lies in some that are full.
    let store = forge_audit::SqliteAuditStore::builder(folder.path().join("audit.db"))
        .segment(256)
        .open()
        .await
        .unwrap();
    store.migrate().await.unwrap();
    Some((Arc::new(store), folder))
}

#[cfg(feature = "sqlite")]
suite!(sqlite, super::sqlite());

#[cfg(feature = "postgres")]
suite!(postgres, super::postgres_database::store());

#[cfg(feature = "postgres")]
mod postgres_database {
    use super::*;
    use forge_audit::PostgresAuditStore;
    use sqlx::PgPool;

    pub(super) async fn pool() -> Option<PgPool> {
        let postgres = test_support::require(test_support::Postgres::shared())?;
        Some(PgPool::connect(&postgres.create_database()).await.unwrap())
    }

    /// A store in a database of its own; nothing where PostgreSQL is not installed.
    pub(super) async fn store() -> Option<(Store, ())> {
        let store = PostgresAuditStore::new(pool().await?, "one").segment(256);
        store.migrate().await.unwrap();
        store.migrate().await.unwrap();
        Some((Arc::new(store), ()))
    }

    async fn named(pool: &PgPool, origin: &str) -> PostgresAuditStore {
        let store = PostgresAuditStore::new(pool.clone(), origin).segment(256);
        store.migrate().await.unwrap();
        store
    }

    #[tokio::test]
    async fn each_node_has_its_chain_and_all_are_read_as_one() {
        let Some(pool) = pool().await else { return };
        let (one, two) = (named(&pool, "one").await, named(&pool, "two").await);
        let (mut first, mut second) = (Chain::new(), Chain::new());
        let (a, b) = (records(&mut first, 200), records(&mut second, 300));
        let (a, b) = tokio::join!(one.append(a.into()), two.append(b.into()));
        a.and(b).unwrap();
        assert_eq!(
            verify_store(&one, first.head()).await.unwrap(),
            first.head()
        );
        assert_eq!(
            verify_store(&two, second.head()).await.unwrap(),
            second.head()
        );
        let named = |name: &str, chain: &Chain| (name.to_owned(), chain.head());
        let logs = one.logs().await.unwrap();
        assert_eq!(logs, [named("one", &first), named("two", &second)]);

        let person = filter(|f| f.actor = Some("3".to_owned()));
        let all: fn(u64) -> u64 = |seq| seq;
        let of_person: fn(u64) -> u64 = |seq| (seq + 3) / 6;
        for (filter, count) in [(Filter::default(), all), (person, of_person)] {
            let expected = (count(200) + count(second.head().seq)) as usize;
            let (mut seen, mut beyond) = (Vec::new(), None);
            loop {
                let page = two.merged(&filter, beyond, 7).await.unwrap();
                let Some(last) = page.last() else { break };
                beyond = Some(last.place);
                seen.extend(page);
                // What comes meanwhile is newer.
                two.append(records(&mut second, 1).into()).await.unwrap();
            }
            assert!(seen.is_sorted_by_key(|one| std::cmp::Reverse(one.record.time)));
            let mut places: Vec<_> = seen
                .iter()
                .map(|one| (&one.origin, one.record.seq))
                .collect();
            places.sort();
            places.dedup();
            assert_eq!((places.len(), seen.len()), (expected, expected));
            let intruders = seen
                .iter()
                .filter(|one| one.record.event.action() == "audit.damaged");
            assert_eq!(intruders.count(), 0);
        }
    }

    #[tokio::test]
    async fn two_processes_that_take_one_origin_do_not_fork_it() {
        let Some(pool) = pool().await else { return };
        let stores = [named(&pool, "one").await, named(&pool, "one").await];
        let mut won = [0, 0];
        for _ in 0..20 {
            let head = stores[0].tail().await.unwrap();
            let contend = |store: &PostgresAuditStore| {
                let mut chain = Chain::resume(head);
                let all = records(&mut chain, 30);
                let store = PostgresAuditStore::new(pool.clone(), store.origin()).segment(256);
                tokio::spawn(async move { store.append(all.into()).await })
            };
            let (a, b) = (contend(&stores[0]), contend(&stores[1]));
            let results = [a.await.unwrap(), b.await.unwrap()];
            for (won, result) in won.iter_mut().zip(&results) {
                match result {
                    Ok(()) => *won += 1,
                    Err(error) => assert!(matches!(error, StoreError::Conflict), "{error:?}"),
                }
            }
        }
        assert_eq!(won[0] + won[1], 20);
        let head = verify_store(&stores[0], Head::default()).await.unwrap();
        assert_eq!((head.seq, head), (600, stores[1].tail().await.unwrap()));
    }

    #[tokio::test]
    async fn whoever_may_only_append_cannot_change_what_is_there() {
        let Some(pool) = pool().await else { return };
        let owner = named(&pool, "one").await;
        // A role is one for the whole instance.
        let role = format!("append_{}", std::process::id());
        for statement in [
            format!("CREATE ROLE {role} LOGIN"),
            format!("SELECT audit_grant_append('{role}')"),
        ] {
            let statement = sqlx::AssertSqlSafe(statement);
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        let options = (*pool.connect_options()).clone().username(&role);
        let own = PgPool::connect_with(options).await.unwrap();
        let store = PostgresAuditStore::new(own.clone(), "two").segment(256);
        let mut chain = Chain::new();
        // More than a partition holds.
        for _ in 0..3 {
            store.append(records(&mut chain, 200).into()).await.unwrap();
        }
        let note = SignedNote {
            size: 600,
            text: "signed".to_owned(),
        };
        store.add_checkpoint(note).await.unwrap();
        verify_store(&store, chain.head()).await.unwrap();
        assert!(store.erase(&[7]).await.is_err());
        for statement in [
            "UPDATE audit_records SET actor = 'x'",
            "DELETE FROM audit_records",
            "TRUNCATE audit_records",
            "DROP TABLE audit_records_1",
            "INSERT INTO audit_tiles VALUES (1, 0, '')",
            "UPDATE audit_nodes SET hash = ''",
            "UPDATE audit_checkpoints SET text = 'x'",
            "DELETE FROM audit_checkpoints",
            "UPDATE audit_logs SET seq = 1, time = 0",
            "UPDATE audit_logs SET origin = 'x'",
            "DELETE FROM audit_logs",
            "ALTER TABLE audit_records DISABLE TRIGGER ALL",
            "SELECT audit_grant_append(current_user)",
            "SELECT audit_make_segment(1, 1, 1000)",
        ] {
            let statement = format!("SET forge_audit.forgets = 'on'; {statement}");
            let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
                .execute(&own)
                .await;
            assert!(done.is_err(), "{statement}");
        }
        for statement in [
            "UPDATE audit_records SET actor = 'x'",
            "DELETE FROM audit_records",
            "UPDATE audit_logs SET seq = seq - 1",
        ] {
            // Nor does the owner by mistake.
            assert!(sqlx::query(statement).execute(&pool).await.is_err());
        }
        verify_store(&store, chain.head()).await.unwrap();
        assert_eq!(owner.tail().await.unwrap(), Head::default());
    }

    #[tokio::test]
    async fn what_the_owner_changes_is_found_where_it_was_changed() {
        let Some(pool) = pool().await else { return };
        let store = named(&pool, "one").await;
        let mut chain = Chain::new();
        store.append(records(&mut chain, 600).into()).await.unwrap();
        let change = async |statement: &str| {
            let statement = format!("SET LOCAL forge_audit.forgets = 'on'; {statement}");
            let mut transaction = pool.begin().await.unwrap();
            let statement = sqlx::AssertSqlSafe(statement);
            let done = sqlx::raw_sql(statement).execute(&mut *transaction).await;
            done.unwrap();
            transaction.commit().await.unwrap();
        };
        let place = async || match verify_store(&store, chain.head()).await {
            Err(VerifyError::Broken(Broken { seq, .. })) => Some(seq),
            Ok(_) => None,
            Err(error) => panic!("{error:?}"),
        };
        let kept = "CREATE TABLE kept AS SELECT * FROM audit_records WHERE seq = 300";
        change(kept).await;
        let back = "DELETE FROM audit_records WHERE seq = 300; \
                    INSERT INTO audit_records SELECT * FROM kept";
        for set in [
            "time = time + 1",
            "occurred = occurred + 1",
            "prev = set_byte(prev, 9, (get_byte(prev, 9) + 1) % 256)",
            "hash = set_byte(hash, 9, (get_byte(hash, 9) + 1) % 256)",
            "salt = set_byte(salt, 9, (get_byte(salt, 9) + 1) % 256)",
            "salt = salt || salt",
            "salt = ''",
            "kind = kind % 14 + 1",
            "kind = 99",
            "outcome = outcome % 4 + 1",
            "severity = severity % 4 + 1",
            "action = 'x'",
            "actor = 'x'",
            "actor = NULL, login = NULL",
            "login = 'x'",
            "session = 'x'",
            "address = '\\x01020304'",
            "address = '\\x01'",
            "agent = 'x'",
            "resource = 'x'",
            "request_id = 'x'",
            "details = '{}'",
            "details = NULL",
        ] {
            change(&format!("UPDATE audit_records SET {set} WHERE seq = 300")).await;
            let changed: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT * FROM audit_records WHERE seq = 300 EXCEPT SELECT * FROM kept)",
            )
            .fetch_one(&pool)
            .await
            .unwrap();
            if changed {
                assert_eq!(place().await, Some(300), "{set}");
            }
            change(back).await;
            assert_eq!(place().await, None, "{set}");
        }
        change("DELETE FROM audit_records WHERE seq = 300").await;
        assert_eq!(place().await, Some(300));
        change("INSERT INTO audit_records SELECT * FROM kept").await;
        change("DELETE FROM audit_records WHERE seq > 590").await;
        assert_eq!(place().await, Some(591));
        let cut = PostgresAuditStore::new(pool.clone(), "one");
        assert!(matches!(cut.tail().await, Err(StoreError::Altered)));
        change("UPDATE audit_nodes SET hash = decode(repeat('ab', 32), 'hex') WHERE idx = 1").await;
        assert_eq!(place().await, Some(257));
    }

    #[tokio::test]
    async fn what_is_over_goes_with_its_partition() {
        let Some(pool) = pool().await else { return };
        let store = Arc::new(named(&pool, "one").await);
        let mut chain = Chain::new();
        store
            .append(records(&mut chain, 1000).into())
            .await
            .unwrap();
        let partitions = async || -> Vec<String> {
            let query = "SELECT inhrelid::regclass::text FROM pg_inherits \
                         WHERE inhparent = 'audit_records_1'::regclass ORDER BY 1";
            sqlx::query_scalar(query).fetch_all(&pool).await.unwrap()
        };
        assert_eq!(partitions().await.len(), 4);
        let clock = ManualClock::new(at(1_000_000));
        let log = AuditLog::builder(store.clone() as Store).clock(clock.clone());
        let log = log.open().await.unwrap();
        // Over are 800 records, of which 768 are in full partitions.
        let retention = Retention::new().keep_all(std::time::Duration::from_micros(600_000));
        assert_eq!(log.prune(&retention).await.unwrap(), 768);
        assert_eq!(partitions().await, ["audit_records_1_769"]);
        let verified = verify_with(&*store, log.head(), []).await.unwrap();
        assert_eq!(verified.pruned, 768);
    }
    #[tokio::test]
    async fn an_event_is_put_with_the_callers_own_change() {
        let Some(pool) = pool().await else { return };
        sqlx::raw_sql(forge_audit::OUTBOX_POSTGRES)
            .execute(&pool)
            .await
            .unwrap();
        let mut entries = Vec::new();
        for keep in [true, false] {
            let entry = forge_audit::OutboxEntry::of(&Event::new(Kind::System, "x"), at(7));
            let mut transaction = pool.begin().await.unwrap();
            forge_audit::OutboxTransaction::put(&mut transaction, entry.clone())
                .await
                .unwrap();
            if keep {
                transaction.commit().await.unwrap();
                entries.push((entry.id.to_vec(), 7, entry.event));
            }
        }
        let found: Vec<(Vec<u8>, i64, Vec<u8>)> =
            sqlx::query_as("SELECT id, occurred, event FROM audit_outbox")
                .fetch_all(&pool)
                .await
                .unwrap();
        assert_eq!(found, entries);
    }
}
