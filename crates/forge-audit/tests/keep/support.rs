//! A log that signs, and what it records.

pub(crate) use std::io::BufReader;
pub(crate) use std::sync::{Arc, Mutex};
pub(crate) use std::time::Duration;

pub(crate) use forge_audit::{
    Actor, Archive, ArchiveError, AuditLog, AuditStore, CheckpointFile, CheckpointKey, Event,
    Export, Fault, Filter, Format, Kind, ManualClock, MemoryAuditStore, Next, OUTBOX_SQLITE, Order,
    Outbox, OutboxEntry, Query, Retention, Severity, SignedNote, SqliteAuditStore, StoreError,
    StoreFuture, Timestamp, Verifier, VerifyError, import_archive, split_notes, verify_archive,
    verify_signed, verify_store, write_archive,
};
pub(crate) use rusqlite::Connection;
pub(crate) use serde_json::json;

pub(crate) fn event(n: u64) -> Event {
    Event::new(Kind::Session, "session.rotate")
        .actor(Actor::new((n % 7).to_string()).login("octo"))
        .request_id(format!("0198c2f0-7a1b-7c3d-8e4f-{n:012x}"))
        .details(&json!({ "n": n, "f": 0.1, "text": "ü\u{202e}" }))
}

pub(crate) fn key() -> CheckpointKey {
    CheckpointKey::new("forge.example/audit", &[7; 32]).unwrap()
}

pub(crate) async fn sqlite(folder: &tempfile::TempDir) -> Arc<SqliteAuditStore> {
    let store = SqliteAuditStore::builder(folder.path().join("audit.db")).segment(256);
    let store = store.open().await.unwrap();
    store.migrate().await.unwrap();
    Arc::new(store)
}

pub(crate) async fn signed_log(
    store: Arc<dyn AuditStore>,
    events: u64,
) -> (AuditLog, Arc<Mutex<Vec<SignedNote>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let hear = move |note: &SignedNote| heard.lock().unwrap().push(note.clone());
    let log = AuditLog::builder(store)
        .checkpoints(key(), events, Duration::from_secs(3600), hear)
        .open()
        .await
        .unwrap();
    (log, told)
}
