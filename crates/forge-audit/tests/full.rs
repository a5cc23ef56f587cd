//! The disk is full: nothing acknowledged is lost, who must record is refused, and it goes on
//! without a restart when there is room.
#![cfg(all(feature = "sqlite", target_os = "linux"))]

use std::error::Error;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use forge_audit::{
    AuditLog, AuditStore, Event, Kind, RecordError, Retention, Severity, SqliteAuditStore,
    StoreError, verify_store,
};
use serde_json::json;

/// A file system of a few megabytes, in memory.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
            .arg(folder.path())
            .stderr(std::process::Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn event(n: usize) -> Event {
    Event::new(Kind::DataAccess, "x")
        .severity(Severity::High)
        .details(&json!({ "n": n, "text": "x".repeat(2000) }))
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let Some(small) = Small::mount() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let store = SqliteAuditStore::builder(small.0.path().join("audit.db")).segment(256);
    let store = Arc::new(store.open().await.unwrap());
    store.migrate().await.unwrap();
    store.take_ballast(1 << 20).unwrap();
    assert_eq!(store.space().unwrap().ballast, 1 << 20);
    let ballast = std::fs::metadata(small.0.path().join("audit.db-ballast")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&ballast.permissions());
    assert_eq!(mode & 0o777, 0o600);
    let log = AuditLog::open(store.clone()).await.unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match log.record_all((0..32).map(event).collect()).await {
            Ok(receipts) => acknowledged = receipts.last().unwrap().seq,
            Err(error) => break error,
        }
        assert!(acknowledged < 100_000, "the disk does not fill");
    };
    // Who must record is told, and why.
    assert!(
        matches!(&error, RecordError::Store(source) if matches!(**source, StoreError::Full(_))),
        "{error:?} {:?}",
        error.source()
    );
    assert!(!log.is_healthy());
    // Who need not, goes on.
    log.enqueue(event(0).severity(Severity::Low)).unwrap();
    assert!(store.tail().await.unwrap().seq >= acknowledged);
    // With the ballast thrown off there is room to prune, and it goes on without a restart.
    store.drop_ballast().unwrap();
    assert!(
        log.prune(&Retention::new().keep_all(Duration::ZERO))
            .await
            .unwrap()
            > 0
    );
    log.record(event(1)).await.unwrap();
    assert!(log.is_healthy());
    let head = verify_store(&*store, log.head()).await.unwrap();
    assert!(head.seq > acknowledged);
    log.shutdown().await.unwrap();
}
