//! Segments that end, and words that go.

use std::path::Path;

use crate::support::*;

#[tokio::test]
async fn where_little_happens_a_segment_ends_by_its_age() {
    let folder = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let store = SqliteAuditStore::builder(folder.path().join("audit.db")).segment_time(day);
    let store = Arc::new(store.open().await.unwrap());
    store.migrate().await.unwrap();
    let clock = ManualClock::new(Timestamp::from_micros(1));
    let log = AuditLog::builder(store.clone())
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    for n in 0..8 {
        log.record_all((0..100).map(|i| event(n * 100 + i)).collect())
            .await
            .unwrap();
        clock.advance(day / 2);
    }
    // A segment of 32 768 would still be open. These began at 1, 257, 513 and 769.
    let retention = Retention::new().keep_all(day);
    assert_eq!(log.prune(&retention).await.unwrap(), 600);
    let left = log.query(&Query::new().limit(1000)).await.unwrap().records;
    assert_eq!(left.len(), 201);
    log.verify().await.unwrap();
    // What is pruned goes back to the file system in the end.
    let used = store.space().unwrap().used;
    while store.vacuum(8).await.unwrap() > 0 {}
    drop(log);
    drop(store);
    let size = std::fs::metadata(folder.path().join("audit.db"))
        .unwrap()
        .len();
    assert!(size < used, "{size} {used}");
}

#[tokio::test]
async fn after_an_erasure_new_texts_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::open(sqlite(&folder).await).await.unwrap();
    log.record_all((0..7).map(event).collect()).await.unwrap();
    let mut person = Filter::default();
    person.actor = Some("3".to_owned());
    log.erase(&person, &Retention::new(), "request")
        .await
        .unwrap();
    // The ids of its words were given away, and are not given again.
    let new = Event::new(Kind::Session, "session.new").actor(Actor::new("new"));
    log.record(new).await.unwrap();
    let found = log.query(&Query::new().actor("new")).await.unwrap();
    assert_eq!(found.records[0].event.action(), "session.new");
    log.verify().await.unwrap();
}

/// How many records the indexes know of in a column; the first is the request id.
fn indexed(folder: &tempfile::TempDir, column: i64) -> i64 {
    let db = Connection::open(folder.path().join("audit.db")).unwrap();
    let sum = "SELECT coalesce(sum(length(pairs)), 0) / 8 FROM";
    (1..=2)
        .map(|id| {
            let sql = format!("{sum} audit_index_{id} WHERE col = ?1");
            db.query_row(&sql, [column], |row| row.get::<_, i64>(0))
                .unwrap()
        })
        .sum()
}

#[tokio::test]
async fn an_index_forgets_who_was_erased_and_finds_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    let log = AuditLog::open(store.clone()).await.unwrap();
    log.record_all((0..600).map(event).collect()).await.unwrap();
    store.seal().await.unwrap();
    assert_eq!(indexed(&folder, 0), 512);
    let of = async |actor: &str| {
        let query = Query::new().actor(actor).limit(1000);
        let found = log.query(&query).await.unwrap().records;
        found.iter().map(|record| record.seq).collect::<Vec<_>>()
    };
    let (erased, others) = (of("3").await, of("4").await);
    assert_eq!((erased.len(), others.len()), (86, 86));
    let mut person = Filter::default();
    person.actor = Some("3".to_owned());
    log.erase(&person, &Retention::new(), "request")
        .await
        .unwrap();
    assert_eq!((of("3").await.len(), of("4").await), (0, others.clone()));
    // Built anew, in a pause or now.
    store.seal().await.unwrap();
    let gone = erased.iter().filter(|seq| **seq <= 512).count() as i64;
    assert_eq!(indexed(&folder, 0), 512 - gone);
    assert_eq!(indexed(&folder, 2), 512 - gone);
    assert_eq!((of("3").await.len(), of("4").await), (0, others));
    log.verify().await.unwrap();
}

/// Turns the segments that have an index of their own into such as they were before: full ones had
/// indexes of SQLite's own.
fn make_old(path: &Path) {
    let db = Connection::open(path).unwrap();
    let mut select = db
        .prepare("SELECT id FROM audit_segments WHERE state = 5")
        .unwrap();
    let ids = select.query_map([], |row| row.get(0)).unwrap();
    let ids: Vec<i64> = ids.map(Result::unwrap).collect();
    assert_eq!(ids, [1, 2]);
    for id in ids {
        db.execute_batch(&format!("DROP TABLE audit_index_{id}"))
            .unwrap();
        for column in [
            "request_id",
            "resource",
            "actor",
            "address",
            "action",
            "kind",
        ] {
            db.execute_batch(&format!(
                "CREATE INDEX audit_{id}_by_{column} ON audit_segment_{id} ({column})"
            ))
            .unwrap();
        }
    }
    db.execute_batch("UPDATE audit_segments SET state = 2 WHERE state = 5")
        .unwrap();
}

#[tokio::test]
async fn segments_of_the_older_layout_are_read_and_indexed_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let store = sqlite(&folder).await;
    let log = AuditLog::open(store.clone()).await.unwrap();
    log.record_all((0..600).map(event).collect()).await.unwrap();
    store.seal().await.unwrap();
    let head = log.head();
    log.shutdown().await.unwrap();
    drop((log, store));
    make_old(&path);

    let found = async |store: &dyn AuditStore| {
        let by_id = Query::new().request_id("0198c2f0-7a1b-7c3d-8e4f-000000000007");
        let by_actor = Query::new().actor("3").limit(1000);
        let mut found = Vec::new();
        for query in [by_id, by_actor] {
            let records = query.run(store).await.unwrap().records;
            found.push(records.iter().map(|r| r.seq).collect::<Vec<_>>());
        }
        assert_eq!(found[0], [8]);
        assert_eq!(found[1].len(), 86);
        assert_eq!(verify_store(store, head).await.unwrap().seq, head.seq);
    };
    // Who only reads reads it as it is.
    let reading = SqliteAuditStore::builder(&path).read_only();
    let reading = reading.open().await.unwrap();
    found(&reading).await;
    drop(reading);

    let store = sqlite(&folder).await;
    found(&*store).await;
    // In a pause, or now.
    store.seal().await.unwrap();
    assert_eq!((indexed(&folder, 0), indexed(&folder, 2)), (512, 512));
    let sealed = "SELECT count(*) FROM audit_segments WHERE state = 5";
    let db = Connection::open(&path).unwrap();
    let sealed: i64 = db.query_row(sealed, [], |row| row.get(0)).unwrap();
    assert_eq!(sealed, 2);
    found(&*store).await;

    // And it goes on: recorded, pruned and verified.
    let log = AuditLog::open(store).await.unwrap();
    log.record(event(600)).await.unwrap();
    assert_eq!(log.verify().await.unwrap().seq, 601);
    let retention = Retention::new().keep_all(Duration::ZERO);
    assert_eq!(log.prune(&retention).await.unwrap(), 512);
    log.verify().await.unwrap();
}
