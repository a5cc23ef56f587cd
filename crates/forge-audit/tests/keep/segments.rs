//! Segments that end, and words that go.

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
