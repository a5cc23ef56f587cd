//! The database in a file of this node's own.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forge_monitor::BoxError;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// The schema, a step after the other.
pub(super) const SCHEMA: [(&str, &str); 4] = [
    (
        "server",
        include_str!("../../../../migrations/sqlite/0001_server.sql"),
    ),
    (
        "expiring tokens",
        include_str!("../../../../migrations/sqlite/0002_expiring_tokens.sql"),
    ),
    (
        "memberships",
        include_str!("../../../../migrations/sqlite/0003_memberships.sql"),
    ),
    (
        "device logins",
        include_str!("../../../../migrations/sqlite/0004_device_logins.sql"),
    ),
];

/// Opens the file, made if missing.
pub(crate) async fn open(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(2));
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options.clone())
        .await?;
    // Made at the start and never again: a file that is moved away for a moment would be written
    // beside its new, empty namesake.
    pool.set_connect_options(options.create_if_missing(false));
    Ok(pool)
}

/// Whether it can be read and written.
pub(super) async fn check(pool: &SqlitePool) -> Result<(), BoxError> {
    let mut connection = pool.acquire().await?;
    // Takes the lock for writing, which a read-only or locked database refuses.
    let mut transaction = sqlx::Connection::begin_with(&mut *connection, "BEGIN IMMEDIATE").await?;
    sqlx::query("SELECT count(*) FROM sqlite_schema")
        .execute(&mut *transaction)
        .await?;
    transaction.rollback().await?;
    Ok(())
}

/// A database file that is open, known by its device and inode.
///
/// One that is deleted or replaced under the server can still be written to, and is lost.
#[derive(Clone, Debug)]
pub(crate) struct OpenFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl OpenFile {
    /// The file that is there now.
    ///
    /// # Errors
    /// There is none, or it cannot be looked at.
    pub(crate) async fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path).await?,
        })
    }

    /// Whether it is still there.
    ///
    /// # Errors
    /// It was deleted or replaced.
    pub(crate) async fn check(&self) -> io::Result<()> {
        if identity(&self.path).await? == self.identity {
            Ok(())
        } else {
            Err(io::Error::other("the database file was replaced"))
        }
    }
}

async fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = tokio::fs::metadata(path).await?;
    Ok((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_moved_away_is_not_made_anew() {
        let folder = tempfile::TempDir::new().unwrap();
        let (path, away) = (folder.path().join("forge.db"), folder.path().join("away"));
        let pool = open(&path).await.unwrap();
        let first = pool.acquire().await.unwrap();
        std::fs::rename(&path, &away).unwrap();
        // The first is in use: this would be another one.
        assert!(pool.acquire().await.is_err());
        assert!(!path.exists());
        std::fs::rename(&away, &path).unwrap();
        assert!(pool.acquire().await.is_ok());
        drop(first);
    }
}
