//! Appending: one thread, one connection, one transaction a batch.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::fill::{Dictionary, fill};
use super::hot::Columns;
use super::index;
use super::segment::{self, Phase, Segment};
use super::worker::State;
use crate::chain::{Hash, Head};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::record::Record;
use crate::store::Count;
use crate::tree::{LEVELS, Node, TILE, Tree};

/// A transaction takes half of what is under way: who made that ready makes the next half ready
/// while the other is written. Of fewer records than the first it takes all, of more than the second
/// no more.
const HALF: RangeInclusive<usize> = 128..=2048;
/// After so many records an index is built although there is no pause.
const OVERDUE: usize = 4096;

pub(super) type Hot = Arc<RwLock<Vec<Columns>>>;

/// Records to be appended, and who waits for it.
pub(super) struct Append {
    pub(super) records: Arc<[Record]>,
    pub(super) answer: Answer,
}

type Answer = oneshot::Sender<Result<(), StoreError>>;

/// How many events of each sort are appended.
type Counts = BTreeMap<(Timestamp, u8, u8, u8), Count>;

/// The side that writes.
pub(super) struct Writer {
    pub(super) db: Connection,
    /// What is to be appended, in the order in which it was asked for.
    appends: mpsc::Receiver<Append>,
    /// Of these, what was left for the next transaction.
    waiting: VecDeque<Append>,
    /// So many records the last transaction took.
    last: usize,
    path: PathBuf,
    sizes: Sizes,
    /// Segments without indexes, for those who read.
    hot: Hot,
    /// `None` until it is read, and again when it may not be what is stored.
    pub(super) end: Option<End>,
    /// The end was read once. Before, there may be no tables yet.
    has_tables: bool,
    /// Records appended since the last index was built.
    since_index: usize,
    /// Most of the write-ahead log was copied back on another thread; the rest is little.
    is_tidied: Arc<AtomicBool>,
}

/// When something has become large enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// How many records a new segment has room for: a multiple of 256.
    pub(super) rows: u64,
    /// After so long a segment is full though it has room, at its next multiple of 256.
    pub(super) time: Duration,
    /// Largest size of the write-ahead log, in bytes.
    pub(super) wal: u64,
}

/// The end of the log, as it is stored.
pub(super) struct End {
    /// Changes when another connection writes.
    version: i64,
    pub(super) head: Head,
    tree: Tree,
    segment: Option<Segment>,
    words: Dictionary,
    /// Segments that wait for indexes.
    full: Vec<Segment>,
}

/// Runs `change` in a transaction that has the right to write from the beginning.
pub(super) fn transaction<T>(
    db: &Connection,
    change: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let done = change(db).and_then(|done| {
        db.prepare_cached("COMMIT")?.execute([])?;
        Ok(done)
    });
    if done.is_err() && !db.is_autocommit() {
        db.execute_batch("ROLLBACK")?;
    }
    done
}

fn data_version(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}

impl Writer {
    pub(super) fn new(
        db: Connection,
        appends: mpsc::Receiver<Append>,
        path: PathBuf,
        sizes: Sizes,
        hot: Hot,
        is_tidied: Arc<AtomicBool>,
    ) -> Self {
        Self {
            db,
            appends,
            waiting: VecDeque::new(),
            last: 0,
            path,
            sizes,
            hot,
            end: None,
            has_tables: false,
            since_index: 0,
            is_tidied,
        }
    }

    /// Appends what waits for it, and what comes meanwhile, in one transaction.
    pub(super) fn append(&mut self) {
        self.waiting.extend(self.appends.try_iter());
        // Perhaps it went with one before.
        let Some(first) = self.waiting.pop_front() else {
            return;
        };
        let (mut next, mut taken) = (Some(first), Vec::new());
        let mut failure = self.append_all(&mut next, &mut taken).err();
        let is_written = failure.is_none();
        taken.extend(next.map(|append| (append.answer, false)));
        for (answer, fits) in taken {
            // Where nothing is written, one is told why; the others do not begin where the log ends.
            let done = match fits && is_written {
                true => Ok(()),
                false => Err(failure.take().unwrap_or(StoreError::Conflict)),
            };
            // Nobody may wait any more.
            let _ = answer.send(done);
        }
        if self.is_tidied.swap(false, Ordering::Relaxed) {
            self.restart_wal();
        }
    }

    /// Copies the rest of the write-ahead log back, so that it begins anew: to write over what is
    /// there takes half the time of making a file longer.
    fn restart_wal(&self) {
        let step = "PRAGMA wal_checkpoint(PASSIVE)";
        if let Err(error) = self.db.query_row(step, [], |_| Ok(())) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(target: crate::trace::TARGET, error, "the write-ahead log of the audit log could not be copied back yet");
        }
    }

    fn append_all(
        &mut self,
        next: &mut Option<Append>,
        taken: &mut Vec<(Answer, bool)>,
    ) -> Result<(), StoreError> {
        self.cap_wal()?;
        let waiting = next.iter().chain(&self.waiting);
        let waiting: usize = waiting.map(|append| append.records.len()).sum();
        let half = (self.last + waiting).div_ceil(2);
        let half = half.clamp(*HALF.start(), *HALF.end());
        // Taken out: whatever fails, it is read anew.
        let end = self.end.take();
        let (db, hot, sizes) = (&self.db, &self.hot, self.sizes);
        let (appends, waiting) = (&self.appends, &mut self.waiting);
        self.last = 0;
        let (end, news, count) = transaction(db, |db| {
            let version = data_version(db)?;
            let mut end = match end.filter(|end| end.version == version) {
                Some(end) => end,
                None => load(db, hot, version)?,
            };
            let (mut news, mut count, mut counts) = (Vec::new(), 0, Counts::new());
            while let Some(Append { records, answer }) = next.take() {
                let first = &records[0];
                let fits = first.seq == end.head.seq + 1 && first.prev == end.head.hash;
                taken.push((answer, fits));
                if fits {
                    news.extend(insert(db, &mut end, sizes, &records, &mut counts)?);
                    count += records.len();
                }
                if count < half {
                    *next = waiting.pop_front().or_else(|| appends.try_recv().ok());
                }
            }
            add_counts(db, &counts)?;
            Ok((end, news, count))
        })?;
        self.last = count;
        self.end = Some(end);
        self.has_tables = true;
        let mut hot = hot.write().unwrap_or_else(PoisonError::into_inner);
        for news in news {
            self.since_index += news.len();
            match hot.iter_mut().find(|columns| columns.id == news.id) {
                Some(columns) => columns.append(news),
                None => hot.push(news),
            }
        }
        Ok(())
    }

    /// The end of the log, read if it has to be.
    pub(super) fn end(&mut self) -> Result<&End, StoreError> {
        let version = data_version(&self.db)?;
        let end = match self.end.take().filter(|end| end.version == version) {
            Some(end) => end,
            None => load(&self.db, &self.hot, version)?,
        };
        self.has_tables = true;
        Ok(self.end.insert(end))
    }

    /// Begins an empty log after `end`, with the roots of all tiles before.
    pub(super) fn begin_after(&mut self, end: Head, tiles: &[Hash]) -> Result<(), StoreError> {
        self.end = None;
        let rows = self.sizes.rows;
        if end.seq != tiles.len() as u64 * TILE || tiles.is_empty() {
            return Err(StoreError::Conflict);
        }
        transaction(&self.db, |db| {
            if !segment::all(db)?.is_empty() {
                return Err(StoreError::Conflict);
            }
            let mut tree = Tree::new();
            for (index, tile) in (0..).zip(tiles) {
                let mut nodes = vec![Node {
                    level: 8,
                    index,
                    hash: *tile,
                }];
                tree.push_node_and_tell(*tile, 8, |node| nodes.push(node));
                keep_nodes(db, &nodes)?;
            }
            let since = end.time.as_micros();
            let gone = Segment {
                id: 1,
                first: 1,
                last: end.seq,
                prev: Hash::default(),
                since,
                until: Some(since),
                phase: Phase::Gone,
            };
            gone.insert(db)?;
            let open = Segment {
                id: 2,
                first: end.seq + 1,
                last: (end.seq + 1).next_multiple_of(rows),
                prev: end.hash,
                until: None,
                phase: Phase::Open,
                ..gone
            };
            open.create(db)?;
            Ok(())
        })
    }

    /// Builds the index of a segment that is full. Whether there is more to do.
    pub(super) fn build(&mut self) -> Result<bool, StoreError> {
        self.since_index = 0;
        if self.db.is_readonly(rusqlite::MAIN_DB)? {
            return Ok(false);
        }
        let Some(segment) = self.end()?.full.first().copied() else {
            return Ok(false);
        };
        {
            let hot = self.hot.read().unwrap_or_else(PoisonError::into_inner);
            let columns = hot.iter().find(|columns| columns.id == segment.id);
            let columns = columns.ok_or(StoreError::Altered)?;
            transaction(&self.db, |db| {
                index::build(db, columns)?;
                Ok(segment.set_phase(db, Phase::Sealed)?)
            })?;
        }
        if let Some(end) = &mut self.end {
            end.full.remove(0);
        }
        self.hot
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|columns| columns.id != segment.id);
        Ok(self.end.as_ref().is_some_and(|end| !end.full.is_empty()))
    }

    /// Empties the write-ahead log if it has outgrown its bound, which it only can when the thread
    /// that tidies up does not keep pace.
    fn cap_wal(&self) -> Result<(), StoreError> {
        let size = std::fs::metadata(super::beside(&self.path, "-wal")).map_or(0, |m| m.len());
        if size > self.sizes.wal {
            self.db
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(())
    }
}

impl State for Writer {
    fn tend(&mut self) -> bool {
        if !self.has_tables {
            return false;
        }
        match self.build() {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(target: crate::trace::TARGET, error = &error as &dyn std::error::Error, "an index of the audit log could not be built yet");
                false
            }
        }
    }

    fn is_overdue(&self) -> bool {
        self.since_index >= OVERDUE && self.end.as_ref().is_some_and(|end| !end.full.is_empty())
    }
}

/// Reads the end of the log, and what is in segments without indexes.
fn load(db: &Connection, hot: &Hot, version: i64) -> Result<End, StoreError> {
    let segments = segment::all(db)?;
    let head = segment::tail(db, &segments)?;
    let open = segments.last().copied().filter(|s| s.phase == Phase::Open);
    let words = open.map(|open| Dictionary::read(db, open.id));
    let unindexed = |s: &&Segment| matches!(s.phase, Phase::Open | Phase::Full);
    let columns = segments
        .iter()
        .filter(unindexed)
        .map(|s| Columns::read(db, s));
    let columns = columns.collect::<Result<Vec<_>, StoreError>>()?;
    *hot.write().unwrap_or_else(PoisonError::into_inner) = columns;
    let full = segments.iter().filter(|s| s.phase == Phase::Full).copied();
    Ok(End {
        version,
        head,
        tree: tree(db, head.seq)?,
        segment: open,
        words: words.transpose()?.unwrap_or_default(),
        full: full.collect(),
    })
}

/// The tree of all that is stored.
fn tree(db: &Connection, size: u64) -> Result<Tree, StoreError> {
    let mut tree = Tree::new();
    for level in LEVELS.into_iter().rev() {
        let count = (size >> level) - (tree.size() >> level);
        let nodes = super::walk::nodes(db, level, tree.size() >> level, count)?;
        if nodes.len() as u64 != count {
            return Err(StoreError::Altered);
        }
        nodes
            .into_iter()
            .for_each(|node| tree.push_node(node, level));
    }
    Ok(tree)
}

fn insert(
    db: &Connection,
    end: &mut End,
    sizes: Sizes,
    mut records: &[Record],
    counts: &mut Counts,
) -> Result<Vec<Columns>, StoreError> {
    let mut news = Vec::new();
    while let Some(first) = records.first() {
        let time = i64::try_from(sizes.time.as_micros()).unwrap_or(i64::MAX);
        let is_old = |s: &Segment| first.time.as_micros().saturating_sub(s.since) >= time;
        let segment = match end.segment.filter(|s| s.contains(first.seq)) {
            // Where it ends, a tile does.
            Some(s)
                if is_old(&s) && first.seq > s.first && (first.seq - 1).is_multiple_of(TILE) =>
            {
                roll(db, end, sizes.rows, first)?
            }
            Some(segment) => segment,
            None => roll(db, end, sizes.rows, first)?,
        };
        let last = match is_old(&segment) {
            true => segment.last.min(first.seq.next_multiple_of(TILE)),
            false => segment.last,
        };
        let room = usize::try_from(last - first.seq + 1).unwrap_or(usize::MAX);
        let (fit, rest) = records.split_at(room.min(records.len()));
        records = rest;
        let mut columns = Columns::new(segment.id, segment.first);
        fill(db, segment.id, &mut end.words, fit, &mut columns)?;
        news.push(columns);
        for record in fit {
            let mut nodes = Vec::new();
            end.tree.push_and_tell(record.hash, |node| nodes.push(node));
            keep_nodes(db, &nodes)?;
            let count = Count::of(record);
            counts
                .entry(count.key())
                .and_modify(|c| c.events += 1)
                .or_insert(count);
            end.head = Head {
                seq: record.seq,
                hash: record.hash,
                time: record.time,
            };
        }
    }
    Ok(news)
}

/// Adds to what is stored, once for all that a transaction appends.
fn add_counts(db: &Connection, counts: &Counts) -> rusqlite::Result<()> {
    let mut add = db.prepare_cached(
        "INSERT INTO audit_counts (minute, kind, outcome, severity, events)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET events = events + excluded.events",
    )?;
    for ((minute, kind, outcome, severity), count) in counts {
        let events = count.events.cast_signed();
        add.execute((minute.as_micros(), *kind, *outcome, *severity, events))?;
    }
    Ok(())
}

fn keep_nodes(db: &Connection, nodes: &[Node]) -> rusqlite::Result<()> {
    for node in nodes {
        db.prepare_cached("INSERT INTO audit_nodes (level, idx, hash) VALUES (?1, ?2, ?3)")?
            .execute((node.level, node.index.cast_signed(), node.hash.0))?;
    }
    Ok(())
}

/// Begins the segment of `first`, and marks the one before it as full.
fn roll(db: &Connection, end: &mut End, rows: u64, first: &Record) -> Result<Segment, StoreError> {
    if let Some(full) = end.segment.take() {
        let mut update = db.prepare_cached(
            "UPDATE audit_segments SET state = 1, until = ?2, last = ?3 WHERE id = ?1",
        )?;
        let (until, last) = (end.head.time.as_micros(), end.head.seq);
        update.execute((full.id, until, last.cast_signed()))?;
        end.full.push(Segment {
            last,
            until: Some(until),
            ..full
        });
    }
    let id = db.query_row(
        "SELECT coalesce(max(id), 0) + 1 FROM audit_segments",
        [],
        |row| row.get(0),
    )?;
    let segment = Segment {
        id,
        first: first.seq,
        // Segments end at multiples of their size, and with them tiles.
        last: first.seq.next_multiple_of(rows),
        prev: end.head.hash,
        since: first.time.as_micros(),
        until: None,
        phase: Phase::Open,
    };
    segment.create(db)?;
    end.words = Dictionary::default();
    end.segment = Some(segment);
    Ok(segment)
}

/// Whether the file system has no room.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tests::said_during;

    /// A writer of an empty file, and what gives it records.
    fn writer(folder: &tempfile::TempDir) -> (Writer, mpsc::Sender<Append>) {
        let path = folder.path().join("audit.db");
        let sizes = Sizes {
            rows: 256,
            time: Duration::from_secs(60),
            wal: 1 << 20,
        };
        let db = Connection::open(&path).unwrap();
        let (appends, waiting) = mpsc::channel();
        let writer = Writer::new(db, waiting, path, sizes, Hot::default(), Arc::default());
        (writer, appends)
    }

    #[test]
    fn a_pause_before_the_tables_are_there_is_no_fault() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, _appends) = writer(&folder);
        let said = said_during(|| assert!(!writer.tend()));
        assert_eq!(said, []);
        // What does go wrong later is told.
        super::super::migrate(&writer.db).unwrap();
        assert_eq!(writer.end().unwrap().head.seq, 0);
        writer
            .db
            .execute_batch("DROP TABLE audit_segments")
            .unwrap();
        writer.end = None;
        let said = said_during(|| assert!(!writer.tend()));
        assert_eq!(said.len(), 1, "{said:?}");
    }

    #[test]
    fn what_is_left_for_the_next_transaction_is_written_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, appends) = writer(&folder);
        super::super::migrate(&writer.db).unwrap();
        let mut chain = crate::Chain::new();
        let mut answers: Vec<_> = (0..6)
            .map(|_| {
                let event = || crate::Event::new(crate::Kind::System, "test");
                let records = (0..100).map(|_| chain.append(event(), Timestamp::default()));
                let (answer, answered) = oneshot::channel();
                let records = records.collect();
                appends.send(Append { records, answer }).unwrap();
                answered
            })
            .collect();
        for written in [3, 6, 6] {
            writer.append();
            assert_eq!(writer.end().unwrap().head.seq, 100 * written);
            answers.retain_mut(|answer| match answer.try_recv() {
                Ok(done) => done.is_err(),
                Err(_) => true,
            });
            assert_eq!(answers.len() as u64, 6 - written);
        }
    }
}
