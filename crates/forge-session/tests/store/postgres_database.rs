//! PostgreSQL: a database for each test, and what only it can show.

use crate::support::*;
use forge_session::{PostgresSessionStore, StoreError};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

pub(crate) async fn pool() -> Option<PgPool> {
    let postgres = test_support::require(test_support::Postgres::shared())?;
    let url = postgres.create_database();
    let pool = PgPoolOptions::new().max_connections(8);
    Some(pool.connect(&url).await.unwrap())
}

/// A store in a database of its own; nothing where PostgreSQL is not installed.
pub(crate) async fn store() -> Option<PostgresSessionStore> {
    let store = PostgresSessionStore::new(pool().await?);
    store.migrate().await.unwrap();
    Some(store)
}

#[tokio::test]
async fn migrates_twice_and_refuses_to_change_a_revoked_session() {
    let Some(pool) = pool().await else { return };
    let postgres = PostgresSessionStore::new(pool.clone());
    postgres.migrate().await.unwrap();
    postgres.migrate().await.unwrap();
    let store: Store = Arc::new(postgres);
    let one = session("a", T0);
    create(&store, &one, hash(1)).await;
    let selector = Selector::Session(one.id);
    store
        .revoke(&selector, RevokeCause::Admin, T0)
        .await
        .unwrap();
    let statement = "UPDATE sessions SET revoked_at = NULL, revoked_cause = NULL";
    let error = sqlx::query(statement).execute(&pool).await.unwrap_err();
    assert!(error.to_string().contains("a revoked session"), "{error}");
    pool.close().await;
    let error = store.find(one.id).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}
