//! Checkpoints on their way out of the machine.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::chain::Hash;
use crate::store::SignedNote;

/// Signs checkpoints. Implemented by `CheckpointKey` (feature `checkpoint`) and for closures, behind
/// which the key may lie in another process.
pub trait Sign: Send + Sync + 'static {
    /// Signs that the log has `size` records with the root `root`.
    fn sign(&self, size: u64, root: Hash) -> SignedNote;
}

impl<F: Fn(u64, Hash) -> SignedNote + Send + Sync + 'static> Sign for F {
    fn sign(&self, size: u64, root: Hash) -> SignedNote {
        self(size, root)
    }
}

/// Takes checkpoints out of the machine that writes the log: who can write the database can compute
/// the log anew, but not change what is elsewhere.
///
/// Implemented for closures, for `()`, which does nothing, and for pairs. It runs on a thread where
/// it may block; the log does not wait for it.
pub trait OnCheckpoint: Send + Sync + 'static {
    /// A checkpoint was signed, and is stored.
    fn on_checkpoint(&self, checkpoint: &SignedNote);
}

impl OnCheckpoint for () {
    fn on_checkpoint(&self, _: &SignedNote) {}
}

impl<F: Fn(&SignedNote) + Send + Sync + 'static> OnCheckpoint for F {
    fn on_checkpoint(&self, checkpoint: &SignedNote) {
        self(checkpoint);
    }
}

impl<A: OnCheckpoint, B: OnCheckpoint> OnCheckpoint for (A, B) {
    fn on_checkpoint(&self, checkpoint: &SignedNote) {
        self.0.on_checkpoint(checkpoint);
        self.1.on_checkpoint(checkpoint);
    }
}

/// Appends each checkpoint to a file, which should lie on another machine or a medium that can only
/// be written once. A failure is an error in the log.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    path: PathBuf,
}

impl CheckpointFile {
    /// Appends to the file at `path`, and creates it if there is none.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl OnCheckpoint for CheckpointFile {
    fn on_checkpoint(&self, checkpoint: &SignedNote) {
        let write = || {
            let mut file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(&self.path)?;
            // An empty line ends each.
            file.write_all(format!("{}\n", checkpoint.text).as_bytes())?;
            file.sync_data()
        };
        if let Err(error) = write() {
            let error = &error as &dyn std::error::Error;
            tracing::error!(target: crate::trace::TARGET, error, "a checkpoint could not be written to its file");
        }
    }
}

/// Says each checkpoint to `tracing`, at the level of information, on one line.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckpointLine;

impl OnCheckpoint for CheckpointLine {
    fn on_checkpoint(&self, checkpoint: &SignedNote) {
        let note = crate::escape::escape(&checkpoint.text);
        tracing::info!(target: crate::trace::TARGET, size = checkpoint.size, %note, "audit checkpoint");
    }
}

/// The checkpoints in the text of such a file, or in one that holds a single checkpoint.
#[must_use]
pub fn split_notes(text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = String::new();
    let mut is_signed = false;
    for line in text.lines() {
        if line.is_empty() && is_signed {
            notes.push(std::mem::take(&mut note));
            is_signed = false;
            continue;
        }
        is_signed |= line.starts_with('\u{2014}');
        note.push_str(line);
        note.push('\n');
    }
    if is_signed {
        notes.push(note);
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_in_a_file_are_read_apart_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        let note = |size: u64| SignedNote {
            size,
            text: format!("origin\n{size}\nroot\n\n\u{2014} origin sig\n"),
        };
        let file = CheckpointFile::new(&path);
        for size in 1..4 {
            file.on_checkpoint(&note(size));
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let expected: Vec<_> = (1..4).map(|size| note(size).text).collect();
        assert_eq!(split_notes(&text), expected);
        assert_eq!(split_notes(&note(9).text), [note(9).text]);
        assert!(split_notes("rubbish\n\nmore").is_empty());
    }
}
