//! The server's database: opened, migrated, and asked whether it still works.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::error::StartError;

/// The schema, a step after the other.
const SCHEMA: [(&str, &str); 3] = [
    (
        "server",
        include_str!("../../../migrations/sqlite/0001_server.sql"),
    ),
    (
        "expiring tokens",
        include_str!("../../../migrations/sqlite/0002_expiring_tokens.sql"),
    ),
    (
        "memberships",
        include_str!("../../../migrations/sqlite/0003_memberships.sql"),
    ),
];

/// The pool over `forge.db`, and the file it is in.
#[derive(Clone, Debug)]
pub struct Database {
    pool: SqlitePool,
    file: OpenFile,
}

impl Database {
    /// Opens the database in that folder, made if missing, and brings its schema up to date.
    ///
    /// # Errors
    /// The file cannot be opened or is of a newer schema.
    pub async fn open(folder: &Path) -> Result<Self, StartError> {
        let path = folder.join("forge.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(2));
        let open = async {
            let pool = SqlitePoolOptions::new()
                .max_connections(4)
                .acquire_timeout(Duration::from_secs(5))
                .connect_with(options)
                .await?;
            migrator().run(&pool).await?;
            let file = OpenFile::at(&path).await?;
            Ok::<_, forge_monitor::BoxError>(Self { pool, file })
        };
        match open.await {
            Ok(database) => Ok(database),
            Err(source) => Err(StartError::Database { path, source }),
        }
    }

    /// The pool, for the stores that share the file.
    #[must_use]
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Whether the database can be read and written, and is still the file it was opened as.
    ///
    /// # Errors
    /// Why not. For the log, not for a client.
    pub async fn check(&self) -> Result<(), forge_monitor::BoxError> {
        self.file.check().await?;
        let mut connection = self.pool.acquire().await?;
        // Takes the lock for writing, which a read-only or locked database refuses.
        let mut transaction =
            sqlx::Connection::begin_with(&mut *connection, "BEGIN IMMEDIATE").await?;
        sqlx::query("SELECT count(*) FROM sqlite_schema")
            .execute(&mut *transaction)
            .await?;
        transaction.rollback().await?;
        Ok(())
    }

    /// Waits for connections to be given back, then closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
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

fn migrator() -> Migrator {
    let migrations = SCHEMA.into_iter().zip(1..).map(|((name, text), version)| {
        let text = sqlx::SqlStr::from_static(text);
        Migration::new(version, name.into(), MigrationType::Simple, text, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // The crates' stores share the file, each with a table of its own for what it has applied.
    migrator.dangerous_set_table_name("server_migrations");
    migrator
}
