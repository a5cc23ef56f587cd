//! A store in a SQLite database file of its own.

mod read;
mod worker;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior, params_from_iter,
};

use self::read::{rows, select, sequence};
use self::worker::Worker;
use super::{AuditStore, StoreFuture};
use crate::chain::{Hash, Head};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::event::Event;
use crate::query::Selection;
use crate::record::{Record, Stored};

const MIGRATIONS: &[&str] = &[include_str!("../../migrations/sqlite/0001_audit.sql")];

const COLUMNS: &str = "seq, time, occurred, prev, hash, event, kind, action, outcome, severity, \
                       actor, address, resource, request_id";
const INSERT: &str = "INSERT INTO audit_records (seq, time, occurred, prev, hash, event, kind, \
                      action, outcome, severity, actor, address, resource, request_id) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
const TAIL: &str = "SELECT seq, hash, time FROM audit_records ORDER BY seq DESC LIMIT 1";

/// Keeps records in a SQLite database file, which should hold nothing else.
///
/// Write-ahead log, `synchronous=FULL`: what [`append`](AuditStore::append) has answered survives
/// a loss of power. Writing and reading each have a thread and a connection of their own; the one
/// that reads cannot write. Triggers refuse to change or delete a record; they stop mistakes, not
/// somebody who owns the file, whom the chain shows.
pub struct SqliteAuditStore {
    // Dropped in this order: the connection that closes last moves the write-ahead log into the
    // file, and only one that may write can.
    reader: Worker,
    writer: Worker,
}

impl SqliteAuditStore {
    /// Opens the database file at `path`, and creates it if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the file cannot be opened.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let file = path.clone();
        let writer = Worker::start("forge-audit-write", move || {
            let db = Connection::open(file)?;
            db.busy_timeout(Duration::from_secs(5))?;
            db.pragma_update(None, "journal_mode", "WAL")?;
            db.pragma_update(None, "synchronous", "FULL")?;
            db.pragma_update(None, "trusted_schema", false)?;
            Ok(db)
        })
        .await?;
        let reader = Worker::start("forge-audit-read", move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let db = Connection::open_with_flags(path, flags)?;
            db.busy_timeout(Duration::from_secs(5))?;
            db.pragma_update(None, "trusted_schema", false)?;
            Ok(db)
        })
        .await?;
        Ok(Self { reader, writer })
    }

    /// Brings the schema up to this version of the crate.
    ///
    /// # Errors
    ///
    /// [`StoreError::Schema`] if the database is of a newer version, or the database's error.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.writer.run(migrate).await
    }
}

impl fmt::Debug for SqliteAuditStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteAuditStore").finish_non_exhaustive()
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::unavailable(error)
    }
}

impl AuditStore for SqliteAuditStore {
    fn append(&self, records: Arc<[Record]>) -> StoreFuture<'_, ()> {
        self.writer.run(move |db| append(db, &records))
    }

    fn tail(&self) -> StoreFuture<'_, Head> {
        // On the connection that writes, so that it sees all that was written.
        self.writer.run(|db| Ok(tail(db)?))
    }

    fn query<'a>(&'a self, selection: &'a Selection) -> StoreFuture<'a, Vec<Stored>> {
        let (sql, values) = select(selection);
        self.reader.run(move |db| rows(db, &sql, values))
    }

    fn scan(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        let sql =
            format!("SELECT {COLUMNS} FROM audit_records WHERE seq > ?1 ORDER BY seq LIMIT ?2");
        let values = vec![integer(after), integer(limit)];
        self.reader.run(move |db| rows(db, &sql, values))
    }
}

fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    change.execute_batch(
        "CREATE TABLE IF NOT EXISTS audit_schema (version INTEGER NOT NULL) STRICT;
         INSERT INTO audit_schema SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM audit_schema);",
    )?;
    let found: i64 = change.query_row("SELECT version FROM audit_schema", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let Some(due) = usize::try_from(found)
        .ok()
        .and_then(|found| MIGRATIONS.get(found..))
    else {
        return Err(StoreError::Schema { found, known });
    };
    for migration in due {
        change.execute_batch(migration)?;
    }
    change.execute("UPDATE audit_schema SET version = ?1", [known])?;
    Ok(change.commit()?)
}

fn append(db: &mut Connection, records: &[Record]) -> Result<(), StoreError> {
    let Some(first) = records.first() else {
        return Ok(());
    };
    let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tail = tail(&change)?;
    if first.seq != tail.seq + 1 || first.prev != tail.hash {
        return Err(StoreError::Conflict);
    }
    {
        let mut insert = change.prepare_cached(INSERT)?;
        for record in records {
            let [
                kind,
                action,
                outcome,
                severity,
                actor,
                address,
                resource,
                request_id,
            ] = index_of(&record.event);
            insert.execute(params_from_iter([
                integer(record.seq),
                Value::Integer(record.time.as_micros()),
                Value::Integer(record.occurred.as_micros()),
                Value::Blob(record.prev.as_bytes().to_vec()),
                Value::Blob(record.hash.as_bytes().to_vec()),
                Value::Blob(record.canonical().to_vec()),
                kind,
                action,
                outcome,
                severity,
                actor,
                address,
                resource,
                request_id,
            ]))?;
        }
    }
    Ok(change.commit()?)
}

fn tail(db: &Connection) -> rusqlite::Result<Head> {
    let head = |row: &Row<'_>| {
        Ok(Head {
            seq: sequence(row, 0)?,
            hash: Hash(row.get(1)?),
            time: Timestamp::from_micros(row.get(2)?),
        })
    };
    Ok(db
        .prepare_cached(TAIL)?
        .query_row([], head)
        .optional()?
        .unwrap_or_default())
}

/// What the columns beside the canonical bytes hold for `event`, in the order of [`COLUMNS`].
fn index_of(event: &Event) -> [Value; 8] {
    let text = |part: Option<&str>| part.map_or(Value::Null, |text| Value::Text(text.to_owned()));
    [
        text(Some(event.kind.as_str())),
        text(Some(&event.action)),
        text(Some(event.outcome.as_str())),
        Value::Integer(event.severity.code().into()),
        text(event.actor.id.as_deref()),
        text(
            event
                .source
                .address
                .map(|address| address.to_string())
                .as_deref(),
        ),
        text(event.resource.as_deref()),
        text(event.request_id.as_deref()),
    ]
}

fn integer(value: impl TryInto<i64>) -> Value {
    Value::Integer(value.try_into().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        migrate(&mut db).unwrap();
        db.execute("UPDATE audit_schema SET version = 99", [])
            .unwrap();
        assert!(matches!(
            migrate(&mut db),
            Err(StoreError::Schema {
                found: 99,
                known: 1
            })
        ));
    }

    #[tokio::test]
    async fn a_store_that_is_dropped_leaves_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteAuditStore::open(folder.path().join("audit.db"))
            .await
            .unwrap();
        store.migrate().await.unwrap();
        assert_eq!(store.tail().await.unwrap().seq, 0);
        drop(store);
        let names = std::fs::read_dir(folder.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["audit.db"]);
    }

    #[tokio::test]
    async fn commits_are_synced_and_the_reader_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteAuditStore::open(folder.path().join("audit.db"))
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let pragma = |name| {
            move |db: &mut Connection| {
                Ok(db.pragma_query_value(None, name, |row| row.get::<_, Value>(0))?)
            }
        };
        let mode = store.writer.run(pragma("journal_mode")).await.unwrap();
        assert_eq!(mode, Value::Text("wal".into()));
        // 2 is FULL.
        let synchronous = store.writer.run(pragma("synchronous")).await.unwrap();
        assert_eq!(synchronous, Value::Integer(2));
        let write =
            |db: &mut Connection| Ok(db.execute("UPDATE audit_schema SET version = 2", [])?);
        assert!(store.reader.run(write).await.is_err());
        assert_eq!(store.writer.run(write).await.unwrap(), 1);
    }
}
