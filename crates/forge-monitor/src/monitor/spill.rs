//! Where alerts wait that could not be stored: in memory, and in a file of lines.
//!
//! A line is a delivery, or the id of one that is settled. The file is emptied when nothing waits.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::delivery::{Delivery, HORIZON, OutboxStats, Settled};

/// How many deliveries wait here at most.
const MAX_WAITING: usize = 4096;
/// How much of a file is read.
const MAX_BYTES: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Spill {
    path: Option<PathBuf>,
    waiting: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    delivery: Delivery,
    due: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Delivery(Box<Delivery>),
    Settled(String),
}

impl Spill {
    /// With what an earlier run left in the file.
    pub(super) fn open(path: Option<PathBuf>) -> Self {
        let waiting = path.as_deref().map_or_else(Vec::new, read);
        Self {
            path,
            waiting: Mutex::new(waiting),
        }
    }

    /// Takes deliveries, and puts them on disk where there is a file; whether there was room. May
    /// block.
    pub(super) fn push(&self, deliveries: Vec<Delivery>) -> bool {
        let mut waiting = self.waiting();
        if waiting.len() + deliveries.len() > MAX_WAITING {
            return false;
        }
        let lines = deliveries
            .iter()
            .map(|of| Line::Delivery(of.clone().into()));
        self.append(&lines.collect::<Vec<_>>());
        waiting.extend(deliveries.into_iter().map(|delivery| Waiting {
            due: delivery.created,
            delivery,
        }));
        true
    }

    /// The delivery of that sink that is due and has waited longest, counted as tried once more.
    /// A sink is served by one task alone.
    pub(super) fn next(&self, sink: &str, now: Timestamp) -> Option<Delivery> {
        let mut waiting = self.waiting();
        let due = waiting
            .iter_mut()
            .filter(|of| &*of.delivery.sink == sink)
            .filter(|of| of.due <= now || of.due > now + HORIZON)
            .min_by_key(|of| (of.due, of.delivery.id))?;
        due.delivery.attempts += 1;
        Some(due.delivery.clone())
    }

    /// Notes what came of a try. May block.
    pub(super) fn settle(&self, id: Uuid, settled: Settled) {
        let mut waiting = self.waiting();
        if let Settled::Again(due) = settled {
            let of = waiting.iter_mut().find(|of| of.delivery.id == id);
            if let Some(of) = of {
                of.due = due;
            }
            return;
        }
        waiting.retain(|of| of.delivery.id != id);
        if waiting.is_empty() {
            self.empty();
        } else {
            self.append(&[Line::Settled(id.to_string())]);
        }
    }

    pub(super) fn stats(&self) -> OutboxStats {
        let waiting = self.waiting();
        let oldest = waiting.iter().map(|of| of.delivery.created).min();
        OutboxStats::new(waiting.len() as u64, 0, oldest)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        // No code that can panic runs while the lock is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the disk does not take it, it waits in memory alone.
    fn append(&self, lines: &[Line]) {
        let Some(path) = &self.path else {
            return;
        };
        let write = || -> std::io::Result<()> {
            let mut text = Vec::new();
            for line in lines {
                serde_json::to_writer(&mut text, line)?;
                text.push(b'\n');
            }
            let mut file = private(path)?;
            file.write_all(&text)?;
            file.sync_data()
        };
        if let Err(error) = write() {
            tracing::error!(%error, "alerts cannot be written to the spill file");
        }
    }

    fn empty(&self) {
        let Some(path) = &self.path else {
            return;
        };
        if let Err(error) = private(path).and_then(|file| file.set_len(0)) {
            tracing::error!(%error, "the spill file cannot be emptied");
        }
    }
}

/// The file, for this user alone.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn read(path: &Path) -> Vec<Waiting> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::error!(%error, "the spill file cannot be read");
            return Vec::new();
        }
    };
    let mut waiting: Vec<Waiting> = Vec::new();
    for line in BufReader::new(file.take(MAX_BYTES)).split(b'\n') {
        let Ok(line) = line else {
            break;
        };
        // The last line may have been cut off when the process was.
        match serde_json::from_slice(&line) {
            Ok(Line::Delivery(delivery)) if waiting.len() < MAX_WAITING => {
                waiting.push(Waiting {
                    due: delivery.created,
                    delivery: *delivery,
                });
            }
            Ok(Line::Settled(id)) => {
                waiting.retain(|of| of.delivery.id.to_string() != id);
            }
            _ => {}
        }
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Alert, Severity};

    fn delivery(sink: &str, at: i64) -> Delivery {
        let at = Timestamp::from_micros(at);
        Delivery::new(sink, Alert::new("x", "y", Severity::Info, "z", at), at)
    }

    #[test]
    fn what_waits_outlives_the_process_and_what_is_settled_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.spill");
        let (a, b) = (delivery("log", 1), delivery("mail", 2));
        let spill = Spill::open(Some(path.clone()));
        assert!(spill.push(vec![a.clone(), b.clone()]));
        spill.settle(a.id, Settled::Delivered);
        drop(spill);

        // A line that was cut off.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"delivery\":{\"id\":\"01").unwrap();
        let spill = Spill::open(Some(path.clone()));
        assert_eq!(spill.stats().waiting, 1);
        let now = Timestamp::from_micros(2);
        assert_eq!(spill.next("log", now), None);
        let next = spill.next("mail", now).unwrap();
        assert_eq!((next.id, next.attempts), (b.id, 1));
        let later = now + std::time::Duration::from_secs(5);
        spill.settle(b.id, Settled::Again(later));
        assert_eq!(spill.next("mail", now), None);
        assert_eq!(spill.next("mail", later).unwrap().attempts, 2);
        spill.settle(b.id, Settled::Dead);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn without_a_file_it_waits_in_memory_and_there_is_an_end_to_it() {
        let spill = Spill::open(None);
        for n in 0..MAX_WAITING as i64 {
            assert!(spill.push(vec![delivery("log", n)]));
        }
        assert!(!spill.push(vec![delivery("log", 0)]));
        assert_eq!(spill.stats().oldest, Some(Timestamp::from_micros(0)));
    }
}
