//! One check in memory, beside governor's, in one run: the same keys in the same order, every key
//! in debt. What may be at most stands in `benches/targets.rs`; these are for the eye.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forge_ratelimit::{Charge, Key, MemoryStore, PolicyId, Quota, Store, Verdicts};
use governor::DefaultKeyedRateLimiter;

const POLICY: PolicyId = PolicyId::of("bench");

fn quota() -> Quota {
    Quota::per_second(10, 100).expect("a quota")
}

fn governor_quota() -> governor::Quota {
    governor::Quota::per_second(10.try_into().expect("ten"))
        .allow_burst(100.try_into().expect("a hundred"))
}

fn strings(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user-{n:012}")).collect()
}

fn addresses(count: usize) -> Vec<IpAddr> {
    (0..count as u32)
        .map(|n| Ipv4Addr::from_bits(0x0a00_0000 | n).into())
        .collect()
}

/// Visits every index once, in an order that no prefetcher knows.
fn next(at: &mut usize, count: usize) -> usize {
    *at = (*at + 611_953) % count;
    *at
}

fn check(c: &mut Criterion) {
    for count in [10_000, 100_000, 1_000_000] {
        let mut group = c.benchmark_group("check/string");
        group.throughput(Throughput::Elements(1));
        let keys = strings(count);
        {
            let store = MemoryStore::partitioned(count, 9);
            let charge = |key: &str| {
                let charge = Charge::new(POLICY, Key::user(key), quota());
                let mut verdicts = Verdicts::new();
                black_box(store.charge_now(&[charge], &mut verdicts));
                verdicts[0].allowed
            };
            keys.iter().for_each(|key| {
                charge(key);
            });
            let mut at = 0;
            group.bench_function(BenchmarkId::new("forge", count), |b| {
                b.iter(|| charge(&keys[next(&mut at, count)]));
            });
        }
        {
            let limiter = DefaultKeyedRateLimiter::<String>::keyed(governor_quota());
            keys.iter().for_each(|key| drop(limiter.check_key(key)));
            let mut at = 0;
            group.bench_function(BenchmarkId::new("governor", count), |b| {
                b.iter(|| black_box(limiter.check_key(&keys[next(&mut at, count)])));
            });
        }
        group.finish();

        let mut group = c.benchmark_group("check/address");
        group.throughput(Throughput::Elements(1));
        let keys = addresses(count);
        {
            let store = MemoryStore::partitioned(9, count);
            let charge = |key: IpAddr| {
                let charge = Charge::new(POLICY, Key::address(key), quota());
                let mut verdicts = Verdicts::new();
                black_box(store.charge_now(&[charge], &mut verdicts));
                verdicts[0].allowed
            };
            keys.iter().for_each(|key| {
                charge(*key);
            });
            let mut at = 0;
            group.bench_function(BenchmarkId::new("forge", count), |b| {
                b.iter(|| charge(keys[next(&mut at, count)]));
            });
        }
        {
            let limiter = DefaultKeyedRateLimiter::<IpAddr>::keyed(governor_quota());
            keys.iter().for_each(|key| drop(limiter.check_key(key)));
            let mut at = 0;
            group.bench_function(BenchmarkId::new("governor", count), |b| {
                b.iter(|| black_box(limiter.check_key(&keys[next(&mut at, count)])));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2)).warm_up_time(std::time::Duration::from_millis(500));
    targets = check
}
criterion_main!(benches);
