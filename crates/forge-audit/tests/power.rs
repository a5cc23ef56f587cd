//! The power fails: of what was written only what was synced is left. What had been acknowledged is
//! there with `synchronous=FULL`, and is not with NORMAL, which shows that this test can tell.
//!
//! The writing process runs with a library before the C library's that writes down each write and
//! each sync (`preload/unsynced.c`); no code of the crate knows of it. From that the files are built
//! as they would be found after the power failed at each acknowledgement.
#![cfg(all(feature = "sqlite", target_os = "linux"))]

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forge_audit::{AuditLog, AuditStore, Event, Kind, SqliteAuditStore, verify_store};
use std::sync::Arc;

const CHILD: &str = "FORGE_AUDIT_POWER_CHILD";
const EVENTS: u64 = 60;

/// Not a test by itself: the process whose power fails.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let path = PathBuf::from(path);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let mut builder = SqliteAuditStore::builder(&path);
        if path.parent().unwrap().ends_with("normal") {
            builder = builder.dangerous_without_sync();
        }
        let store = builder.open().await.unwrap();
        store.migrate().await.unwrap();
        let log = AuditLog::open(Arc::new(store)).await.unwrap();
        let mut acks = fs::File::create(path.with_file_name("acks")).unwrap();
        for _ in 0..EVENTS {
            let receipt = log
                .record(Event::new(Kind::System, "power.test"))
                .await
                .unwrap();
            acks.write_all(&receipt.seq.to_le_bytes()).unwrap();
        }
    });
}

/// A file as the disk has it, and what waits to get there.
#[derive(Default)]
struct Disk {
    synced: Vec<u8>,
    waiting: Vec<(u8, u64, Vec<u8>)>,
}

impl Disk {
    fn sync(&mut self) {
        for (kind, offset, data) in self.waiting.drain(..) {
            let offset = offset as usize;
            if kind == b't' {
                self.synced.resize(offset, 0);
                continue;
            }
            let end = offset + data.len();
            if self.synced.len() < end {
                self.synced.resize(end, 0);
            }
            self.synced[offset..end].copy_from_slice(&data);
        }
    }
}

/// What is lost at the worst moment: the most events acknowledged and not there after the power
/// failed, over all acknowledgements looked at.
async fn worst_loss(folder: &Path, library: &Path, mode: &str) -> u64 {
    let folder = folder.join(mode);
    fs::create_dir(&folder).unwrap();
    let trace = folder.with_extension("trace");
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact"])
        .env(CHILD, folder.join("audit.db"))
        .env("LD_PRELOAD", library)
        .env("UNSYNCED_FOLDER", &folder)
        .env("UNSYNCED_TRACE", &trace)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let trace = fs::read(trace).unwrap();
    let mut rest = &trace[..];
    let mut disks: HashMap<String, Disk> = HashMap::new();
    let (mut worst, mut looked) = (0, 0);
    while let Some((kind, after)) = rest.split_first() {
        let number = |i: usize| u64::from_le_bytes(after[i * 8..i * 8 + 8].try_into().unwrap());
        let (path_length, offset, length) = (number(0) as usize, number(1), number(2) as usize);
        let path = String::from_utf8(after[24..24 + path_length].to_vec()).unwrap();
        let data = &after[24 + path_length..24 + path_length + length];
        rest = &after[24 + path_length + length..];
        let name = path.rsplit('/').next().unwrap().to_owned();
        if name == "acks" {
            let acknowledged = u64::from_le_bytes(data.try_into().unwrap());
            if acknowledged % 7 == 0 || acknowledged == EVENTS {
                looked += 1;
                worst = worst.max(acknowledged - survivors(&folder, &disks).await);
            }
            continue;
        }
        let disk = disks.entry(name).or_default();
        match kind {
            b's' => disk.sync(),
            _ => disk.waiting.push((*kind, offset, data.to_vec())),
        }
    }
    assert!(looked > 5);
    worst
}

/// How many records are there when the power has failed now.
async fn survivors(folder: &Path, disks: &HashMap<String, Disk>) -> u64 {
    let found = tempfile::tempdir_in(folder.parent().unwrap()).unwrap();
    for (name, disk) in disks {
        fs::write(found.path().join(name), &disk.synced).unwrap();
    }
    let store = SqliteAuditStore::open(found.path().join("audit.db"))
        .await
        .unwrap();
    // Without a table there is no record.
    let Ok(head) = store.tail().await else {
        return 0;
    };
    verify_store(&store, head).await.unwrap();
    head.seq
}

#[tokio::test]
async fn full_loses_nothing_acknowledged_when_the_power_fails_and_normal_does() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("unsynced.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/preload/unsynced.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no C compiler");
        return;
    }
    assert_eq!(worst_loss(folder.path(), &library, "full").await, 0);
    assert!(worst_loss(folder.path(), &library, "normal").await > 0);
}
