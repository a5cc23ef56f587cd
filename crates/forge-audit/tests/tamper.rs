//! Whoever owns the database file and changes it is found, with the place.
#![cfg(feature = "sqlite")]

use std::path::PathBuf;

use forge_audit::{
    Actor, AuditStore, Chain, Event, Fault, Head, Kind, Query, Source, SqliteAuditStore, Timestamp,
    VerifyError, verify_store,
};
use rusqlite::Connection;
use serde_json::json;

const TRIGGERS: &str = "DROP TRIGGER audit_records_no_update; DROP TRIGGER audit_records_no_delete;
                        DROP TRIGGER audit_records_only_at_the_end;";

struct Log {
    store: SqliteAuditStore,
    head: Head,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Log {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let store = SqliteAuditStore::open(&path).await.unwrap();
        store.migrate().await.unwrap();
        let mut chain = Chain::new();
        let records: Vec<_> = (1..=9)
            .map(|n| {
                let event = Event::new(Kind::AdminAction, "user.delete")
                    .actor(Actor::new("7").login("octo").session("s"))
                    .source(
                        Source::new()
                            .address("192.0.2.7".parse().unwrap())
                            .user_agent("curl"),
                    )
                    .resource("user/8")
                    .request_id("r-1")
                    .details(&json!({ "n": n }));
                chain.append(event, Timestamp::from_micros(n))
            })
            .collect();
        store.append(records.into()).await.unwrap();
        Self {
            store,
            head: chain.head(),
            path,
            _folder: folder,
        }
    }

    fn attack(&self, sql: &str) -> rusqlite::Result<()> {
        Connection::open(&self.path).unwrap().execute_batch(sql)
    }

    /// The first place that does not verify, with or without the end known from elsewhere.
    async fn broken(&self, expected: Head) -> Option<(u64, Fault)> {
        match verify_store(&self.store, expected).await {
            Ok(_) => None,
            Err(VerifyError::Broken(broken)) => Some((broken.seq, broken.fault)),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn the_database_refuses_changes_by_mistake() {
    let log = Log::new().await;
    for sql in [
        "UPDATE audit_records SET actor = '8' WHERE seq = 4",
        "DELETE FROM audit_records",
        "DELETE FROM audit_records WHERE seq = 9",
        "INSERT OR REPLACE INTO audit_records SELECT * FROM audit_records WHERE seq = 4",
        "INSERT INTO audit_records SELECT 11, time, occurred, prev, hash, event, kind, action,
           outcome, severity, actor, address, resource, request_id FROM audit_records WHERE seq = 9",
    ] {
        let error = log.attack(sql).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{sql}: {error}");
    }
    assert_eq!(log.broken(log.head).await, None);
}

#[tokio::test]
async fn every_column_of_a_record_is_proved() {
    for change in [
        "time = time + 1",
        "occurred = occurred - 1",
        "prev = zeroblob(32)",
        "hash = zeroblob(32)",
        "event = CAST(event || x'00' AS BLOB)",
        "event = x''",
        "kind = 'system'",
        "action = 'user.create'",
        "outcome = 'denied'",
        "severity = 4",
        "actor = '8'",
        "actor = NULL",
        "address = '192.0.2.8'",
        "resource = NULL",
        "request_id = 'r-2'",
        "actor = CAST(x'ff' AS TEXT)",
    ] {
        let log = Log::new().await;
        log.attack(TRIGGERS).unwrap();
        assert_eq!(log.broken(Head::default()).await, None);
        log.attack(&format!("UPDATE audit_records SET {change} WHERE seq = 4"))
            .unwrap();
        assert_eq!(
            log.broken(Head::default()).await.map(|(seq, _)| seq),
            Some(4),
            "{change}"
        );
        let shown = Query::new().run(&log.store).await.unwrap().records;
        assert_eq!(shown.len(), 9);
        let damaged = shown.iter().filter(|r| r.event.action() == "audit.damaged");
        assert_eq!(damaged.map(|r| r.seq).collect::<Vec<_>>(), [4], "{change}");
    }
}

#[tokio::test]
async fn a_column_of_another_type_is_found_and_breaks_no_query() {
    for change in [
        "prev = 'x'",
        "hash = NULL",
        "event = 1",
        "time = 'x'",
        "occurred = x'00'",
    ] {
        let log = Log::new().await;
        log.attack(
            "ALTER TABLE audit_records RENAME TO strict;
             CREATE TABLE audit_records AS SELECT * FROM strict;
             DROP TABLE strict;",
        )
        .unwrap();
        assert_eq!(log.broken(log.head).await, None);
        log.attack(&format!("UPDATE audit_records SET {change} WHERE seq = 4"))
            .unwrap();
        assert_eq!(
            log.broken(Head::default()).await,
            Some((4, Fault::Content)),
            "{change}"
        );
        let shown = Query::new().run(&log.store).await.unwrap().records;
        assert_eq!(shown[5].event.action(), "audit.damaged", "{change}");
    }
}

#[tokio::test]
async fn every_flipped_byte_of_the_canonical_event_is_found() {
    let log = Log::new().await;
    log.attack(TRIGGERS).unwrap();
    let db = Connection::open(&log.path).unwrap();
    let event: Vec<u8> = db
        .query_row("SELECT event FROM audit_records WHERE seq = 6", [], |r| {
            r.get(0)
        })
        .unwrap();
    for i in 0..event.len() {
        let mut flipped = event.clone();
        flipped[i] ^= 1;
        db.execute(
            "UPDATE audit_records SET event = ?1 WHERE seq = 6",
            [&flipped],
        )
        .unwrap();
        assert_eq!(
            log.broken(Head::default()).await,
            Some((6, Fault::Content)),
            "byte {i}"
        );
    }
    db.execute(
        "UPDATE audit_records SET event = ?1 WHERE seq = 6",
        [&event],
    )
    .unwrap();
    assert_eq!(log.broken(log.head).await, None);
}

#[tokio::test]
async fn a_record_deleted_swapped_or_added_is_found_where_it_was() {
    for (attack, place) in [
        ("DELETE FROM audit_records WHERE seq = 1", 1),
        ("DELETE FROM audit_records WHERE seq = 5", 5),
        (
            "DELETE FROM audit_records WHERE seq = 5;
             UPDATE audit_records SET seq = seq - 1 WHERE seq = 6;
             UPDATE audit_records SET seq = seq - 1 WHERE seq = 7;
             UPDATE audit_records SET seq = seq - 1 WHERE seq = 8;
             UPDATE audit_records SET seq = seq - 1 WHERE seq = 9",
            5,
        ),
        (
            "UPDATE audit_records SET seq = 100 WHERE seq = 3;
             UPDATE audit_records SET seq = 3 WHERE seq = 4;
             UPDATE audit_records SET seq = 4 WHERE seq = 100",
            3,
        ),
        (
            "INSERT INTO audit_records SELECT 10, time, occurred, hash, hash, event, kind, action,
             outcome, severity, actor, address, resource, request_id FROM audit_records WHERE seq = 9",
            10,
        ),
    ] {
        let log = Log::new().await;
        log.attack(TRIGGERS).unwrap();
        log.attack(attack).unwrap();
        let broken = log.broken(Head::default()).await;
        assert_eq!(broken.map(|(seq, _)| seq), Some(place), "{attack}");
    }
}

#[tokio::test]
async fn an_end_cut_off_is_found_with_the_end_known_from_elsewhere() {
    let log = Log::new().await;
    log.attack(TRIGGERS).unwrap();
    log.attack("DELETE FROM audit_records WHERE seq > 7")
        .unwrap();
    // The chain alone cannot tell.
    assert_eq!(log.broken(Head::default()).await, None);
    assert_eq!(log.broken(log.head).await, Some((8, Fault::Missing)));
}

#[tokio::test]
async fn a_log_computed_anew_is_found_with_the_end_known_from_elsewhere() {
    let log = Log::new().await;
    let forged = Log::new().await;
    forged.attack(TRIGGERS).unwrap();
    forged.attack("DELETE FROM audit_records").unwrap();
    let mut chain = Chain::new();
    let records: Vec<_> = (1..=9)
        .map(|n| chain.append(Event::new(Kind::System, "x"), Timestamp::from_micros(n)))
        .collect();
    forged.store.append(records.into()).await.unwrap();
    assert_eq!(forged.broken(Head::default()).await, None);
    assert_eq!(forged.broken(log.head).await, Some((9, Fault::Replaced)));
}
