//! The speeds and the memory that the crate promises, in one run.
//!
//! `cargo bench -p forge-monitor --features sqlite,email,metrics --bench targets`. A line says what
//! was measured and what it may be at most, and fails the run where it is more. Times of single
//! operations are the best of several slices of the processor's time; times from one end to the
//! other are by the clock, at the median and the 99th percentile. Everything that takes part is the
//! real thing: the built-in scenarios, a database on disk that syncs each commit, a mail server that
//! is spoken to by TLS. Memory is what the allocator has given out, not what the monitor says.

use std::hint::black_box;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use forge_monitor::{
    Alert, EmailSink, EmailTls, LogSink, Monitor, MonitorEvent, NeverBlock, Scenario,
    ScenarioBuilder, Signal, SignalKind, SqliteMonitorStore,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use test_support::{Smtp, SmtpTls};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

#[global_allocator]
static ALLOCATOR: test_alloc::Watching = test_alloc::Watching;

fn main() {
    // `cargo test --benches` only sees whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut report = Report::default();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    look_ups(&runtime, &mut report);
    emission(&runtime, &mut report);
    to_the_block(&runtime, &mut report);
    to_disk_and_mailbox(&runtime, &mut report);
    #[cfg(feature = "metrics")]
    laps::measure(&runtime, &mut report);
    memory(&runtime, &mut report);
    report.end();
}

#[derive(Default)]
struct Report {
    above: usize,
}

impl Report {
    fn value(&mut self, what: &str, unit: &str, value: f64, most: f64) {
        let holds = value <= most;
        self.above += usize::from(!holds);
        let verdict = if holds { "" } else { "  ABOVE" };
        println!("{what:<56} {value:>10.1} {unit:<4} at most {most}{verdict}");
    }

    fn end(self) {
        if self.above > 0 {
            println!("{} above", self.above);
            std::process::exit(1);
        }
    }
}

/// Nanoseconds of the processor's time for one operation: the best of the slices.
fn best(operations: usize, mut work: impl FnMut(usize)) -> f64 {
    let mut best = f64::MAX;
    for slice in 0..30 {
        let began = ThreadTime::now();
        for n in 0..operations {
            work(slice * operations + n);
        }
        best = best.min(began.elapsed().as_nanos() as f64 / operations as f64);
    }
    best
}

fn address(n: u32) -> IpAddr {
    IpAddr::from((0x0b00_0000 + n).to_be_bytes())
}

/// Decides at the first failure, without end to how many.
fn at_once() -> Scenario {
    ScenarioBuilder::of(Scenario::failed_authentications())
        .threshold(0)
        .build()
        .expect("a scenario")
}

fn failed(n: u32) -> Signal {
    Signal::new(SignalKind::AuthFailed).address(address(n))
}

fn look_ups(runtime: &Runtime, report: &mut Report) {
    let monitor = runtime.block_on(async {
        let monitor = Monitor::builder()
            .scenario(at_once())
            .blocks_per_minute(usize::MAX)
            .queue(20_000)
            .start()
            .await
            .expect("a monitor");
        for n in 0..10_000 {
            monitor.emit(failed(n));
        }
        monitor.flush().await;
        assert_eq!(monitor.blocks().len(), 10_000);
        monitor
    });
    let guard = monitor.guard();
    let miss = best(100_000, |n| {
        black_box(guard.address(address(20_000 + n as u32 % 10_000)));
    });
    report.value(
        "guard, not blocked among 10 000 that are",
        "ns",
        miss,
        100.0,
    );
    let v6: IpAddr = "2001:db8::1".parse().expect("an address");
    let miss = best(100_000, |_| {
        black_box(guard.address(black_box(v6)));
    });
    report.value("guard, IPv6, not blocked", "ns", miss, 100.0);
    let hit = best(100_000, |n| {
        black_box(guard.address(address(n as u32 % 10_000)));
    });
    report.value("guard, blocked", "ns", hit, 100.0);
}

fn emission(runtime: &Runtime, report: &mut Report) {
    let _entered = runtime.enter();
    let start = || {
        let builder = Monitor::builder().built_in_scenarios().queue(1 << 17);
        runtime.block_on(builder.start()).expect("a monitor")
    };
    let mut times = f64::MAX;
    // Fewer than the queue holds, so that none is dropped.
    for _ in 0..10 {
        let monitor = start();
        let began = ThreadTime::now();
        for n in 0..100_000 {
            monitor.emit(failed(n));
        }
        times = times.min(began.elapsed().as_nanos() as f64 / 100_000.0);
        assert_eq!(monitor.stats().signals_dropped, 0);
    }
    report.value("emit", "ns", times, 200.0);
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64()
}

/// A store as the server has it.
async fn database(folder: &Path) -> SqliteMonitorStore {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("forge.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(4);
    let pool = pool.connect_with(options).await.expect("a database");
    let store = SqliteMonitorStore::new(pool);
    store.migrate().await.expect("a schema");
    store
}

fn to_the_block(runtime: &Runtime, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut times = Vec::new();
    let monitor = runtime.block_on(async {
        Monitor::builder()
            .built_in_scenarios()
            .blocks_per_minute(usize::MAX)
            .alerts_individually(usize::MAX)
            .store(database(folder.path()).await)
            .alert_sink("log", LogSink)
            .start()
            .await
            .expect("a monitor")
    });
    let guard = monitor.guard();
    for n in 0..2_000 {
        for _ in 0..5 {
            monitor.emit(failed(n));
        }
        runtime.block_on(monitor.flush());
        let began = Instant::now();
        monitor.emit(failed(n));
        // Looking without a pause would take one of the cores that it needs; this adds the pause.
        while guard.address(address(n)).is_none() {
            std::thread::sleep(Duration::from_micros(10));
        }
        times.push(began.elapsed());
    }
    let micros = percentile(&mut times, 99) * 1e6;
    report.value(
        "sixth failure until it is blocked, p99",
        "µs",
        micros,
        1000.0,
    );
}

fn to_disk_and_mailbox(runtime: &Runtime, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let (stored, mut on_disk) = mpsc::unbounded_channel();
    let (told, mut delivered) = mpsc::unbounded_channel();
    let (monitor, _server) = runtime.block_on(async {
        let store = database(folder.path()).await;
        let server = Smtp::start(SmtpTls::StartTls).await;
        let mail = EmailSink::builder("localhost", "forge@example.com")
            .to("ops@example.com")
            .port(server.addr.port())
            .tls(EmailTls::StartTls)
            .authority(server.certificate.clone())
            .build()
            .expect("a sink");
        // What reaches this sink was read back from the database.
        let from_disk = move |alert: Arc<Alert>| {
            let _ = stored.send(alert);
            std::future::ready(Ok(()))
        };
        let monitor = Monitor::builder()
            .scenario(at_once())
            .blocks_per_minute(usize::MAX)
            .alerts_individually(usize::MAX)
            .store(store)
            .alert_sink("disk", from_disk)
            .alert_sink("mail", mail)
            .on_event(move |event: &MonitorEvent| {
                if let MonitorEvent::AlertDelivered { delivery, .. } = event
                    && &*delivery.sink == "mail"
                {
                    let _ = told.send(());
                }
            })
            .start()
            .await
            .expect("a monitor");
        (monitor, server)
    });
    let (mut disk, mut mailbox) = (Vec::new(), Vec::new());
    for n in 0..200 {
        let began = Instant::now();
        monitor.emit(failed(n));
        runtime.block_on(async {
            on_disk.recv().await.expect("an alert");
            disk.push(began.elapsed());
            delivered.recv().await.expect("a mail");
            mailbox.push(began.elapsed());
        });
    }
    let millis = percentile(&mut disk, 99) * 1e3;
    report.value(
        "decision until the alert is on disk, p99",
        "ms",
        millis,
        20.0,
    );
    let millis = percentile(&mut mailbox, 50) * 1e3;
    report.value(
        "decision until the mail is delivered, median",
        "ms",
        millis,
        100.0,
    );
    let millis = percentile(&mut mailbox, 99) * 1e3;
    report.value(
        "decision until the mail is delivered, p99",
        "ms",
        millis,
        100.0,
    );
}

fn memory(runtime: &Runtime, report: &mut Report) {
    let before = test_alloc::in_use();
    let monitor = runtime.block_on(async {
        Monitor::builder()
            .built_in_scenarios()
            .never_block(NeverBlock::new())
            .queue(100_000)
            .start()
            .await
            .expect("a monitor")
    });
    let attacker: IpAddr = [203, 0, 113, 9].into();
    let began = Instant::now();
    for n in 0..1_000_000 {
        monitor.emit(failed(n).user((n % 5000).to_string()));
        if n % 160_000 == 100_000 {
            monitor.emit(Signal::new(SignalKind::AuthFailed).address(attacker));
        }
        if n % 50_000 == 0 {
            runtime.block_on(monitor.flush());
        }
    }
    runtime.block_on(monitor.flush());
    let each = began.elapsed().as_nanos() as f64 / 1e6;
    let stats = monitor.stats();
    assert_eq!(stats.signals_dropped, 0);
    assert!(monitor.guard().address(attacker).is_some(), "not caught");
    let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let (counted, all) = (stats.state_bytes as usize, test_alloc::in_use() - before);
    let what = "what was counted of a million addresses";
    report.value(what, "MiB", mebibytes(counted), 16.0);
    report.value(
        "all that the monitor holds then, decisions and alerts too",
        "MiB",
        mebibytes(all),
        16.0,
    );
    report.value(
        "a signal, emitted and shown to 14 scenarios",
        "ns",
        each,
        5000.0,
    );
}

/// What it costs to time a layer.
#[cfg(feature = "metrics")]
mod laps {
    use std::convert::Infallible;
    use std::future::Ready;

    use forge_monitor::LapLayer;
    use http::{Request, Response};
    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
    use tower::{Service, ServiceBuilder, layer::layer_fn};

    use super::{Report, Runtime, best, black_box};

    /// A layer that does nothing.
    #[derive(Clone)]
    struct Nothing<S>(S);

    impl<S: Service<Request<()>>> Service<Request<()>> for Nothing<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;

        fn poll_ready(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), S::Error>> {
            self.0.poll_ready(cx)
        }

        #[inline(never)]
        fn call(&mut self, request: Request<()>) -> S::Future {
            self.0.call(request)
        }
    }

    pub(super) fn measure(_: &Runtime, report: &mut Report) {
        // As in the server: a histogram of fifteen buckets, read every five seconds.
        let bounds = [
            1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0,
        ];
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &bounds)
            .expect("bounds")
            .build_recorder();
        let handle = recorder.handle();
        let _local = metrics::set_default_local_recorder(&recorder);
        let answer = |_: Request<()>| -> Ready<Result<Response<()>, Infallible>> {
            std::future::ready(Ok(Response::new(())))
        };
        let mut plain = ServiceBuilder::new()
            .layer(layer_fn(Nothing))
            .layer(layer_fn(Nothing))
            .layer(layer_fn(Nothing))
            .layer(layer_fn(Nothing))
            .service_fn(answer);
        let mut timed = ServiceBuilder::new()
            .layer(LapLayer::new("first"))
            .layer(layer_fn(Nothing))
            .layer(LapLayer::new("second"))
            .layer(layer_fn(Nothing))
            .layer(LapLayer::new("third"))
            .layer(layer_fn(Nothing))
            .layer(LapLayer::new("fourth"))
            .layer(layer_fn(Nothing))
            .layer(LapLayer::end())
            .service_fn(answer);
        let request = || {
            let mut request = Request::new(());
            // There are extensions anyway.
            request.extensions_mut().insert(7_u32);
            request
        };
        let without = best(10_000, |_| {
            drop(black_box(plain.call(request())));
        });
        let with = best(10_000, |n| {
            drop(black_box(timed.call(request())));
            if n % 10_000 == 0 {
                handle.run_upkeep();
            }
        });
        report.value("timing a layer", "ns", (with - without) / 4.0, 250.0);
    }
}
