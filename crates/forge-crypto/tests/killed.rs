//! A rewrap that is killed, fifty times, and taken up again: nothing is lost.
#![cfg(all(feature = "sqlite", unix))]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use forge_crypto::{
    KeyId, KeyState, Keyring, Rewrap, RootKey, SealedColumn, SealedTable, SqliteSealedStore, Vault,
};
use secrecy::ExposeSecret;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

const USERS: SealedTable = SealedTable::new("users", "id", &["token"]);
const TOKEN: SealedColumn = USERS.column("token");
const ROWS: usize = 400;
const KILLS: usize = 50;

/// Names the folder to the process that is going to be killed.
const FOLDER: &str = "FORGE_TEST_KILLED_REWRAP";

async fn open(folder: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("test.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    SqlitePool::connect_with(options).await.unwrap()
}

/// The process that is going to be killed; otherwise an empty test.
#[tokio::test]
async fn victim() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let vault = Vault::new(&Keyring::from_file(folder.join("keyring")).unwrap());
    let store = SqliteSealedStore::new(open(folder).await);
    let rewrap = Rewrap::new(&vault, &store).table(USERS).batch(3);
    rewrap
        .run(|progress| println!("done {}", progress.done))
        .await
        .unwrap();
    println!("complete");
}

/// Lets a victim do some batches and kills it wherever it is then; whether it had completed.
fn kill_after(folder: &Path, batches: usize) -> bool {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    for _ in lines
        .by_ref()
        .map(Result::unwrap)
        .filter(|line| line.contains("done"))
        .take(batches)
    {}
    victim.kill().unwrap();
    assert_eq!(victim.wait().unwrap().code().unwrap_or_default(), 0);
    lines
        .map(Result::unwrap)
        .any(|line| line.contains("complete"))
}

async fn check(pool: &SqlitePool, vault: &Vault) {
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT id, token FROM users")
        .fetch_all(pool)
        .await
        .unwrap();
    assert_eq!(rows.len(), ROWS);
    for (id, token) in rows {
        let opened = vault.open_string(&TOKEN.row(&id), &token).unwrap();
        assert_eq!(opened.expose_secret(), format!("the token of {id}"));
    }
}

/// The next primary key: the same two change places.
fn promote(path: &Path) -> (Vault, KeyId) {
    let ring = Keyring::from_file(path).unwrap();
    let old = ring.primary().id();
    let other = ring
        .entries()
        .iter()
        .find(|entry| entry.state() != KeyState::Primary);
    let next = other.unwrap().id();
    let ring = Keyring::change_file(path, |ring| ring.promote(next)).unwrap();
    (Vault::new(&ring), old)
}

#[tokio::test]
async fn a_rewrap_that_is_killed_fifty_times_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, keyring) = (folder.path(), folder.path().join("keyring"));
    let key = RootKey::generate().unwrap();
    let ring = Keyring::generate().unwrap().add(key, "second").unwrap();
    ring.create_file(&keyring).unwrap();
    let vault = Vault::new(&ring);
    let pool = open(folder).await;
    sqlx::query("CREATE TABLE users (id TEXT PRIMARY KEY, token TEXT)")
        .execute(&pool)
        .await
        .unwrap();
    let mut transaction = pool.begin().await.unwrap();
    for row in 0..ROWS {
        let id = format!("user-{row:04}");
        let token = format!("the token of {id}");
        let sealed = vault.seal(&TOKEN.row(&id), &token).unwrap();
        sqlx::query("INSERT INTO users VALUES (?, ?)")
            .bind(&id)
            .bind(sealed)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();

    let store = SqliteSealedStore::new(pool.clone());
    let (mut vault, mut old) = promote(&keyring);
    let (mut kills, mut partly) = (0, 0);
    while kills < KILLS {
        // Somewhere within the 4 to 30 batches of 3 after the last kill.
        let complete = kill_after(folder, 4 + kills * 7 % 27);
        check(&pool, &vault).await;
        let remaining = Rewrap::new(&vault, &store)
            .table(USERS)
            .remaining()
            .await
            .unwrap();
        assert_eq!(remaining.total(), ROWS as u64);
        partly += usize::from((1..ROWS as u64).contains(&remaining.under(old)));
        kills += usize::from(!complete);
        if remaining.under(old) == 0 {
            (vault, old) = promote(&keyring);
        }
    }
    assert!(partly > KILLS / 2, "{partly}");

    let report = Rewrap::new(&vault, &store)
        .table(USERS)
        .run(|_| ())
        .await
        .unwrap();
    assert_eq!(report.remaining.under(old), 0);
    assert_eq!(report.done + report.skipped, ROWS as u64);
    check(&pool, &vault).await;
    let ring = Keyring::change_file(&keyring, |ring| ring.retire(old, &report.remaining)).unwrap();
    check(&pool, &Vault::new(&ring)).await;
}
