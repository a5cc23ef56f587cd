//! The file of lines, for this user alone.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::delivery::Delivery;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Delivery(Box<Delivery>),
    Settled(String),
}

impl Line {
    pub(super) fn of(delivery: &Delivery) -> Self {
        // Tries are counted by whoever makes them.
        let untried = delivery.clone().stored(delivery.id, 0);
        Self::Delivery(Box::new(untried))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Nothing of it can fail: strings and numbers.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[derive(Debug)]
pub(super) struct SpillFile {
    path: PathBuf,
    /// Its length, where its last line is known to be whole.
    length: Option<u64>,
}

impl SpillFile {
    /// It is not touched before there is something to write.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, length: None }
    }

    /// Adds lines and syncs them. Where it would become longer than `max`, or its end is not known
    /// to be that of a line, it is written anew with what waits, those lines included.
    pub(super) fn append(
        &mut self,
        lines: &[u8],
        max: u64,
        what_waits: impl FnOnce() -> Vec<Delivery>,
    ) -> io::Result<()> {
        // Until it has succeeded its end is not known.
        let longer = self.length.take().map(|of| of + lines.len() as u64);
        self.length = Some(match longer.filter(|longer| *longer <= max) {
            Some(longer) => {
                let mut file = private(&self.path)?;
                file.write_all(lines)?;
                file.sync_data()?;
                longer
            }
            None => self.rewrite(&what_waits())?,
        });
        Ok(())
    }

    /// Leaves nothing in it.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        self.length = None;
        private(&self.path)?.set_len(0)?;
        self.length = Some(0);
        Ok(())
    }

    fn rewrite(&self, waits: &[Delivery]) -> io::Result<u64> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let next = PathBuf::from(name);
        let bytes: Vec<u8> = waits
            .iter()
            .flat_map(|of| Line::of(of).to_bytes())
            .collect();
        let written = || -> io::Result<()> {
            // One that is left is not written to: it may be a link to something else.
            match fs::remove_file(&next) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = options().write(true).create_new(true).open(&next)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&next, &self.path)?;
            // The new name, too, is to outlive the machine.
            match self.path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
                _ => Ok(()),
            }
        };
        written().inspect_err(|_| drop(fs::remove_file(&next)))?;
        Ok(bytes.len() as u64)
    }
}

/// What waits in the file, those lines passed over that are none. A file that cannot be read is moved
/// aside: it may be read by somebody, and would be written over.
pub(super) fn read(path: &Path, max_bytes: usize) -> Vec<Delivery> {
    let mut waiting = Vec::new();
    match read_into(path, max_bytes, &mut waiting) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::error!(%error, "the spill file cannot be read, and is moved aside");
            if let Err(error) = move_aside(path) {
                tracing::error!(%error, "the spill file cannot be moved aside");
            }
        }
    }
    waiting
}

fn move_aside(path: &Path) -> io::Result<()> {
    let names = (0..100).map(|number| {
        let mut name = path.to_owned().into_os_string();
        name.push(format!(".unreadable-{number}"));
        PathBuf::from(name)
    });
    let mut free = names.filter(|name| fs::symlink_metadata(name).is_err());
    let free = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(path, free)
}

fn read_into(path: &Path, max_bytes: usize, read: &mut Vec<Delivery>) -> io::Result<()> {
    let file = File::open(path)?;
    // It may have been written with room for more.
    let most = (8 * max_bytes as u64).max(64 << 20);
    let mut waiting: HashMap<String, (usize, Delivery)> = HashMap::new();
    let mut done = Ok(());
    for (number, line) in BufReader::new(file.take(most)).split(b'\n').enumerate() {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                done = Err(error);
                break;
            }
        };
        // The last line may have been cut off when the process was.
        match serde_json::from_slice(&line) {
            // One may be there twice, where the file was written anew meanwhile.
            Ok(Line::Delivery(delivery)) => {
                let id = delivery.id.to_string();
                waiting.entry(id).or_insert((number, *delivery));
            }
            Ok(Line::Settled(id)) => drop(waiting.remove(&id)),
            Err(_) => {}
        }
    }
    let mut waiting: Vec<_> = waiting.into_values().collect();
    waiting.sort_by_key(|(number, _)| *number);
    read.extend(waiting.into_iter().map(|(_, delivery)| delivery));
    done
}

fn private(path: &Path) -> io::Result<File> {
    options().append(true).create(true).open(path)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
