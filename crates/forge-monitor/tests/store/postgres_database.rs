//! PostgreSQL: a database for each test, and what only it can show.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::*;
use forge_monitor::{BoxError, PostgresMonitorStore, Scenario, Scope, SignalClass};

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

async fn connect(url: &str) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(4);
    let pool = pool.acquire_timeout(Duration::from_secs(1));
    pool.connect(url).await.unwrap()
}

/// The URL of a new database; nothing where PostgreSQL is not installed.
fn database() -> Option<String> {
    let postgres = test_support::require(test_support::Postgres::shared())?;
    Some(postgres.create_database())
}

async fn open(url: &str) -> PostgresMonitorStore {
    let store = PostgresMonitorStore::new(connect(url).await);
    store.migrate().await.unwrap();
    store
}

#[tokio::test]
async fn postgres_conforms() {
    let Some(url) = database() else { return };
    conforms(&open(&url).await).await;
}

#[tokio::test]
async fn postgres_is_shared() {
    let Some(url) = database() else { return };
    shares_what_is_decided(open(&url).await).await;
}

#[tokio::test]
async fn postgres_survives_a_restart() {
    let Some(url) = database() else { return };
    survives_a_restart(|| open(&url)).await;
}

#[tokio::test]
async fn several_nodes_migrate_at_once() {
    let Some(url) = database() else { return };
    let (one, two) = (connect(&url).await, connect(&url).await);
    let (one, two) = (
        PostgresMonitorStore::new(one),
        PostgresMonitorStore::new(two),
    );
    let both = tokio::join!(one.migrate(), two.migrate());
    both.0.unwrap();
    both.1.unwrap();
    one.migrate().await.unwrap();
}

/// The monitor of a node that hears of what the others do.
async fn node(url: &str, told: &Arc<AtomicUsize>) -> (Monitor, tokio::task::JoinHandle<()>) {
    let store = open(url).await;
    let told = Arc::clone(told);
    let sink = move |_: Arc<Alert>| {
        told.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok::<(), BoxError>(()))
    };
    let monitor = Monitor::builder()
        .built_in_scenarios()
        .clock(ManualClock::new(at(0)))
        .store(store.clone())
        .alert_sink("ops", sink);
    let monitor = monitor.start().await.unwrap();
    let hears = monitor.clone();
    let follows = tokio::spawn(async move {
        store.follow(&hears).await;
    });
    (monitor, follows)
}

fn fail(monitor: &Monitor, client: IpAddr) {
    for _ in 0..6 {
        monitor.emit(Signal::new(SignalKind::AuthFailed).address(client));
    }
}

#[tokio::test]
async fn what_two_nodes_decide_at_once_is_lifted_at_one_for_both_and_one_delivers_each_alert() {
    let Some(url) = database() else { return };
    let told = Arc::default();
    let ((one, follows_one), (two, follows_two)) =
        (node(&url, &told).await, node(&url, &told).await);
    let client: IpAddr = [192, 0, 2, 1].into();
    fail(&one, client);
    fail(&two, client);
    tokio::join!(one.flush(), two.flush());
    let block = one.guard().address(client).unwrap();
    assert!(two.guard().address(client).is_some());
    let pool = connect(&url).await;
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM monitor_decisions")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(stored, 2);
    one.lift(block.id, "a test").await.unwrap();
    until(|| two.guard().address(client).is_none()).await;
    // Nor does it come back by what the other node had decided.
    for node in [&one, &two] {
        node.refresh();
        node.flush().await;
    }
    let held: i64 =
        sqlx::query_scalar("SELECT count(*) FROM monitor_decisions WHERE lifted_at IS NULL")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(held, 0);
    assert!(one.blocks().is_empty() && two.blocks().is_empty());

    // Each node tells of what it decided and of its end; nobody tells it twice.
    let rows = async |state: &str| -> i64 {
        let count = "SELECT count(*) FROM monitor_deliveries WHERE state = $1";
        let count = sqlx::query_scalar(count).bind(state).fetch_one(&pool);
        count.await.unwrap()
    };
    let all_told = async {
        while rows("waiting").await > 0 {
            tokio::join!(one.flush(), two.flush());
        }
    };
    let minute = Duration::from_secs(60);
    tokio::time::timeout(minute, all_told).await.unwrap();
    assert_eq!(rows("delivered").await, told.load(Ordering::SeqCst) as i64);
    for follows in [follows_one, follows_two] {
        follows.abort();
    }
}

#[tokio::test]
async fn a_database_that_goes_and_comes_back_learns_of_what_was_decided_meanwhile() {
    let Some(mut instance) = test_support::require(test_support::Postgres::start()) else {
        return;
    };
    let url = instance.create_database();
    let told = Arc::default();
    let ((one, follows_one), (two, follows_two)) =
        (node(&url, &told).await, node(&url, &told).await);
    instance.stop();
    let client: IpAddr = [192, 0, 2, 1].into();
    fail(&one, client);
    one.flush().await;
    assert!(one.guard().address(client).is_some());
    assert_eq!(one.stats().store_failures, 1);
    // Its alert did not wait for the database.
    until(|| told.load(Ordering::SeqCst) == 1).await;
    assert!(two.guard().address(client).is_none());
    instance.restart();
    until(|| two.guard().address(client).is_some()).await;
    for follows in [follows_one, follows_two] {
        follows.abort();
    }
}

#[tokio::test]
async fn what_it_does_not_take_is_told_from_a_database_that_is_away() {
    let Some(url) = database() else { return };
    let store = open(&url).await;
    // PostgreSQL has no such character in a text.
    let (bad, good) = (decision(user("a\0b"), 0, 10), decision(user("1"), 0, 10));
    for refused in [
        store.insert(&bad).await,
        store.record(&batch(&[&good, &bad], &[])).await,
        store
            .record(&batch(&[&good], &[&delivery("a\0b", 1)]))
            .await,
    ] {
        assert!(
            matches!(refused, Err(StoreError::Refused(_))),
            "{refused:?}"
        );
    }
    store.record(&batch(&[&good], &[])).await.unwrap();

    // Of many at once, the others are stored.
    sqlx::query("ALTER TABLE monitor_decisions ADD CHECK (target <> 'bad')")
        .execute(&connect(&url).await)
        .await
        .unwrap();
    let any_failure = Scenario::count("any_failure", SignalClass::AuthFailed)
        .scope(Scope::User)
        .threshold(0)
        .block_for(Duration::from_secs(60));
    let builder = Monitor::builder().scenario(any_failure.build().unwrap());
    let builder = builder.store(store.clone()).clock(ManualClock::new(at(1)));
    let monitor = builder.start().await.unwrap();
    for user in ["2", "bad", "3"] {
        monitor.emit(Signal::new(SignalKind::AuthFailed).user(user));
    }
    monitor.flush().await;
    assert_eq!(monitor.stats().store_failures, 1);
    let stored = store.active(at(1), 100).await.unwrap();
    let mut stored: Vec<_> = stored.iter().map(|of| of.target.value()).collect();
    stored.sort();
    assert_eq!(stored, ["1", "2", "3"]);
}

#[tokio::test]
async fn every_change_is_told_and_none_of_another_schema() {
    let Some(url) = database() else { return };
    let (store, pool) = (open(&url).await, connect(&url).await);
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let listening = store.clone();
    let listens = tokio::spawn(async move {
        let hear = || told.send(()).unwrap();
        listening.on_change(hear).await;
    });
    let mut heard = async || {
        let minute = Duration::from_secs(60);
        tokio::time::timeout(minute, hears.recv()).await.unwrap();
    };
    // That it listens from now on.
    heard().await;
    let one = decision(user("1"), 0, 10);
    store.insert(&one).await.unwrap();
    heard().await;
    store.lift(one.id, &lift(1)).await.unwrap();
    heard().await;
    let silence = Silence::new("x", at(0), at(10));
    store.silence(&silence).await.unwrap();
    heard().await;
    store.unsilence(silence.id, &lift(1)).await.unwrap();
    heard().await;
    // Whoever may connect can say something on the channel.
    for other in ["other", "", "public x"] {
        let notify = "SELECT pg_notify('forge_monitor_changed', $1)";
        sqlx::query(notify)
            .bind(other)
            .execute(&pool)
            .await
            .unwrap();
    }
    let both = batch(&[&decision(user("2"), 0, 10)], &[&delivery("mail", 1)]);
    store.record(&both).await.unwrap();
    heard().await;
    assert!(hears.is_empty(), "one for the batch, none for the others");
    listens.abort();
}
