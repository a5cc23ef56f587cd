//! The log on the disk, and after somebody else was at it.

use std::sync::Arc;

use forge_audit::{AuditLog, SqliteAuditStore, VerifyError};

use super::event;

async fn open(path: &std::path::Path) -> AuditLog {
    let store = SqliteAuditStore::open(path).await.unwrap();
    store.migrate().await.unwrap();
    AuditLog::open(Arc::new(store)).await.unwrap()
}

#[tokio::test]
async fn all_that_was_queued_is_on_disk_and_the_chain_goes_on_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    for run in 1..=3 {
        let log = open(&path).await;
        for n in 0..500 {
            log.enqueue(event(n)).unwrap();
        }
        log.shutdown().await.unwrap();
        drop(log);
        let log = open(&path).await;
        assert_eq!(log.head().seq, run * 500);
        assert_eq!(log.verify().await.unwrap(), log.head());
    }
}

/// A log whose last two of five records somebody takes away while it is open.
async fn cut_under_way(path: &std::path::Path) -> AuditLog {
    let log = open(path).await;
    for events in [0..3, 3..5] {
        log.record_all(events.map(event).collect()).await.unwrap();
    }
    let attacker = rusqlite::Connection::open(path).unwrap();
    attacker
        .execute_batch(
            "DROP TRIGGER audit_segment_1_no_DELETE; DELETE FROM audit_segment_1 WHERE first > 3",
        )
        .unwrap();
    log
}

/// What the log says to who records now.
async fn refusal(log: &AuditLog) -> String {
    let refused = log.record(event(9)).await.unwrap_err();
    std::error::Error::source(&refused).unwrap().to_string()
}

const ALTERED: &str = "audit store no longer holds what was written to it";

#[tokio::test]
async fn a_log_cut_under_way_is_found_and_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let log = cut_under_way(&path).await;
    assert_eq!(refusal(&log).await, ALTERED);
    assert!(!log.is_healthy());
    match log.verify().await {
        Err(VerifyError::Broken(broken)) => assert_eq!(broken.seq, 4),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_log_whose_end_was_replaced_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let log = cut_under_way(&path).await;
    // A chain that verifies by itself, and is longer.
    let other = open(&path).await;
    other.record_all((0..5).map(event).collect()).await.unwrap();
    other.verify().await.unwrap();

    assert_eq!(refusal(&log).await, ALTERED);
    match log.verify().await {
        Err(VerifyError::Broken(broken)) => assert_eq!(broken.seq, 5),
        other => panic!("{other:?}"),
    }
}
