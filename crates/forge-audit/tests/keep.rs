//! What leaves the log, and what comes into it by another way.
#![cfg(all(feature = "checkpoint", feature = "sqlite"))]

use std::io::BufReader;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_audit::{
    Actor, Archive, ArchiveError, AuditLog, AuditStore, CheckpointFile, CheckpointKey, Event,
    Export, Fault, Filter, Format, Kind, ManualClock, MemoryAuditStore, Next, OUTBOX_SQLITE,
    Outbox, OutboxEntry, Query, Retention, Severity, SignedNote, SqliteAuditStore, StoreError,
    StoreFuture, Timestamp, Verifier, VerifyError, import_archive, split_notes, verify_archive,
    verify_signed, verify_store, write_archive,
};
use rusqlite::Connection;
use serde_json::json;

fn event(n: u64) -> Event {
    Event::new(Kind::Session, "session.rotate")
        .actor(Actor::new((n % 7).to_string()).login("octo"))
        .request_id(format!("0198c2f0-7a1b-7c3d-8e4f-{n:012x}"))
        .details(&json!({ "n": n, "f": 0.1, "text": "ü\u{202e}" }))
}

fn key() -> CheckpointKey {
    CheckpointKey::new("forge.example/audit", &[7; 32]).unwrap()
}

async fn sqlite(folder: &tempfile::TempDir) -> Arc<SqliteAuditStore> {
    let store = SqliteAuditStore::builder(folder.path().join("audit.db")).segment(256);
    let store = store.open().await.unwrap();
    store.migrate().await.unwrap();
    Arc::new(store)
}

async fn signed_log(
    store: Arc<dyn AuditStore>,
    events: u64,
) -> (AuditLog, Arc<Mutex<Vec<SignedNote>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let hear = move |note: &SignedNote| heard.lock().unwrap().push(note.clone());
    let log = AuditLog::builder(store)
        .checkpoints(key(), events, Duration::from_secs(3600), hear)
        .open()
        .await
        .unwrap();
    (log, told)
}

#[tokio::test]
async fn checkpoints_are_signed_every_so_many_events_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    for round in 0..2 {
        let (log, _) = signed_log(store.clone(), 100).await;
        for n in 0..25 {
            log.record_all((0..10).map(|i| event(n * 10 + i)).collect())
                .await
                .unwrap();
        }
        log.shutdown().await.unwrap();
        let sizes: Vec<_> = store
            .checkpoints(0, 100)
            .await
            .unwrap()
            .iter()
            .map(|c| c.size)
            .collect();
        // On reopening the tree goes on from what is stored.
        let expected: &[u64] = &[100, 200, 250, 260, 360, 460, 500];
        let expected = if round == 0 { &expected[..3] } else { expected };
        assert_eq!(sizes, expected);
    }
    let verified = verify_signed(&*store, &key().verifier(), &[])
        .await
        .unwrap();
    assert_eq!((verified.head.seq, verified.checkpoints), (500, 7));
}

#[tokio::test]
async fn a_log_cut_or_computed_anew_is_found_with_a_checkpoint_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("checkpoints");
    let store = sqlite(&folder).await;
    let log = AuditLog::builder(store.clone())
        .checkpoints(
            key(),
            50,
            Duration::from_secs(3600),
            CheckpointFile::new(&elsewhere),
        )
        .open()
        .await
        .unwrap();
    log.record_all((0..50).map(event).collect()).await.unwrap();
    log.shutdown().await.unwrap();
    // The file is written by a thread that the log does not wait for.
    while !elsewhere.exists()
        || split_notes(&std::fs::read_to_string(&elsewhere).unwrap()).is_empty()
    {
        tokio::task::yield_now().await;
    }
    let notes = split_notes(&std::fs::read_to_string(&elsewhere).unwrap());
    let verifier = key().verifier();
    assert_eq!(
        verify_signed(&*store, &verifier, &notes)
            .await
            .unwrap()
            .checkpoints,
        2
    );

    let place = |result: Result<_, VerifyError>| match result {
        Err(VerifyError::Broken(broken)) => (broken.seq, broken.fault),
        other => panic!("{other:?}"),
    };
    // Another log of the same length, and one that is shorter; both verify by themselves.
    for (events, expected) in [(50, (50, Fault::Root)), (30, (31, Fault::Missing))] {
        let forged: Arc<dyn AuditStore> = Arc::new(MemoryAuditStore::new());
        let log = AuditLog::open(Arc::clone(&forged)).await.unwrap();
        log.record_all((0..events).map(event).collect())
            .await
            .unwrap();
        verify_signed(&*forged, &verifier, &[]).await.unwrap();
        assert_eq!(
            place(verify_signed(&*forged, &verifier, &notes).await),
            expected
        );
    }
    // A stored checkpoint of another key, or changed by one byte.
    let db = Connection::open(folder.path().join("audit.db")).unwrap();
    let text: String = db
        .query_row("SELECT text FROM audit_checkpoints", [], |r| r.get(0))
        .unwrap();
    for i in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[i] ^= 1;
        let Ok(flipped) = String::from_utf8(bytes) else {
            continue;
        };
        db.execute("UPDATE audit_checkpoints SET text = ?1", [flipped])
            .unwrap();
        let found = place(verify_signed(&*store, &verifier, &[]).await);
        assert_eq!(found, (50, Fault::Checkpoint), "byte {i}");
    }
}

#[tokio::test]
async fn an_archive_verifies_without_a_database_and_can_be_imported() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    let (log, _) = signed_log(store.clone(), 100).await;
    log.record_all((0..600).map(event).collect()).await.unwrap();
    let mut person = Filter::default();
    person.actor = Some("3".to_owned());
    log.erase(&person, &Retention::new(), "request")
        .await
        .unwrap();
    log.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    let last = write_archive(&*store, 0, &mut bytes).await.unwrap();
    assert_eq!(last, 601);

    let verifier = key().verifier();
    let trusted = |note: &str| verifier.open(note).ok().map(|c| (c.size, c.root));
    let check = |bytes: &[u8]| verify_archive(|| Ok(BufReader::new(bytes)), &[], trusted);
    let verified = check(&bytes).unwrap();
    assert_eq!((verified.head.seq, verified.erased), (601, 86));
    assert!(verified.checkpoints >= 1);

    // Imported it is the same log, and found in.
    let copy = MemoryAuditStore::new();
    let sqlite_copy = sqlite(&tempfile::tempdir_in(folder.path()).unwrap()).await;
    for copy in [&copy as &dyn AuditStore, &*sqlite_copy] {
        let archive = Archive::open(BufReader::new(&bytes[..])).unwrap();
        let imported = import_archive(archive, copy).await;
        let imported = imported.unwrap();
        assert_eq!(imported, 601);
        verify_signed(copy, &verifier, &[]).await.unwrap();
        let found = Query::new().actor("4").limit(1000).run(copy).await.unwrap();
        let own = log
            .query(&Query::new().actor("4").limit(1000))
            .await
            .unwrap();
        assert_eq!(found.records, own.records);
    }

    // Lines taken out, swapped or changed are found.
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        let text = lines.join("\n") + "\n";
        match check(text.as_bytes()) {
            Err(ArchiveError::Broken(broken)) => Some(broken.seq),
            Err(ArchiveError::Line { line }) => Some(line - 1),
            Err(error) => panic!("{error:?}"),
            Ok(_) => None,
        }
    };
    assert_eq!(with(&|_| ()), None);
    assert_eq!(with(&|lines| drop(lines.remove(5))), Some(5));
    assert_eq!(with(&|lines| lines.swap(7, 8)), Some(7));
    assert_eq!(
        with(&|lines| lines.retain(|l| !l.starts_with("{\"seq\":6"))),
        Some(6)
    );
    for i in 0..lines[9].len() {
        let found = with(&|lines| {
            let mut bytes = lines[9].clone().into_bytes();
            bytes[i] ^= 1;
            if let Ok(text) = String::from_utf8(bytes) {
                lines[9] = text;
            } else {
                lines[9].clear();
            }
        });
        assert!(matches!(found, Some(9 | 10)), "byte {i}: {found:?}");
    }
}

#[tokio::test]
async fn archives_made_one_after_the_other_are_imported_alone_or_together() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    let clock = ManualClock::new(Timestamp::from_micros(1));
    let log = AuditLog::builder(store.clone())
        .clock(clock.clone())
        .checkpoints(key(), 100, Duration::from_secs(3600), ())
        .open()
        .await
        .unwrap();
    log.record_all((0..600).map(event).collect()).await.unwrap();
    log.flush().await.unwrap();
    let mut first = Vec::new();
    assert_eq!(write_archive(&*store, 0, &mut first).await.unwrap(), 600);
    log.record_all((600..900).map(event).collect())
        .await
        .unwrap();
    log.shutdown().await.unwrap();
    let mut second = Vec::new();
    assert_eq!(write_archive(&*store, 600, &mut second).await.unwrap(), 900);

    let verifier = key().verifier();
    let trusted = |note: &str| verifier.open(note).ok().map(|c| (c.size, c.root));
    let check = |bytes: &[u8]| verify_archive(|| Ok(BufReader::new(bytes)), &[], trusted);
    let verified = check(&second).unwrap();
    assert_eq!((verified.head.seq, verified.left_out), (900, 512));
    assert!(verified.checkpoints >= 1);
    // The roots before are proved by the checkpoints, though the records are not there.
    let text = String::from_utf8(second.clone()).unwrap();
    let other = text.replacen("\"hash\":\"", "\"hash\":\"AAAA", 1);
    assert!(check(other.as_bytes()).is_err());
    let mut flipped = text.clone().into_bytes();
    let at = text.find("\"hash\":\"").unwrap() + 10;
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    assert!(matches!(check(&flipped), Err(ArchiveError::Broken(_))));

    for parts in [&[&first, &second][..], &[&second]] {
        let copy = sqlite(&tempfile::tempdir_in(folder.path()).unwrap()).await;
        let mut imported = 0;
        for part in parts {
            let archive = Archive::open(BufReader::new(&part[..])).unwrap();
            imported += import_archive(archive, &*copy).await.unwrap();
        }
        assert_eq!(imported, if parts.len() == 2 { 900 } else { 388 });
        let query = Query::new().actor("4").limit(1000);
        let found = query.run(&*copy).await.unwrap().records;
        let own = log.query(&query).await.unwrap().records;
        assert!(!found.is_empty() && own.starts_with(&found));
        let mut verifying = Verifier::new();
        verifying.leave_out(if parts.len() == 2 { 0 } else { 512 });
        let verified = verifying.run(&*copy, log.head()).await.unwrap();
        assert_eq!(verified.head, log.head());
        // What was left out is not passed off as all there is.
        assert_eq!(
            verify_store(&*copy, log.head()).await.is_ok(),
            parts.len() == 2
        );
    }
    // One that does not follow on what is there is refused.
    let copy = MemoryAuditStore::new();
    let archive = Archive::open(BufReader::new(&second[..])).unwrap();
    assert!(import_archive(archive, &copy).await.is_err());
}

#[tokio::test]
async fn an_archive_of_a_pruned_log_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    let clock = ManualClock::new(Timestamp::from_micros(1));
    let log = AuditLog::builder(store.clone())
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    log.record_all((0..800).map(event).collect()).await.unwrap();
    clock.advance(Duration::from_secs(10));
    let mut held = Filter::default();
    held.request_id = event(300).request().map(str::to_owned);
    let retention = Retention::new().keep_all(Duration::from_secs(1)).hold(held);
    assert_eq!(log.prune(&retention).await.unwrap(), 767);
    let mut bytes = Vec::new();
    write_archive(&*store, 0, &mut bytes).await.unwrap();
    let none = |_: &str| None;
    let check = |bytes: &[u8]| verify_archive(|| Ok(BufReader::new(bytes)), &[], none);
    let verified = check(&bytes).unwrap();
    assert_eq!((verified.head.seq, verified.pruned), (801, 767));
    let archive = Archive::open(BufReader::new(&bytes[..])).unwrap();
    let refused = import_archive(archive, &MemoryAuditStore::new()).await;
    assert!(matches!(refused, Err(ArchiveError::Pruned)));
    // Hostile counts end in an error, not in a panic.
    for count in [0, 2, u64::MAX] {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let text = text.replacen("\"pruned\":256", &format!("\"pruned\":{count}"), 1);
        assert!(check(text.as_bytes()).is_err(), "{count}");
    }
}

#[cfg(feature = "archive")]
#[tokio::test]
async fn a_compressed_archive_is_small_and_reads_as_the_same_lines() {
    use forge_audit::{archive_lines, write_compressed_archive};
    use std::io::Read;
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    let log = AuditLog::open(store.clone()).await.unwrap();
    log.record_all((0..600).map(event).collect()).await.unwrap();
    let (mut plain, mut small) = (Vec::new(), Vec::new());
    write_archive(&*store, 0, &mut plain).await.unwrap();
    let last = write_compressed_archive(&*store, 0, &mut small).await;
    assert_eq!(last.unwrap(), 600);
    assert!(small.len() * 3 < plain.len());
    for archive in [&plain, &small] {
        let mut read = Vec::new();
        archive_lines(&archive[..])
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, plain);
    }
    // Bytes that are wrong are an error, also when the archive is only cut.
    let check = |bytes: &[u8]| {
        let verified = verify_archive(|| archive_lines(bytes), &[], |_| None);
        verified.is_ok_and(|verified| verified.head.seq == 600)
    };
    assert!(check(&small));
    assert!(!check(&small[..small.len() - 1]));
    for at in (0..small.len()).step_by(97) {
        let mut flipped = small.clone();
        flipped[at] ^= 0x10;
        assert!(!check(&flipped), "byte {at}");
    }
}

#[tokio::test]
async fn an_export_is_taken_up_again_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    let log = AuditLog::open(store.clone()).await.unwrap();
    log.record_all((0..1500).map(event).collect())
        .await
        .unwrap();
    log.record_all((1500..2600).map(event).collect())
        .await
        .unwrap();
    for format in Format::ALL {
        let (mut whole, mut export) = (String::new(), Export::new(store.clone(), *format));
        while let Some(piece) = export.next().await.unwrap() {
            whole.push_str(&piece.text);
        }
        let header = usize::from(!format.header().is_empty());
        assert_eq!(whole.lines().count(), 2600 + header);
        // Anew after each piece.
        let (mut again, mut after) = (String::new(), 0);
        while let Some(piece) = Export::new(store.clone(), *format)
            .after(after)
            .next()
            .await
            .unwrap()
        {
            again.push_str(&piece.text);
            after = piece.last;
        }
        assert_eq!(again, whole);
        assert_eq!(format.as_str().parse(), Ok(*format));
    }
    let mut filter = Filter::default();
    filter.actor = Some("3".to_owned());
    let mut export = Export::new(store, Format::JsonLines).filter(filter);
    let piece = export.next().await.unwrap().unwrap();
    assert!(
        piece
            .text
            .lines()
            .all(|line| line.contains(r#""actor":{"id":"3""#))
    );
}

#[tokio::test]
async fn a_follower_gets_every_record_once_and_gaps_by_name() {
    let store = Arc::new(MemoryAuditStore::new());
    let clock = ManualClock::new(Timestamp::from_micros(1));
    let log = AuditLog::builder(store.clone())
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    log.record_all((0..300).map(event).collect()).await.unwrap();
    clock.advance(Duration::from_secs(100));
    log.prune(&Retention::new().keep_all(Duration::from_secs(1)))
        .await
        .unwrap();
    let mut tail = log.tail(10);
    let mut after = 10;
    let told = loop {
        match tail.next().await.unwrap().unwrap() {
            Next::Gap(span) => {
                assert_eq!(span.first, after + 1);
                after = span.last;
            }
            Next::Record(record) => break record,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((after, told.event.action()), (300, "audit.prune"));
    // It waits, and gets what comes, while others write.
    let writer = {
        let log = log.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                log.record_all(vec![event(n), event(n)]).await.unwrap();
            }
        })
    };
    for seq in 302..402 {
        let next = tail.next().await.unwrap().unwrap();
        assert!(
            matches!(&next, Next::Record(_)) && next.last() == seq,
            "{next:?}"
        );
    }
    writer.await.unwrap();
    // One that has seen more than there is gets told.
    let mut ahead = log.tail(500);
    assert!(
        matches!(ahead.next().await.unwrap(), Some(Next::Gap(span)) if (span.first, span.last) == (402, 500))
    );
    log.record(event(1)).await.unwrap();
    assert_eq!(ahead.next().await.unwrap().unwrap().last(), 402);
}

#[tokio::test]
async fn where_little_happens_a_segment_ends_by_its_age() {
    let folder = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let store = SqliteAuditStore::builder(folder.path().join("audit.db")).segment_time(day);
    let store = Arc::new(store.open().await.unwrap());
    store.migrate().await.unwrap();
    let clock = ManualClock::new(Timestamp::from_micros(1));
    let log = AuditLog::builder(store.clone())
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    for n in 0..8 {
        log.record_all((0..100).map(|i| event(n * 100 + i)).collect())
            .await
            .unwrap();
        clock.advance(day / 2);
    }
    // A segment of 32 768 would still be open. These began at 1, 257, 513 and 769.
    let retention = Retention::new().keep_all(day);
    assert_eq!(log.prune(&retention).await.unwrap(), 600);
    let left = log.query(&Query::new().limit(1000)).await.unwrap().records;
    assert_eq!(left.len(), 201);
    log.verify().await.unwrap();
    // What is pruned goes back to the file system in the end.
    let used = store.space().unwrap().used;
    while store.vacuum(8).await.unwrap() > 0 {}
    drop(log);
    drop(store);
    let size = std::fs::metadata(folder.path().join("audit.db"))
        .unwrap()
        .len();
    assert!(size < used, "{size} {used}");
}

#[tokio::test]
async fn after_an_erasure_new_texts_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::open(sqlite(&folder).await).await.unwrap();
    log.record_all((0..7).map(event).collect()).await.unwrap();
    let mut person = Filter::default();
    person.actor = Some("3".to_owned());
    log.erase(&person, &Retention::new(), "request")
        .await
        .unwrap();
    // The ids of its words were given away, and are not given again.
    let new = Event::new(Kind::Session, "session.new").actor(Actor::new("new"));
    log.record(new).await.unwrap();
    let found = log.query(&Query::new().actor("new")).await.unwrap();
    assert_eq!(found.records[0].event.action(), "session.new");
    log.verify().await.unwrap();
}

struct Db(Mutex<Connection>);

impl Outbox for Db {
    fn peek(&self, limit: usize) -> StoreFuture<'_, Vec<OutboxEntry>> {
        let db = self.0.lock().unwrap();
        let mut select = db
            .prepare("SELECT id, occurred, event FROM audit_outbox ORDER BY occurred LIMIT ?1")
            .unwrap();
        let entry = |row: &rusqlite::Row<'_>| {
            Ok(OutboxEntry::from_row(
                row.get(0)?,
                Timestamp::from_micros(row.get(1)?),
                row.get(2)?,
            ))
        };
        let found: Result<Vec<_>, _> = select.query_map([limit as i64], entry).unwrap().collect();
        Box::pin(std::future::ready(found.map_err(StoreError::unavailable)))
    }

    fn remove(&self, ids: Vec<[u8; 16]>) -> StoreFuture<'_, ()> {
        let db = self.0.lock().unwrap();
        for id in ids {
            db.execute("DELETE FROM audit_outbox WHERE id = ?1", [id])
                .unwrap();
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn an_event_in_the_outbox_shares_the_fate_of_its_change_and_is_recorded_once() {
    let mut db = Connection::open_in_memory().unwrap();
    db.execute_batch(OUTBOX_SQLITE).unwrap();
    db.execute_batch("CREATE TABLE users (id INTEGER)").unwrap();
    let store = Arc::new(MemoryAuditStore::new());
    let clock = ManualClock::new(Timestamp::from_micros(5));
    let log = AuditLog::builder(store)
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    for (id, commits) in [(1, true), (2, false), (3, true)] {
        let mut change = db.transaction().unwrap();
        change
            .execute("INSERT INTO users VALUES (?1)", [id])
            .unwrap();
        let told = Event::new(Kind::UserManagement, "user.add").resource(format!("user/{id}"));
        log.record_in(&mut change, &told).await.unwrap();
        if commits {
            change.commit().unwrap();
        }
    }
    clock.advance(Duration::from_secs(1));
    let outbox = Db(Mutex::new(db));
    // The process ends after the events were recorded, before they were removed.
    let waiting = outbox.peek(10).await.unwrap();
    assert_eq!(log.relay(&outbox).await.unwrap(), 2);
    for entry in waiting {
        let db = outbox.0.lock().unwrap();
        db.execute(
            "INSERT INTO audit_outbox VALUES (?1, ?2, ?3)",
            (entry.id, entry.occurred.as_micros(), entry.event),
        )
        .unwrap();
    }
    assert_eq!(log.relay(&outbox).await.unwrap(), 0);
    let found = log
        .query(&Query::new().action("user.add"))
        .await
        .unwrap()
        .records;
    let mut told: Vec<_> = found
        .iter()
        .map(|r| (r.event.target().unwrap(), r.occurred.as_micros()))
        .collect();
    told.sort();
    assert_eq!(told, [("user/1", 5), ("user/3", 5)]);
    assert_eq!(log.relay(&outbox).await.unwrap(), 0);
}

#[tokio::test]
async fn a_flood_becomes_one_event_with_its_number() {
    let store = Arc::new(MemoryAuditStore::new());
    let log = AuditLog::builder(store)
        .coalesce(3, Duration::from_secs(60))
        .open()
        .await
        .unwrap();
    for n in 0..100 {
        for actor in ["1", "2"] {
            log.enqueue(Event::new(Kind::RateLimit, "limit.hit").actor(Actor::new(actor)))
                .unwrap();
        }
        let severe = Event::new(Kind::SecurityViolation, "x").severity(Severity::High);
        log.enqueue(severe.details(&json!({ "n": n }))).unwrap();
    }
    log.shutdown().await.unwrap();
    let count = |query: Query| {
        let log = log.clone();
        async move { log.query(&query.limit(1000)).await.unwrap().records }
    };
    assert_eq!(
        count(Query::new().kind(Kind::SecurityViolation))
            .await
            .len(),
        100
    );
    for actor in ["1", "2"] {
        let found = count(Query::new().actor(actor)).await;
        assert_eq!(found.len(), 4);
        assert_eq!(found[0].event.details_value().unwrap()["coalesced"], 97);
    }
}

#[cfg(feature = "subscriber")]
#[tokio::test]
async fn marked_events_of_tracing_are_recorded_and_those_of_the_log_are_not() {
    use tracing_subscriber::layer::SubscriberExt;
    let log = AuditLog::open(Arc::new(MemoryAuditStore::new()))
        .await
        .unwrap();
    let subscriber =
        tracing_subscriber::registry().with(forge_audit::AuditTracing::new(log.clone()));
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::info!("unmarked");
    tracing::warn!(
        audit = "config.reload",
        kind = "configuration_change",
        outcome = "failure",
        actor = 7,
        file = "x",
        token = "secret"
    );
    // What the log itself says about this record does not come back.
    for _ in 0..3 {
        log.flush().await.unwrap();
    }
    let found = log.query(&Query::new()).await.unwrap().records;
    assert_eq!(found.len(), 1);
    let event = &found[0].event;
    assert_eq!(
        (event.kind(), event.action(), event.level()),
        (Kind::ConfigurationChange, "config.reload", Severity::Medium)
    );
    assert_eq!(event.who().id(), Some("7"));
    assert_eq!(
        event.details_value().unwrap(),
        &json!({ "file": "x", "token": "[redacted]" })
    );
}
