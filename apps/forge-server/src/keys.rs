//! `forge key …`: the keys that seal secrets at rest, and what they protect.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use forge_crypto::{
    KeyId, Keyring, PostgresSealedStore, Remaining, Rewrap, RewrapProgress, RootKey, RotationError,
    SealedColumn, SealedStore, SealedTable, SqliteSealedStore, Vault,
};
use forge_monitor::BoxError;
use secrecy::ExposeSecret;
use sqlx::SqlitePool;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::config::{Config, Inputs};
use crate::database::{self, Database, Pool};

const USERS: SealedTable = SealedTable::new("users", "id", &["github_token"]);
const SIGNING_KEYS: SealedTable = SealedTable::new("signing_keys", "id", &["sealed"]);

const DEVICE_LOGINS: SealedTable = SealedTable::new("device_logins", "id", &["github_code"]);

/// How a running server comes to a keyring that was changed.
const RELOAD: &str = "send every server SIGHUP, or restart it";

/// Every table of the server that holds sealed values.
const SEALED: [SealedTable; 3] = [USERS, DEVICE_LOGINS, SIGNING_KEYS];

/// `users.github_token`
pub const GITHUB_TOKEN: SealedColumn = USERS.column("github_token");
/// `device_logins.github_code`
pub const DEVICE_CODE: SealedColumn = DEVICE_LOGINS.column("github_code");
/// `signing_keys.sealed`
pub const SIGNING_KEY: SealedColumn = SIGNING_KEYS.column("sealed");

/// `forge key`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a keyring with one new key, in a new file or on standard output.
    Generate {
        /// The file, which must not exist.
        file: Option<PathBuf>,
    },
    /// Lists the keys of the keyring, without the keys themselves.
    List {
        /// Where the keyring is.
        #[command(flatten)]
        keyring: KeyringFile,
    },
    /// Adds a new key that opens and does not seal yet.
    Add {
        /// Where the keyring is.
        #[command(flatten)]
        keyring: KeyringFile,
        /// A note for people.
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Lets a key seal from now on; the one before still opens.
    Promote {
        /// The key's id, as `forge key list` shows it.
        #[arg(allow_hyphen_values = true, value_parser = KeyId::parse)]
        id: KeyId,
        /// Where the keyring is.
        #[command(flatten)]
        keyring: KeyringFile,
    },
    /// Marks a key that somebody else has: what it sealed does not open any more.
    Compromise {
        /// The key's id, as `forge key list` shows it.
        #[arg(allow_hyphen_values = true, value_parser = KeyId::parse)]
        id: KeyId,
        /// Where the keyring is.
        #[command(flatten)]
        keyring: KeyringFile,
    },
    /// Seals everything stored anew under the key that seals; the server may be running.
    Rewrap {
        /// Where the keyring is.
        #[command(flatten)]
        keyring: KeyringFile,
        /// Where the database is.
        #[command(flatten)]
        data: DataFolder,
        /// Also takes what compromised keys sealed.
        #[arg(long)]
        dangerous_open_compromised: bool,
        /// Also seals values that were stored in clear.
        #[arg(long)]
        dangerous_seal_unsealed: bool,
    },
    /// Takes a key out of the keyring that nothing is sealed under any more.
    Retire {
        /// The key's id, as `forge key list` shows it.
        #[arg(allow_hyphen_values = true, value_parser = KeyId::parse)]
        id: KeyId,
        /// Where the keyring is.
        #[command(flatten)]
        keyring: KeyringFile,
        /// Where the database is.
        #[command(flatten)]
        data: DataFolder,
    },
    /// Lists the keys and how many stored values each still protects.
    Status {
        /// Where the keyring is.
        #[command(flatten)]
        keyring: KeyringFile,
        /// Where the database is.
        #[command(flatten)]
        data: DataFolder,
    },
}

/// Where the keyring is.
#[derive(Args, Clone, Debug, Default)]
pub struct KeyringFile {
    /// The file of the keyring [default: what FORGE_KEYRING_FILE or the configuration names].
    #[arg(long, value_name = "FILE")]
    pub keyring: Option<PathBuf>,
    /// The configuration file of the server [also: FORGE_CONFIG], for what no other flag names.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where the database is: the shared one where the configuration names one, as it does for the
/// server, else the one in the data folder.
#[derive(Args, Clone, Debug, Default)]
pub struct DataFolder {
    /// The folder the databases lie in [default: what FORGE_DATA or the configuration names]. Not
    /// looked at where a database is shared, by FORGE_DATABASE_URL or the configuration.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl KeyCommand {
    /// Does it, and writes what there is to say to `out`; progress goes to standard error.
    ///
    /// # Errors
    /// What keeps it from being done, with the fix where there is one.
    pub async fn run(self, out: &mut (dyn Write + Send)) -> Result<(), BoxError> {
        match self {
            Self::Generate { file: None } => {
                let keyring = Keyring::generate()?;
                out.write_all(keyring.to_text().expose_secret().as_bytes())?;
            }
            Self::Generate { file: Some(file) } => {
                let keyring = Keyring::generate()?;
                keyring.create_file(&file)?;
                let id = keyring.primary().id();
                writeln!(out, "{}: made, with key {id}", file.display())?;
            }
            Self::List { keyring } => {
                let keyring = keyring.read()?;
                out.write_all(table(&keyring, None).as_bytes())?;
            }
            Self::Add { keyring, comment } => {
                let key = RootKey::generate()?;
                let id = key.id();
                change(&keyring, |ring| ring.add(key, comment))?;
                writeln!(out, "{id} added: opens, and does not seal yet")?;
                writeln!(out, "next: {RELOAD}, then forge key promote {id}")?;
            }
            Self::Promote { id, keyring } => {
                change(&keyring, |ring| ring.promote(id))?;
                writeln!(out, "{id} seals from now on")?;
                writeln!(out, "next: {RELOAD}, then forge key rewrap")?;
            }
            Self::Compromise { id, keyring } => {
                change(&keyring, |ring| ring.compromise(id))?;
                writeln!(
                    out,
                    "{id} is compromised: what it sealed does not open any more"
                )?;
                writeln!(out, "next: {RELOAD}, and have the secrets replaced")?;
            }
            Self::Rewrap {
                keyring,
                data,
                dangerous_open_compromised,
                dangerous_seal_unsealed,
            } => {
                let store = data.open(&keyring.inputs()).await?;
                let keyring = keyring.read()?;
                let vault = Vault::new(&keyring);
                let mut rewrap = all(&vault, &*store);
                if dangerous_open_compromised {
                    rewrap = rewrap.dangerous_open_compromised();
                }
                if dangerous_seal_unsealed {
                    rewrap = rewrap.dangerous_seal_unsealed();
                }
                let mut bar = Progress::new(io::stderr().is_terminal());
                let done = rewrap
                    .run(|progress| bar.show(progress, &mut io::stderr().lock()))
                    .await;
                bar.end(&mut io::stderr().lock());
                let report = done?;
                writeln!(out, "{report}")?;
                out.write_all(table(&keyring, Some(&report.remaining)).as_bytes())?;
                if report.failed > 0 {
                    let (failed, noun) = (report.failed, noun(report.failed));
                    return Err(format!("{failed} {noun} could not be sealed anew").into());
                }
            }
            Self::Retire { id, keyring, data } => {
                let store = data.open(&keyring.inputs()).await?;
                let remaining = count(&keyring.read()?, &*store).await?;
                change(&keyring, |ring| ring.retire(id, &remaining))?;
                writeln!(
                    out,
                    "{id} is gone; backups that it sealed need it kept elsewhere"
                )?;
                writeln!(out, "next: {RELOAD}")?;
            }
            Self::Status { keyring, data } => {
                let store = data.open(&keyring.inputs()).await?;
                let keyring = keyring.read()?;
                let remaining = count(&keyring, &*store).await?;
                out.write_all(table(&keyring, Some(&remaining)).as_bytes())?;
            }
        }
        Ok(())
    }
}

impl KeyringFile {
    /// What the server would be given.
    fn inputs(&self) -> Inputs {
        Inputs {
            file: self.config.clone(),
            ..Inputs::from_process()
        }
    }

    /// The file that is named, else the one that the server would read.
    fn path(&self) -> Result<PathBuf, BoxError> {
        match &self.keyring {
            Some(file) => Ok(file.clone()),
            None => Ok(Config::keyring_file(&self.inputs())?),
        }
    }

    fn read(&self) -> Result<Keyring, BoxError> {
        let path = self.path()?;
        Keyring::from_file(&path).map_err(|error| named(&path, error))
    }
}

/// The error, with the name of the file that it is about.
fn named(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> BoxError {
    let (path, text) = (path.display().to_string(), error.to_string());
    match text.contains(&path) {
        true => error.into(),
        false => format!("{path}: {text}").into(),
    }
}

impl DataFolder {
    /// The database as it is: it is neither made nor brought up to date here.
    async fn open(&self, inputs: &Inputs) -> Result<Box<dyn SealedStore>, BoxError> {
        // A folder may hold what was before the database was shared: to count there would let a key
        // go that is still needed.
        if let Some(shared) = Config::database(inputs)? {
            let options = database::postgres::options(&shared.url)?;
            let pool = PgPoolOptions::new().max_connections(2);
            let pool = pool.connect_with(options).await;
            let pool = pool.map_err(|error| format!("the shared database: {error}"))?;
            return Ok(Box::new(PostgresSealedStore::new(pool)));
        }
        let folder = self.data.clone().or_else(|| Config::data(inputs));
        let folder = folder.ok_or(
            "which database? name its folder with --data, or the configuration with --config",
        )?;
        let pool = open(&folder.join(database::FILE)).await?;
        Ok(Box::new(SqliteSealedStore::new(pool)))
    }
}

async fn open(path: &Path) -> Result<SqlitePool, BoxError> {
    if !path.exists() {
        let path = path.display();
        return Err(format!(
            "there is no database {path}: the server makes it when it starts; --data names another \
             folder"
        )
        .into());
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(30));
    let pool = SqlitePool::connect_with(options).await;
    pool.map_err(|error| format!("{} cannot be opened: {error}", path.display()).into())
}

fn change(
    file: &KeyringFile,
    step: impl FnOnce(Keyring) -> Result<Keyring, RotationError>,
) -> Result<Keyring, BoxError> {
    let path = file.path()?;
    Keyring::change_file(&path, step).map_err(|error| named(&path, error))
}

fn all<'a>(vault: &'a Vault, store: &'a dyn SealedStore) -> Rewrap<'a> {
    SEALED
        .into_iter()
        .fold(Rewrap::new(vault, store), Rewrap::table)
}

/// That a running server can go on with this keyring: it has every key of `vault` under which
/// something is stored.
///
/// # Errors
/// The key that would be lost, or the database failed.
pub(crate) async fn ensure_none_is_lost(
    database: &Database,
    vault: &Vault,
    keyring: &Keyring,
) -> Result<(), BoxError> {
    let store: Box<dyn SealedStore> = match database.pool() {
        Pool::Sqlite(pool) => Box::new(SqliteSealedStore::new(pool.clone())),
        Pool::Postgres(pool) => Box::new(PostgresSealedStore::new(pool.clone())),
    };
    let remaining = all(vault, &*store).remaining().await?;
    let has = |id| keyring.entries().iter().any(|entry| entry.id() == id);
    let lost = |(id, _): &(KeyId, u64)| !has(*id) && vault.keys().iter().any(|(of, _)| of == id);
    match remaining.by_key().find(lost) {
        None => Ok(()),
        Some((id, values)) => Err(format!(
            "the new keyring has no key {id}, which {values} stored {} would need: put it back, \
             and rewrap before it goes",
            noun(values)
        )
        .into()),
    }
}

async fn count(keyring: &Keyring, store: &dyn SealedStore) -> Result<Remaining, BoxError> {
    Ok(all(&Vault::new(keyring), store).remaining().await?)
}

fn noun(values: u64) -> &'static str {
    match values {
        1 => "value",
        _ => "values",
    }
}

/// A line a key, with how many values it protects where that was counted.
fn table(keyring: &Keyring, remaining: Option<&Remaining>) -> String {
    let mut text = String::new();
    let mut line = |id: &dyn std::fmt::Display, state: &str, values: Option<u64>, comment: &str| {
        let values = values.map_or(String::new(), |values| {
            // As wide as the plural, so that the comments stand below each other.
            format!("{values:>9} {:<6}  ", noun(values))
        });
        let line = format!("{id:<11}  {state:<11}  {values}{comment}");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    };
    for entry in keyring.entries() {
        let values = remaining.map(|remaining| remaining.under(entry.id()));
        line(&entry.id(), entry.state().as_str(), values, entry.comment());
    }
    let Some(remaining) = remaining else {
        return text;
    };
    let known = |id| keyring.entries().iter().any(|entry| entry.id() == id);
    for (id, values) in remaining.by_key().filter(|(id, _)| !known(*id)) {
        line(&id, "missing", Some(values), "not in the keyring");
    }
    if remaining.unsealed() > 0 {
        line(&"-", "unsealed", Some(remaining.unsealed()), "");
    }
    text
}

/// How far a rewrap is: a bar that is drawn over in a terminal, a line every tenth elsewhere.
struct Progress {
    terminal: bool,
    tenths: Option<u64>,
}

impl Progress {
    const WIDTH: u64 = 40;

    fn new(terminal: bool) -> Self {
        Self {
            terminal,
            tenths: None,
        }
    }

    /// That nobody can see it is no reason to end.
    fn show(&mut self, progress: &RewrapProgress, out: &mut dyn Write) {
        let (seen, total) = (progress.seen(), progress.total.max(progress.seen()).max(1));
        let place = format!(
            "{}.{}",
            progress.column.table().name(),
            progress.column.name()
        );
        if self.terminal {
            let full = usize::try_from(seen * Self::WIDTH / total).unwrap_or_default();
            let (full, width) = ("=".repeat(full), Self::WIDTH as usize);
            let _ = write!(out, "\r[{full:<width$}] {seen} of {total}  {place}\x1b[K");
            let _ = out.flush();
        } else if self.tenths.replace(seen * 10 / total) != Some(seen * 10 / total) {
            let _ = writeln!(out, "{seen} of {total}  {place}");
        }
        self.tenths = Some(seen * 10 / total);
    }

    fn end(&self, out: &mut dyn Write) {
        if self.terminal && self.tenths.is_some() {
            let _ = writeln!(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    /// A database with a user and a signing key, sealed under the keyring beside it.
    async fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let keyring = folder.path().join("keyring");
        let database = crate::Database::open(folder.path()).await.unwrap();
        let database::Pool::Sqlite(pool) = database.pool() else {
            panic!("another database");
        };
        run(folder.path(), &["generate", keyring.to_str().unwrap()])
            .await
            .unwrap();
        let vault = Vault::new(&Keyring::from_file(&keyring).unwrap());
        let sealed = vault.seal(&GITHUB_TOKEN.row("user-1"), "gho_1").unwrap();
        sqlx::query(
            "INSERT INTO users (id, github_id, login, github_token, created_at, last_sign_in_at) \
             VALUES ('user-1', 1, 'octo', ?, 0, 0)",
        )
        .bind(sealed)
        .execute(pool)
        .await
        .unwrap();
        let sealed = vault.seal(&SIGNING_KEY.row("key-1"), "pkcs8").unwrap();
        sqlx::query("INSERT INTO signing_keys (id, sealed, created_at) VALUES ('key-1', ?, 0)")
            .bind(sealed)
            .execute(pool)
            .await
            .unwrap();
        pool.close().await;
        (folder, keyring)
    }

    /// What `forge key …` prints, with the keyring and the database of that folder.
    async fn run(folder: &Path, arguments: &[&str]) -> Result<String, String> {
        let keyring = folder.join("keyring");
        let mut line = vec!["forge", "key"];
        line.extend_from_slice(arguments);
        if arguments[0] != "generate" {
            line.extend_from_slice(&["--keyring", keyring.to_str().unwrap()]);
        }
        if ["rewrap", "retire", "status"].contains(&arguments[0]) {
            line.extend_from_slice(&["--data", folder.to_str().unwrap()]);
        }
        let Command::Key(command) = Cli::parse_from(line).command else {
            panic!("another command");
        };
        let mut out = Vec::new();
        let done = command.run(&mut out).await;
        done.map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn ids(keyring: &Path) -> Vec<String> {
        let ring = Keyring::from_file(keyring).unwrap();
        ring.entries()
            .iter()
            .map(|entry| entry.id().to_string())
            .collect()
    }

    #[tokio::test]
    async fn a_rotation_is_add_promote_rewrap_retire() {
        let (folder, keyring) = folder().await;
        let run = async |arguments: &[&str]| run(folder.path(), arguments).await;
        run(&["add", "--comment", "second"]).await.unwrap();
        let [old, new] = ids(&keyring).try_into().unwrap();
        assert_eq!(
            run(&["list"]).await.unwrap(),
            format!("{old}  primary\n{new}  pending      second\n")
        );

        run(&["promote", &new]).await.unwrap();
        let error = run(&["retire", &old]).await.unwrap_err();
        assert!(error.contains("still protects 2 stored values"), "{error}");
        let done = run(&["rewrap"]).await.unwrap();
        assert!(
            done.starts_with("2 sealed anew, 0 skipped, 0 conflicts, 0 failed\n"),
            "{done}"
        );
        assert_eq!(
            run(&["status"]).await.unwrap(),
            format!(
                "{old}  retired              0 values\n\
                 {new}  primary              2 values  second\n"
            )
        );
        run(&["retire", &old]).await.unwrap();
        assert_eq!(ids(&keyring), [new]);

        let pool = open(&folder.path().join("forge.db")).await.unwrap();
        let token: String = sqlx::query_scalar("SELECT github_token FROM users")
            .fetch_one(&pool)
            .await
            .unwrap();
        let vault = Vault::new(&Keyring::from_file(&keyring).unwrap());
        let opened = vault
            .open_string(&GITHUB_TOKEN.row("user-1"), &token)
            .unwrap();
        assert_eq!(opened.expose_secret(), "gho_1");
    }

    #[tokio::test]
    async fn what_is_left_is_told() {
        let (folder, keyring) = folder().await;
        run(folder.path(), &["add"]).await.unwrap();
        let [old, new] = ids(&keyring).try_into().unwrap();
        run(folder.path(), &["promote", &new]).await.unwrap();
        run(folder.path(), &["compromise", &old]).await.unwrap();
        let error = run(folder.path(), &["rewrap"]).await.unwrap_err();
        assert_eq!(error, "2 values could not be sealed anew");
        let pool = open(&folder.path().join("forge.db")).await.unwrap();
        let hide = "ALTER TABLE signing_keys RENAME TO hidden;
                    CREATE TABLE signing_keys (id TEXT PRIMARY KEY, sealed TEXT)";
        sqlx::raw_sql(hide).execute(&pool).await.unwrap();
        let error = run(folder.path(), &["rewrap"]).await.unwrap_err();
        assert_eq!(error, "1 value could not be sealed anew");
        let status = run(folder.path(), &["status"]).await.unwrap();
        assert!(status.contains("        1 value\n"), "{status}");
        let back = "DROP TABLE signing_keys; ALTER TABLE hidden RENAME TO signing_keys";
        sqlx::raw_sql(back).execute(&pool).await.unwrap();
        let done = run(folder.path(), &["rewrap", "--dangerous-open-compromised"]).await;
        assert!(done.unwrap().starts_with("2 sealed anew"));

        let missing = folder.path().join("none");
        assert!(open(&missing).await.is_err() && !missing.exists());
        let text = run(folder.path(), &["generate"]).await.unwrap();
        assert!(Keyring::parse(&text).is_ok());
    }

    #[tokio::test]
    async fn progress_is_a_bar_in_a_terminal_and_lines_elsewhere() {
        let (folder, keyring) = folder().await;
        run(folder.path(), &["add"]).await.unwrap();
        let new = ids(&keyring).pop().unwrap();
        run(folder.path(), &["promote", &new]).await.unwrap();
        let vault = Vault::new(&Keyring::from_file(&keyring).unwrap());
        let store = SqliteSealedStore::new(open(&folder.path().join("forge.db")).await.unwrap());
        let (mut bar, mut plain) = (Progress::new(true), Progress::new(false));
        let (mut drawn, mut lines) = (Vec::new(), Vec::new());
        let rewrap = all(&vault, &store);
        rewrap
            .run(|progress| {
                bar.show(progress, &mut drawn);
                plain.show(progress, &mut lines);
            })
            .await
            .unwrap();
        bar.end(&mut drawn);
        plain.end(&mut lines);
        let (drawn, lines) = (
            String::from_utf8(drawn).unwrap(),
            String::from_utf8(lines).unwrap(),
        );
        assert_eq!(
            lines,
            "1 of 2  users.github_token\n2 of 2  signing_keys.sealed\n"
        );
        assert!(
            drawn.starts_with(&format!("\r[{:<40}] 1 of 2", "=".repeat(20))),
            "{drawn:?}"
        );
        assert!(drawn.ends_with("signing_keys.sealed\x1b[K\n"), "{drawn:?}");
    }
}
