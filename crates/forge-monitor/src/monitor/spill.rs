//! Where alerts wait that could not be stored: in memory, and in a file of lines.
//!
//! A line is a delivery, or the id of one that is settled. A thread of its own writes the file, so
//! that neither the detector nor a courier waits for a disk; who wants to know when it is there
//! awaits [`Written`]. What waits is bounded in bytes: beyond that the newest is refused, since the
//! first alerts tell what happened and later ones mostly that it goes on. The file is at most twice as
//! large: before it would grow beyond that it is written anew with what still waits, and it is
//! emptied when nothing does.

mod file;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::delivery::{Delivery, HORIZON, OutboxStats, Settled};
use file::{Line, SpillFile};

/// How long the disk is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What waits, and the thread that keeps it on disk where there is a file.
#[derive(Debug)]
pub(super) struct Spill {
    shared: Arc<Shared>,
    writer: Option<mpsc::Sender<Job>>,
}

#[derive(Debug)]
struct Shared {
    /// How many bytes may wait.
    max_bytes: usize,
    waiting: Mutex<Waiting>,
    /// The disk did not answer in time, and has not since.
    hangs: AtomicBool,
    /// What is not on disk at the end was told.
    has_ended: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    deliveries: Vec<Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    delivery: Delivery,
    /// The length of its line.
    bytes: usize,
    on_disk: bool,
}

/// What the thread is asked for, and whom it tells when that is done.
struct Job {
    lines: Vec<u8>,
    /// Of the deliveries among the lines.
    ids: Vec<Uuid>,
    written: oneshot::Sender<()>,
}

/// Completes when what was taken is on disk, or cannot be put there.
#[derive(Debug)]
pub(super) struct Written {
    /// Nothing where there is no file.
    written: Option<oneshot::Receiver<()>>,
    shared: Arc<Shared>,
}

impl Written {
    /// Goes on after a while, where the disk hangs; and at once, while it does not answer any more.
    pub(super) async fn wait_a_while(self) {
        let shared = Arc::clone(&self.shared);
        if shared.hangs.load(Ordering::Relaxed) {
            return;
        }
        if tokio::time::timeout(PATIENCE, self.wait()).await.is_err() {
            shared.hangs.store(true, Ordering::Relaxed);
            tracing::error!("the disk of the spill file does not answer");
        }
    }

    async fn wait(self) {
        if let Some(written) = self.written {
            // The thread has ended: there is nothing to wait for.
            let _ = written.await;
        }
    }
}

impl Spill {
    /// With what an earlier run left in the file, at most so many bytes of it. May block.
    pub(super) fn open(path: Option<PathBuf>, max_bytes: usize) -> Self {
        let mut waiting = Waiting::default();
        if let Some(path) = &path {
            for delivery in file::read(path, max_bytes) {
                waiting.push(delivery, max_bytes);
            }
        }
        let shared = Arc::new(Shared {
            max_bytes,
            waiting: Mutex::new(waiting),
            hangs: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        });
        let writer = path.and_then(|path| start(SpillFile::new(path), Arc::clone(&shared)));
        Self { shared, writer }
    }

    /// Takes deliveries, all or none; nothing where there is no room.
    pub(super) fn push(&self, deliveries: Vec<Delivery>) -> Option<Written> {
        let lines: Vec<_> = deliveries
            .iter()
            .map(|of| Line::of(of).to_bytes())
            .collect();
        let bytes = lines.iter().map(Vec::len).sum::<usize>();
        let mut waiting = self.shared.waiting();
        if waiting.bytes + bytes > self.shared.max_bytes {
            return None;
        }
        let ids = deliveries.iter().map(|of| of.id).collect();
        for (delivery, line) in deliveries.into_iter().zip(&lines) {
            waiting.add(delivery, line.len(), false);
        }
        drop(waiting);
        Some(self.write(lines.concat(), ids))
    }

    /// The delivery of that sink that is due and has waited longest, counted as tried once more.
    /// A sink is served by one task alone.
    pub(super) fn next(&self, sink: &str, now: Timestamp) -> Option<Delivery> {
        let mut waiting = self.shared.waiting();
        let due = waiting
            .deliveries
            .iter_mut()
            .map(|held| &mut held.delivery)
            .filter(|of| &*of.sink == sink)
            .filter(|of| of.due <= now || of.due > now + HORIZON)
            .min_by_key(|of| (of.due, of.id))?;
        due.attempts += 1;
        Some(due.clone())
    }

    /// Notes what came of a try.
    pub(super) fn settle(&self, id: Uuid, settled: Settled) -> Written {
        let mut waiting = self.shared.waiting();
        if let Settled::Again(due) = settled {
            let mut held = waiting.deliveries.iter_mut();
            if let Some(held) = held.find(|held| held.delivery.id == id) {
                held.delivery.due = due;
            }
            return self.nothing();
        }
        waiting.remove(id);
        drop(waiting);
        self.write(Line::Settled(id.to_string()).to_bytes(), Vec::new())
    }

    /// Takes out what others take the place of, as far as it waits here. Does not wait for the disk.
    pub(super) fn withdraw(&self, ids: &[Uuid]) {
        let mut waiting = self.shared.waiting();
        let here = ids.iter().filter(|id| waiting.remove(**id));
        let lines: Vec<_> = here
            .map(|id| Line::Settled(id.to_string()).to_bytes())
            .collect();
        drop(waiting);
        if !lines.is_empty() {
            drop(self.write(lines.concat(), Vec::new()));
        }
    }

    /// What waits for sinks other than these, at most `limit`, the oldest first.
    pub(super) fn strange(&self, sinks: &[Arc<str>], limit: usize) -> Vec<Delivery> {
        let waiting = self.shared.waiting();
        let held = waiting.deliveries.iter().map(|held| &held.delivery);
        let strange = held.filter(|of| !sinks.contains(&of.sink));
        strange.take(limit).cloned().collect()
    }

    pub(super) fn stats(&self) -> OutboxStats {
        let waiting = self.shared.waiting();
        let held = waiting.deliveries.iter();
        let oldest = held.map(|held| held.delivery.created).min();
        OutboxStats::new(waiting.deliveries.len() as u64, 0, oldest)
    }

    /// Waits until everything taken before is on disk.
    pub(super) async fn flush(&self) {
        self.write(Vec::new(), Vec::new()).wait().await;
    }

    /// Waits for a while until everything taken before is on disk, and hands out what waits and is
    /// not: it ends with the process. Nothing where it was called before.
    pub(super) async fn end(&self) -> Vec<Delivery> {
        self.write(Vec::new(), Vec::new()).wait_a_while().await;
        if self.shared.has_ended.swap(true, Ordering::Relaxed) {
            return Vec::new();
        }
        let waiting = self.shared.waiting();
        let lost = waiting.deliveries.iter().filter(|held| !held.on_disk);
        lost.map(|held| held.delivery.clone()).collect()
    }

    fn write(&self, lines: Vec<u8>, ids: Vec<Uuid>) -> Written {
        let Some(writer) = &self.writer else {
            return self.nothing();
        };
        let (written, is_written) = oneshot::channel();
        // Where the thread has ended, the receiver tells.
        let _ = writer.send(Job {
            lines,
            ids,
            written,
        });
        Written {
            written: Some(is_written),
            ..self.nothing()
        }
    }

    /// There is nothing to wait for.
    fn nothing(&self) -> Written {
        Written {
            written: None,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // No code that can panic runs while the lock is held, and no I/O is done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// What was read from a file that may have been written with more room.
    fn push(&mut self, delivery: Delivery, max_bytes: usize) {
        let bytes = Line::of(&delivery).to_bytes().len();
        if self.bytes + bytes > max_bytes {
            tracing::error!(id = %delivery.alert.id, "an alert of the spill file is lost: no room");
            return;
        }
        self.add(delivery, bytes, true);
    }

    fn add(&mut self, delivery: Delivery, bytes: usize, on_disk: bool) {
        self.bytes += bytes;
        self.deliveries.push(Held {
            delivery,
            bytes,
            on_disk,
        });
    }

    fn on_disk(&mut self, ids: &[Uuid]) {
        let ids: HashSet<_> = ids.iter().collect();
        for held in &mut self.deliveries {
            held.on_disk |= ids.contains(&held.delivery.id);
        }
    }

    fn copies(&self) -> Vec<Delivery> {
        let held = self.deliveries.iter();
        held.map(|held| held.delivery.clone()).collect()
    }

    fn remove(&mut self, id: Uuid) -> bool {
        let is_it = |held: &Held| held.delivery.id == id;
        let place = self.deliveries.iter().position(is_it);
        if let Some(place) = place {
            self.bytes -= self.deliveries.remove(place).bytes;
        }
        place.is_some()
    }
}

/// Starts the thread that writes; it ends with the last sender.
fn start(mut file: SpillFile, shared: Arc<Shared>) -> Option<mpsc::Sender<Job>> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let write = move || {
        for Job {
            lines,
            mut ids,
            written,
        } in jobs
        {
            if !lines.is_empty() {
                let what_waits = || {
                    let copies = shared.waiting().copies();
                    ids = copies.iter().map(|of| of.id).collect();
                    copies
                };
                // Whoever adds to what waits asks for its lines to be written after that.
                let nothing_waits = shared.waiting().deliveries.is_empty();
                let done = match nothing_waits {
                    true => file.empty(),
                    false => file.append(&lines, 2 * shared.max_bytes as u64, what_waits),
                };
                match done {
                    Ok(()) => shared.waiting().on_disk(&ids),
                    Err(error) => {
                        // It waits in memory, and is written with the next that is.
                        tracing::error!(%error, "alerts cannot be written to the spill file");
                    }
                }
            }
            shared.hangs.store(false, Ordering::Relaxed);
            // Whoever asked may not want to know.
            let _ = written.send(());
        }
    };
    let thread = std::thread::Builder::new().name("forge-monitor-spill".to_owned());
    match thread.spawn(write) {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(%error, "the spill file cannot be written: alerts wait in memory alone");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Alert, Severity};
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    const ROOM: usize = 1 << 20;

    fn delivery(sink: &str, at: i64) -> Delivery {
        let at = Timestamp::from_micros(at);
        Delivery::new(sink, Alert::new("x", "y", Severity::Info, "z", at), at)
    }

    fn open(path: &Path) -> Spill {
        Spill::open(Some(path.to_owned()), ROOM)
    }

    fn length(path: &Path) -> u64 {
        fs::metadata(path).unwrap().len()
    }

    #[tokio::test]
    async fn what_waits_outlives_the_process_and_what_is_settled_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.spill");
        let (a, b, c) = (delivery("log", 1), delivery("mail", 2), delivery("mail", 3));
        let spill = open(&path);
        spill.push(vec![a.clone(), b.clone()]).unwrap().wait().await;
        spill.settle(a.id, Settled::Delivered).wait().await;
        drop(spill);

        // A line that was cut off when the process was: the next one is a line of its own.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"delivery\":{\"id\":\"01").unwrap();
        let spill = open(&path);
        spill.push(vec![c.clone()]).unwrap().wait().await;
        drop(spill);
        let spill = open(&path);
        assert_eq!(spill.stats().waiting, 2);
        let now = Timestamp::from_micros(2);
        assert_eq!(spill.next("log", now), None);
        let next = spill.next("mail", now).unwrap();
        assert_eq!((next.id, next.attempts), (b.id, 1));
        let later = now + Duration::from_secs(5);
        spill.settle(b.id, Settled::Again(later)).wait().await;
        assert_eq!(spill.next("mail", now), None);
        assert_eq!(spill.next("mail", later).unwrap().id, c.id);
        spill.settle(c.id, Settled::Delivered).wait().await;
        assert_eq!(spill.next("mail", later).unwrap().attempts, 2);
        spill.settle(b.id, Settled::Dead).wait().await;
        assert_eq!(length(&path), 0);
    }

    #[test]
    fn without_a_file_it_waits_in_memory_and_there_is_an_end_to_it() {
        let line = Line::of(&delivery("log", 1_000_000)).to_bytes().len();
        let spill = Spill::open(None, 100 * line);
        let taken =
            (0..200).take_while(|n| spill.push(vec![delivery("log", 1_000_000 + n)]).is_some());
        assert_eq!(taken.count(), 100);
        assert_eq!(
            spill.stats().oldest,
            Some(Timestamp::from_micros(1_000_000))
        );
        let first = spill
            .next("log", Timestamp::from_micros(2_000_000))
            .unwrap();
        assert!(spill.push(vec![delivery("log", 3_000_000)]).is_none());
        spill.settle(first.id, Settled::Delivered);
        assert!(spill.push(vec![delivery("log", 3_000_000)]).is_some());
    }

    #[tokio::test]
    async fn the_file_stays_within_twice_what_may_wait_and_loses_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.spill");
        let line = Line::of(&delivery("log", 1_000_000)).to_bytes().len();
        let room = 5 * line;
        let spill = Spill::open(Some(path.clone()), room);
        let stays = delivery("mail", 1_000_000);
        spill.push(vec![stays.clone()]).unwrap();
        for n in 0..200 {
            let passes = delivery("log", 1_000_001 + n);
            spill.push(vec![passes.clone()]).unwrap().wait().await;
            spill.settle(passes.id, Settled::Delivered).wait().await;
            assert!(length(&path) <= 2 * room as u64);
        }
        assert!(length(&path) > 0);
        drop(spill);
        // One that may hold less takes what fits.
        assert_eq!(Spill::open(Some(path.clone()), line / 2).stats().waiting, 0);
        let spill = Spill::open(Some(path.clone()), room);
        let now = Timestamp::from_micros(2_000_000);
        assert_eq!(spill.next("mail", now).unwrap().id, stays.id);
        assert_eq!(spill.stats().waiting, 1);
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left of what it was written anew with");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.spill");
        // A folder can be opened, but not read.
        for number in 0..2 {
            fs::create_dir(&path).unwrap();
            let spill = open(&path);
            assert_eq!(spill.stats().waiting, 0);
            spill.push(vec![delivery("log", 1)]).unwrap().wait().await;
            assert!(length(&path) > 0);
            let aside = format!("alerts.spill.unreadable-{number}");
            assert!(folder.path().join(aside).is_dir());
            fs::remove_file(&path).unwrap();
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_it_is_written_anew_with_is_no_link_to_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (
            folder.path().join("alerts.spill"),
            folder.path().join("other"),
        );
        fs::write(&other, "other").unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join("alerts.spill.new")).unwrap();
        let spill = open(&path);
        spill.push(vec![delivery("log", 1)]).unwrap().wait().await;
        assert_eq!(fs::read(&other).unwrap(), b"other");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(open(&path).stats().waiting, 1);
    }

    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_waited_for_once_and_what_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.spill");
        let spill = open(&path);
        let (there, not_there) = (delivery("log", 1), delivery("log", 2));
        spill.push(vec![there]).unwrap().wait().await;
        // Whoever opens it waits for a reader.
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let begun = tokio::time::Instant::now();
        let written = spill.push(vec![not_there.clone()]).unwrap();
        written.wait_a_while().await;
        assert_eq!(begun.elapsed(), PATIENCE);
        for expected in [vec![not_there], vec![]] {
            assert_eq!(spill.end().await, expected);
        }
        assert_eq!(begun.elapsed(), PATIENCE);
        // It goes on after all.
        let read = std::thread::spawn(move || fs::read(path).unwrap());
        spill.flush().await;
        assert!(!spill.shared.hangs.load(Ordering::Relaxed));
        drop(spill);
        assert!(!read.join().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_the_disk_did_not_take_is_written_with_the_next_that_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("alerts.spill");
        let spill = open(&path);
        spill.push(vec![delivery("log", 1)]).unwrap().wait().await;
        assert_eq!(spill.stats().waiting, 1, "it waits in memory");
        fs::create_dir(path.parent().unwrap()).unwrap();
        spill.push(vec![delivery("log", 2)]).unwrap().wait().await;
        drop(spill);
        assert_eq!(open(&path).stats().waiting, 2);
    }
}
