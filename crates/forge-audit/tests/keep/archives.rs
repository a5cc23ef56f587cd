//! Archives, verified and imported.

use crate::support::*;

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
    let lines = |archive: &[u8]| {
        let mut read = Vec::new();
        archive_lines(archive).ok()?.read_to_end(&mut read).ok()?;
        Some(read)
    };
    for archive in [&plain, &small] {
        assert_eq!(lines(archive).unwrap(), plain);
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
        // Zstandard has bits that mean nothing, as one in the head of each frame.
        let means_the_same = || lines(&flipped).is_some_and(|read| read == plain);
        assert!(!check(&flipped) || means_the_same(), "byte {at}");
    }
}
