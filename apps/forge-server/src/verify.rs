//! `forge audit`: whether an audit log is as it was written, and what it holds.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use forge_audit::{
    CheckpointVerifier, Export, Format, Head, SqliteAuditStore, Verified, split_notes,
    verify_archive, verify_signed, verify_with, write_archive,
};
use forge_monitor::BoxError;

/// Recomputes the chain of an audit database or an archive, compares it with the checkpoints of the
/// holder of `key`, those stored beside it and those in the file `checkpoints`, and says how far it
/// holds.
///
/// # Errors
/// The file cannot be read, or the first position that does not fit.
pub async fn verify_audit(
    file: &Path,
    key: Option<&str>,
    checkpoints: Option<&Path>,
) -> Result<String, BoxError> {
    if !file.exists() {
        return Err("there is no such file".into());
    }
    let key: Option<CheckpointVerifier> = key.map(str::parse).transpose()?;
    let notes = match checkpoints {
        Some(path) => split_notes(&std::fs::read_to_string(path)?),
        None => Vec::new(),
    };
    let verified = if is_archive(file)? {
        let mut roots = Vec::new();
        for note in &notes {
            if let Some(key) = &key {
                let checkpoint = key.open(note)?;
                roots.push((checkpoint.size, checkpoint.root));
            }
        }
        let trusted = |note: &str| match &key {
            Some(key) => key.open(note).ok().map(|c| (c.size, c.root)),
            // Without a key they say nothing: the empty log, which every log begins with.
            None => Some((0, forge_audit::Tree::new().root())),
        };
        verify_archive(|| Ok(BufReader::new(File::open(file)?)), &roots, trusted)?
    } else {
        let store = SqliteAuditStore::builder(file).read_only().open().await?;
        match &key {
            Some(key) => verify_signed(&store, key, &notes).await?,
            // Where the file says that the log ends is no proof of where it ended.
            None => verify_with(&store, Head::default(), []).await?,
        }
    };
    Ok(report(&verified, key.is_some()))
}

fn report(verified: &Verified, has_key: bool) -> String {
    let Verified {
        head,
        pruned,
        erased,
        checkpoints,
        ..
    } = verified;
    let mut text = format!("{} events, unbroken up to {}", head.seq, head.hash);
    if *pruned + *erased > 0 {
        text += &format!("; {pruned} pruned and {erased} erased, as the log itself says");
    }
    if has_key {
        text += &format!("; as {checkpoints} signed checkpoints have it");
    }
    text
}

fn is_archive(file: &Path) -> std::io::Result<bool> {
    let mut start = Vec::new();
    File::open(file)?.take(24).read_to_end(&mut start)?;
    Ok(start.starts_with(b"{\"forge_audit_archive\""))
}

/// Writes the events of an audit database after the sequence `after` to `print`, as `format` has it.
///
/// # Errors
/// The format is none, the file cannot be read, or `print` fails.
pub async fn export_audit(
    file: &Path,
    format: &str,
    after: u64,
    print: impl Fn(&str) -> Result<(), BoxError> + Sync,
) -> Result<(), BoxError> {
    if !file.exists() {
        return Err("there is no such file".into());
    }
    let store = Arc::new(SqliteAuditStore::builder(file).read_only().open().await?);
    if format == "archive" {
        // An archive is verified as a whole, from its beginning.
        write_archive(&*store, &mut Printer(&print)).await?;
        return Ok(());
    }
    let format: Format = format
        .parse()
        .map_err(|_| "the formats are jsonl, csv, cef, syslog, ocsf and archive")?;
    let mut export = Export::new(store, format).after(after);
    while let Some(piece) = export.next().await? {
        print(&piece.text)?;
    }
    Ok(())
}

/// Writes to a function that prints.
struct Printer<'a, F>(&'a F);

impl<F: Fn(&str) -> Result<(), BoxError>> Write for Printer<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        (self.0)(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
