//! What the log costs, beside a bare table to which the same bytes are appended, in one run:
//! `cargo bench -p forge-audit --features sqlite,archive`. Set `EVENTS` for another number of events,
//! `FOLDER` for another disk, and `PARTS` for some of the parts, as `producers,batches`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_audit::{
    Actor, AuditLog, AuditStore, Chain, Content, Count, Event, Kind, MemoryAuditStore, Order,
    Outcome, Query, Record, Severity, Source, SqliteAuditStore, Timestamp, verify_store,
};
use rusqlite::Connection;
use serde_json::json;

/// Like what a server records: a thousand people, some paths, an id for each request.
fn event(n: u64) -> Event {
    let user = n.wrapping_mul(2_654_435_761) % 1000;
    let id = format!(
        "{:08x}-7a1b-7c3d-8e4f-{:012x}",
        n >> 8,
        n.wrapping_mul(0x9E37_79B9) & 0xffff_ffff_ffff
    );
    Event::new(
        Kind::ALL[(n % 14) as usize],
        [
            "auth.sign_in",
            "http.request",
            "session.rotate",
            "tool.call",
        ][(n % 4) as usize],
    )
    .outcome(if n.is_multiple_of(50) {
        Outcome::Denied
    } else {
        Outcome::Success
    })
    .severity(if n.is_multiple_of(100) {
        Severity::High
    } else {
        Severity::Low
    })
    .actor(
        Actor::new(format!("{}", 583_000 + user))
            .login(format!("octo-{user}"))
            .session(format!("0198c2f0-7a1b-7c3d-8e4f-{user:012x}")),
    )
    .source(
        Source::new()
            .address(std::net::IpAddr::from([
                192,
                0,
                (user / 250) as u8,
                (user % 250) as u8,
            ]))
            .user_agent("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    )
    .resource(["/api/me", "/api/sessions", "/mcp", "/api/admin/audit"][(n / 4 % 4) as usize])
    .request_id(id)
    .details(&json!({ "method": "GET", "status": 200, "duration_ms": n % 90 }))
}

struct Bare {
    db: Connection,
}

impl Bare {
    fn new(path: &Path) -> Self {
        let db = Connection::open(path).unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        db.pragma_update(None, "synchronous", "FULL").unwrap();
        db.execute_batch("CREATE TABLE t (seq INTEGER PRIMARY KEY, hash BLOB, event BLOB) STRICT")
            .unwrap();
        Self { db }
    }

    fn append(&mut self, records: &[Record]) {
        let change = self.db.transaction().unwrap();
        {
            let mut insert = change
                .prepare_cached("INSERT INTO t VALUES (?1, ?2, ?3)")
                .unwrap();
            for record in records {
                let Content::Whole { open, personal, .. } = record.content() else {
                    panic!()
                };
                let mut bytes = open.clone();
                bytes.extend(personal);
                insert
                    .execute((record.seq as i64, &record.hash.as_bytes()[..], bytes))
                    .unwrap();
            }
        }
        change.commit().unwrap();
    }
}

fn quantile(mut times: Vec<Duration>, q: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * q) as usize]
}

fn rate(n: u64, took: Duration) -> f64 {
    n as f64 / took.as_secs_f64()
}

/// The time that this process has spent computing, in all its threads and in the kernel.
fn computed() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may hold anything. Ticks are hundredths of a second.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split(' ').skip(12).take(2);
    Duration::from_millis(
        ticks
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum::<u64>()
            * 10,
    )
}

async fn sqlite(path: &Path) -> Arc<SqliteAuditStore> {
    let store = SqliteAuditStore::open(path).await.unwrap();
    store.migrate().await.unwrap();
    Arc::new(store)
}

fn main() {
    // `cargo test --benches` only asks whether it runs.
    let is_test = std::env::args().any(|arg| arg == "--test");
    let events: u64 = std::env::var("EVENTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(if is_test { 2000 } else { 1_000_000 });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let folder = match std::env::var_os("FOLDER") {
        Some(folder) => tempfile::tempdir_in(folder).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    runtime.block_on(Bench::new(events, folder).run());
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

struct Bench {
    events: u64,
    folder: tempfile::TempDir,
    /// Events the bare table takes in a second.
    base: f64,
    /// What one transaction with one event takes there.
    single: Duration,
    some: Vec<Record>,
}

impl Bench {
    /// Measures the bare table.
    fn new(events: u64, folder: tempfile::TempDir) -> Self {
        let mut chain = Chain::new();
        let some: Vec<Record> = (0..events.min(200_000))
            .map(|n| chain.append(event(n), now()))
            .collect();
        // The middle of five runs: one alone is a third faster or slower than the next.
        let mut runs = [0, 1, 2, 3, 4].map(|run| {
            let mut bare = Bare::new(&folder.path().join(format!("bare{run}.db")));
            let started = Instant::now();
            some.chunks(1024).for_each(|batch| bare.append(batch));
            started.elapsed()
        });
        runs.sort();
        let base = rate(some.len() as u64, runs[2]);
        let mut bare = Bare::new(&folder.path().join("bare.db"));
        println!("bare table, 1024 a transaction      {base:>10.0} events/s");
        let mut singles = Vec::new();
        for record in some.iter().take(1000) {
            let mut record = record.clone();
            record.seq += 10_000_000;
            let started = Instant::now();
            bare.append(&[record]);
            singles.push(started.elapsed());
        }
        let single = quantile(singles.clone(), 0.99);
        println!(
            "bare table, one a transaction   p50 {:?} p99 {single:?}",
            quantile(singles, 0.5)
        );
        Self {
            events,
            folder,
            base,
            single,
            some,
        }
    }

    async fn run(self) {
        let parts = std::env::var("PARTS").unwrap_or_default();
        let is_wanted = |part| parts.is_empty() || parts.split(',').any(|wanted| wanted == part);
        if is_wanted("producers") {
            self.producers().await;
        }
        if is_wanted("batches") {
            self.batches().await;
        }
        if is_wanted("indexed") {
            self.indexed().await;
        }
        if is_wanted("single") {
            self.single().await;
        }
        if is_wanted("enqueue") {
            enqueue().await;
        }
        if is_wanted("verify") {
            self.verify().await;
        }
    }

    async fn store(&self, name: &str) -> Arc<SqliteAuditStore> {
        sqlite(&self.folder.path().join(name)).await
    }

    /// 256 producers that each wait for the commit. It ends with the last receipt: giving back the
    /// memory of all the prepared events takes a while, and is no part of recording.
    async fn producers(&self) {
        let events = self.events;
        let log = AuditLog::open(self.store("producers.db").await)
            .await
            .unwrap();
        let each = (events / 4 / 256).max(8);
        let prepared: Vec<Vec<Event>> = (0..256)
            .map(|p| (0..each).map(|n| event(p * each + n)).collect())
            .collect();
        let started = Instant::now();
        let tasks: Vec<_> = prepared
            .into_iter()
            .map(|events| {
                let log = log.clone();
                tokio::spawn(async move {
                    let mut longest = Duration::ZERO;
                    let mut events = events.into_iter();
                    for event in events.by_ref() {
                        let started = Instant::now();
                        log.record(event).await.unwrap();
                        longest = longest.max(started.elapsed());
                    }
                    (longest, Instant::now())
                })
            })
            .collect();
        let (mut longest, mut ended) = (Duration::ZERO, started);
        for task in tasks {
            let (own, at) = task.await.unwrap();
            (longest, ended) = (longest.max(own), ended.max(at));
        }
        let durable = rate(256 * each, ended - started);
        println!(
            "256 producers, durable              {durable:>10.0} events/s, {:.2} of bare, longest wait {longest:?}",
            durable / self.base
        );
        log.shutdown().await.unwrap();
    }

    /// Batches of 64, sixteen at a time.
    async fn batches(&self) {
        let events = self.events;
        let log = AuditLog::open(self.store("batches.db").await)
            .await
            .unwrap();
        let each = (events / 4 / 64 / 16).max(2);
        let prepared: Vec<Vec<Vec<Event>>> = (0..16)
            .map(|p| {
                (0..each)
                    .map(|b| (0..64).map(|n| event((p * each + b) * 64 + n)).collect())
                    .collect()
            })
            .collect();
        let started = Instant::now();
        let tasks: Vec<_> = prepared
            .into_iter()
            .map(|batches| {
                let log = log.clone();
                tokio::spawn(async move {
                    for batch in batches {
                        log.record_all(batch).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let batched = rate(16 * each * 64, started.elapsed());
        println!(
            "batches of 64, durable              {batched:>10.0} events/s, {:.2} of bare",
            batched / self.base
        );
        log.shutdown().await.unwrap();
    }

    /// With indexes, over all events, straight into the store; and what is asked of that many.
    async fn indexed(&self) {
        let events = self.events;
        let store = self.store("indexed.db").await;
        let mut chain = Chain::new();
        let (mut took, mut stall) = (Vec::new(), Duration::ZERO);
        let mut at = 0;
        while at < events {
            let count = 1024.min(events - at);
            let records: Vec<Record> = (at..at + count)
                .map(|n| chain.append(event(n), now()))
                .collect();
            let started = Instant::now();
            store.append(records.into()).await.unwrap();
            let time = started.elapsed();
            stall = stall.max(time);
            took.push(time);
            at += count;
        }
        store.seal().await.unwrap();
        let whole: Duration = took.iter().sum();
        let part = took.len() / 5;
        let (first, last): (Duration, Duration) = (
            took[..part].iter().sum(),
            took[took.len() - part..].iter().sum(),
        );
        let indexed = rate(events, whole);
        println!(
            "with indexes, 1024 a transaction    {indexed:>10.0} events/s, {:.2} of bare; last fifth {:.2} of the first; longest stall {stall:?}",
            indexed / self.base,
            first.as_secs_f64() / last.as_secs_f64()
        );
        let space = store.space().unwrap();
        let size = std::fs::metadata(self.folder.path().join("indexed.db"))
            .unwrap()
            .len();
        println!(
            "hot                                 {:>10.0} bytes/event (write-ahead log {} bytes)",
            size as f64 / events as f64,
            space.used - size
        );
        asked(&store).await;
        let (started, before) = (Instant::now(), computed());
        verify_store(&*store, chain.head()).await.unwrap();
        println!(
            "verify, from the database           {:>10.0} events/s, {:.0} a second of computing",
            rate(events, started.elapsed()),
            rate(events, computed() - before)
        );
        #[cfg(feature = "archive")]
        {
            let mut archive = Vec::new();
            let started = Instant::now();
            forge_audit::write_compressed_archive(&*store, 0, &mut archive)
                .await
                .unwrap();
            println!(
                "archived                            {:>10.0} bytes/event, {:.0} events/s",
                archive.len() as f64 / events as f64,
                rate(events, started.elapsed())
            );
        }
    }

    /// One at a time, by a task as a server's handlers are; into files that have been written over
    /// before, as those of the bare table have.
    async fn single(&self) {
        let log = AuditLog::open(self.store("single.db").await).await.unwrap();
        for some in 0..20 {
            let events = (0..1000).map(|n| event(some * 1000 + n)).collect();
            log.record_all(events).await.unwrap();
        }
        let recording = async move {
            let mut times = Vec::new();
            for event in (0..1000).map(event) {
                let started = Instant::now();
                log.record(event).await.unwrap();
                times.push(started.elapsed());
            }
            times
        };
        let times = tokio::spawn(recording).await.unwrap();
        let p99 = quantile(times.clone(), 0.99);
        println!(
            "one record, durable             p50 {:?} p99 {p99:?}, {:.1} of bare",
            quantile(times, 0.5),
            p99.as_secs_f64() / self.single.as_secs_f64()
        );
    }

    /// Verifying what is in memory already.
    async fn verify(&self) {
        let memory = MemoryAuditStore::new();
        memory.append(self.some.clone().into()).await.unwrap();
        let stored = memory.scan(0, self.some.len()).await.unwrap();
        let started = Instant::now();
        let mut verifier = forge_audit::Verifier::new();
        stored.iter().for_each(|s| verifier.push(s).unwrap());
        let in_memory = rate(stored.len() as u64, started.elapsed());
        println!("verify, in memory                   {in_memory:>10.0} events/s");
        let store = self.store("verify.db").await;
        for batch in self.some.chunks(1024) {
            store.append(batch.into()).await.unwrap();
        }
        store.seal().await.unwrap();
        // Several times, since processor time is told in hundredths of a second.
        let times = 5;
        let (started, before) = (Instant::now(), computed());
        for _ in 0..times {
            verify_store(&*store, verifier.head()).await.unwrap();
        }
        let verified = times * self.some.len() as u64;
        let of_a_core = rate(verified, computed() - before);
        println!(
            "verify, from the database           {:>10.0} events/s, {of_a_core:.0} a second of computing, {:.2} of in memory",
            rate(verified, started.elapsed()),
            of_a_core / in_memory
        );
    }
}

/// Asking a store with all events.
async fn asked(store: &SqliteAuditStore) {
    for (name, query) in [
        (
            "last 100 of a user",
            Query::new().actor("583123").limit(100),
        ),
        ("one page", Query::new().limit(100)),
        (
            "one page from the middle",
            Query::new()
                .order(Order::OldestFirst)
                .kind(Kind::Session)
                .limit(100),
        ),
    ] {
        let mut times = Vec::new();
        for i in 0..500_u64 {
            let query = if name.starts_with("last") {
                query.clone().actor((583_000 + i * 7 % 1000).to_string())
            } else {
                query.clone()
            };
            let started = Instant::now();
            let page = query.run(store).await.unwrap();
            times.push(started.elapsed());
            assert!(page.records.len() <= 100);
        }
        println!(
            "{name:<30}  p50 {:?} p99 {:?}",
            quantile(times.clone(), 0.5),
            quantile(times, 0.99)
        );
    }
    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        let until = now();
        let counts: Vec<Count> = store
            .counts(Timestamp::from_micros(until.as_micros() - 3_600_000_000)..until)
            .await
            .unwrap();
        times.push(started.elapsed());
        assert!(!counts.is_empty());
    }
    println!(
        "counts over an hour             p50 {:?} p99 {:?}",
        quantile(times.clone(), 0.5),
        quantile(times, 0.99)
    );
}

/// Handing over.
async fn enqueue() {
    let log = AuditLog::builder(Arc::new(MemoryAuditStore::new()))
        .capacity(1 << 20)
        .open()
        .await
        .unwrap();
    let prepared: Vec<Event> = (0..100_000).map(event).collect();
    let count = prepared.len() as u32;
    let started = Instant::now();
    for event in prepared {
        log.enqueue(event).unwrap();
    }
    println!(
        "enqueue                             {:?} each",
        started.elapsed() / count
    );
    log.flush().await.unwrap();
}
