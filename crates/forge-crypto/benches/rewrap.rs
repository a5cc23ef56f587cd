//! Rewrapping a table of 20 000 sealed tokens in a SQLite file, there and back between two keys.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forge_crypto::secrecy::ExposeSecret;
use forge_crypto::{
    KeyEntry, KeyState, Keyring, Rewrap, RootKey, SealedColumn, SealedTable, SqliteSealedStore,
    Vault,
};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

const ROWS: u64 = 20_000;
const USERS: SealedTable = SealedTable::new("users", "id", &["github_token"]);
const TOKEN: SealedColumn = USERS.column("github_token");

async fn fill(folder: &std::path::Path, vault: &Vault) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("bench.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePool::connect_with(options).await.expect("a database");
    sqlx::query("CREATE TABLE users (id TEXT PRIMARY KEY, login TEXT, github_token TEXT)")
        .execute(&pool)
        .await
        .expect("a table");
    let mut transaction = pool.begin().await.expect("a transaction");
    for n in 0..ROWS {
        // As UUIDv7 looks.
        let id = format!("0197f3c2-{:04x}-7c3e-9d52-6f6f{n:08x}", n >> 4);
        let token = vault.seal(&TOKEN.row(&id), "gho_16C7e42F292c6912E7710c838347Ae178B4a");
        sqlx::query("INSERT INTO users VALUES (?, 'octocat', ?)")
            .bind(id)
            .bind(token.expect("sealed"))
            .execute(&mut *transaction)
            .await
            .expect("a row");
    }
    transaction.commit().await.expect("committed");
    pool
}

fn rewrap(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let keys = [(); 2].map(|()| RootKey::generate().expect("random bytes").to_text());
    let ring = |primary: usize| {
        let entry = |at: usize| {
            let state = match at == primary {
                true => KeyState::Primary,
                false => KeyState::Retired,
            };
            KeyEntry::new(
                state,
                RootKey::parse(keys[at].expose_secret()).expect("a key"),
            )
        };
        Keyring::new([entry(0), entry(1)]).expect("a keyring")
    };
    let vault = Vault::new(&ring(0));
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteSealedStore::new(runtime.block_on(fill(folder.path(), &vault)));

    let mut group = c.benchmark_group("rewrap");
    group.throughput(Throughput::Elements(ROWS)).sample_size(10);
    let mut primary = 0;
    group.bench_function("sqlite", |b| {
        b.iter(|| {
            primary = 1 - primary;
            vault.reload(&ring(primary));
            let rewrap = Rewrap::new(&vault, &store).table(USERS);
            let report = runtime.block_on(rewrap.run(|_| ())).expect("rewrapped");
            assert_eq!(report.done, ROWS);
        });
    });
    group.finish();
}

criterion_group!(benches, rewrap);
criterion_main!(benches);
