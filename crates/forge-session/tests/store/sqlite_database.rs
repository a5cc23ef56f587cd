//! SQLite: a file for each test, and what only it can show.

use crate::support::*;
use forge_session::{SqliteSessionStore, StoreError};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

pub(crate) struct Database {
    pub(crate) store: SqliteSessionStore,
    pool: SqlitePool,
    folder: tempfile::TempDir,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("forge.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(30));
        let pool = SqlitePoolOptions::new().max_connections(8);
        let pool = pool.connect_with(options).await.unwrap();
        let store = SqliteSessionStore::new(pool.clone());
        store.migrate().await.unwrap();
        Self {
            store,
            pool,
            folder,
        }
    }
}

#[tokio::test]
async fn migrates_twice_and_beside_other_migrations() {
    let database = Database::new().await;
    sqlx::query("CREATE TABLE _sqlx_migrations (version INTEGER)")
        .execute(&database.pool)
        .await
        .unwrap();
    database.store.migrate().await.unwrap();
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_a_revoked_session() {
    let database = Database::new().await;
    let store: Store = Arc::new(database.store.clone());
    let one = session("a", T0);
    create(&store, &one, hash(1)).await;
    let selector = Selector::Session(one.id);
    store
        .revoke(&selector, RevokeCause::Admin, T0)
        .await
        .unwrap();
    for statement in [
        "UPDATE sessions SET revoked_at = NULL, revoked_cause = NULL",
        "UPDATE sessions SET last_used_at = last_used_at + 1",
    ] {
        let error = sqlx::query(statement).execute(&database.pool).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("a revoked session"), "{error}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_not_a_session() {
    let database = Database::new().await;
    let store: Store = Arc::new(database.store.clone());
    create(&store, &session("a", T0), hash(1)).await;
    sqlx::query("UPDATE sessions SET kind = 'Not A Kind'")
        .execute(&database.pool)
        .await
        .unwrap();
    let error = store.find_by_secret(family(1), hash(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn a_closed_database_is_unavailable() {
    let database = Database::new().await;
    database.pool.close().await;
    let error = database
        .store
        .find_by_secret(family(1), hash(1))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn sessions_outlive_the_process() {
    let database = Database::new().await;
    let one = session("a", T0);
    let store: Store = Arc::new(database.store.clone());
    create(&store, &one, hash(1)).await;
    database.pool.close().await;
    let file = database.folder.path().join("forge.db");
    let options = SqliteConnectOptions::new().filename(file);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let store: Store = Arc::new(SqliteSessionStore::new(pool));
    assert_eq!(find(&store, &one).await, one);
}
