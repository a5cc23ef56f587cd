//! What the log costs in PostgreSQL: `cargo bench -p forge-audit --features postgres --bench postgres`.
//!
//! Against an instance of its own, started from the installed programs, which syncs nothing to disk:
//! what is measured is the work, not the disk. Set `DATABASE` to the address of another, which may
//! be emptied. Set `EVENTS` for another number of events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_audit::{
    Actor, AuditLog, AuditStore, Chain, Event, Kind, PostgresAuditStore, Query, Record, Source,
    Timestamp, verify_store,
};
use serde_json::json;
use sqlx::PgPool;

/// Like what a server records: a thousand people, some paths, an id for each request.
fn event(n: u64) -> Event {
    let user = n.wrapping_mul(2_654_435_761) % 1000;
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    let address = [192, 0, (user / 250) as u8, (user % 250) as u8];
    Event::new(Kind::ALL[(n % 14) as usize], "http.request")
        .actor(Actor::new((583_000 + user).to_string()).login(format!("octo-{user}")))
        .source(Source::new().address(address.into()).user_agent(agent))
        .resource(["/api/me", "/api/sessions", "/mcp", "/api/admin/audit"][(n / 4 % 4) as usize])
        .request_id(format!("0198c2f0-7a1b-7c3d-8e4f-{n:012x}"))
        .details(&json!({ "method": "GET", "status": 200, "duration_ms": n % 90 }))
}

fn rate(n: u64, took: Duration) -> f64 {
    n as f64 / took.as_secs_f64()
}

fn main() {
    let is_test = std::env::args().any(|arg| arg == "--test");
    let events: u64 = std::env::var("EVENTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(if is_test { 2000 } else { 200_000 });
    let url = match std::env::var("DATABASE") {
        Ok(url) => url,
        Err(_) => match test_support::Postgres::shared() {
            Ok(postgres) => postgres.create_database(),
            Err(_) => return println!("PostgreSQL is not installed"),
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(events, &url));
}

async fn run(events: u64, url: &str) {
    let pool = PgPool::connect(url).await.unwrap();
    let open = async |origin: &str| {
        let store = PostgresAuditStore::new(pool.clone(), origin);
        store.migrate().await.unwrap();
        Arc::new(store)
    };

    let store = open("batches").await;
    let mut chain = Chain::new();
    let mut took = Duration::ZERO;
    for at in (0..events).step_by(1024) {
        let count = 1024.min(events - at);
        let records: Vec<Record> = (at..at + count)
            .map(|n| chain.append(event(n), Timestamp::from(std::time::SystemTime::now())))
            .collect();
        let started = Instant::now();
        store.append(records.into()).await.unwrap();
        took += started.elapsed();
    }
    println!(
        "one node, 1024 a batch   {:>10.0} events/s",
        rate(events, took)
    );

    let nodes = [open("node one").await, open("node two").await];
    let started = Instant::now();
    let tasks = nodes.map(|store| {
        tokio::spawn(async move {
            let log = AuditLog::open(store).await.unwrap();
            for at in (0..events / 4).step_by(1024) {
                log.record_all((at..at + 1024).map(event).collect())
                    .await
                    .unwrap();
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    let written = 2 * (events / 4).next_multiple_of(1024);
    println!(
        "two nodes, recorded      {:>10.0} events/s",
        rate(written, started.elapsed())
    );

    for (name, query) in [
        (
            "last 100 of a user",
            Query::new().actor("583123").limit(100),
        ),
        ("one page", Query::new().limit(100)),
    ] {
        for (whose, is_merged) in [("of one node", false), ("of all", true)] {
            let mut times = Vec::new();
            for _ in 0..200 {
                let started = Instant::now();
                match is_merged {
                    true => drop(store.merged(&query).await.unwrap()),
                    false => drop(query.run(&*store).await.unwrap()),
                }
                times.push(started.elapsed());
            }
            times.sort();
            println!("{name}, {whose}: p50 {:?} p99 {:?}", times[100], times[198]);
        }
    }
    let started = Instant::now();
    verify_store(&*store, chain.head()).await.unwrap();
    println!(
        "verify                   {:>10.0} events/s",
        rate(events, started.elapsed())
    );
}
