//! What the tests of rewrapping need of a database, over SQLite and PostgreSQL alike.

use std::sync::Mutex;

use forge_crypto::{
    KeyEntry, KeyId, KeyState, Keyring, PostgresSealedStore, Remaining, Replacement, RootKey,
    RowId, SealedColumn, SealedStore, SqliteSealedStore, StoreFuture, StoredValue,
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};

/// A test for each database, of the function of that name.
macro_rules! each_database {
    ($name:ident) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                let folder = tempfile::tempdir().unwrap();
                super::$name(crate::Database::sqlite(folder.path()).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                if let Some(database) = crate::Database::postgres().await {
                    super::$name(database).await;
                }
            }
        }
    };
}
pub(crate) use each_database;

#[derive(Clone)]
pub(crate) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    pub(crate) async fn sqlite(folder: &std::path::Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("test.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(std::time::Duration::from_secs(60));
        let pool = SqlitePoolOptions::new().max_connections(12);
        Self::Sqlite(pool.connect_with(options).await.unwrap())
    }

    pub(crate) async fn postgres() -> Option<Self> {
        // Starting it blocks.
        let started = tokio::task::spawn_blocking(|| {
            test_support::require(test_support::Postgres::shared())
                .map(test_support::Postgres::create_database)
        });
        let url = started.await.unwrap()?;
        let pool = PgPoolOptions::new().max_connections(12);
        Some(Self::Postgres(pool.connect(&url).await.unwrap()))
    }

    pub(crate) fn store(&self) -> Box<dyn SealedStore> {
        match self {
            Self::Sqlite(pool) => Box::new(SqliteSealedStore::new(pool.clone())),
            Self::Postgres(pool) => Box::new(PostgresSealedStore::new(pool.clone())),
        }
    }

    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(pool) => sqlx::query(sql)
                .execute(pool)
                .await
                .unwrap()
                .rows_affected(),
            Self::Postgres(pool) => sqlx::query(sql)
                .execute(pool)
                .await
                .unwrap()
                .rows_affected(),
        }
    }

    /// The rows of a query with three columns of text.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<(String, String, Option<String>)> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
            Self::Postgres(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
        }
    }

    /// The type of binary columns, and how such a value is written.
    pub(crate) fn blob_types(&self) -> (&'static str, fn(&[u8]) -> String) {
        fn hex(bytes: &[u8]) -> String {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        match self {
            Self::Sqlite(_) => ("BLOB", |bytes| format!("x'{}'", hex(bytes))),
            Self::Postgres(_) => ("BYTEA", |bytes| format!("'\\x{}'", hex(bytes))),
        }
    }

    pub(crate) fn uuid_type(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "TEXT",
            Self::Postgres(_) => "UUID",
        }
    }
}

/// Keys as texts, since a key cannot be cloned.
pub(crate) struct Keys(Vec<SecretString>);

impl Keys {
    pub(crate) fn new(count: usize) -> Self {
        let key = |_| RootKey::generate().unwrap().to_text();
        Self((0..count).map(key).collect())
    }

    fn key(&self, key: usize) -> RootKey {
        RootKey::parse(self.0[key].expose_secret()).unwrap()
    }

    pub(crate) fn id(&self, key: usize) -> KeyId {
        self.key(key).id()
    }

    /// A keyring of the first keys, in these states.
    pub(crate) fn ring(&self, states: &[KeyState]) -> Keyring {
        let entry = |(key, &state)| KeyEntry::new(state, self.key(key));
        Keyring::new(states.iter().enumerate().map(entry)).unwrap()
    }

    pub(crate) fn only(&self, key: usize) -> Keyring {
        Keyring::new([KeyEntry::new(KeyState::Primary, self.key(key))]).unwrap()
    }
}

/// A store under whose hands a row is written once, between reading it and replacing it.
pub(crate) struct WriteBeforeReplace {
    store: Box<dyn SealedStore>,
    database: Database,
    write: Mutex<Option<String>>,
}

impl WriteBeforeReplace {
    pub(crate) fn new(store: Box<dyn SealedStore>, database: Database, write: String) -> Self {
        Self {
            store,
            database,
            write: Mutex::new(Some(write)),
        }
    }
}

impl SealedStore for WriteBeforeReplace {
    fn page<'a>(
        &'a self,
        column: SealedColumn,
        primary: KeyId,
        after: Option<&'a RowId>,
        limit: u16,
    ) -> StoreFuture<'a, Vec<StoredValue>> {
        self.store.page(column, primary, after, limit)
    }

    fn replace<'a>(
        &'a self,
        column: SealedColumn,
        values: &'a [Replacement],
    ) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            if column.name() == "secret" {
                let write = self.write.lock().unwrap().take();
                if let Some(write) = write {
                    assert_eq!(self.database.execute(&write).await, 1);
                }
            }
            self.store.replace(column, values).await
        })
    }

    fn count(&self, column: SealedColumn) -> StoreFuture<'_, Remaining> {
        self.store.count(column)
    }
}
