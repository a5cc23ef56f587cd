//! What inspection costs a request, in CPU time of the thread: what other processes take does not
//! count.
//!
//! | Target | Figure |
//! |---|---|
//! | a benign request (path 40, query 60, `User-Agent` 120 bytes, four more headers): at most 1.5 µs at the median | `inspect/benign` |

use std::hint::black_box;
use std::time::Duration;

use cpu_time::ThreadTime;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forge_monitor::{Inspector, Level, Verdict};
use http::Request;
use http::request::Parts;

/// CPU time of the thread.
struct ThreadCpu;

impl Measurement for ThreadCpu {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, start: ThreadTime) -> Duration {
        start.elapsed()
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn parts(target: &str, agent: &str) -> Parts {
    let request = Request::get(target)
        .header("host", "forge.example.org")
        .header("user-agent", agent)
        .header(
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        )
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("cookie", "session=k3Jd8sPq0ZtV7yXw2LmN; theme=dark");
    request.body(()).unwrap_or_default().into_parts().0
}

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.6478.1 Safari/537.36 Edg/126";

fn inspect(c: &mut Criterion<ThreadCpu>) {
    let cases = [
        (
            "benign",
            "/api/v2/projects/forge-dev/items/8423/l?page=2&sort=created_at&filter=active&q=rust+web+server&limit=50",
        ),
        (
            "prose",
            "/search?q=Who%27s%20the%20best%20player%20to%20select%20from%20the%20team%20and%20why%3F%20%28in%20your%20view%29",
        ),
        (
            "attack",
            "/search?q=1%27%29%20union%20all%20select%20null%2Cconcat%280x7e%2Cversion%28%29%29%2Cnull--%20-",
        ),
    ];
    let inspector = Inspector::new();
    let mut group = c.benchmark_group("inspect");
    for (name, target) in cases {
        let parts = parts(target, AGENT);
        let attack = inspector.inspect(&parts).verdict(Level::Low) == Verdict::Block;
        assert_eq!(attack, name == "attack");
        group.bench_function(name, |b| b.iter(|| inspector.inspect(black_box(&parts))));
    }
    group.finish();

    // Time in proportion to the length, whatever a value is made of.
    let mut group = c.benchmark_group("hostile");
    for (name, unit) in [
        ("quotes", "'"),
        ("parens", "("),
        ("words", "a or "),
        ("tags", "<a "),
        ("lookups", "${"),
        ("dots", "w..."),
        ("operators", "'$"),
        ("separators", ":;"),
        ("lines", "%0d%0a"),
        ("encoded", "%2525"),
        ("parameters", "%27&"),
    ] {
        for kib in [8, 32] {
            let target = format!("/?q={}", unit.repeat(kib * 1024 / unit.len()));
            group.throughput(Throughput::Bytes(kib as u64 * 1024));
            group.bench_function(format!("{name}/{kib}k"), |b| {
                b.iter(|| inspector.inspect_text(black_box(target.as_bytes()), []));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadCpu).measurement_time(Duration::from_secs(3));
    targets = inspect
}
criterion_main!(benches);
