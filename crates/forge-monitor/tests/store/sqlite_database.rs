//! SQLite: a file for each test, and what only it can show.

use crate::*;
use forge_monitor::{Patience, SqliteMonitorStore};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

async fn pool(folder: &tempfile::TempDir) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("forge.db"))
        .create_if_missing(true);
    SqlitePool::connect_with(options).await.unwrap()
}

async fn open(folder: &tempfile::TempDir) -> SqliteMonitorStore {
    let store = SqliteMonitorStore::new(pool(folder).await);
    store.migrate().await.unwrap();
    store
}

#[tokio::test]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(&open(&folder).await).await;
}

#[tokio::test]
async fn sqlite_is_shared() {
    let folder = tempfile::tempdir().unwrap();
    shares_what_is_decided(open(&folder).await).await;
}

#[tokio::test]
async fn sqlite_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    survives_a_restart(|| open(&folder)).await;
}

#[tokio::test]
async fn migrates_beside_the_migrations_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let pool = pool(&folder).await;
    sqlx::query("CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, other TEXT)")
        .execute(&pool)
        .await
        .unwrap();
    let store = SqliteMonitorStore::new(pool.clone());
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM monitor_migrations")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(applied, 5);
    let others: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(others, 0);
}

#[tokio::test]
async fn a_malformed_row_is_an_error_and_the_monitor_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    store.insert(&decision(user("7"), 0, 10)).await.unwrap();
    sqlx::query("UPDATE monitor_decisions SET kind = 'network'")
        .execute(&pool(&folder).await)
        .await
        .unwrap();
    let read = store.active(at(0), 10).await;
    assert!(
        matches!(read, Err(StoreError::Corrupt("target"))),
        "{read:?}"
    );
    let started = Monitor::builder()
        .store(store)
        .clock(ManualClock::new(at(0)))
        .start()
        .await;
    assert!(started.is_err());
}

#[tokio::test]
async fn a_malformed_alert_hides_no_other_that_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let (malformed, fine) = (delivery("mail", 0), delivery("mail", 1));
    let both = [malformed.clone(), fine.clone()];
    store.enqueue(&both).await.unwrap();
    sqlx::query("UPDATE monitor_deliveries SET alert = '{}' WHERE id = $1")
        .bind(malformed.id.to_string())
        .execute(&pool(&folder).await)
        .await
        .unwrap();
    let patience = Patience::new(Duration::from_secs(10), Duration::from_secs(10));
    let dead = store.give_up(at(20), patience, 9).await.unwrap();
    let ids = |of: &[DeadLetter]| of.iter().map(|of| of.delivery.id).collect::<Vec<_>>();
    assert_eq!(ids(&dead), [fine.id]);
    assert_eq!(ids(&store.dead(9).await.unwrap()), [fine.id]);
    assert_eq!(store.outbox().await.unwrap().dead, 2);
    // Nor does it keep others from being told that are to be tried again, nor is it asked for anew.
    for id in [malformed.id, fine.id] {
        let by = Lift::new(at(30), "somebody");
        assert!(store.requeue(id, &by).await.unwrap());
    }
    assert_eq!(store.untold_requeues(1).await.unwrap(), []);
    let [told] = &store.untold_requeues(1).await.unwrap()[..] else {
        panic!("the malformed one stands before it");
    };
    assert_eq!(told.delivery.id, fine.id);
    assert!(!store.requeue_told(malformed.id).await.unwrap());
}
