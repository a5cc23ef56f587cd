//! How long decisions take while the shared store's server is frozen, killed and started again.
//!
//! `cargo bench -p forge-ratelimit --features redis --bench outage`. Callers decide all the time;
//! what the slowest hundredth of decisions takes in each phase beyond what it takes while the server
//! is well is to be at most the deadline.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forge_ratelimit::{Adjustment, Charge, Key, PolicyId, Quota, RedisStore, Store, StoreFailure};
use test_support::Redis;

const DEADLINE: Duration = Duration::from_millis(25);
const CALLERS: u32 = 32;
const PHASES: [&str; 5] = ["well", "frozen", "thawed", "killed", "started again"];
const DONE: usize = PHASES.len();

fn main() {
    // `cargo test --benches` only sees whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let server = match Redis::start() {
        Ok(server) => server,
        Err(unavailable) => return println!("{unavailable}"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let waits = runtime.block_on(measure(server));
    let told = waits.map(slow);
    let mut above = false;
    for (name, (p99, slowest)) in PHASES.iter().zip(told) {
        let added = p99.saturating_sub(told[0].0);
        above |= added > DEADLINE;
        let flag = if added > DEADLINE { "  ABOVE" } else { "" };
        println!(
            "{name:<14} slowest {slowest:>8.1?}  p99 {p99:>8.1?}  added {added:>8.1?}  \
             at most {DEADLINE:?}{flag}"
        );
    }
    std::process::exit(i32::from(above));
}

/// The times of all decisions, phase by phase.
async fn measure(mut server: Redis) -> [Vec<Duration>; PHASES.len()] {
    let store = RedisStore::builder(server.url(), b"a secret of the benches")
        .nodes(NonZeroU32::MIN)
        .deadline(DEADLINE)
        .build()
        .expect("a store");
    connected(&store).await;
    let phase = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..CALLERS {
        callers.spawn(call(store.clone(), n, Arc::clone(&phase)));
    }
    let time = || tokio::time::sleep(Duration::from_secs(2));
    time().await;
    phase.store(1, Ordering::Relaxed);
    server.pause();
    time().await;
    phase.store(2, Ordering::Relaxed);
    server.resume();
    time().await;
    phase.store(3, Ordering::Relaxed);
    server.kill();
    time().await;
    phase.store(4, Ordering::Relaxed);
    server.restart();
    time().await;
    phase.store(DONE, Ordering::Relaxed);
    let mut all = [const { Vec::new() }; PHASES.len()];
    for waits in callers.join_all().await {
        for (phase, wait) in waits {
            all[phase].push(wait);
        }
    }
    all
}

/// Decides until the end; each time with the phase it began in.
async fn call(store: RedisStore, n: u32, phase: Arc<AtomicUsize>) -> Vec<(usize, Duration)> {
    let quota = Quota::per_hour(3_000_000, 3_000_000).expect("a quota");
    let charge = Charge::new(PolicyId::of("bench"), Key::user(n.to_be_bytes()), quota)
        .on_failure(StoreFailure::LocalShare);
    let mut waits = Vec::new();
    loop {
        let now = phase.load(Ordering::Relaxed);
        if now == DONE {
            return waits;
        }
        let began = Instant::now();
        let verdicts = store.charge(std::slice::from_ref(&charge)).await;
        waits.push((now, began.elapsed()));
        assert!(verdicts.is_ok_and(|of| of[0].allowed), "a wrong refusal");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn connected(store: &RedisStore) {
    store.connect();
    let quota = Quota::per_hour(1, 1).expect("a quota");
    let probe = Charge::new(PolicyId::of("bench"), Key::user("probe"), quota);
    while store.adjust(&probe, Adjustment::Peek).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The time that one in a hundred exceeds, and the longest.
fn slow(mut waits: Vec<Duration>) -> (Duration, Duration) {
    waits.sort_unstable();
    let at = |index: usize| waits.get(index).copied().unwrap_or_default();
    (
        at(waits.len() * 99 / 100),
        at(waits.len().saturating_sub(1)),
    )
}
