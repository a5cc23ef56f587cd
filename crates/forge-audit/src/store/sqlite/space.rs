//! Room on the disk: how much is left, and a little kept back for the day there is none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::{SqliteAuditStore, beside};

const SUFFIX: &str = "-ballast";

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// Bytes left on the file system.
    pub free: u64,
    /// Bytes of the database with its write-ahead log.
    pub used: u64,
    /// Bytes of the ballast.
    pub ballast: u64,
}

impl SqliteAuditStore {
    /// How much room there is on the file system, and how much the log takes.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    pub fn space(&self) -> io::Result<Space> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let system = rustix::fs::statvfs(folder.unwrap_or(Path::new(".")))?;
        let size = |suffix| fs::metadata(beside(&self.path, suffix)).map_or(0, |m| m.len());
        Ok(Space {
            free: system.f_bavail.saturating_mul(system.f_frsize),
            used: size("") + size("-wal"),
            ballast: size(SUFFIX),
        })
    }

    /// Fills a file beside the database up to `bytes`, to be [thrown off](Self::drop_ballast) when
    /// the disk is full: pruning a full database needs a little room.
    ///
    /// # Errors
    ///
    /// The operating system's error; then there is no ballast.
    pub fn take_ballast(&self, bytes: u64) -> io::Result<()> {
        let path = beside(&self.path, SUFFIX);
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        let taken = fill(&mut file, bytes);
        if taken.is_err() {
            fs::remove_file(&path)?;
        }
        taken
    }

    /// Deletes the ballast, if there is any.
    ///
    /// # Errors
    ///
    /// The operating system's error.
    pub fn drop_ballast(&self) -> io::Result<()> {
        match fs::remove_file(beside(&self.path, SUFFIX)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Takes what is missing, so that no file system promises the room to somebody else.
fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    let from = file.metadata()?.len();
    let mut left = bytes.saturating_sub(from);
    if left == 0 {
        return Ok(());
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(&*file, FallocateFlags::empty(), from, left) {
            Ok(()) => return file.sync_all(),
            // Not every file system can.
            Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Random, since zeros may take no room.
    let mut block = [0_u8; 4096];
    while left > 0 {
        getrandom::fill(&mut block).map_err(io::Error::other)?;
        let some = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..some])?;
        left -= some as u64;
    }
    file.sync_all()
}
