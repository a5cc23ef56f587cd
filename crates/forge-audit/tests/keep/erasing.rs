//! What was erased is nowhere in the file any more.

use crate::support::*;

/// How often `needle` is in the files of the log, once nobody has it open.
fn traces(folder: &tempfile::TempDir, needle: &str) -> usize {
    let files = std::fs::read_dir(folder.path()).unwrap();
    let bytes = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let count = |bytes: Vec<u8>| {
        let windows = bytes.windows(needle.len());
        windows.filter(|w| *w == needle.as_bytes()).count()
    };
    bytes.map(count).sum()
}

fn about(person: &str) -> Filter {
    let mut filter = Filter::default();
    filter.actor = Some(person.to_owned());
    filter
}

/// A person whose texts are in words and in records.
fn of(person: &str, n: u64) -> Event {
    Event::new(Kind::Session, "session.rotate")
        .actor(Actor::new(person).login(format!("{person}-login-{n}")))
        .resource(format!("{person}-thing-{n}"))
        .request_id(format!("{person}-request-{n}"))
        .details(&json!({ "note": format!("{person}-detail-{n}") }))
}

#[tokio::test]
async fn an_erased_person_leaves_no_trace() {
    for (segments, at_once) in [(256, 50), (32_768, 50), (32_768, 7), (1024, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteAuditStore::builder(folder.path().join("audit.db"))
            .segment(segments)
            .dangerous_without_sync();
        let store = Arc::new(store.open().await.unwrap());
        store.migrate().await.unwrap();
        let log = AuditLog::open(store.clone()).await.unwrap();
        // Texts in no order, so that words are spread over many pages that are split.
        for some in 0..1000 / at_once {
            let events = (some * at_once..(some + 1) * at_once).map(|n| {
                let person = ["ursula", "anna", "zoe"][n as usize % 10 % 3];
                of(person, n * 7919 % 10_007)
            });
            log.record_all(events.collect()).await.unwrap();
        }
        store.seal().await.unwrap();
        // One after the other, since what is erased moves what is not.
        for person in ["anna", "ursula"] {
            log.erase(&about(person), &Retention::new(), "request")
                .await
                .unwrap();
        }
        log.verify().await.unwrap();
        drop(log);
        drop(store);
        assert!(traces(&folder, "zoe-") > 0);
        for person in ["anna", "ursula"] {
            assert_eq!(traces(&folder, person), 0, "{person} {segments} {at_once}");
        }
    }
}

#[tokio::test]
async fn an_erased_person_leaves_no_trace_where_others_were_pruned_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    let log = AuditLog::open(store.clone()).await.unwrap();
    let events = (0..1100).map(|n| of(["ursula", "anna"][usize::from(n % 10 != 3)], n));
    log.record_all(events.collect()).await.unwrap();
    let retention = Retention::new()
        .keep_all(Duration::ZERO)
        .hold(about("ursula"));
    assert!(log.prune(&retention).await.unwrap() > 800);
    let erased = log
        .erase(&about("ursula"), &Retention::new(), "request")
        .await;
    assert_eq!(erased.unwrap(), 110);
    log.verify().await.unwrap();
    drop(log);
    drop(store);
    assert_eq!(traces(&folder, "ursula"), 0);
}

#[cfg(feature = "archive")]
#[tokio::test]
async fn an_erased_person_leaves_no_trace_of_the_first_layout() {
    // What cannot be read is kept, but not what lay beside it.
    let damage = "DROP TRIGGER audit_segment_5_no_UPDATE;
                  UPDATE audit_segment_5 SET actor = 1.5 WHERE seq = 1100";
    for damage in ["", damage] {
        let folder = tempfile::tempdir().unwrap();
        let path = crate::segments::layout_1(&folder);
        Connection::open(&path)
            .unwrap()
            .execute_batch(damage)
            .unwrap();
        let store = sqlite(&folder).await;
        let query = Query::new().limit(1000).actor("4");
        let found = query.run(&*store).await.unwrap().records;
        let ids = found.iter().filter_map(|r| r.event.request());
        let ids: Vec<_> = ids.filter(|id| id.starts_with("r-1")).collect();
        assert_eq!(ids.len(), 9);
        assert!(ids.iter().all(|id| traces(&folder, id) > 0));
        let sequences: Vec<_> = found.iter().map(|r| r.seq).collect();
        assert_eq!(store.erase(&sequences).await.unwrap(), 114);
        drop(store);
        for id in ids {
            assert_eq!(traces(&folder, id), 0, "{id} {damage}");
        }
    }
}
