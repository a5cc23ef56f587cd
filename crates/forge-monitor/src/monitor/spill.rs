//! Where alerts wait that could not be stored: in memory, and in a file of lines.
//!
//! A line is a delivery, or the id of one that is settled. A thread of its own writes the file, so
//! that neither the detector nor a courier waits for a disk; who wants to know when it is there
//! awaits [`Written`]. What waits is bounded in bytes: beyond that the newest is refused, since the
//! first alerts tell what happened and later ones mostly that it goes on. The file is at most twice as
//! large: before it would grow beyond that it is written anew with what still waits, and it is
//! emptied when nothing does.

mod file;

use std::path::PathBuf;
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
}

/// What the thread is asked for, and whom it tells when that is done.
struct Job {
    lines: Vec<u8>,
    written: oneshot::Sender<()>,
}

/// Completes when what was taken is on disk, or cannot be put there.
#[derive(Debug)]
pub(super) struct Written(Option<oneshot::Receiver<()>>);

impl Written {
    /// Goes on after a while, where the disk hangs.
    pub(super) async fn wait_a_while(self) {
        if tokio::time::timeout(PATIENCE, self.wait()).await.is_err() {
            tracing::error!("the disk of the spill file does not answer");
        }
    }

    async fn wait(self) {
        if let Some(written) = self.0 {
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
        for (delivery, line) in deliveries.into_iter().zip(&lines) {
            waiting.add(delivery, line.len());
        }
        drop(waiting);
        Some(self.write(lines.concat()))
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
            return Written(None);
        }
        waiting.remove(id);
        drop(waiting);
        self.write(Line::Settled(id.to_string()).to_bytes())
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
            drop(self.write(lines.concat()));
        }
    }

    pub(super) fn stats(&self) -> OutboxStats {
        let waiting = self.shared.waiting();
        let held = waiting.deliveries.iter();
        let oldest = held.map(|held| held.delivery.created).min();
        OutboxStats::new(waiting.deliveries.len() as u64, 0, oldest)
    }

    /// Waits until everything taken before is on disk.
    pub(super) async fn flush(&self) {
        self.write(Vec::new()).wait().await;
    }

    fn write(&self, lines: Vec<u8>) -> Written {
        let Some(writer) = &self.writer else {
            return Written(None);
        };
        let (written, is_written) = oneshot::channel();
        // Where the thread has ended, the receiver tells.
        let _ = writer.send(Job { lines, written });
        Written(Some(is_written))
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
        self.add(delivery, bytes);
    }

    fn add(&mut self, delivery: Delivery, bytes: usize) {
        self.bytes += bytes;
        self.deliveries.push(Held { delivery, bytes });
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
        for Job { lines, written } in jobs {
            if !lines.is_empty() {
                let what_waits = || shared.waiting().copies();
                // Whoever adds to what waits asks for its lines to be written after that.
                let nothing_waits = shared.waiting().deliveries.is_empty();
                let done = match nothing_waits {
                    true => file.empty(),
                    false => file.append(&lines, 2 * shared.max_bytes as u64, what_waits),
                };
                if let Err(error) = done {
                    // It waits in memory, and is written with the next that is.
                    tracing::error!(%error, "alerts cannot be written to the spill file");
                }
            }
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

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_not_waited_for_forever() {
        let (written, is_written) = oneshot::channel();
        Written(Some(is_written)).wait_a_while().await;
        assert!(written.is_closed());
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
