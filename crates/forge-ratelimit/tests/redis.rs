//! The shared store: over processes, and while its server is stopped, killed and started again.
#![cfg(feature = "redis")]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use forge_ratelimit::{
    Adjustment, Charge, Key, PolicyId, Quota, RedisStore, RedisStoreBuilder, RedisStoreError,
    Store, StoreError, StoreFailure, Verdict,
};
use test_support::{Redis, require};

const POLICY: PolicyId = PolicyId::of("web");
const SECRET: &[u8] = b"a secret of the tests";
/// For tests that are not about the deadline, on machines that do much else.
const PATIENCE: Duration = Duration::from_secs(10);

fn builder(url: &str) -> RedisStoreBuilder {
    RedisStore::builder(url, SECRET)
}

fn charge(key: Key, burst: u32) -> Charge {
    Charge::new(POLICY, key, Quota::per_hour(burst, burst).unwrap())
}

async fn one(store: &RedisStore, charge: &Charge) -> Result<Verdict, StoreError> {
    let verdicts = store.charge(std::slice::from_ref(charge)).await?;
    Ok(verdicts[0])
}

/// Waits until the store answers out of the server.
async fn connected(store: &RedisStore) {
    store.connect();
    let probe = charge(Key::user("probe"), 1);
    let began = Instant::now();
    while store.adjust(&probe, Adjustment::Peek).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "no connection");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const URL: &str = "FORGE_RATELIMIT_TEST_URL";

/// Run by the test below as a process of its own: tries a thousand times and says how often it
/// was admitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_another_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = builder(&url).deadline(PATIENCE).build().unwrap();
    connected(&store).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let store = store.clone();
        let charge = charge(Key::user("shared"), 100);
        tasks.spawn(async move { one(&store, &charge).await.unwrap().allowed });
    }
    let admitted = tasks
        .join_all()
        .await
        .into_iter()
        .filter(|admitted| *admitted);
    println!("admitted {}", admitted.count());
}

#[test]
fn two_processes_together_admit_exactly_the_burst() {
    let Some(server) = require(Redis::start()) else {
        return;
    };
    let process = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "as_another_process", "--nocapture"])
            .env(URL, server.url())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let admitted = [process(), process()].map(|process| {
        let output = process.wait_with_output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let (_, count) = output.split_once("admitted ").expect("a count");
        let count = count.split_whitespace().next().unwrap();
        count.parse::<u32>().unwrap()
    });
    assert_eq!(admitted.iter().sum::<u32>(), 100, "{admitted:?}");
}

#[tokio::test]
async fn keys_are_hashed_tagged_and_expire() {
    let Some(server) = require(Redis::start()) else {
        return;
    };
    let store = builder(&server.url()).deadline(PATIENCE).build().unwrap();
    connected(&store).await;
    let minute = Quota::per_minute(1, 1).unwrap();
    let of_user = Charge::new(POLICY, Key::user("octo-user"), minute);
    one(&store, &of_user).await.unwrap();

    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut connection)
        .await
        .unwrap();
    let [key] = &*keys else { panic!("{keys:?}") };
    assert!(key.starts_with("{forge-ratelimit}:"), "{key}");
    assert!(!key.contains("octo"), "{key}");
    let ttl: i64 = redis::cmd("PTTL")
        .arg(key)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!((50_000..=60_000).contains(&ttl), "{ttl}");

    // Another secret, another bucket; the same one, the same.
    let other = RedisStore::builder(server.url(), b"a secret of another kind");
    let other = other.deadline(PATIENCE).build().unwrap();
    connected(&other).await;
    assert!(one(&other, &of_user).await.unwrap().allowed);
    let same = builder(&server.url()).deadline(PATIENCE).build().unwrap();
    connected(&same).await;
    assert!(!one(&same, &of_user).await.unwrap().allowed);
}

#[tokio::test]
async fn goes_on_when_the_server_has_forgotten_the_scripts() {
    let Some(server) = require(Redis::start()) else {
        return;
    };
    let store = builder(&server.url()).deadline(PATIENCE).build().unwrap();
    connected(&store).await;
    let charge = charge(Key::user("1"), 10);
    assert_eq!(one(&store, &charge).await.unwrap().remaining, 9);
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let flush = redis::cmd("SCRIPT").arg("FLUSH").to_owned();
    flush.exec_async(&mut connection).await.unwrap();
    assert_eq!(one(&store, &charge).await.unwrap().remaining, 8);
    flush.exec_async(&mut connection).await.unwrap();
    assert_eq!(
        store
            .adjust(&charge, Adjustment::Peek)
            .await
            .unwrap()
            .remaining,
        8
    );
}

#[tokio::test]
async fn a_refusal_is_repeated_without_the_server_and_a_reset_is_seen_at_once() {
    let Some(mut server) = require(Redis::start()) else {
        return;
    };
    let store = builder(&server.url()).deadline(PATIENCE).build().unwrap();
    connected(&store).await;
    let charge = charge(Key::user("1"), 1);
    assert!(one(&store, &charge).await.unwrap().allowed);
    let refused = one(&store, &charge).await.unwrap();
    assert!(!refused.allowed);
    server.pause();
    let again = one(&store, &charge).await.unwrap();
    server.resume();
    assert!(!again.allowed && again.wait <= refused.wait);
    store.adjust(&charge, Adjustment::Reset).await.unwrap();
    assert!(one(&store, &charge).await.unwrap().allowed);
}

#[tokio::test]
async fn each_policy_says_what_holds_while_the_server_is_gone() {
    // Nobody listens on the port of a server that was stopped.
    let Some(mut server) = require(Redis::start()) else {
        return;
    };
    let url = server.url();
    server.stop();
    let store = builder(&url).nodes(4.try_into().unwrap()).build().unwrap();
    let of = |user: &str, on_failure| charge(Key::user(user), 40).on_failure(on_failure);
    assert!(one(&store, &of("1", StoreFailure::Refuse)).await.is_err());
    // Told as no verdict, for the limiter to admit.
    assert!(one(&store, &of("2", StoreFailure::Admit)).await.is_err());
    let share = of("3", StoreFailure::LocalShare);
    let mut admitted = 0;
    while one(&store, &share).await.unwrap().allowed {
        admitted += 1;
    }
    assert_eq!(admitted, 10, "a quarter of forty");
    // A policy that refuses decides for all.
    let both = [share.clone(), of("4", StoreFailure::Refuse)];
    assert!(store.charge(&both).await.is_err());
    let both = [
        of("5", StoreFailure::LocalShare),
        of("6", StoreFailure::Admit),
    ];
    assert!(
        store
            .charge(&both)
            .await
            .unwrap()
            .iter()
            .all(|of| of.allowed)
    );

    let nodeless = builder(&url).build().unwrap();
    assert!(
        one(&nodeless, &share).await.is_err(),
        "a share of how many?"
    );
}

/// What callers see while the server is paused, resumed, killed and started again: nobody refused
/// who is within the local share, and no charge that comes late. How long decisions take then,
/// `benches/outage.rs` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decides_rightly_whatever_becomes_of_the_server() {
    let Some(mut server) = require(Redis::start()) else {
        return;
    };
    let store = builder(&server.url())
        .nodes(2.try_into().unwrap())
        .build()
        .unwrap();
    connected(&store).await;

    let stop = Arc::new(AtomicBool::new(false));
    let limited = Arc::new(AtomicU32::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..32u32 {
        let (store, stop, limited) = (store.clone(), Arc::clone(&stop), Arc::clone(&limited));
        callers.spawn(async move {
            // Every caller has a quota it never uses up, and all share one that is soon used up.
            let own = charge(Key::user(n.to_be_bytes()), 3_000_000);
            let own = own.on_failure(StoreFailure::LocalShare);
            let shared = charge(Key::user("shared"), 100).on_failure(StoreFailure::LocalShare);
            while !stop.load(Ordering::Relaxed) {
                let verdict = one(&store, &own).await.expect("a local share");
                assert!(verdict.allowed, "a wrong refusal: {verdict:?}");
                let shared = one(&store, &shared).await.expect("a local share");
                limited.fetch_add(u32::from(shared.allowed), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }
    let phase = |millis| tokio::time::sleep(Duration::from_millis(millis));
    phase(200).await;
    let served = limited.load(Ordering::Relaxed);
    assert!(
        served >= 100,
        "{served}: the whole quota, out of the server"
    );
    server.pause();
    phase(300).await;
    server.resume();
    connected(&store).await;
    // A stopped server kept its debts and charged nothing of what waited in it: the callers'
    // own debts are not checked against an exact figure, but none was ever refused.
    phase(100).await;
    server.kill();
    phase(300).await;
    // A late answer now and then may have used some of the local share before.
    let gone = limited.load(Ordering::Relaxed);
    assert!(
        gone <= 100 + 50,
        "{gone}: the quota, and one local share of it"
    );
    server.restart();
    connected(&store).await;
    phase(100).await;
    stop.store(true, Ordering::Relaxed);
    callers.join_all().await;
    // The server came back empty: the quota is there once more, and not twice.
    let after = limited.load(Ordering::Relaxed);
    assert!(after <= 100 + 50 + 100, "{after} after the restart");
}

#[tokio::test]
async fn what_waited_in_a_stopped_server_is_not_charged_late() {
    let Some(mut server) = require(Redis::start()) else {
        return;
    };
    let store = builder(&server.url()).build().unwrap();
    connected(&store).await;
    let charge = charge(Key::user("1"), 10);
    while one(&store, &charge).await.is_err() {}
    let left = async || loop {
        if let Ok(peek) = store.adjust(&charge, Adjustment::Peek).await {
            return peek.remaining;
        }
    };
    let before = left().await;
    server.pause();
    for _ in 0..2 {
        assert!(one(&store, &charge).await.is_err());
    }
    // Longer than anybody waits for the two.
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.resume();
    connected(&store).await;
    assert_eq!(left().await, before);
}

#[test]
fn refuses_what_cannot_work() {
    let url = "redis://127.0.0.1";
    let error = |builder: RedisStoreBuilder| builder.build().unwrap_err();
    assert!(matches!(error(builder("no url")), RedisStoreError::Url(_)));
    assert!(matches!(
        error(RedisStore::builder(url, b"short")),
        RedisStoreError::Secret
    ));
    for namespace in ["", "a b", "a}b", &"x".repeat(65)] {
        let builder = builder(url).namespace(namespace);
        assert!(
            matches!(error(builder), RedisStoreError::Namespace),
            "{namespace:?}"
        );
    }
}
