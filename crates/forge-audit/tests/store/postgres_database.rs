//! PostgreSQL: a database for each test, and what only it can show.

use crate::support::*;
use forge_audit::PostgresAuditStore;
use sqlx::PgPool;

pub(crate) async fn pool() -> Option<PgPool> {
    let postgres = test_support::require(test_support::Postgres::shared())?;
    Some(PgPool::connect(&postgres.create_database()).await.unwrap())
}

/// A store in a database of its own; nothing where PostgreSQL is not installed.
pub(crate) async fn store() -> Option<(Store, ())> {
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

    let all: fn(u64) -> u64 = |seq| seq;
    let of_person: fn(u64) -> u64 = |seq| (seq + 3) / 6;
    for (asked, count) in [
        (Query::new(), all),
        (Query::new().actor("3"), of_person),
        (Query::new().mentioning("ü"), all),
    ] {
        let expected = (count(200) + count(second.head().seq)) as usize;
        let (mut seen, mut query) = (Vec::new(), asked.clone().limit(7));
        loop {
            let page = two.merged(&query).await.unwrap();
            seen.extend(page.records);
            let Some(next) = page.next else { break };
            // A cursor is of this query, and of all logs.
            let of_one = asked.clone().cursor(next.as_str()).run(&two).await;
            assert!(matches!(of_one, Err(QueryError::Cursor)));
            query = query.cursor(next);
            // What comes meanwhile is newer.
            two.append(records(&mut second, 1).into()).await.unwrap();
        }
        assert!(seen.is_sorted_by_key(|one| std::cmp::Reverse(one.record.time)));
        let oldest = asked.clone().order(Order::OldestFirst).limit(1000);
        let mut back = two.merged(&oldest).await.unwrap().records;
        back.retain(|one| seen.contains(one));
        back.reverse();
        assert_eq!(back, seen);
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
async fn a_record_that_is_there_twice_is_found_and_one_before_the_first() {
    let Some(pool) = pool().await else { return };
    let store = PostgresAuditStore::new(pool.clone(), "one").segment(1 << 16);
    store.migrate().await.unwrap();
    let mut chain = Chain::new();
    for _ in 0..9 {
        // More than a verifier is shown at once, in the end.
        let some = records(&mut chain, 2000);
        store.append(some.into()).await.unwrap();
    }
    let change = async |statements: String| {
        let statements = sqlx::AssertSqlSafe(statements);
        sqlx::raw_sql(statements).execute(&pool).await.unwrap();
    };
    change(
        "ALTER TABLE audit_records DROP CONSTRAINT audit_records_pkey;
         CREATE TABLE audit_records_1_0 PARTITION OF audit_records_1 FOR VALUES FROM (-9) TO (1);
         ALTER TABLE audit_records DISABLE TRIGGER USER;
         CREATE TABLE once AS SELECT * FROM audit_records"
            .to_owned(),
    )
    .await;
    verify_store(&store, chain.head()).await.unwrap();
    for (seq, change_of, place) in [
        (300, "", 301),
        (16_384, "", 16_385),
        (1, "SET seq = 0", 1),
        (1, "SET seq = -1", 1),
    ] {
        change(format!(
            "CREATE TABLE again AS SELECT * FROM audit_records WHERE seq = {seq}"
        ))
        .await;
        if !change_of.is_empty() {
            change(format!("UPDATE again {change_of}")).await;
        }
        change("INSERT INTO audit_records SELECT * FROM again; DROP TABLE again".to_owned()).await;
        match verify_store(&store, chain.head()).await {
            Err(VerifyError::Broken(broken)) => {
                assert_eq!((broken.seq, broken.fault), (place, Fault::Missing));
            }
            other => panic!("{seq} {change_of}: {other:?}"),
        }
        change("TRUNCATE audit_records; INSERT INTO audit_records SELECT * FROM once".to_owned())
            .await;
    }
    verify_store(&store, chain.head()).await.unwrap();
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
