//! A store in a SQLite database file of its own.

mod block;
mod fill;
mod find;
mod hot;
mod index;
mod keep;
mod open;
mod pack;
mod read;
mod row;
mod segment;
mod sound;
mod space;
mod upgrade;
mod walk;
mod worker;
mod write;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use self::open::{beside, check, connect, connect_read_only, migrate};
use self::read::Reader;
pub use self::space::Space;
use self::worker::{State, Worker};
use self::write::{Append, Sizes, Writer};
use super::{AuditStore, Count, Rules, SignedNote, Span, StoreFuture};
use crate::chain::{Hash, Head};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::query::Selection;
use crate::record::{Record, Stored};
use crate::verify::Verifier;

/// So many batches are taken at once; those that wait together share a transaction.
const DEPTH: usize = 64;
/// After so many records, or a quarter as many commits, the write-ahead log is copied back.
const TIDY: usize = 8192;

/// Keeps records in a SQLite database file, which should hold nothing else.
///
/// Write-ahead log, `synchronous=FULL`: what [`append`](AuditStore::append) has answered survives
/// a loss of power. What waits to be appended shares a transaction. Records lie in segments, in
/// blocks of those that were appended together; the index of a segment is built once it is full, so
/// that appending does not slow down as the log grows, and retention drops a segment as a whole.
/// Writing, reading, walking and tidying up each have a thread and a connection of their own; those
/// that read cannot write. Triggers refuse to change or delete a record; they stop mistakes, not
/// somebody who owns the file, whom the chain and the checkpoints show.
pub struct SqliteAuditStore {
    // Dropped in this order: the connection that closes last moves the write-ahead log into the
    // file, and only one that may write can.
    reader: Worker<Reader>,
    walker: Worker<Reader>,
    tidier: Arc<Worker<Tidier>>,
    writer: Worker<Writer>,
    appends: mpsc::Sender<Append>,
    since_tidy: AtomicUsize,
    is_tidying: Arc<AtomicBool>,
    is_tidied: Arc<AtomicBool>,
    path: PathBuf,
}

/// Settings of a [`SqliteAuditStore`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteAuditStoreBuilder {
    path: PathBuf,
    sizes: Sizes,
    synchronous: &'static str,
    is_read_only: bool,
}

impl SqliteAuditStoreBuilder {
    /// How many records a segment has. The default is 32 768; brought to a multiple of 256.
    ///
    /// Retention drops segments; a smaller one goes sooner, and more of them are more tables.
    pub fn segment(mut self, records: u64) -> Self {
        self.sizes.rows = records.clamp(256, segment::MAX_ROWS).next_multiple_of(256);
        self
    }

    /// After how long a segment is full though it has room. The default is 7 days.
    ///
    /// Where little happens, it bounds how much longer than it should retention keeps a record.
    pub fn segment_time(mut self, time: Duration) -> Self {
        self.sizes.time = time;
        self
    }

    /// The largest size of the write-ahead log, in bytes. The default is 64 MiB.
    pub fn max_wal(mut self, bytes: u64) -> Self {
        self.sizes.wal = bytes;
        self
    }

    /// Gives up durability: `synchronous=NORMAL`. A loss of power loses what was acknowledged since
    /// the last checkpoint of the write-ahead log; a crash of the process loses nothing.
    pub fn dangerous_without_sync(mut self) -> Self {
        self.synchronous = "NORMAL";
        self
    }

    /// Only reads: nothing is created, and every change is an error. For verifying and searching a
    /// log that is not one's own, also one on a medium that cannot be written.
    ///
    /// If there is no write-ahead log beside the file, nobody writes it, and it is taken for one
    /// that nobody will: what is written while it is open reads as damage.
    pub fn read_only(mut self) -> Self {
        self.is_read_only = true;
        self
    }

    /// Opens the database file, and creates it if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the file cannot be opened; [`StoreError::Layout`] and
    /// [`StoreError::Schema`] if it is to be read only and holds no log of this version.
    pub async fn open(self) -> Result<SqliteAuditStore, StoreError> {
        let hot = write::Hot::default();
        let Self {
            path,
            sizes,
            synchronous,
            is_read_only,
        } = self;
        let (file, shared) = (path.clone(), Arc::clone(&hot));
        let (appends, waiting) = mpsc::channel();
        let is_tidied = Arc::new(AtomicBool::new(false));
        let tidied = Arc::clone(&is_tidied);
        let writer = Worker::start("forge-audit-write", move || {
            if is_read_only {
                let db = connect_read_only(&file)?;
                check(&db)?;
                return Ok(Writer::new(db, waiting, file, sizes, shared, tidied));
            }
            let db = connect(
                &file,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            )?;
            // Has an effect only before the first table.
            db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            db.pragma_update(None, "journal_mode", "WAL")?;
            db.pragma_update(None, "synchronous", synchronous)?;
            // Of a page that is split nothing stays where it was: who is erased later must not be there.
            db.pragma_update(None, "secure_delete", "FAST")?;
            db.pragma_update(None, "wal_autocheckpoint", 0)?;
            db.pragma_update(
                None,
                "journal_size_limit",
                i64::try_from(sizes.wal).unwrap_or(i64::MAX),
            )?;
            Ok(Writer::new(db, waiting, file, sizes, shared, tidied))
        })
        .await?;
        let read = |name, hot: &write::Hot| {
            let (file, hot) = (path.clone(), Arc::clone(hot));
            Worker::start(name, move || {
                let db = match is_read_only {
                    true => connect_read_only(&file)?,
                    false => connect(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
                };
                Ok(Reader { db, hot })
            })
        };
        let reader = read("forge-audit-read", &hot).await?;
        let walker = read("forge-audit-walk", &hot).await?;
        let file = path.clone();
        let tidier = Worker::start("forge-audit-tidy", move || {
            if is_read_only {
                let db = connect_read_only(&file)?;
                return Ok(Tidier { db });
            }
            let db = connect(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            db.pragma_update(None, "synchronous", synchronous)?;
            Ok(Tidier { db })
        })
        .await?;
        Ok(SqliteAuditStore {
            writer,
            appends,
            reader,
            walker,
            tidier: Arc::new(tidier),
            since_tidy: AtomicUsize::new(0),
            is_tidying: Arc::new(AtomicBool::new(false)),
            is_tidied,
            path,
        })
    }
}

/// The side that copies the write-ahead log back into the database.
struct Tidier {
    db: Connection,
}

impl State for Tidier {}

impl SqliteAuditStore {
    /// Opens the database file at `path`, and creates it if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the file cannot be opened.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder(path).open().await
    }

    /// A store in the database file at `path`, with settings of your own.
    pub fn builder(path: impl AsRef<Path>) -> SqliteAuditStoreBuilder {
        SqliteAuditStoreBuilder {
            path: path.as_ref().to_owned(),
            sizes: Sizes {
                rows: 32_768,
                time: Duration::from_secs(7 * 86_400),
                wal: 64 << 20,
            },
            synchronous: "FULL",
            is_read_only: false,
        }
    }

    /// Brings the schema up to this version of the crate.
    ///
    /// # Errors
    ///
    /// [`StoreError::Schema`] if the database is of a newer version, [`StoreError::Layout`] if it is
    /// of one before the first release, or the database's error.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.writer.run(|writer| migrate(&writer.db)).await
    }

    /// Builds the indexes of all segments that are full, which otherwise happens in pauses.
    ///
    /// # Errors
    ///
    /// The database's error.
    pub async fn seal(&self) -> Result<(), StoreError> {
        while self.writer.run(Writer::build).await? {}
        Ok(())
    }

    /// Gives room of deleted records back to the file system, up to `pages` pages, while nothing is
    /// written. Returns how many pages are left to be given back.
    ///
    /// # Errors
    ///
    /// The database's error.
    pub async fn vacuum(&self, pages: u32) -> Result<u64, StoreError> {
        let vacuum = move |writer: &mut Writer| {
            let mut step = writer
                .db
                .prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = step.query([])?;
            while rows.next()?.is_some() {}
            drop(rows);
            let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            let left = writer.db.query_row("PRAGMA freelist_count", [], count)?;
            Ok(left.cast_unsigned())
        };
        self.writer.run(vacuum).await
    }

    /// Copies the write-ahead log back when enough was written, on its own thread.
    fn tidy(&self, records: usize) {
        let worth = records.max(4);
        let due = self.since_tidy.fetch_add(worth, Ordering::Relaxed) + worth >= TIDY;
        if !due || self.is_tidying.swap(true, Ordering::Relaxed) {
            return;
        }
        self.since_tidy.store(0, Ordering::Relaxed);
        let (done, tidied) = (Arc::clone(&self.is_tidying), Arc::clone(&self.is_tidied));
        // Runs whether or not the future is awaited.
        drop(self.tidier.run(move |tidier| {
            let step = tidier
                .db
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            tidied.store(true, Ordering::Relaxed);
            done.store(false, Ordering::Relaxed);
            Ok(step?)
        }));
    }
}

impl fmt::Debug for SqliteAuditStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteAuditStore").finish_non_exhaustive()
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if write::is_full(&error) {
            Self::Full(error.into())
        } else {
            Self::unavailable(error)
        }
    }
}

impl AuditStore for SqliteAuditStore {
    fn append(&self, records: Arc<[Record]>) -> StoreFuture<'_, ()> {
        let count = records.len();
        if count == 0 {
            return Box::pin(async { Ok(()) });
        }
        let (answer, waiting) = oneshot::channel();
        // If the thread is gone, `answer` goes with what it was to append, and `waiting` says so.
        drop(self.appends.send(Append { records, answer }));
        self.writer.post(Writer::append);
        Box::pin(async move {
            waiting.await.map_err(StoreError::unavailable)??;
            self.tidy(count);
            Ok(())
        })
    }

    fn depth(&self) -> usize {
        DEPTH
    }

    fn tail(&self) -> StoreFuture<'_, Head> {
        // On the connection that writes, so that it sees all that was written.
        self.writer.run(|writer| Ok(writer.end()?.head))
    }

    fn query<'a>(&'a self, selection: &'a Selection) -> StoreFuture<'a, Vec<Stored>> {
        let selection = selection.clone();
        self.reader.run(move |reader| reader.query(&selection))
    }

    fn scan(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        self.walker
            .run(move |reader| reader.snapshot(|db| walk::scan(db, after, limit)))
    }

    fn feed(&self, mut verifier: Verifier) -> StoreFuture<'_, Verifier> {
        self.walker.run(move |reader| {
            reader.snapshot(|db| walk::feed(db, &mut verifier))?;
            Ok(verifier)
        })
    }

    fn nodes(&self, level: u8, first: u64, count: usize) -> StoreFuture<'_, Vec<Hash>> {
        self.walker
            .run(move |reader| reader.snapshot(|db| walk::nodes(db, level, first, count as u64)))
    }

    fn add_checkpoint(&self, checkpoint: SignedNote) -> StoreFuture<'_, ()> {
        self.writer.run(move |writer| {
            let SignedNote { size, text } = checkpoint;
            writer
                .db
                .prepare_cached(
                    "INSERT OR IGNORE INTO audit_checkpoints (size, text) VALUES (?1, ?2)",
                )?
                .execute((size.cast_signed(), text))?;
            Ok(())
        })
    }

    fn checkpoints(&self, after: u64, limit: usize) -> StoreFuture<'_, Vec<SignedNote>> {
        self.walker
            .run(move |reader| read::checkpoints(&reader.db, after, limit))
    }

    fn counts(&self, during: Range<Timestamp>) -> StoreFuture<'_, Vec<Count>> {
        self.reader
            .run(move |reader| read::counts(&reader.db, &during))
    }

    fn prunable<'a>(&'a self, rules: &'a Rules) -> StoreFuture<'a, Option<Span>> {
        let rules = rules.clone();
        self.walker
            .run(move |reader| reader.snapshot(|db| keep::prunable(db, &rules)))
    }

    fn prune<'a>(&'a self, rules: &'a Rules, span: Span) -> StoreFuture<'a, u64> {
        let rules = rules.clone();
        self.writer.run(move |writer| {
            // Segments that waited for indexes may be gone.
            writer.end = None;
            keep::prune(&writer.db, &rules, span)
        })
    }

    fn begin_after(&self, end: Head, tiles: Vec<Hash>) -> StoreFuture<'_, ()> {
        self.writer
            .run(move |writer| writer.begin_after(end, &tiles))
    }

    fn erase<'a>(&'a self, sequences: &'a [u64]) -> StoreFuture<'a, u64> {
        let sequences = sequences.to_vec();
        self.writer.run(move |writer| {
            // The words of the open segment change.
            writer.end = None;
            keep::erase(&writer.db, &sequences)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;
    use crate::{Event, Kind};
    use rusqlite::types::Value;
    use std::fs;

    #[tokio::test]
    async fn the_tables_of_before_the_first_release_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "CREATE TABLE audit_schema (version INTEGER NOT NULL) STRICT;
             INSERT INTO audit_schema VALUES (1);
             CREATE TABLE audit_records (seq INTEGER PRIMARY KEY) STRICT;",
        )
        .unwrap();
        drop(db);
        let reading = SqliteAuditStore::builder(&path).read_only().open().await;
        assert!(matches!(reading, Err(StoreError::Layout)));
        let store = SqliteAuditStore::open(&path).await.unwrap();
        assert!(matches!(store.migrate().await, Err(StoreError::Layout)));
    }

    #[tokio::test]
    async fn a_copy_without_what_is_beside_it_tells_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let writing = SqliteAuditStore::open(path("audit.db")).await.unwrap();
        writing.migrate().await.unwrap();
        fs::copy(path("audit.db"), path("copy.db")).unwrap();
        let reading = || SqliteAuditStore::builder(path("copy.db")).read_only();
        let alone = reading().open().await.unwrap_err();
        assert!(alone.to_string().contains("-wal file"), "{alone}");
        fs::copy(path("audit.db-wal"), path("copy.db-wal")).unwrap();
        assert_eq!(reading().open().await.unwrap().tail().await.unwrap().seq, 0);
    }

    #[tokio::test]
    async fn who_only_reads_makes_nothing_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        // A name that means something in a URI.
        let path = folder.path().join("a log?x=%41#1.db");
        let missing = SqliteAuditStore::builder(&path).read_only().open().await;
        assert!(matches!(missing, Err(StoreError::Unavailable(_))));
        let mut chain = Chain::new();
        let mut record = || chain.append(Event::new(Kind::System, "x"), Timestamp::default());
        let writing = SqliteAuditStore::open(&path).await.unwrap();
        writing.migrate().await.unwrap();
        writing.append([record()].into()).await.unwrap();
        let read = async || {
            let store = SqliteAuditStore::builder(&path).read_only().open().await;
            let store = store.unwrap();
            let found = store.scan(0, 10).await.unwrap().len();
            assert_eq!(store.tail().await.unwrap().seq, found as u64);
            (found, store)
        };
        // Beside one that writes, and alone.
        assert_eq!(read().await.0, 1);
        writing.append([record()].into()).await.unwrap();
        assert_eq!(read().await.0, 2);
        drop(writing);
        let bytes = fs::read(&path).unwrap();
        let (found, store) = read().await;
        assert_eq!(found, 2);
        assert!(store.append([record()].into()).await.is_err());
        assert!(store.erase(&[1]).await.is_err());
        drop(store);
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let db = Connection::open_in_memory().unwrap();
        migrate(&db).unwrap();
        migrate(&db).unwrap();
        db.execute("UPDATE audit_schema SET version = 99", [])
            .unwrap();
        assert!(matches!(
            migrate(&db),
            Err(StoreError::Schema {
                found: 99,
                known: 2
            })
        ));
    }

    #[tokio::test]
    async fn a_store_that_is_dropped_leaves_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteAuditStore::open(folder.path().join("audit.db"))
            .await
            .unwrap();
        store.migrate().await.unwrap();
        assert_eq!(store.tail().await.unwrap().seq, 0);
        drop(store);
        let names = std::fs::read_dir(folder.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["audit.db"]);
    }

    #[tokio::test]
    async fn commits_are_synced_and_the_reader_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteAuditStore::open(folder.path().join("audit.db"))
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let pragma = |name| {
            move |writer: &mut Writer| {
                Ok(writer
                    .db
                    .pragma_query_value(None, name, |row| row.get::<_, Value>(0))?)
            }
        };
        let mode = store.writer.run(pragma("journal_mode")).await.unwrap();
        assert_eq!(mode, Value::Text("wal".into()));
        // 2 is FULL.
        let synchronous = store.writer.run(pragma("synchronous")).await.unwrap();
        assert_eq!(synchronous, Value::Integer(2));
        const WRITE: &str = "UPDATE audit_schema SET version = 2";
        let refused = store.reader.run(|reader| Ok(reader.db.execute(WRITE, [])?));
        assert!(refused.await.is_err());
        let taken = store.writer.run(|writer| Ok(writer.db.execute(WRITE, [])?));
        assert_eq!(taken.await.unwrap(), 1);
    }
}
