//! Ways into the log: the outbox, floods, `tracing`.

use crate::support::*;

struct Db(Mutex<Connection>);

impl Outbox for Db {
    fn peek(&self, limit: usize) -> StoreFuture<'_, Vec<OutboxEntry>> {
        let db = self.0.lock().unwrap();
        let mut select = db
            .prepare("SELECT id, occurred, event FROM audit_outbox ORDER BY occurred LIMIT ?1")
            .unwrap();
        let entry = |row: &rusqlite::Row<'_>| {
            Ok(OutboxEntry::from_row(
                row.get(0)?,
                Timestamp::from_micros(row.get(1)?),
                row.get(2)?,
            ))
        };
        let found: Result<Vec<_>, _> = select.query_map([limit as i64], entry).unwrap().collect();
        Box::pin(std::future::ready(found.map_err(StoreError::unavailable)))
    }

    fn remove(&self, ids: Vec<[u8; 16]>) -> StoreFuture<'_, ()> {
        let db = self.0.lock().unwrap();
        for id in ids {
            db.execute("DELETE FROM audit_outbox WHERE id = ?1", [id])
                .unwrap();
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn an_event_in_the_outbox_shares_the_fate_of_its_change_and_is_recorded_once() {
    let mut db = Connection::open_in_memory().unwrap();
    db.execute_batch(OUTBOX_SQLITE).unwrap();
    db.execute_batch("CREATE TABLE users (id INTEGER)").unwrap();
    let store = Arc::new(MemoryAuditStore::new());
    let clock = ManualClock::new(Timestamp::from_micros(5));
    let log = AuditLog::builder(store)
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    for (id, commits) in [(1, true), (2, false), (3, true)] {
        let mut change = db.transaction().unwrap();
        change
            .execute("INSERT INTO users VALUES (?1)", [id])
            .unwrap();
        let told = Event::new(Kind::UserManagement, "user.add").resource(format!("user/{id}"));
        log.record_in(&mut change, &told).await.unwrap();
        if commits {
            change.commit().unwrap();
        }
    }
    clock.advance(Duration::from_secs(1));
    let outbox = Db(Mutex::new(db));
    // The process ends after the events were recorded, before they were removed.
    let waiting = outbox.peek(10).await.unwrap();
    assert_eq!(log.relay(&outbox).await.unwrap(), 2);
    for entry in waiting {
        let db = outbox.0.lock().unwrap();
        db.execute(
            "INSERT INTO audit_outbox VALUES (?1, ?2, ?3)",
            (entry.id, entry.occurred.as_micros(), entry.event),
        )
        .unwrap();
    }
    assert_eq!(log.relay(&outbox).await.unwrap(), 0);
    let found = log
        .query(&Query::new().action("user.add"))
        .await
        .unwrap()
        .records;
    let mut told: Vec<_> = found
        .iter()
        .map(|r| (r.event.target().unwrap(), r.occurred.as_micros()))
        .collect();
    told.sort();
    assert_eq!(told, [("user/1", 5), ("user/3", 5)]);
    assert_eq!(log.relay(&outbox).await.unwrap(), 0);
}

#[tokio::test]
async fn a_flood_becomes_one_event_with_its_number() {
    let store = Arc::new(MemoryAuditStore::new());
    let log = AuditLog::builder(store)
        .coalesce(3, Duration::from_secs(60))
        .open()
        .await
        .unwrap();
    for n in 0..100 {
        for actor in ["1", "2"] {
            log.enqueue(Event::new(Kind::RateLimit, "limit.hit").actor(Actor::new(actor)))
                .unwrap();
        }
        let severe = Event::new(Kind::SecurityViolation, "x").severity(Severity::High);
        log.enqueue(severe.details(&json!({ "n": n }))).unwrap();
    }
    log.shutdown().await.unwrap();
    let count = |query: Query| {
        let log = log.clone();
        async move { log.query(&query.limit(1000)).await.unwrap().records }
    };
    assert_eq!(
        count(Query::new().kind(Kind::SecurityViolation))
            .await
            .len(),
        100
    );
    for actor in ["1", "2"] {
        let found = count(Query::new().actor(actor)).await;
        assert_eq!(found.len(), 4);
        assert_eq!(found[0].event.details_value().unwrap()["coalesced"], 97);
    }
}

#[cfg(feature = "subscriber")]
#[tokio::test]
async fn marked_events_of_tracing_are_recorded_and_those_of_the_log_are_not() {
    use tracing_subscriber::layer::SubscriberExt;
    let log = AuditLog::open(Arc::new(MemoryAuditStore::new()))
        .await
        .unwrap();
    let subscriber =
        tracing_subscriber::registry().with(forge_audit::AuditTracing::new(log.clone()));
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::info!("unmarked");
    tracing::warn!(
        audit = "config.reload",
        kind = "configuration_change",
        outcome = "failure",
        actor = 7,
        file = "x",
        token = "secret"
    );
    // What the log itself says about this record does not come back.
    for _ in 0..3 {
        log.flush().await.unwrap();
    }
    let found = log.query(&Query::new()).await.unwrap().records;
    assert_eq!(found.len(), 1);
    let event = &found[0].event;
    assert_eq!(
        (event.kind(), event.action(), event.level()),
        (Kind::ConfigurationChange, "config.reload", Severity::Medium)
    );
    assert_eq!(event.who().id(), Some("7"));
    assert_eq!(
        event.details_value().unwrap(),
        json!({ "file": "x", "token": "[redacted]" })
    );
}
