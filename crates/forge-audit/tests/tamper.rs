//! Whoever owns the database file and changes it is found, with the place.
#![cfg(feature = "sqlite")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use forge_audit::{
    Actor, AuditStore, Chain, Event, Fault, Filter, Hash, Head, Kind, Order, Query, Retention,
    Source, SqliteAuditStore, Timestamp, VerifyError, tree_of, verify_with,
};
use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::json;

const TRIGGERS: &str = "DROP TRIGGER audit_segment_1_no_UPDATE; DROP TRIGGER audit_segment_1_no_DELETE;
                        DROP TRIGGER audit_words_1_no_UPDATE; DROP TRIGGER audit_words_1_no_DELETE;";

struct Log {
    store: SqliteAuditStore,
    head: Head,
    root: Option<(u64, Hash)>,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Log {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let store = SqliteAuditStore::open(&path).await.unwrap();
        store.migrate().await.unwrap();
        let mut chain = Chain::new();
        let records: Vec<_> = (1..=9)
            .map(|n| {
                let event = Event::new(Kind::AdminAction, "user.delete")
                    .actor(Actor::new("7").login("octo").session("s"))
                    .source(
                        Source::new()
                            .address("192.0.2.7".parse().unwrap())
                            .user_agent("curl"),
                    )
                    .resource("user/8")
                    .request_id("r-1")
                    .details(&json!({ "n": n }));
                chain.append(event, Timestamp::from_micros(n))
            })
            .collect();
        store.append(records.into()).await.unwrap();
        Self {
            store,
            head: chain.head(),
            root: None,
            path,
            _folder: folder,
        }
    }

    /// One with so many more; a verifier is shown 16 384 at once.
    async fn long(more: u64) -> Self {
        let mut log = Self::new().await;
        let mut chain = Chain::resume(log.head);
        let more: Vec<_> = (0..more)
            .map(|_| chain.append(Event::new(Kind::System, "x"), Timestamp::from_micros(10)))
            .collect();
        log.store.append(more.into()).await.unwrap();
        log.head = chain.head();
        log
    }

    /// One of which much was pruned, and a little was held; with the root of before as what is
    /// expected of it.
    async fn pruned() -> Self {
        Self::pruned_in_segments_of(256).await
    }

    async fn pruned_in_segments_of(records: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let store = SqliteAuditStore::builder(&path)
            .segment(records)
            .open()
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let mut chain = Chain::new();
        let records: Vec<_> = (1..=1100)
            .map(|n| {
                let event = Event::new(Kind::AdminAction, "x").resource(format!("thing/{}", n / 3));
                chain.append(event, Timestamp::from_micros(n))
            })
            .collect();
        store.append(records.into()).await.unwrap();
        store.seal().await.unwrap();
        let tree = tree_of(&store, 1100).await.unwrap();
        let mut hold = Filter::default();
        hold.resource = Some("thing/100".to_owned());
        let rules = Retention::new()
            .keep_all(Duration::ZERO)
            .hold(hold)
            .rules(Timestamp::from_micros(2000));
        let span = store.prunable(&rules).await.unwrap().unwrap();
        let told = json!({ "first": span.first, "last": span.last });
        let told = Event::new(Kind::System, "audit.prune").details(&told);
        let record = chain.append(told, Timestamp::from_micros(3000));
        store.append([record].into()).await.unwrap();
        assert!(store.prune(&rules, span).await.unwrap() > 900);
        Self {
            store,
            head: chain.head(),
            root: Some((1100, tree.root())),
            path,
            _folder: folder,
        }
    }

    fn attack(&self, sql: &str) -> rusqlite::Result<()> {
        Connection::open(&self.path).unwrap().execute_batch(sql)
    }

    /// The block that begins last before `seq`, or with it: its first sequence and its records.
    fn block_of(&self, seq: i64) -> (i64, Vec<Vec<u8>>) {
        let select = "SELECT first, records FROM audit_segment_1 WHERE first <= ?1
                      ORDER BY first DESC LIMIT 1";
        let block = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?));
        let db = Connection::open(&self.path).unwrap();
        let (first, bytes) = db.query_row(select, [seq], block).unwrap();
        (first, taken_apart(&bytes))
    }

    /// Changes the records of that block.
    fn change(&self, seq: i64, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let (first, mut records) = self.block_of(seq);
        change(&mut records);
        let update = "UPDATE audit_segment_1 SET records = ?2 WHERE first = ?1";
        let db = Connection::open(&self.path).unwrap();
        db.execute(update, (first, put_together(&records))).unwrap();
    }

    /// The first place that does not verify, with or without the end known from elsewhere.
    async fn broken(&self, expected: Head) -> Option<(u64, Fault)> {
        match verify_with(&self.store, expected, self.root).await {
            Ok(_) => None,
            Err(VerifyError::Broken(broken)) => Some((broken.seq, broken.fault)),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// The records of a block: each is preceded by its length.
fn taken_apart(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (record, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        records.push(record.to_vec());
        bytes = rest;
    }
    records
}

fn put_together(records: &[Vec<u8>]) -> Vec<u8> {
    let length = |record: &Vec<u8>| (record.len() as u32).to_le_bytes();
    let records = records.iter().map(|r| [&length(r), &r[..]].concat());
    records.collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn the_database_refuses_changes_by_mistake() {
    let log = Log::new().await;
    for sql in [
        "UPDATE audit_segment_1 SET records = x'' WHERE first = 1",
        "DELETE FROM audit_segment_1",
        "DELETE FROM audit_segment_1 WHERE first = 1",
        "UPDATE audit_words_1 SET word = 'x'",
        "DELETE FROM audit_words_1",
    ] {
        let error = log.attack(sql).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{sql}: {error}");
    }
    assert_eq!(log.broken(log.head).await, None);
}

/// Where the parts of a record are in its bytes.
const TIME: usize = 4;
const HASH: usize = 12;
const SKEW: usize = 44;
const SALT: usize = 45;
const ACTION: usize = 61;
const ACTOR: usize = 62;
const LOGIN: usize = 63;
const SESSION: usize = 64;
const ADDRESS: usize = 65;
const AGENT: usize = 70;
const RESOURCE: usize = 71;
const REQUEST_ID: usize = 72;
const DETAILS: usize = 77;
/// What a cell begins with: nothing, a text, 4 bytes, 16 bytes, the first word.
const NOTHING: u8 = 0;
const TEXT: u8 = 1;
const FOUR: u8 = 2;
const SIXTEEN: u8 = 3;
const WORDS: u8 = 4;

/// A change of the bytes from one place to before another.
type Change = (&'static str, std::ops::Range<usize>, &'static [u8]);

#[tokio::test]
async fn every_part_of_a_record_is_proved() {
    let one = |at: usize| at..at + 1;
    let changes: [Change; 35] = [
        ("erased", one(0), &[2]),
        ("another form", one(0), &[3]),
        ("kind", one(1), &[14]),
        ("no kind", one(1), &[99]),
        ("outcome", one(2), &[3]),
        ("severity", one(3), &[4]),
        ("time", one(TIME), &[5]),
        ("hash", HASH..SKEW, &[0; 32]),
        ("skew", one(SKEW), &[1]),
        ("endless skew", one(SKEW), &[0xff; 11]),
        ("salt", SALT..ACTION, &[0; 16]),
        ("action", one(ACTION), &[TEXT, 4, b'u', b's', b'e', b'r']),
        ("action of another word", one(ACTION), &[WORDS + 2]),
        ("no action", one(ACTION), &[NOTHING]),
        ("actor", one(ACTOR), &[TEXT, 1, b'8']),
        ("actor of no word", one(ACTOR), &[WORDS + 99]),
        (
            "actor of a word beyond all",
            one(ACTOR),
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ),
        ("no actor", one(ACTOR), &[NOTHING]),
        ("actor of four bytes", one(ACTOR), &[FOUR, 0, 0, 0, 0]),
        ("actor that is no UTF-8", one(ACTOR), &[TEXT, 1, 0xff]),
        (
            "actor that is longer than all",
            one(ACTOR),
            &[TEXT, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ),
        ("no login", one(LOGIN), &[NOTHING]),
        ("session of another word", one(SESSION), &[WORDS + 1]),
        ("address", ADDRESS + 1..AGENT, &[192, 0, 2, 8]),
        ("address of a word", ADDRESS..AGENT, &[WORDS + 1]),
        ("no agent", one(AGENT), &[NOTHING]),
        ("no resource", one(RESOURCE), &[NOTHING]),
        ("request id", REQUEST_ID + 4..DETAILS, b"2"),
        (
            "request id of 16 bytes",
            REQUEST_ID..DETAILS,
            &[SIXTEEN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
        ("details", DETAILS..usize::MAX, b"\x01\x02{}"),
        ("no details", DETAILS..usize::MAX, &[NOTHING]),
        ("details of a word", DETAILS..usize::MAX, &[WORDS]),
        (
            "details that are no JSON",
            DETAILS..usize::MAX,
            b"\x01\x02no",
        ),
        ("cut", SALT..usize::MAX, &[]),
        ("nothing at all", 0..usize::MAX, &[]),
    ];
    for (name, range, bytes) in changes {
        let log = Log::new().await;
        log.attack(TRIGGERS).unwrap();
        assert_eq!(log.broken(Head::default()).await, None);
        log.change(4, |records| {
            let range = range.start..range.end.min(records[3].len());
            records[3].splice(range, bytes.iter().copied());
        });
        assert_eq!(
            log.broken(Head::default()).await.map(|(seq, _)| seq),
            Some(4),
            "{name}"
        );
        let shown = Query::new().run(&log.store).await.unwrap().records;
        assert_eq!(shown.len(), 9, "{name}");
        let damaged = shown.iter().filter(|r| r.event.action() == "audit.damaged");
        let damaged: Vec<_> = damaged.map(|r| r.seq).collect();
        // With a hash that is wrong, the record after it is not what it was either.
        assert_eq!(damaged.last(), Some(&4), "{name}");
    }
}

#[tokio::test]
async fn a_text_in_place_of_its_word_is_found_since_a_query_would_not_find_it() {
    for (cell, bytes) in [
        (ACTION, &b"\x01\x0buser.delete"[..]),
        (ACTOR, b"\x01\x017"),
        (RESOURCE, b"\x01\x06user/8"),
    ] {
        let log = Log::new().await;
        log.attack(TRIGGERS).unwrap();
        log.change(4, |records| {
            records[3].splice(cell..=cell, bytes.iter().copied());
        });
        // Though it says what was recorded.
        let shown = Query::new().run(&log.store).await.unwrap().records;
        assert_eq!(shown[5].event.action(), "user.delete");
        assert_eq!(
            log.broken(Head::default()).await.map(|(seq, _)| seq),
            Some(4)
        );
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_found_and_breaks_no_query() {
    for (change, place) in [
        ("records = NULL", 1),
        ("records = 7", 1),
        ("records = 'x'", 1),
        ("records = x'ffffffff'", 1),
        ("first = 'x'", 1),
        ("first = -7", 1),
        ("first = 3", 1),
        ("first = NULL", 1),
    ] {
        let log = Log::new().await;
        log.attack(
            "CREATE TABLE loose AS SELECT * FROM audit_segment_1;
             DROP TABLE audit_segment_1; ALTER TABLE loose RENAME TO audit_segment_1;",
        )
        .unwrap();
        log.attack(&format!("UPDATE audit_segment_1 SET {change}"))
            .unwrap();
        let broken = log.broken(log.head).await;
        assert_eq!(broken.map(|(seq, _)| seq), Some(place), "{change}");
        let shown = Query::new().run(&log.store).await.unwrap().records;
        let sound = shown.iter().filter(|r| r.event.action() != "audit.damaged");
        // None that stands where it does not belong.
        assert!(
            sound.clone().all(|r| r.event.action() == "user.delete"),
            "{change}"
        );
    }
}

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

/// Of hashes that a tile keeps a byte of each is flipped, of the rest all; with
/// `FORGE_AUDIT_EVERY_BYTE` set, all of those too.
fn step(length: usize) -> usize {
    if length == 257 * 32 && std::env::var_os("FORGE_AUDIT_EVERY_BYTE").is_none() {
        31 * 8
    } else {
        1
    }
}

/// Flips each byte of each value of `table`, one after the other.
async fn flip_every_byte(
    log: &Log,
    table: &str,
    key: &str,
    found: impl Fn(Option<(u64, Fault)>) -> bool,
) {
    let db = Connection::open(&log.path).unwrap();
    db.execute_batch("PRAGMA ignore_check_constraints = ON")
        .unwrap();
    let columns: Vec<String> = db
        .prepare(&format!(
            "SELECT name FROM pragma_table_info('{table}') WHERE name <> '{key}'"
        ))
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let keys: Vec<i64> = db
        .prepare(&format!("SELECT {key} FROM {table} ORDER BY {key}"))
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut flips = 0;
    for column in columns {
        for row in [keys[0], keys[keys.len() / 2]] {
            let select = format!("SELECT {column} FROM {table} WHERE {key} = ?1");
            let value: Value = db.query_row(&select, [row], |row| row.get(0)).unwrap();
            let variants: Vec<Value> = match &value {
                Value::Integer(n) => (0..63).map(|bit| Value::Integer(n ^ (1 << bit))).collect(),
                Value::Text(text) => (0..text.len())
                    .filter_map(|i| {
                        let mut bytes = text.clone().into_bytes();
                        bytes[i] ^= 1;
                        String::from_utf8(bytes).ok().map(Value::Text)
                    })
                    .collect(),
                Value::Blob(bytes) => (0..bytes.len())
                    .step_by(step(bytes.len()))
                    .map(|i| {
                        let mut bytes = bytes.clone();
                        bytes[i] ^= 0x80;
                        Value::Blob(bytes)
                    })
                    .collect(),
                _ => Vec::new(),
            };
            let update = format!("UPDATE {table} SET {column} = ?1 WHERE {key} = ?2");
            for variant in variants {
                flips += 1;
                db.execute(&update, (&variant, row)).unwrap();
                let broken = log.broken(Head::default()).await;
                assert!(
                    found(broken),
                    "{table}.{column} of {row}: {variant:?}: {broken:?}"
                );
            }
            db.execute(&update, (&value, row)).unwrap();
        }
    }
    assert!(flips > 10, "{table}: {flips}");
    assert_eq!(log.broken(log.head).await, None);
}

#[tokio::test]
async fn every_flipped_byte_of_every_field_is_found() {
    let log = Log::new().await;
    log.attack(TRIGGERS).unwrap();
    flip_every_byte(&log, "audit_segment_1", "first", |broken| broken.is_some()).await;
    flip_every_byte(&log, "audit_words_1", "id", |broken| broken.is_some()).await;
}

#[tokio::test]
async fn every_flipped_byte_of_a_kept_hash_is_found() {
    let log = Log::pruned().await;
    flip_every_byte(&log, "audit_tiles", "idx", |broken| broken.is_some()).await;
    let db = Connection::open(&log.path).unwrap();
    let nodes: Vec<(i64, Vec<u8>)> = db
        .prepare("SELECT idx, hash FROM audit_nodes WHERE level = 8")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (idx, hash) in nodes {
        for i in 0..hash.len() {
            let mut flipped = hash.clone();
            flipped[i] ^= 1;
            let update = "UPDATE audit_nodes SET hash = ?1 WHERE level = 8 AND idx = ?2";
            db.execute(update, (&flipped, idx)).unwrap();
            assert!(log.broken(Head::default()).await.is_some(), "{idx} {i}");
            db.execute(update, (&hash, idx)).unwrap();
        }
    }
    assert_eq!(log.broken(log.head).await, None);
}

#[tokio::test]
async fn a_record_deleted_swapped_or_added_is_found_where_it_was() {
    type Attack = fn(&mut Vec<Vec<u8>>);
    let attacks: [(Attack, u64); 5] = [
        (|records| drop(records.remove(0)), 1),
        (|records| drop(records.remove(4)), 5),
        (|records| records.swap(2, 3), 3),
        (|records| records.insert(4, records[4].clone()), 6),
        (|records| records.push(records[8].clone()), 10),
    ];
    for (attack, place) in attacks {
        let log = Log::new().await;
        log.attack(TRIGGERS).unwrap();
        log.change(1, attack);
        let broken = log.broken(Head::default()).await;
        assert_eq!(broken.map(|(seq, _)| seq), Some(place), "{place}");
    }
}

#[tokio::test]
async fn an_end_cut_off_is_found_with_the_end_known_from_elsewhere() {
    let log = Log::new().await;
    log.attack(TRIGGERS).unwrap();
    log.change(1, |records| records.truncate(7));
    // The chain alone cannot tell.
    assert_eq!(log.broken(Head::default()).await, None);
    assert_eq!(log.broken(log.head).await, Some((8, Fault::Missing)));
}

#[tokio::test]
async fn a_log_computed_anew_is_found_with_the_end_known_from_elsewhere() {
    let log = Log::new().await;
    let forged = Log::new().await;
    forged.attack(TRIGGERS).unwrap();
    forged
        .attack(
            "DROP TABLE audit_segment_1; DROP TABLE audit_words_1; DELETE FROM audit_segments;
             DELETE FROM audit_counts",
        )
        .unwrap();
    let mut chain = Chain::new();
    let records: Vec<_> = (1..=9)
        .map(|n| chain.append(Event::new(Kind::System, "x"), Timestamp::from_micros(n)))
        .collect();
    forged.store.append(records.into()).await.unwrap();
    assert_eq!(forged.broken(Head::default()).await, None);
    assert_eq!(forged.broken(log.head).await, Some((9, Fault::Replaced)));
}
