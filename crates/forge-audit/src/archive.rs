//! Archives: the log as JSON Lines that verify without a database, and can be imported again.
//!
//! Each line is a JSON object. The first is `{"forge_audit_archive":1}`; then come the records in
//! their order, with all that their hashes cover, and the checkpoints as `{"checkpoint":…}`. Details
//! are a JSON text within the JSON, since what verifies is the bytes. With the feature `archive`
//! the lines are compressed with Zstandard (RFC 8878).

use std::io::{BufRead, Write};
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::canonical::{Personal, decode_open, encode_open};
use crate::chain::{Content, Hash};
use crate::clock::Timestamp;
use crate::error::ArchiveError;
use crate::record::{Record, Stored};
use crate::store::{AuditStore, SignedNote};
use crate::verify::{Verified, Verifier};

const PAGE: usize = 1000;

#[derive(Serialize, Deserialize)]
struct Header {
    forge_audit_archive: u8,
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
    fn of(stored: &Stored) -> Self {
        let mut line = Self {
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

    /// The record, that comes after the one with the hash `prev`.
    fn stored(&self, prev: Hash) -> Option<Stored> {
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

/// Writes all that `store` holds into `out`, with its checkpoints, and returns the last sequence.
///
/// # Errors
///
/// The store's error, or that of `out`.
pub async fn write_archive(
    store: &dyn AuditStore,
    out: &mut (dyn Write + Send),
) -> Result<u64, ArchiveError> {
    write_line(
        out,
        &Header {
            forge_audit_archive: 1,
        },
    )?;
    let mut after = 0;
    loop {
        let page = store.scan(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq + last.count() - 1;
        for stored in &page {
            write_line(out, &Line::of(stored))?;
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

/// What an archive holds, line by line.
pub struct Archive<R> {
    lines: R,
    number: u64,
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
            prev: Hash::default(),
            buffer: String::new(),
        };
        let header: Option<Header> = archive.read()?;
        match header {
            Some(Header {
                forge_audit_archive: 1,
            }) => Ok(archive),
            _ => Err(ArchiveError::Line { line: 1 }),
        }
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
            verifier.expect(size, root);
        }
    }
    let mut archive = Archive::open(open()?)?;
    while let Some(entry) = archive.next_entry()? {
        if let Entry::Stored(stored) = entry {
            verifier.push(&stored)?;
        }
    }
    Ok(verifier.finish()?)
}

/// Appends an archive to `store`, to be searched; what is stored already is passed over. An archive
/// in which records were pruned cannot be imported.
///
/// # Errors
///
/// [`ArchiveError::Broken`] with the first bad position, or what cannot be read or stored.
pub async fn import_archive<R: BufRead>(
    mut archive: Archive<R>,
    store: &dyn AuditStore,
) -> Result<u64, ArchiveError> {
    let tail = store.tail().await?.seq;
    let mut verifier = Verifier::new();
    let mut batch: Vec<Record> = Vec::new();
    let mut notes = Vec::new();
    let mut imported = 0;
    while let Some(entry) = archive.next_entry()? {
        match entry {
            Entry::Checkpoint(text) => {
                // The size is the second line.
                let size = text.lines().nth(1).and_then(|line| line.parse().ok());
                notes.extend(size.map(|size| SignedNote { size, text }));
            }
            Entry::Stored(stored) => {
                verifier.push(&stored)?;
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
    store.append(batch.into()).await?;
    for note in notes {
        store.add_checkpoint(note).await?;
    }
    Ok(imported)
}
