//! The server's database: opened, migrated, and asked whether it still works.

pub(crate) mod postgres;
pub(crate) mod sql;
pub(crate) mod sqlite;

use std::path::Path;

use forge_monitor::BoxError;
use secrecy::SecretString;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::error::StartError;
pub use sql::Pool;
pub(crate) use sqlite::OpenFile;

/// The file that the database lies in, in the data folder, where it is SQLite.
pub(crate) const FILE: &str = "forge.db";

/// The pool, and the file it is over where it is one.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
    file: Option<OpenFile>,
}

impl Database {
    /// Opens the database in that folder, made if missing, and brings its schema up to date.
    ///
    /// # Errors
    /// The file cannot be opened or is of a newer schema.
    pub async fn open(folder: &Path) -> Result<Self, StartError> {
        let path = folder.join(FILE);
        let open = async {
            let pool = sqlite::open(&path).await?;
            migrator(&sqlite::SCHEMA).run(&pool).await?;
            let file = OpenFile::at(&path).await?;
            Ok::<_, BoxError>(Self {
                pool: Pool::Sqlite(pool),
                file: Some(file),
            })
        };
        match open.await {
            Ok(database) => Ok(database),
            Err(source) => Err(StartError::Database { path, source }),
        }
    }

    /// Connects to the PostgreSQL database at `url`, with so many connections at most, and brings
    /// its schema up to date. Several nodes may do so at once.
    ///
    /// # Errors
    /// It cannot be reached, does not let the user in, or is of a newer schema.
    pub async fn connect(url: &SecretString, connections: u32) -> Result<Self, StartError> {
        let connect = async {
            let pool = postgres::open(url, connections).await?;
            migrator(&postgres::SCHEMA).run(&pool).await?;
            Ok::<_, BoxError>(Self {
                pool: Pool::Postgres(pool),
                file: None,
            })
        };
        connect.await.map_err(StartError::DatabaseUrl)
    }

    /// The pool, for the stores that share the database.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether the database can be read and written, and is still the file it was opened as.
    ///
    /// # Errors
    /// Why not. For the log, not for a client.
    pub async fn check(&self) -> Result<(), BoxError> {
        if let Some(file) = &self.file {
            file.check().await?;
        }
        match &self.pool {
            Pool::Sqlite(pool) => sqlite::check(pool).await,
            Pool::Postgres(pool) => postgres::check(pool).await,
        }
    }

    /// Waits for connections to be given back, then closes them.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

fn migrator(schema: &[(&'static str, &'static str)]) -> Migrator {
    let migrations = schema.iter().zip(1..).map(|(&(name, text), version)| {
        let text = sqlx::SqlStr::from_static(text);
        Migration::new(version, name.into(), MigrationType::Simple, text, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // The crates' stores share the database, each with a table of its own for what it has applied.
    migrator.dangerous_set_table_name("server_migrations");
    migrator
}
