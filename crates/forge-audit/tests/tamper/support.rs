//! A log, and ways to change its file.

pub(crate) use std::path::{Path, PathBuf};
pub(crate) use std::time::Duration;

pub(crate) use forge_audit::{
    Actor, AuditStore, Chain, Event, Fault, Filter, Hash, Head, Kind, Order, Query, Retention,
    Source, SqliteAuditStore, Timestamp, VerifyError, tree_of, verify_with,
};
pub(crate) use rusqlite::Connection;
pub(crate) use serde_json::json;

pub(crate) const TRIGGERS: &str = "DROP TRIGGER audit_segment_1_no_UPDATE; DROP TRIGGER audit_segment_1_no_DELETE;
                        DROP TRIGGER audit_words_1_no_UPDATE; DROP TRIGGER audit_words_1_no_DELETE;";

pub(crate) struct Log {
    pub(crate) store: SqliteAuditStore,
    pub(crate) head: Head,
    pub(crate) root: Option<(u64, Hash)>,
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Log {
    pub(crate) async fn new() -> Self {
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
    pub(crate) async fn long(more: u64) -> Self {
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
    pub(crate) async fn pruned() -> Self {
        Self::pruned_in_segments_of(256).await
    }

    pub(crate) async fn pruned_in_segments_of(records: u64) -> Self {
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

    pub(crate) fn attack(&self, sql: &str) -> rusqlite::Result<()> {
        Connection::open(&self.path).unwrap().execute_batch(sql)
    }

    /// The block that begins last before `seq`, or with it: its first sequence and its records.
    pub(crate) fn block_of(&self, seq: i64) -> (i64, Vec<Vec<u8>>) {
        let select = "SELECT first, records FROM audit_segment_1 WHERE first <= ?1
                      ORDER BY first DESC LIMIT 1";
        let block = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?));
        let db = Connection::open(&self.path).unwrap();
        let (first, bytes) = db.query_row(select, [seq], block).unwrap();
        (first, taken_apart(&bytes))
    }

    /// Changes the records of that block.
    pub(crate) fn change(&self, seq: i64, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let (first, mut records) = self.block_of(seq);
        change(&mut records);
        let update = "UPDATE audit_segment_1 SET records = ?2 WHERE first = ?1";
        let db = Connection::open(&self.path).unwrap();
        db.execute(update, (first, put_together(&records))).unwrap();
    }

    /// The first place that does not verify, with or without the end known from elsewhere.
    pub(crate) async fn broken(&self, expected: Head) -> Option<(u64, Fault)> {
        match verify_with(&self.store, expected, self.root).await {
            Ok(_) => None,
            Err(VerifyError::Broken(broken)) => Some((broken.seq, broken.fault)),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// The records of a block: each is preceded by its length.
pub(crate) fn taken_apart(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (record, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        records.push(record.to_vec());
        bytes = rest;
    }
    records
}

pub(crate) fn put_together(records: &[Vec<u8>]) -> Vec<u8> {
    let length = |record: &Vec<u8>| (record.len() as u32).to_le_bytes();
    let records = records.iter().map(|r| [&length(r), &r[..]].concat());
    records.collect::<Vec<_>>().concat()
}
