//! The store and the layer beside governor 0.10 and tower_governor 0.8, as ratios, in one run.
//!
//! `cargo bench -p forge-ratelimit --features axum --bench targets`. Both sides are measured in
//! turns, slice by slice, by the processor's time, and the best slice of each counts: what else the
//! machine does falls on neither. A line says what was measured, what it may be at most, and fails the run where it is more.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use cpu_time::ThreadTime;
use forge_ratelimit::{
    Key, MemoryStore, PeerAddress, Policy, PolicyId, Quota, RateLimitLayer, RateLimiter,
};
use governor::DefaultKeyedRateLimiter;
use http::request::Parts;
use http::{Request, Response};
use tower::{Layer, Service};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::PeerIpKeyExtractor;

const POLICY: PolicyId = PolicyId::of("bench");
const SLICES: usize = 40;

fn main() {
    // `cargo test --benches` only sees whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut report = Report::default();
    // A word runs one part: `-- layers`.
    let asked = |part: &str| {
        let mut words = std::env::args()
            .skip(1)
            .filter(|word| !word.starts_with('-'))
            .peekable();
        words.peek().is_none() || words.any(|word| word == part)
    };
    let parts: [(&str, Part); 5] = [
        ("checks", checks),
        ("stalls", stalls),
        ("threads", threads),
        ("layers", layers),
        ("bounds", bounds),
    ];
    for (name, part) in parts {
        if asked(name) {
            part(&mut report);
        }
    }
    report.end();
}

type Part = fn(&mut Report);

#[derive(Default)]
struct Report {
    above: usize,
}

impl Report {
    /// `ours` may be at most `most` of `theirs`.
    fn ratio(&mut self, what: &str, unit: &str, ours: f64, theirs: f64, most: f64) {
        let ratio = ours / theirs;
        self.line(
            &format!(
                "{what:<44} {ours:>10.1} {theirs:>10.1} {unit:<6} {ratio:>6.3}  at most {most}"
            ),
            ratio <= most,
        );
    }

    fn value(&mut self, what: &str, unit: &str, value: f64, most: f64) {
        self.line(
            &format!(
                "{what:<44} {value:>10.1} {:>10} {unit:<6} {:>6}  at most {most}",
                "", ""
            ),
            value <= most,
        );
    }

    fn line(&mut self, line: &str, holds: bool) {
        self.above += usize::from(!holds);
        println!("{line}{}", if holds { "" } else { "  ABOVE" });
    }

    fn end(self) {
        if self.above > 0 {
            println!("{} above", self.above);
            std::process::exit(1);
        }
    }
}

/// Nanoseconds an operation takes, of each side: the best of the slices, measured in turns.
fn race(
    operations: usize,
    mut ours: impl FnMut(usize),
    mut theirs: impl FnMut(usize),
) -> (f64, f64) {
    let mut best = (f64::MAX, f64::MAX);
    for slice in 0..SLICES {
        let at = slice * operations;
        best.0 = best.0.min(time(at, operations, &mut ours));
        best.1 = best.1.min(time(at, operations, &mut theirs));
    }
    best
}

fn time(from: usize, operations: usize, work: &mut impl FnMut(usize)) -> f64 {
    let began = ThreadTime::now();
    for n in from..from + operations {
        work(n);
    }
    began.elapsed().as_nanos() as f64 / operations as f64
}

/// As governor's, made once: a policy has it.
const QUOTA: Quota = match Quota::per_second(10, 100) {
    Ok(quota) => quota,
    Err(_) => panic!("a quota"),
};

fn governor_quota() -> governor::Quota {
    let of = |n| NonZeroU32::new(n).expect("not zero");
    governor::Quota::per_second(of(10)).allow_burst(of(100))
}

fn strings(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user-{n:012}")).collect()
}

fn addresses(count: usize) -> Vec<IpAddr> {
    let address = |n| Ipv4Addr::from_bits(0x0a00_0000 | n).into();
    (0..count as u32).map(address).collect()
}

/// The `n`th index, in an order that no prefetcher knows.
fn scattered(n: usize, count: usize) -> usize {
    n.wrapping_mul(611_953) % count
}

#[inline]
fn check(store: &MemoryStore, key: &Key) -> bool {
    store.take(POLICY, key, &QUOTA).allowed
}

fn checks(report: &mut Report) {
    for (count, most) in [(10_000, 0.6), (100_000, 0.7), (1_000_000, 0.7)] {
        let keys = strings(count);
        let before = resident();
        let store = MemoryStore::partitioned(count, 9);
        for key in &keys {
            check(&store, &Key::user(key));
        }
        let ours_held = resident() - before;
        let before = resident();
        let limiter = DefaultKeyedRateLimiter::<String>::keyed(governor_quota());
        keys.iter().for_each(|key| _ = limiter.check_key(key));
        let theirs_held = resident() - before;
        let (ours, theirs) = race(
            20_000,
            |n| _ = black_box(check(&store, &Key::user(&keys[scattered(n, count)]))),
            |n| _ = black_box(limiter.check_key(&keys[scattered(n, count)])),
        );
        report.ratio(&format!("check, {count} strings"), "ns", ours, theirs, most);
        if count == 1_000_000 {
            let per = |bytes: f64| bytes / count as f64;
            report.value(
                "bytes a key, 1000000 strings",
                "bytes",
                per(ours_held),
                36.0,
            );
            report.ratio(
                "  of governor's",
                "bytes",
                per(ours_held),
                per(theirs_held),
                0.27,
            );
        }
    }
    for (count, most) in [(10_000, 0.75), (100_000, 0.6), (1_000_000, 0.9)] {
        let keys = addresses(count);
        let store = MemoryStore::partitioned(9, count);
        let limiter = DefaultKeyedRateLimiter::<IpAddr>::keyed(governor_quota());
        keys.iter().for_each(|key| _ = limiter.check_key(key));
        keys.iter()
            .for_each(|key| _ = check(&store, &Key::address(*key)));
        let (ours, theirs) = race(
            20_000,
            |n| _ = black_box(check(&store, &Key::address(keys[scattered(n, count)]))),
            |n| _ = black_box(limiter.check_key(&keys[scattered(n, count)])),
        );
        report.ratio(
            &format!("check, {count} addresses"),
            "ns",
            ours,
            theirs,
            most,
        );
    }
}

/// The slowest single check in microseconds; of three runs the best, for what the machine adds.
fn worst(mut run: impl FnMut() -> Duration) -> f64 {
    (0..6).map(|_| run()).min().unwrap_or_default().as_nanos() as f64 / 1e3
}

fn slowest(count: usize, mut work: impl FnMut(usize)) -> Duration {
    let mut slowest = Duration::ZERO;
    for n in 0..count {
        let began = ThreadTime::now();
        work(n);
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

fn stalls(report: &mut Report) {
    let count = 1_000_000;
    let keys = strings(count);
    let ours = worst(|| {
        let store = MemoryStore::partitioned(count, 9);
        slowest(count, |n| _ = check(&store, &Key::user(&keys[n])))
    });
    let theirs = worst(|| {
        let limiter = DefaultKeyedRateLimiter::<String>::keyed(governor_quota());
        slowest(count, |n| _ = limiter.check_key(&keys[n]))
    });
    report.ratio("worst check while filling 1000000", "us", ours, theirs, 0.1);
    report.value("  in itself", "us", ours, 1000.0);

    // Ours has nothing to clean up: the same checks with every debt paid, beside governor's pass.
    let store = MemoryStore::partitioned(count, 9);
    keys.iter()
        .for_each(|key| _ = check(&store, &Key::user(key)));
    let limiter = DefaultKeyedRateLimiter::<String>::keyed(governor_quota());
    keys.iter().for_each(|key| _ = limiter.check_key(key));
    std::thread::sleep(Duration::from_millis(200));
    let ours = worst(|| slowest(200_000, |n| _ = check(&store, &Key::user(&keys[n]))));
    let theirs = std::thread::scope(|scope| {
        let cleaning = scope.spawn(|| limiter.retain_recent());
        let mut slowest = Duration::ZERO;
        while !cleaning.is_finished() {
            let began = Instant::now();
            _ = limiter.check_key(&keys[7]);
            slowest = slowest.max(began.elapsed());
        }
        slowest.as_nanos() as f64 / 1e3
    });
    report.ratio(
        "worst check while cleaning up 1000000",
        "us",
        ours,
        theirs,
        0.1,
    );
    report.value("  in itself", "us", ours, 1000.0);
}

/// Two threads at once on the same keys, while every check is accepted and when none is any more.
fn threads(report: &mut Report) {
    let count = 10_000;
    let keys = strings(count);
    let of = |n| &keys[scattered(n, count)];
    for (what, burst, most) in [("accepted", 100_000, 0.5), ("refused", 1, 0.6)] {
        let quota = Quota::per_hour(100, burst).expect("a quota");
        let store = MemoryStore::partitioned(count, 9);
        let theirs = governor::Quota::per_hour(NonZeroU32::new(100).expect("not zero"))
            .allow_burst(NonZeroU32::new(burst).expect("not zero"));
        let limiter = DefaultKeyedRateLimiter::<String>::keyed(theirs);
        let mut times = (Vec::new(), Vec::new());
        for _ in 0..11 {
            times.0.push(together(&|n| {
                _ = black_box(store.take(POLICY, &Key::user(of(n)), &quota));
            }));
            times
                .1
                .push(together(&|n| _ = black_box(limiter.check_key(of(n)))));
        }
        report.ratio(
            &format!("check {what}, two threads, {count} strings"),
            "ns",
            median(times.0),
            median(times.1),
            most,
        );
    }
}

/// Nanoseconds an operation takes while two threads are at it, by the clock on the wall.
fn together(work: &(dyn Fn(usize) + Sync)) -> f64 {
    const EACH: usize = 500_000;
    let start = Barrier::new(2);
    let run = |thread: usize| {
        start.wait();
        let began = Instant::now();
        (0..EACH).for_each(|n| work(n * 2 + thread));
        began.elapsed()
    };
    let run = &run;
    std::thread::scope(|scope| {
        let threads = [0, 1].map(|thread| scope.spawn(move || run(thread)));
        let times = threads.map(|thread| thread.join().expect("a time"));
        times
            .iter()
            .max()
            .map_or(0.0, |time| time.as_nanos() as f64)
            / EACH as f64
    })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Answers at once, so that the layer is what is measured.
#[derive(Clone)]
struct Hello;

impl Service<Request<Body>> for Hello {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(Body::empty())))
    }
}

fn call<S>(service: &mut S, address: IpAddr) -> u16
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: std::fmt::Debug,
{
    let mut request = Request::new(Body::empty());
    request
        .extensions_mut()
        .insert(ConnectInfo(SocketAddr::new(address, 4000)));
    let mut context = Context::from_waker(Waker::noop());
    let mut future = std::pin::pin!(service.call(request));
    loop {
        if let Poll::Ready(response) = future.as_mut().poll(&mut context) {
            return response.expect("an answer").status().as_u16();
        }
    }
}

fn tower_governor(
    burst: u32,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> {
    let config = GovernorConfigBuilder::default()
        .per_second(60)
        .burst_size(burst)
        .key_extractor(PeerIpKeyExtractor)
        .use_headers()
        .finish()
        .expect("a configuration");
    GovernorLayer::new(Arc::new(config)).layer(Hello)
}

fn forge(
    burst: u32,
    policies: usize,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> {
    let quota = Quota::new(1, Duration::from_secs(1), burst).expect("a quota");
    let store = MemoryStore::partitioned(10_000, 10_000);
    let policy = |n: usize| match n {
        0 => Policy::new("address", quota, PeerAddress),
        1 => Policy::new("everybody", quota, |_: &Parts| Some(Key::global())),
        _ => Policy::new("user", quota, |_: &Parts| Some(Key::user("octo-user"))),
    };
    let limiter = (0..policies)
        .fold(RateLimiter::builder(store), |builder, n| {
            builder.policy(policy(n))
        })
        .build()
        .expect("a limiter");
    RateLimitLayer::new(limiter).layer(Hello)
}

fn layers(report: &mut Report) {
    let burst = 10_000_000;
    let keys = addresses(1000);
    let of = |n: usize| keys[scattered(n, keys.len())];
    let mut theirs = tower_governor(burst);
    let mut one = forge(burst, 1);
    let (ours, base) = race(
        5_000,
        |n| _ = call(&mut one, of(n)),
        |n| _ = call(&mut theirs, of(n)),
    );
    report.ratio("layer with headers, one policy", "ns", ours, base, 1.0);
    let mut three = forge(burst, 3);
    let (three, base) = race(
        5_000,
        |n| _ = call(&mut three, of(n)),
        |n| _ = call(&mut theirs, of(n)),
    );
    report.ratio("layer with headers, three policies", "ns", three, base, 1.8);

    let mut spent = forge(1, 1);
    keys.iter().for_each(|key| _ = call(&mut spent, *key));
    let mut their_spent = tower_governor(1);
    keys.iter().for_each(|key| _ = call(&mut their_spent, *key));
    let (refused, accepted) = race(
        5_000,
        |n| _ = call(&mut spent, of(n)),
        |n| _ = call(&mut one, of(n)),
    );
    assert_eq!((call(&mut spent, of(0)), call(&mut one, of(0))), (429, 200));
    report.ratio(
        "refusal, of an accepted request",
        "ns",
        refused,
        accepted,
        1.5,
    );
    let (refused, base) = race(
        5_000,
        |n| _ = call(&mut spent, of(n)),
        |n| _ = call(&mut their_spent, of(n)),
    );
    report.ratio("refusal, of tower_governor's", "ns", refused, base, 1.0);
}

fn bounds(report: &mut Report) {
    let store = MemoryStore::partitioned(1_000_000, 9);
    let (cap, before) = (store.bytes() as f64 / 1e6, resident() / 1e6);
    (0..10_000_000u64).for_each(|n| _ = check(&store, &Key::user(n.to_be_bytes())));
    let grown = (resident() / 1e6 - before).max(0.0);
    report.ratio(
        "memory after ten million keys, of the cap",
        "MB",
        cap + grown,
        cap,
        1.02,
    );
}

/// Bytes of memory that this process has in use, as Linux says.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = pages.split(' ').nth(1).expect("the second number");
    pages.parse::<f64>().expect("a number") * 4096.0
}
