//! Archives: the log as JSON Lines that verify without a database, and can be imported again.
//!
//! Each line is a JSON object. The first is `{"forge_audit_archive":1,"after":0}`; then come the
//! records in their order, with all that their hashes cover, and the checkpoints as
//! `{"checkpoint":…}`. Details are a JSON text within the JSON, since what verifies is the bytes. Of
//! records before `after` there are only the roots of their tiles, which prove the rest. With the
//! feature `archive` the lines can be compressed with Zstandard (RFC 8878).

use std::io::{BufRead, Write};
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::canonical::{Personal, decode_open, encode_open};
use crate::chain::{Content, Hash, Head};
use crate::clock::Timestamp;
use crate::error::{ArchiveError, StoreError};
use crate::record::{Record, Stored};
use crate::store::{AuditStore, SignedNote};
use crate::tree::TILE;
use crate::verify::{Verified, Verifier};

const PAGE: usize = 1000;
/// An archive begins after a multiple of so many records.
pub const ARCHIVE_STEP: u64 = TILE;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    forge_audit_archive: u8,
    /// The records up to this one were left out, and are in another archive.
    #[serde(default)]
    after: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Line {
    seq: u64,
    /// How many records the hash stands for, if they were pruned.
    #[serde(skip_serializing_if = "is_zero")]
    pruned: u64,
    #[serde(skip_serializing_if = "is_zero_time")]
    time: i64,
    #[serde(skip_serializing_if = "is_zero_time")]
    skew: i64,
    hash: String,
    /// The hash of the record before, where the line before does not say it.
    #[serde(skip_serializing_if = "String::is_empty")]
    prev: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    salt: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    commitment: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    outcome: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    severity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Signed {
    checkpoint: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_zero_time(n: &i64) -> bool {
    *n == 0
}

fn text(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}

impl Line {
    /// `before` is the hash in the line before.
    fn of(stored: &Stored, before: Hash) -> Self {
        let is_told = stored.prev == before || matches!(stored.content, Content::Pruned { .. });
        let mut line = Self {
            prev: match is_told {
                true => String::new(),
                false => text(&stored.prev.0),
            },
            seq: stored.seq,
            time: stored.time.as_micros(),
            skew: stored
                .occurred
                .as_micros()
                .wrapping_sub(stored.time.as_micros()),
            hash: text(&stored.hash.0),
            ..Self::default()
        };
        if let Some(event) = stored
            .content
            .open()
            .and_then(|open| decode_open(open).ok())
        {
            line.kind = event.kind.to_string();
            line.outcome = event.outcome.to_string();
            line.severity = event.severity.to_string();
            line.action = event.action.into_owned();
        }
        match &stored.content {
            Content::Whole { salt, personal, .. } => {
                line.salt = text(salt);
                if let Ok(personal) = Personal::decode(personal) {
                    let owned = |part: Option<&str>| part.map(str::to_owned);
                    line.actor = owned(personal.actor);
                    line.login = owned(personal.login);
                    line.session = owned(personal.session);
                    line.address = personal.address;
                    line.agent = owned(personal.agent);
                    line.resource = owned(personal.resource);
                    line.request_id = owned(personal.request_id);
                    line.details = owned(personal.details);
                }
            }
            Content::Erased { commitment, .. } => line.commitment = text(&commitment.0),
            Content::Pruned { count } => line.pruned = *count,
        }
        line
    }

    /// The record, that comes after a line with the hash `before`.
    fn stored(&self, before: Hash) -> Option<Stored> {
        let prev = match self.prev.is_empty() {
            true => before,
            false => Hash(bytes(&self.prev)?),
        };
        let time = Timestamp::from_micros(self.time);
        let open = || {
            let (kind, outcome, severity): (crate::Kind, crate::Outcome, crate::Severity) = (
                self.kind.parse().ok()?,
                self.outcome.parse().ok()?,
                self.severity.parse().ok()?,
            );
            Some(encode_open(
                kind.code(),
                outcome.code(),
                severity.code(),
                &self.action,
            ))
        };
        let content = if self.pruned > 0 {
            Content::Pruned { count: self.pruned }
        } else if self.commitment.is_empty() {
            let personal = Personal {
                actor: self.actor.as_deref(),
                login: self.login.as_deref(),
                session: self.session.as_deref(),
                address: self.address,
                agent: self.agent.as_deref(),
                resource: self.resource.as_deref(),
                request_id: self.request_id.as_deref(),
                details: self.details.as_deref(),
            };
            Content::Whole {
                open: open()?,
                salt: bytes(&self.salt)?,
                personal: personal.encode(),
            }
        } else {
            Content::Erased {
                open: open()?,
                commitment: Hash(bytes(&self.commitment)?),
            }
        };
        Some(Stored {
            seq: self.seq,
            time,
            occurred: Timestamp::from_micros(self.time.wrapping_add(self.skew)),
            prev,
            hash: Hash(bytes(&self.hash)?),
            content,
            is_readable: true,
        })
    }
}

fn write_line(out: &mut dyn Write, line: &impl Serialize) -> Result<(), ArchiveError> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// Writes what `store` holds after the sequence `after` into `out`, with all checkpoints, and returns
/// the last sequence. `after` is brought down to a multiple of [`ARCHIVE_STEP`], so that archives made one after
/// the other, each after what the one before returned, leave nothing out.
///
/// # Errors
///
/// The store's error, or that of `out`.
pub async fn write_archive(
    store: &dyn AuditStore,
    after: u64,
    out: &mut (dyn Write + Send),
) -> Result<u64, ArchiveError> {
    let mut after = after.min(store.tail().await?.seq) / ARCHIVE_STEP * ARCHIVE_STEP;
    let header = Header {
        forge_audit_archive: 1,
        after,
    };
    write_line(out, &header)?;
    let mut before = Hash::default();
    for first in (0..after / TILE).step_by(PAGE) {
        let wanted = PAGE.min(usize::try_from(after / TILE - first).unwrap_or(PAGE));
        let tiles = store.nodes(8, first, wanted).await?;
        if tiles.len() != wanted {
            return Err(StoreError::Altered.into());
        }
        for (index, hash) in (first..).zip(tiles) {
            let line = Line {
                seq: index * TILE + 1,
                pruned: TILE,
                hash: text(&hash.0),
                ..Line::default()
            };
            write_line(out, &line)?;
            before = hash;
        }
    }
    loop {
        let page = store.scan(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq + last.count() - 1;
        for stored in &page {
            write_line(out, &Line::of(stored, before))?;
            before = stored.hash;
        }
    }
    let mut size = 0;
    loop {
        let notes = store.checkpoints(size, PAGE).await?;
        let Some(last) = notes.last() else { break };
        size = last.size;
        for note in notes {
            let SignedNote { text, .. } = note;
            write_line(out, &Signed { checkpoint: text })?;
        }
    }
    out.flush()?;
    Ok(after)
}

/// As [`write_archive`], compressed with Zstandard to about a fifth.
///
/// # Errors
///
/// The store's error, or that of `out`.
#[cfg(feature = "archive")]
pub async fn write_compressed_archive(
    store: &dyn AuditStore,
    after: u64,
    out: &mut (dyn Write + Send),
) -> Result<u64, ArchiveError> {
    let mut encoder = zstd::Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    let last = write_archive(store, after, &mut encoder).await?;
    encoder.finish()?.flush()?;
    Ok(last)
}

#[cfg(feature = "archive")]
const LEVEL: i32 = 9;

/// The lines of an archive that may be compressed with Zstandard.
///
/// # Errors
///
/// [`ArchiveError::Io`] if it cannot be read.
#[cfg(feature = "archive")]
pub fn archive_lines<'a>(
    archive: impl std::io::Read + Send + 'a,
) -> Result<Box<dyn BufRead + Send + 'a>, ArchiveError> {
    /// The memory that a hostile archive can ask for, as a power of two: 8 MiB.
    const WINDOW: u32 = 23;
    let mut archive = std::io::BufReader::new(archive);
    if !archive.fill_buf()?.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(archive));
    }
    let mut decoder = zstd::Decoder::with_buffer(archive)?;
    decoder.window_log_max(WINDOW)?;
    Ok(Box::new(std::io::BufReader::new(decoder)))
}

/// What an archive holds, line by line.
pub struct Archive<R> {
    lines: R,
    number: u64,
    after: u64,
    prev: Hash,
    buffer: String,
}

/// A line of an archive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Entry {
    /// A record, or what is left of some.
    Stored(Box<Stored>),
    /// A checkpoint.
    Checkpoint(String),
}

/// No line of an archive is longer: an event has a bound, and JSON at most six bytes for one.
const LONGEST: u64 = 1 << 20;

impl<R: BufRead> Archive<R> {
    /// Reads the first line.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`] if that is not one of an archive.
    pub fn open(lines: R) -> Result<Self, ArchiveError> {
        let mut archive = Self {
            lines,
            number: 0,
            after: 0,
            prev: Hash::default(),
            buffer: String::new(),
        };
        let header: Option<Header> = archive.read()?;
        match header {
            Some(Header {
                forge_audit_archive: 1,
                after,
            }) if after.is_multiple_of(TILE) => Ok(Self { after, ..archive }),
            _ => Err(ArchiveError::Line { line: 1 }),
        }
    }

    /// The records up to this one were left out.
    #[must_use]
    pub fn after(&self) -> u64 {
        self.after
    }

    fn fill(&mut self) -> Result<bool, ArchiveError> {
        self.buffer.clear();
        self.number += 1;
        let mut bounded = std::io::Read::take(&mut self.lines, LONGEST);
        let read = bounded.read_line(&mut self.buffer);
        match read {
            Ok(0) => Ok(false),
            Ok(_) if self.buffer.ends_with('\n') => Ok(true),
            Err(error) if error.kind() != std::io::ErrorKind::InvalidData => Err(error.into()),
            _ => Err(ArchiveError::Line { line: self.number }),
        }
    }

    fn read<T: for<'a> Deserialize<'a>>(&mut self) -> Result<Option<T>, ArchiveError> {
        if !self.fill()? {
            return Ok(None);
        }
        let line = self.number;
        serde_json::from_str(&self.buffer)
            .map(Some)
            .map_err(|_| ArchiveError::Line { line })
    }

    /// The next entry.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Line`] if a line is not part of an archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        if !self.fill()? {
            return Ok(None);
        }
        let bad = ArchiveError::Line { line: self.number };
        if let Ok(Signed { checkpoint }) = serde_json::from_str(&self.buffer) {
            return Ok(Some(Entry::Checkpoint(checkpoint)));
        }
        let line: Option<Line> = serde_json::from_str(&self.buffer).ok();
        let Some(stored) = line.and_then(|line| line.stored(self.prev)) else {
            return Err(bad);
        };
        self.prev = stored.hash;
        Ok(Some(Entry::Stored(Box::new(stored))))
    }
}

impl<R> std::fmt::Debug for Archive<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive")
            .field("line", &self.number)
            .finish_non_exhaustive()
    }
}

/// Verifies an archive with nothing but the archive and `checkpoints`, pairs of a number of records
/// and a root. Checkpoints in the archive itself go to `also`, which opens those it trusts.
///
/// # Errors
///
/// [`ArchiveError::Broken`] with the first bad position, or what cannot be read.
pub fn verify_archive<R: BufRead>(
    open: impl Fn() -> Result<R, ArchiveError>,
    checkpoints: &[(u64, Hash)],
    also: impl Fn(&str) -> Option<(u64, Hash)>,
) -> Result<Verified, ArchiveError> {
    let mut verifier = Verifier::new();
    for (size, root) in checkpoints {
        verifier.expect(*size, *root);
    }
    // Checkpoints come last in the file and are needed first: it is read twice.
    let mut archive = Archive::open(open()?)?;
    while let Some(entry) = archive.next_entry()? {
        if let Entry::Checkpoint(note) = entry {
            let broken = crate::chain::Broken {
                seq: 0,
                fault: crate::chain::Fault::Checkpoint,
            };
            let (size, root) = also(&note).ok_or(broken)?;
            // The empty log is how every log begins: nothing to keep in mind.
            if size > 0 {
                verifier.expect(size, root);
            }
        }
    }
    let mut archive = Archive::open(open()?)?;
    verifier.leave_out(archive.after());
    while let Some(entry) = archive.next_entry()? {
        if let Entry::Stored(stored) = entry {
            verifier.push(&stored)?;
        }
    }
    Ok(verifier.finish()?)
}

/// Appends an archive to `store`, to be searched; what is stored already is passed over. An archive
/// that begins in the midst of a log goes into a store that ends there, or into an empty one.
///
/// # Errors
///
/// [`ArchiveError::Broken`] with the first bad position, [`ArchiveError::Pruned`] if records were
/// pruned that were not left out, or what cannot be read or stored.
pub async fn import_archive<R: BufRead>(
    mut archive: Archive<R>,
    store: &dyn AuditStore,
) -> Result<u64, ArchiveError> {
    let mut tail = store.tail().await?.seq;
    let mut verifier = Verifier::new();
    verifier.leave_out(archive.after());
    let (mut tiles, mut batch) = (Vec::new(), Vec::<Record>::new());
    let mut imported = 0;
    while let Some(entry) = archive.next_entry()? {
        match entry {
            Entry::Checkpoint(text) => {
                // They come last, and there may be any number of them.
                store.append(std::mem::take(&mut batch).into()).await?;
                // The size is the second line.
                let size = text.lines().nth(1).and_then(|line| line.parse().ok());
                if let Some(size) = size {
                    store.add_checkpoint(SignedNote { size, text }).await?;
                }
            }
            Entry::Stored(stored) => {
                verifier.push(&stored)?;
                if let Content::Pruned { .. } = stored.content {
                    if verifier.head().seq > archive.after() {
                        return Err(ArchiveError::Pruned);
                    }
                    tiles.push(stored.hash);
                    continue;
                }
                if tail == 0 && !tiles.is_empty() {
                    let end = Head {
                        seq: archive.after(),
                        hash: stored.prev,
                        time: stored.time,
                    };
                    store.begin_after(end, std::mem::take(&mut tiles)).await?;
                    tail = archive.after();
                }
                if stored.seq > tail {
                    batch.push(stored.into_record());
                    imported += 1;
                }
                if batch.len() >= PAGE {
                    store.append(std::mem::take(&mut batch).into()).await?;
                }
            }
        }
    }
    verifier.finish()?;
    store.append(batch.into()).await?;
    Ok(imported)
}
