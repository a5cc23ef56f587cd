//! The database file: how it is opened, and the schema in it.

use std::cmp::Ordering;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::upgrade;
use super::write::transaction;
use crate::error::StoreError;

const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_audit.sql"),
    include_str!("../../../migrations/sqlite/0002_blocks.sql"),
];

/// Statements kept prepared; a segment takes a few.
const STATEMENTS: usize = 512;
pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    configure(Connection::open_with_flags(
        path,
        flags | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?)
}

/// A connection to a database that this process shall leave as it is.
pub(super) fn connect_read_only(path: &Path) -> Result<Connection, StoreError> {
    let is_quiet = fs::metadata(beside(path, "-wal")).map_or(0, |m| m.len()) == 0;
    if !is_quiet {
        return connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    }
    // Otherwise SQLite makes the files of a write-ahead log, where it can.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    configure(Connection::open_with_flags(immutable(path)?, flags)?)
}

fn configure(db: Connection) -> Result<Connection, StoreError> {
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cache_size", -16_384)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}

/// The name by which SQLite opens a file that nobody changes.
fn immutable(path: &Path) -> Result<String, StoreError> {
    let path = std::path::absolute(path).map_err(StoreError::unavailable)?;
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri.push_str("?immutable=1");
    Ok(uri)
}

/// The path of a file beside the database's.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(super) fn migrate(db: &Connection) -> Result<(), StoreError> {
    transaction(db, |db| {
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS audit_schema (version INTEGER NOT NULL) STRICT;
             INSERT INTO audit_schema SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM audit_schema);",
        )?;
        let found: i64 = db.query_row("SELECT version FROM audit_schema", [], |row| row.get(0))?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        let Some(due) = usize::try_from(found)
            .ok()
            .and_then(|found| MIGRATIONS.get(found..))
        else {
            return Err(StoreError::Schema { found, known });
        };
        if found > 0 && !has_table(db, "audit_segments")? {
            return Err(StoreError::Layout);
        }
        for migration in due {
            db.execute_batch(migration)?;
        }
        db.execute("UPDATE audit_schema SET version = ?1", [known])?;
        Ok(())
    })?;
    upgrade::pack_rows(db)
}

/// Whether there is a log that this version can read.
pub(super) fn check(db: &Connection) -> Result<(), StoreError> {
    if !has_table(db, "audit_schema")? || !has_table(db, "audit_segments")? {
        return Err(StoreError::Layout);
    }
    let found: i64 = db.query_row("SELECT version FROM audit_schema", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match found.cmp(&known) {
        Ordering::Greater => Err(StoreError::Schema { found, known }),
        Ordering::Equal if upgrade::rows(db)?.is_empty() => Ok(()),
        _ => Err(StoreError::Outdated),
    }
}

fn has_table(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(db.query_row(sql, [name], |row| row.get::<_, i64>(0))? > 0)
}
