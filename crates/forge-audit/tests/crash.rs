//! A process that writes is killed, again and again: what it had acknowledged is there.
#![cfg(feature = "sqlite")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use forge_audit::{AuditLog, AuditStore, Event, Kind, SqliteAuditStore, verify_store};

const CHILD: &str = "FORGE_AUDIT_CRASH_CHILD";

async fn open(path: &Path) -> Arc<SqliteAuditStore> {
    let store = SqliteAuditStore::builder(path)
        .segment(256)
        .open()
        .await
        .unwrap();
    store.migrate().await.unwrap();
    Arc::new(store)
}

/// Not a test by itself: the process that is killed. It writes with sixteen producers and says each
/// sequence once it is acknowledged.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let log = AuditLog::open(open(Path::new(&path)).await).await.unwrap();
        let producers = (0..16).map(|_| {
            let log = log.clone();
            tokio::spawn(async move {
                loop {
                    let receipt = log
                        .record(Event::new(Kind::System, "crash.test"))
                        .await
                        .unwrap();
                    // One call, one line: lines of producers do not mix.
                    let line = format!("ack {}\n", receipt.seq);
                    if std::io::stderr().write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            })
        });
        for producer in producers.collect::<Vec<_>>() {
            producer.await.unwrap();
        }
    });
}

/// How often the process is killed: `FORGE_AUDIT_KILLS`, or a hundred times.
fn kills() -> u64 {
    std::env::var("FORGE_AUDIT_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100)
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_and_the_log_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut whole) = (0, 0);
    for round in 0..kills() {
        // A log lives through ten deaths; all of it is verified after each.
        let path = folder.path().join(format!("audit-{}.db", round / 10));
        if round % 10 == 0 {
            whole += std::mem::take(&mut acknowledged);
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // At another moment each time: in the middle of a batch, of an index, of a new segment.
        let target = 20 + round * 37 % 400;
        let mut acks = 0;
        for line in lines {
            let Ok(line) = line else { break };
            if let Some(seq) = line
                .strip_prefix("ack ")
                .and_then(|seq| seq.parse::<u64>().ok())
            {
                acknowledged = acknowledged.max(seq);
                acks += 1;
                if acks == target {
                    // SIGKILL. What it has said before still comes through the pipe.
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(acks >= target, "the process ended by itself");
        let store = open(&path).await;
        let head = store.tail().await.unwrap();
        assert!(head.seq >= acknowledged, "{} < {acknowledged}", head.seq);
        verify_store(&*store, head).await.unwrap();
    }
    assert!(whole + acknowledged >= kills() * 20);
}
