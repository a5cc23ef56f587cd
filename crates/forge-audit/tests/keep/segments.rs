//! Segments that end, and words that go.

#[cfg(feature = "archive")]
use std::path::PathBuf;

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

#[tokio::test]
async fn more_texts_than_a_segment_has_words_for_are_found_and_erased() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteAuditStore::open(folder.path().join("audit.db"));
    let store = Arc::new(store.await.unwrap());
    store.migrate().await.unwrap();
    let log = AuditLog::open(store.clone()).await.unwrap();
    let person = |n: u64| Event::new(Kind::Session, "new").actor(Actor::new(format!("person {n}")));
    // With the action, the last one is the first that is no word.
    for some in 0..16 {
        let events = (some * 1024..(some + 1) * 1024).map(person);
        log.record_all(events.collect()).await.unwrap();
    }
    let found = async |n: u64| {
        let query = Query::new().actor(format!("person {n}"));
        let records = log.query(&query).await.unwrap().records;
        records.iter().map(|r| r.seq).collect::<Vec<_>>()
    };
    assert_eq!(
        (found(16_382).await, found(16_383).await),
        (vec![16_383], vec![16_384])
    );
    log.verify().await.unwrap();
    // The last word goes; what comes after it is no word all the same, and neither what was none.
    let mut filter = Filter::default();
    filter.actor = Some("person 16382".to_owned());
    log.erase(&filter, &Retention::new(), "request")
        .await
        .unwrap();
    for n in [16_383, 16_382] {
        log.record(person(n)).await.unwrap();
    }
    assert_eq!(
        (found(16_382).await, found(16_383).await),
        (vec![16_387], vec![16_386, 16_384])
    );
    log.verify().await.unwrap();
}

/// Takes a number in LEB128 from what is left.
fn number(rest: &mut &[u8]) -> u64 {
    let length = 1 + rest.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let (bytes, behind) = rest.split_at(length);
    *rest = behind;
    let low = |number, byte: &u8| number << 7 | u64::from(byte & 0x7f);
    bytes.iter().rev().fold(0, low)
}

/// How many records the indexes know of in a column; the first is the request id.
fn indexed(folder: &tempfile::TempDir, column: i64) -> u64 {
    let db = Connection::open(folder.path().join("audit.db")).unwrap();
    let mut count = 0;
    for id in [1, 2] {
        let sql = format!("SELECT pairs FROM audit_index_{id} WHERE col = ?1");
        let mut select = db.prepare(&sql).unwrap();
        let blocks = select.query_map([column], |row| row.get(0)).unwrap();
        for block in blocks {
            let block: Vec<u8> = block.unwrap();
            let mut rest = &block[..];
            // A key, how many places it has, and these.
            while let Some((_, behind)) = rest.split_at_checked(4) {
                rest = behind;
                let places = number(&mut rest);
                for _ in 0..places {
                    number(&mut rest);
                }
                count += places;
            }
        }
    }
    count
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
    let gone = erased.iter().filter(|seq| **seq <= 512).count() as u64;
    assert_eq!(indexed(&folder, 0), 512 - gone);
    assert_eq!(indexed(&folder, 2), 512 - gone);
    assert_eq!((of("3").await.len(), of("4").await), (0, others));
    log.verify().await.unwrap();
}

/// A database as version 1 of the schema had it: with segments of which one was pruned, one pruned in
/// part, two have an index, one has indexes of SQLite's own and one is open; person 3 was erased.
#[cfg(feature = "archive")]
pub(crate) fn layout_1(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("audit.db");
    let packed = include_bytes!("layout-1.db.zst");
    std::fs::write(&path, zstd::decode_all(&packed[..]).unwrap()).unwrap();
    path
}

#[cfg(feature = "archive")]
#[tokio::test]
async fn a_log_of_the_first_layout_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = layout_1(&folder);
    // Who only reads changes nothing.
    let before = std::fs::read(&path).unwrap();
    let reading = SqliteAuditStore::builder(&path).read_only().open().await;
    assert!(matches!(reading, Err(StoreError::Outdated)), "{reading:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let store = sqlite(&folder).await;
    let log = AuditLog::open(store.clone()).await.unwrap();
    let head = log.verify().await.unwrap();
    let hash = "8d8eb9cd0d845036f8a5ef99ebf1c8fe39d8685184d2c79c8957522a16625f8d";
    assert_eq!((head.seq, head.hash.to_string()), (1302, hash.to_owned()));
    let check = async || {
        let found = async |query: Query| {
            let records = log.query(&query.limit(1000)).await.unwrap().records;
            records.iter().map(|r| r.seq).collect::<Vec<_>>()
        };
        let held = [292, 486, 583, 680, 777, 874, 971, 1165, 1262];
        assert_eq!(
            found(Query::new().order(Order::OldestFirst).resource("held")).await,
            held
        );
        // In the segments that have an index, that had indexes of SQLite's own, and that is open.
        for (n, id) in [
            (515, "r-515".to_owned()),
            (777, format!("0198c2f0-7a1b-7c3d-8e4f-{:012x}", 777)),
            (1285, "r-1285".to_owned()),
        ] {
            assert_eq!(found(Query::new().request_id(id)).await, [n + 1]);
        }
        assert!(found(Query::new().actor("3")).await.is_empty());
        assert_eq!(
            found(
                Query::new()
                    .actor("4")
                    .from(Timestamp::from_micros(11_000_000))
            )
            .await
            .len(),
            113
        );
    };
    check().await;
    store.seal().await.unwrap();
    check().await;
    let db = Connection::open(&path).unwrap();
    let old = "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%request_id%'";
    let old: i64 = db.query_row(old, [], |row| row.get(0)).unwrap();
    assert_eq!(old, 0);

    // And it goes on: recorded, erased, pruned and verified.
    log.record(event(3)).await.unwrap();
    let mut person = Filter::default();
    person.actor = Some("4".to_owned());
    assert_eq!(
        log.erase(&person, &Retention::new(), "request")
            .await
            .unwrap(),
        114
    );
    assert_eq!(log.verify().await.unwrap().seq, 1304);
    let retention = Retention::new().keep_all(Duration::ZERO);
    assert_eq!(log.prune(&retention).await.unwrap(), 3 + 768);
    log.verify().await.unwrap();
    assert_eq!(
        log.query(&Query::new().actor("3")).await.unwrap().records[0].seq,
        1303
    );
}

#[cfg(feature = "archive")]
#[tokio::test]
async fn what_cannot_be_read_in_the_first_layout_is_found_after_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = layout_1(&folder);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "DROP TRIGGER audit_segment_5_no_UPDATE; UPDATE audit_segment_5 SET actor = 1.5 WHERE seq = 1100",
    )
    .unwrap();
    let store = sqlite(&folder).await;
    let broken = verify_store(&*store, Default::default()).await.unwrap_err();
    assert!(
        matches!(broken, VerifyError::Broken(broken) if broken.seq == 1100),
        "{broken}"
    );
    // With what was there, for who looks into it.
    let kept = "SELECT actor FROM audit_unreadable_5 WHERE seq = 1100";
    assert_eq!(
        db.query_row(kept, [], |row| row.get::<_, f64>(0)).unwrap(),
        1.5
    );
}

#[tokio::test]
async fn what_tells_why_others_are_gone_stays_where_there_were_no_words_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention::new().keep_all(Duration::ZERO);
    let log = AuditLog::open(sqlite(&folder).await).await.unwrap();
    log.record_all((0..257).map(event).collect()).await.unwrap();
    drop(log);
    // A segment that ends with what tells that the one before it was pruned.
    let store = SqliteAuditStore::builder(folder.path().join("audit.db")).segment(16_640);
    let store = Arc::new(store.open().await.unwrap());
    let person = |n: u64| Event::new(Kind::Session, "new").actor(Actor::new(format!("person {n}")));
    Connection::open(folder.path().join("audit.db"))
        .unwrap()
        .execute_batch("UPDATE audit_segments SET last = 16640 WHERE id = 2")
        .unwrap();
    let log = AuditLog::open(store).await.unwrap();
    for some in 0..16 {
        let events = (some * 1024..((some + 1) * 1024).min(16_382)).map(person);
        log.record_all(events.collect()).await.unwrap();
    }
    assert_eq!(log.prune(&retention).await.unwrap(), 256);
    assert_eq!(log.head().seq, 16_640);
    let mut filter = Filter::default();
    filter.actor = Some("person 7".to_owned());
    log.erase(&filter, &Retention::new(), "request")
        .await
        .unwrap();
    log.prune(&retention).await.unwrap();
    let told = log
        .query(&Query::new().action("audit.prune"))
        .await
        .unwrap();
    assert_eq!(told.records.last().unwrap().seq, 16_640);
    log.verify().await.unwrap();
}
