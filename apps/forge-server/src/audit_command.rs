//! `forge audit …`: whether an audit log is as it was written, what it holds, and what it shall keep.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use forge_audit::{
    ARCHIVE_STEP, Archive, AuditLog, AuditStore, CheckpointVerifier, Export, Filter, Format, Head,
    Kind, Retention, Severity, SqliteAuditStore, Timestamp, Tree, Verified, Verifier,
    archive_lines, import_archive, split_notes, stored_checkpoints, verify_archive,
    write_compressed_archive,
};
use forge_monitor::BoxError;

use crate::config::audit_time;
use crate::error::chain;
use crate::shared_audit::SharedLog;

/// Pages given back to the file system at a time.
const PAGES: u32 = 4096;
/// Whoever runs the command may read and write what it makes, and nobody else.
const PRIVATE: u32 = 0o600;

/// `forge audit`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verifies a log in the database that nodes share; lists them where none is named.
    Shared(SharedLog),
    /// Recomputes an audit database or an archive and names the first position that does not fit.
    /// It changes and makes nothing, and the server may be running.
    Verify {
        /// The database file, such as `data/audit.db`, or an archive.
        file: PathBuf,
        /// The public key of the log, `<origin>+<id>+<key>`, as the server's log says it: the
        /// checkpoints stored in the file must be signed with it, and the log must be as they say.
        /// May be repeated, where the key or the public address has changed.
        #[arg(long)]
        key: Vec<String>,
        /// A file of checkpoints that was kept elsewhere; needs --key.
        #[arg(long, value_name = "FILE", requires = "key")]
        checkpoints: Option<PathBuf>,
        /// The events up to this sequence are in another archive.
        #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
        left_out: u64,
    },
    /// Prints the events of an audit database in the format of another system.
    Export {
        /// The database file, such as `data/audit.db`.
        file: PathBuf,
        /// jsonl, csv, cef, syslog or ocsf.
        #[arg(long, default_value = "jsonl")]
        format: String,
        /// Goes on after the event with this sequence.
        #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
        after: u64,
        /// Which events.
        #[command(flatten)]
        which: Which,
    },
    /// Writes an archive, which verifies without a database and can be imported again.
    Archive {
        /// The database file, such as `data/audit.db`.
        file: PathBuf,
        /// The archive to make: JSON Lines in Zstandard.
        archive: PathBuf,
        /// Begins after the event with this sequence, where an archive before ended. Brought down
        /// to a multiple of 256, so that an archive may begin with a few events of the one before,
        /// and none is left out between them.
        #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
        after: u64,
    },
    /// Puts an archive into a database of its own, to be searched.
    Import {
        /// The archive.
        archive: PathBuf,
        /// The database file, which is made if missing, or holds what comes before.
        file: PathBuf,
    },
    /// Drops what is older than it need be kept, and says so in the log; the server may be running.
    Prune {
        /// The database file, such as `data/audit.db`.
        file: PathBuf,
        /// How long events are kept, such as `400d`. Those of high and critical severity are kept
        /// for ever without --all.
        #[arg(long, value_name = "DURATION", value_parser = audit_time)]
        keep: Kept,
        /// Takes events of every severity.
        #[arg(long)]
        all: bool,
        /// Accounts whose events stay: a legal hold.
        #[arg(long, value_name = "ID")]
        hold: Vec<u64>,
    },
    /// Erases what tells of a person, and says so in the log; the rest still verifies.
    Erase {
        /// The database file, such as `data/audit.db`.
        file: PathBuf,
        /// The id of the person's GitHub account.
        #[arg(long, value_name = "ID")]
        actor: u64,
        /// What the log is to say about why.
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// Accounts whose events stay: a legal hold.
        #[arg(long, value_name = "ID")]
        hold: Vec<u64>,
    },
}

/// How long; `None` is for ever.
type Kept = Option<Duration>;

/// Which events.
#[derive(Args, Clone, Debug, Default)]
pub struct Which {
    /// By the account with this id.
    #[arg(long, value_name = "ID")]
    pub actor: Option<String>,
    /// With this action.
    #[arg(long)]
    pub action: Option<String>,
    /// Of this kind.
    #[arg(long)]
    pub kind: Option<String>,
    /// Of this severity or above: low, medium, high or critical.
    #[arg(long)]
    pub severity: Option<String>,
    /// Not before this time, such as 2026-11-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

impl Which {
    fn filter(self) -> Result<Filter, BoxError> {
        let time = |text: Option<String>| -> Result<Option<Timestamp>, BoxError> {
            let Some(text) = text else { return Ok(None) };
            let time = humantime::parse_rfc3339(&text);
            let time =
                time.map_err(|_| format!("{text} is not a time such as 2026-11-01T00:00:00Z"))?;
            Ok(Some(time.into()))
        };
        let mut filter = Filter::default();
        filter.actor = self.actor;
        filter.action = self.action;
        let kind = self.kind.map(|kind| kind.parse()).transpose();
        filter.kind = kind.map_err(|_| {
            let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("--kind is one of {}", kinds.join(", "))
        })?;
        let severity = self.severity.map(|severity| severity.parse()).transpose();
        filter.at_least = severity.map_err(|_| "--severity is low, medium, high or critical")?;
        (filter.from, filter.until) = (time(self.from)?, time(self.until)?);
        Ok(filter)
    }
}

impl AuditCommand {
    /// Does it, and writes what there is to say to `out`.
    ///
    /// # Errors
    /// What keeps it from being done, or the first position that does not verify.
    pub async fn run(self, out: &mut (dyn Write + Send)) -> Result<(), BoxError> {
        match self {
            Self::Shared(log) => writeln!(out, "{}", log.run().await?)?,
            Self::Verify {
                file,
                key,
                checkpoints,
                left_out,
            } => {
                let report = verify(&file, &key, checkpoints.as_deref(), left_out);
                writeln!(out, "{}", report.await?)?;
            }
            Self::Export {
                file,
                format,
                after,
                which,
            } => {
                let format: Format = format
                    .parse()
                    .map_err(|_| "the formats are jsonl, csv, cef, syslog and ocsf")?;
                let store = Arc::new(read(&file).await?);
                let mut export = Export::new(store, format)
                    .filter(which.filter()?)
                    .after(after);
                while let Some(piece) = export.next().await? {
                    out.write_all(piece.text.as_bytes())?;
                }
            }
            Self::Archive {
                file,
                archive,
                after,
            } => {
                let store = read(&file).await?;
                let end = store.tail().await?.seq;
                if after > end {
                    return Err(
                        format!("--after {after} is beyond the log, which ends at {end}").into(),
                    );
                }
                let new = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(PRIVATE)
                    .open(&archive);
                let new = new.map_err(|error| match error.kind() {
                    ErrorKind::AlreadyExists => {
                        format!("{} is there already: name a new file", shown(&archive))
                    }
                    _ => format!("cannot write {}: {error}", shown(&archive)),
                })?;
                let mut buffered = BufWriter::new(&new);
                let last = write_compressed_archive(&store, after, &mut buffered).await?;
                buffered.flush()?;
                drop(buffered);
                new.sync_all()?;
                writeln!(out, "{}: {}", shown(&archive), range(after, last))?;
            }
            Self::Import { archive, file } => {
                there(&archive)?;
                let lines = File::open(&archive).map_err(unread(&archive))?;
                let lines = archive_lines(lines).map_err(unread(&archive))?;
                let archive = Archive::open(lines).map_err(unread(&archive))?;
                // What it holds is as private as the log.
                let made = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(PRIVATE)
                    .open(&file);
                made.map_err(|error| format!("cannot write {}: {error}", shown(&file)))?;
                let store = SqliteAuditStore::open(&file).await?;
                store.migrate().await?;
                let imported = import_archive(archive, &store).await?;
                store.seal().await?;
                writeln!(out, "{imported} events imported into {}", shown(&file))?;
            }
            Self::Prune {
                file,
                keep,
                all,
                hold,
            } => {
                let Some(keep) = keep else {
                    return Err("events that are kept for ever need no pruning".into());
                };
                let retention = match all {
                    true => Retention::new().keep_all(keep),
                    false => Retention::new()
                        .keep(Severity::Low, keep)
                        .keep(Severity::Medium, keep),
                };
                let (store, log) = write(&file).await?;
                let pruned = log.prune(&held(retention, &hold)).await?;
                log.shutdown().await?;
                while store.vacuum(PAGES).await? > 0 {}
                writeln!(out, "{pruned} events dropped")?;
            }
            Self::Erase {
                file,
                actor,
                why,
                hold,
            } => {
                let mut person = Filter::default();
                person.actor = Some(actor.to_string());
                let (_, log) = write(&file).await?;
                let erased = log
                    .erase(&person, &held(Retention::new(), &hold), why)
                    .await?;
                log.shutdown().await?;
                writeln!(out, "{erased} events erased but for what happened and when")?;
            }
        }
        Ok(())
    }
}

fn held(retention: Retention, hold: &[u64]) -> Retention {
    hold.iter().fold(retention, |retention, account| {
        let mut filter = Filter::default();
        filter.actor = Some(account.to_string());
        retention.hold(filter)
    })
}

/// The events of an archive that was to begin after `after`.
fn range(after: u64, last: u64) -> String {
    let start = after / ARCHIVE_STEP * ARCHIVE_STEP;
    let mut text = match start < last {
        true => format!("the events {} to {last}", start + 1),
        false => format!("no events, since the log ends at {last}"),
    };
    if start < after {
        text += &format!("; {after} is brought down to {start}, a multiple of {ARCHIVE_STEP}");
    }
    text
}

/// A path, which may be of any bytes, for a terminal.
fn shown(path: &Path) -> String {
    forge_audit::escape(&path.to_string_lossy()).into_owned()
}

/// What an error says that does not name its file.
fn unread<E: Into<BoxError>>(file: &Path) -> impl Fn(E) -> BoxError {
    move |error| format!("cannot read {}: {}", shown(file), chain(&*error.into())).into()
}

/// What a file holds of a log.
enum Holds {
    Database,
    Archive,
}

impl Holds {
    /// Tells by its first bytes, so that whoever named another file is told so, and not what a
    /// database makes of it.
    ///
    /// # Errors
    /// It cannot be read, or is neither.
    fn of(file: &Path) -> Result<Self, BoxError> {
        there(file)?;
        let mut start = Vec::new();
        let opened = File::open(file).map_err(unread(file))?;
        opened
            .take(16)
            .read_to_end(&mut start)
            .map_err(unread(file))?;
        // A zstd frame, and the line an archive begins with.
        if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || start.starts_with(b"{\"forge_audit_") {
            return Ok(Self::Archive);
        }
        // An empty file is a database without tables.
        if start.is_empty() || start == *b"SQLite format 3\0" {
            return Ok(Self::Database);
        }
        let wrong = format!(
            "cannot read {}: it holds no audit log; {KINDS}",
            shown(file)
        );
        Err(wrong.into())
    }
}

/// What is meant by a file.
const KINDS: &str = "name the database file, such as audit.db in the folder of the server's data, \
                     or an archive that `forge audit archive` wrote";

fn there(file: &Path) -> Result<(), BoxError> {
    let what = match file {
        missing if !missing.exists() => "there is no such file".to_owned(),
        folder if folder.is_dir() => format!("it is a folder; {KINDS}"),
        _ => return Ok(()),
    };
    Err(format!("cannot read {}: {what}", shown(file)).into())
}

fn database(file: &Path) -> Result<(), BoxError> {
    match Holds::of(file)? {
        Holds::Database => Ok(()),
        Holds::Archive => Err(format!(
            "cannot read {}: it is an archive; `forge audit import` makes a database of it",
            shown(file)
        )
        .into()),
    }
}

pub(crate) async fn read(file: &Path) -> Result<SqliteAuditStore, BoxError> {
    database(file)?;
    let store = SqliteAuditStore::builder(file).read_only().open().await;
    store.map_err(unread(file))
}

async fn write(file: &Path) -> Result<(Arc<SqliteAuditStore>, AuditLog), BoxError> {
    database(file)?;
    let store = SqliteAuditStore::open(file).await;
    let store = Arc::new(store.map_err(unread(file))?);
    store.migrate().await?;
    let log = AuditLog::open(Arc::clone(&store) as Arc<dyn AuditStore>).await?;
    Ok((store, log))
}

/// Recomputes an audit database or an archive, compares it with the checkpoints of the holders of
/// `keys`, those stored with it and those in the file `checkpoints`, and says how far it holds.
async fn verify(
    file: &Path,
    keys: &[String],
    checkpoints: Option<&Path>,
    left_out: u64,
) -> Result<String, BoxError> {
    let holds = Holds::of(file)?;
    let keys = keys.iter().map(|key| key.parse());
    let keys: Result<Vec<CheckpointVerifier>, _> = keys.collect();
    let keys = keys.map_err(|_| {
        "--key is not the public key of a log, `<origin>+<id>+<key>`, as the server logs it at its \
         start"
    })?;
    let open = |note: &str| keys.iter().find_map(|key| key.open(note).ok());
    let mut expected = Vec::new();
    if let Some(path) = checkpoints {
        let notes = split_notes(&std::fs::read_to_string(path).map_err(unread(path))?);
        if notes.is_empty() {
            return Err(format!("there is no checkpoint in {}", shown(path)).into());
        }
        for note in &notes {
            let signed = open(note).ok_or_else(|| {
                format!("a checkpoint in {} is not signed by the key", shown(path))
            })?;
            expected.push((signed.size, signed.root));
        }
    }
    let verified = if let Holds::Database = holds {
        let store = read(file).await?;
        if !keys.is_empty() {
            expected.extend(stored_checkpoints(&store, &keys).await?);
        }
        let mut verifier = Verifier::new();
        verifier.leave_out(left_out);
        for (size, root) in expected {
            verifier.expect(size, root);
        }
        // Where the file says that the log ends is no proof of where it ended.
        verifier.run(&store, Head::default()).await?
    } else {
        let trusted = |note: &str| match keys.is_empty() {
            false => open(note).map(|c| (c.size, c.root)),
            // Without a key they say nothing: the empty log, which every log begins with.
            true => Some((0, Tree::new().root())),
        };
        verify_archive(|| archive_lines(File::open(file)?), &expected, trusted)?
    };
    // Whoever can write the file can recompute the chain and drop what was signed.
    if !keys.is_empty() && verified.checkpoints == 0 {
        return Err(
            "no checkpoint of this log is signed by the key: give those kept elsewhere with \
             --checkpoints"
                .into(),
        );
    }
    Ok(report(&verified, !keys.is_empty()))
}

pub(crate) fn report(verified: &Verified, has_key: bool) -> String {
    let Verified {
        head,
        pruned,
        erased,
        checkpoints,
        left_out,
        ..
    } = verified;
    let mut text = format!("{} events, unbroken up to {}", head.seq, head.hash);
    if *left_out > 0 {
        text += &format!("; those up to {left_out} are not in this file");
    }
    let pruned = pruned.saturating_sub(*left_out);
    if pruned + erased > 0 {
        text += &format!("; {pruned} pruned and {erased} erased, as the log itself says");
    }
    if has_key {
        text += &format!("; as {checkpoints} signed checkpoints have it");
    }
    text
}
