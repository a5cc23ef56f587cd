//! Segments, blocks, words and indexes that are not what they were.

use crate::support::*;

/// Begins a segment of forged records, as whoever owns the file can: it is one of another log, so
/// that each record agrees with its hash.
fn forge(path: &Path, from: &Path, id: i64, first: i64, last: i64) {
    let db = Connection::open(path).unwrap();
    let attach = format!("ATTACH '{}' AS other", from.display());
    db.execute_batch(&attach).unwrap();
    db.execute_batch(&format!(
        "CREATE TABLE audit_segment_{id} AS SELECT * FROM other.audit_segment_1;
         CREATE TABLE audit_words_{id} AS SELECT * FROM other.audit_words_1;
         INSERT INTO audit_segments VALUES ({id}, {first}, {last}, zeroblob(32), 0, 9, 1);"
    ))
    .unwrap();
}

#[tokio::test]
async fn a_segment_beside_another_is_refused_wherever_a_page_ends() {
    let log = Log::long(16_500).await;
    assert_eq!(log.broken(log.head).await, None);
    let other = Log::new().await;
    forge(&log.path, &other.path, 99, 1, 9);
    let verified = verify_with(&log.store, log.head, []).await;
    assert!(
        matches!(verified, Err(VerifyError::Store(_))),
        "{verified:?}"
    );
    // Nor is any of it shown.
    assert!(Query::new().run(&log.store).await.is_err());
}

#[tokio::test]
async fn a_record_added_where_all_were_pruned_is_found() {
    // Two tiles in one segment: of the first nothing is left.
    let log = Log::pruned_in_segments_of(512).await;
    assert_eq!(log.broken(log.head).await, None);
    let forged = Log::new().await;
    log.attack(&format!(
        "ATTACH '{}' AS other; INSERT INTO audit_segment_1 SELECT * FROM other.audit_segment_1",
        forged.path.display()
    ))
    .unwrap();
    assert_eq!(log.broken(log.head).await, Some((1, Fault::Tile)));
}

#[tokio::test]
async fn a_record_that_is_there_twice_is_found_where_others_were_pruned() {
    let log = Log::pruned().await;
    let twice = "INSERT INTO audit_segment_2 SELECT first + 1, records FROM audit_segment_2";
    log.attack(twice).unwrap();
    assert!(log.broken(log.head).await.is_some());
}

#[tokio::test]
async fn a_record_that_is_there_twice_is_found_where_a_page_ends() {
    let log = Log::long(16_500).await;
    log.attack(TRIGGERS).unwrap();
    assert_eq!(log.broken(log.head).await, None);
    // In whichever block, also where what a verifier is shown at once ends.
    for seq in [2, 9, 100, 16_384, 16_386, 16_400] {
        let (first, record) = log.block_of(seq);
        let one = put_together(&record[(seq - first) as usize..][..1]);
        let db = Connection::open(&log.path).unwrap();
        let insert = "INSERT INTO audit_segment_1 VALUES (?1, ?2)";
        db.execute(insert, (seq, one)).unwrap();
        let rowid = db.last_insert_rowid();
        assert!(log.broken(log.head).await.is_some(), "{seq}");
        db.execute("DELETE FROM audit_segment_1 WHERE rowid = ?1", [rowid])
            .unwrap();
    }
    assert_eq!(log.broken(log.head).await, None);
}

#[tokio::test]
async fn two_segments_of_one_name_are_refused() {
    let log = Log::new().await;
    log.attack(
        "CREATE TABLE loose AS SELECT * FROM audit_segments; DROP TABLE audit_segments;
         ALTER TABLE loose RENAME TO audit_segments;
         UPDATE audit_segments SET last = 256, state = 1, until = 9;
         INSERT INTO audit_segments SELECT id, 257, 512, prev, since, NULL, 0 FROM audit_segments",
    )
    .unwrap();
    let verified = verify_with(&log.store, Head::default(), []).await;
    assert!(
        matches!(verified, Err(VerifyError::Store(_))),
        "{verified:?}"
    );
}

#[tokio::test]
async fn what_comes_behind_many_that_are_missing_is_not_passed_over() {
    let log = Log::long(40_000).await;
    log.attack(TRIGGERS).unwrap();
    // Nor is what is missing taken for the end, in one segment or in two.
    for (from, until, place) in [(513, 20_000, 513), (257, 32_700, 257), (257, 32_769, 257)] {
        log.attack(&format!(
            "DELETE FROM audit_segment_1 WHERE first >= {from} AND first < {until}"
        ))
        .unwrap();
        let broken = log.broken(Head::default()).await;
        assert_eq!(broken.map(|(seq, _)| seq), Some(place));
    }
}

#[tokio::test]
async fn what_lies_in_a_block_beyond_its_tile_is_shown_to_nobody() {
    let log = Log::long(16_500).await;
    log.attack(TRIGGERS).unwrap();
    // The last block of what a verifier is shown at once.
    log.change(16_384, |records| {
        let forged = records[0].clone();
        records.extend(std::iter::repeat_n(forged, 64));
    });
    assert_eq!(log.broken(log.head).await, None);
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let (mut query, mut found) = (Query::new().order(order).limit(1000), Vec::new());
        loop {
            let page = query.run(&log.store).await.unwrap();
            found.extend(page.records.iter().map(|record| record.seq));
            let Some(next) = page.next else { break };
            query = query.cursor(next.as_str());
        }
        if order == Order::NewestFirst {
            found.reverse();
        }
        assert!(found.into_iter().eq(1..=16_509), "{order:?}");
    }
}

#[tokio::test]
async fn a_segment_that_says_that_everything_was_pruned_ends() {
    let log = Log::new().await;
    log.attack(&format!(
        "DELETE FROM audit_segments;
         INSERT INTO audit_segments VALUES (1, 1, {}, zeroblob(32), 0, 0, 4)",
        i64::MAX - 1
    ))
    .unwrap();
    assert_eq!(log.broken(Head::default()).await, Some((1, Fault::Tile)));
}

#[tokio::test]
async fn a_word_with_the_last_of_all_ids_leaves_the_log_going_on() {
    let log = Log::new().await;
    log.attack(&format!(
        "INSERT INTO audit_words_1 (id, word) VALUES ({}, 'new')",
        i64::MAX
    ))
    .unwrap();
    let store = SqliteAuditStore::open(&log.path).await.unwrap();
    let record = Chain::resume(log.head).append(
        Event::new(Kind::System, "another.word"),
        Timestamp::from_micros(10),
    );
    store.append([record.clone()].into()).await.unwrap();
    assert_eq!(store.tail().await.unwrap().hash, record.hash);
    assert_eq!(log.broken(log.head).await, Some((1, Fault::Index)));
}

#[tokio::test]
async fn what_records_are_found_by_is_proved_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let store = SqliteAuditStore::builder(&path).segment(256);
    let store = store.open().await.unwrap();
    store.migrate().await.unwrap();
    let mut chain = Chain::new();
    let records: Vec<_> = (1..=600)
        .map(|n| {
            let event =
                Event::new(Kind::Session, "session.new").actor(Actor::new((n % 7).to_string()));
            chain.append(event, Timestamp::from_micros(n))
        })
        .collect();
    store.append(records.into()).await.unwrap();
    store.seal().await.unwrap();
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let rebuild = |table: &str, columns: &str| {
        format!(
            "CREATE TABLE new ({columns}); INSERT INTO new SELECT * FROM {table};
             DROP TABLE {table}; ALTER TABLE new RENAME TO {table};"
        )
    };
    let index = "UPDATE audit_index_1 SET";
    for (place, attack) in [
        (1, "UPDATE audit_segments SET since = 2 WHERE id = 1".to_owned()),
        (1, "UPDATE audit_segments SET until = 255 WHERE id = 1".to_owned()),
        (257, "UPDATE audit_segments SET since = 300 WHERE id = 2".to_owned()),
        (513, "UPDATE audit_segments SET until = 513 WHERE id = 3".to_owned()),
        (1, "DELETE FROM audit_index_1 WHERE col = 2".to_owned()),
        (1, "DELETE FROM audit_index_1".to_owned()),
        (257, "DROP TABLE audit_index_2".to_owned()),
        (1, format!("{index} pairs = substr(pairs, 9) WHERE col = 2")),
        (1, format!("{index} pairs = substr(pairs, 1, length(pairs) - 8) WHERE col = 2")),
        (1, format!("{index} pairs = substr(pairs, 1, 12) WHERE col = 2")),
        (1, format!("{index} pairs = x'' WHERE col = 2")),
        (1, format!("{index} last = last - 1 WHERE col = 2")),
        (1, format!("{index} block = 1 WHERE col = 2")),
        (1, format!("{index} (last, pairs) = (SELECT last, pairs FROM audit_index_1 WHERE col = 4) WHERE col = 2")),
        (257, "INSERT INTO audit_index_2 SELECT col, last, 1, pairs FROM audit_index_2 WHERE col = 2".to_owned()),
        (1, rebuild("audit_index_1", "col, last, block, pairs")),
        (1, rebuild("audit_words_1", "id INTEGER PRIMARY KEY, word TEXT")),
        (1, rebuild("audit_words_1", "id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE COLLATE NOCASE")),
        (257, rebuild("audit_segment_2", "first INTEGER PRIMARY KEY, records BLOB")),
        (1, "INSERT INTO audit_words_1 VALUES (-1, 'other')".to_owned()),
        (1, "ALTER TABLE audit_words_1 RENAME TO w; CREATE VIEW audit_words_1 AS SELECT * FROM w WHERE word <> '3'".to_owned()),
    ] {
        std::fs::write(&path, &whole).unwrap();
        let db = Connection::open(&path).unwrap();
        let store = SqliteAuditStore::builder(&path).read_only();
        let store = store.open().await.unwrap();
        assert_eq!(verify_with(&store, chain.head(), []).await.unwrap().head, chain.head());
        drop(store);
        db.execute_batch(&attack).unwrap();
        drop(db);
        let store = SqliteAuditStore::builder(&path).read_only();
        let store = store.open().await.unwrap();
        match verify_with(&store, chain.head(), []).await {
            Err(VerifyError::Broken(broken)) => {
                assert_eq!((broken.seq, broken.fault), (place, Fault::Index), "{attack}");
            }
            other => panic!("{attack}: {other:?}"),
        }
    }
}
