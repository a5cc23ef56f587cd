//! What every decision store must do, and that a monitor takes its decisions up again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use forge_monitor::{
    Action, Decision, DecisionStore, ManualClock, MemoryDecisionStore, Monitor, MonitorBuilder,
    Signal, SignalKind, StoreError, Target, Timestamp,
};
use uuid::Uuid;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + secs * 1_000_000)
}

fn decision(target: Target, since: i64, until: i64) -> Decision {
    Decision::block("failed_authentications", target, at(since), at(until))
}

fn network(text: &str) -> Target {
    Target::Network(text.parse().unwrap())
}

fn user(id: &str) -> Target {
    Target::User(id.into())
}

async fn conforms(store: &dyn DecisionStore) {
    reads_back_what_was_inserted(store).await;
    lists_what_ends_after_a_time(store).await;
    lifts_once(store).await;
    prunes_what_has_ended(store).await;
}

async fn reads_back_what_was_inserted(store: &dyn DecisionStore) {
    let inserted = [
        decision(network("192.0.2.1/32"), 0, 10).escalation(3),
        decision(network("2001:db8::/64"), 0, 9),
        decision(network("198.51.100.0/24"), 0, 8),
        decision(user("it's \"7\"; -- \n\u{1f512}"), 0, 7).escalation(u32::MAX),
    ];
    for decision in &inserted {
        store.insert(decision).await.unwrap();
    }
    let stored = store.active(at(0), 100).await.unwrap();
    assert_eq!(stored, inserted);
    assert_eq!(stored[0].action, Action::Block);

    let again = store.insert(&inserted[0]).await;
    assert!(matches!(again, Err(StoreError::Duplicate)), "{again:?}");
    let changed = inserted[0].clone().escalation(9);
    assert!(store.insert(&changed).await.is_err());
    assert_eq!(store.active(at(0), 1).await.unwrap()[0].escalation, 3);
    assert_eq!(store.prune(at(100)).await.unwrap(), 4);
}

async fn lists_what_ends_after_a_time(store: &dyn DecisionStore) {
    for n in 0..5 {
        let target = network(&format!("192.0.2.{n}/32"));
        store.insert(&decision(target, 0, 10 + n)).await.unwrap();
    }
    let targets = |list: Vec<Decision>| -> Vec<_> {
        let values = list.iter().map(|decision| decision.target.value());
        values.collect()
    };
    let ends_at_12 = store.active(at(12), 100).await.unwrap();
    assert_eq!(targets(ends_at_12), ["192.0.2.4", "192.0.2.3"]);
    let limited = store.active(at(0), 2).await.unwrap();
    assert_eq!(targets(limited), ["192.0.2.4", "192.0.2.3"]);
    assert!(store.active(at(14), 100).await.unwrap().is_empty());
    assert_eq!(store.prune(at(100)).await.unwrap(), 5);
}

async fn lifts_once(store: &dyn DecisionStore) {
    let (one, two) = (decision(user("1"), 0, 10), decision(user("2"), 0, 10));
    store.insert(&one).await.unwrap();
    store.insert(&two).await.unwrap();
    assert!(!store.lift(Uuid::nil(), at(1)).await.unwrap());
    let both = tokio::join!(store.lift(one.id, at(1)), store.lift(one.id, at(1)));
    let lifted = [both.0.unwrap(), both.1.unwrap()];
    assert_eq!(lifted.iter().filter(|lifted| **lifted).count(), 1);
    assert_eq!(
        store.active(at(0), 100).await.unwrap(),
        std::slice::from_ref(&two)
    );
    assert!(!store.lift(two.id, at(10)).await.unwrap(), "it has ended");
    assert_eq!(store.active(at(0), 100).await.unwrap(), [two]);
    assert_eq!(store.prune(at(100)).await.unwrap(), 2);
}

async fn prunes_what_has_ended(store: &dyn DecisionStore) {
    for until in [10, 11, 12] {
        store.insert(&decision(user("7"), 0, until)).await.unwrap();
    }
    assert_eq!(store.prune(at(11)).await.unwrap(), 1);
    assert_eq!(store.active(at(0), 100).await.unwrap().len(), 2);
    assert_eq!(store.prune(at(13)).await.unwrap(), 2);
}

/// `open` opens the same store again, as after a restart.
async fn survives_a_restart<S, F>(open: impl Fn() -> F)
where
    S: DecisionStore,
    F: Future<Output = S>,
{
    let clock = ManualClock::new(at(0));
    let client: IpAddr = "2001:db8::1".parse().unwrap();
    let monitor = |store: S| -> MonitorBuilder {
        Monitor::builder()
            .built_in_scenarios()
            .store(store)
            .clock(clock.clone())
    };
    let fail = async |monitor: &Monitor| {
        for _ in 0..6 {
            monitor.emit(Signal::new(SignalKind::AuthFailed).address(client));
        }
        monitor.flush().await;
        monitor.guard().address(client).unwrap()
    };

    let first = monitor(open().await).start().await.unwrap();
    assert_eq!(fail(&first).await.escalation, 0);
    clock.advance(Duration::from_secs(900));
    let second_block = fail(&first).await;
    assert_eq!(second_block.remaining(at(900)), Duration::from_secs(1800));
    first.shutdown().await;

    clock.advance(Duration::from_secs(600));
    let second = monitor(open().await).start().await.unwrap();
    let restored = second.guard().address(client).unwrap();
    assert_eq!(*restored, *second_block);
    assert_eq!(restored.remaining(at(1500)), Duration::from_secs(1200));
    assert_eq!(second.blocks(), [Arc::clone(&restored)]);
    clock.advance(Duration::from_secs(1200));
    assert!(second.guard().address(client).is_none());
    let third_block = fail(&second).await;
    assert_eq!(third_block.escalation, 2);
    second.lift(third_block.id).await.unwrap();
    second.shutdown().await;

    let third = monitor(open().await).start().await.unwrap();
    assert!(third.guard().address(client).is_none(), "it was lifted");
    third.shutdown().await;
}

#[tokio::test]
async fn memory_conforms() {
    conforms(&MemoryDecisionStore::new()).await;
}

#[tokio::test]
async fn memory_survives_a_restart_of_the_monitor() {
    let store = MemoryDecisionStore::new();
    survives_a_restart(|| async { store.clone() }).await;
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use forge_monitor::SqliteDecisionStore;
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

    async fn pool(folder: &tempfile::TempDir) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("forge.db"))
            .create_if_missing(true);
        SqlitePool::connect_with(options).await.unwrap()
    }

    async fn open(folder: &tempfile::TempDir) -> SqliteDecisionStore {
        let store = SqliteDecisionStore::new(pool(folder).await);
        store.migrate().await.unwrap();
        store
    }

    #[tokio::test]
    async fn sqlite_conforms() {
        let folder = tempfile::tempdir().unwrap();
        conforms(&open(&folder).await).await;
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
        let store = SqliteDecisionStore::new(pool.clone());
        store.migrate().await.unwrap();
        store.migrate().await.unwrap();
        let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM monitor_migrations")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(applied, 1);
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
}
