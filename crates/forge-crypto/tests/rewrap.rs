//! Rewrapping against SQLite and PostgreSQL: complete, careful with writers, and resumable.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod database;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use database::{Database, Keys, each_database};
use forge_crypto::{
    KeyState, OpenFailure, Rewrap, RowKind, SealedColumn, SealedStore, SealedTable, StoreError,
    Vault, VaultEvent,
};
use secrecy::ExposeSecret;

const USERS: SealedTable = SealedTable::new("users", "id", &["token", "secret"]).tenant("org");
const TOKEN: SealedColumn = USERS.column("token");
const SECRET: SealedColumn = USERS.column("secret");
const USERS_SQL: &str =
    "CREATE TABLE users (id TEXT PRIMARY KEY, org TEXT NOT NULL, token TEXT, secret TEXT)";

/// `rows` users of two tenants, of which every seventh has no token.
async fn users(db: &Database, vault: &Vault, rows: usize) {
    db.execute(USERS_SQL).await;
    let mut values = Vec::new();
    for n in 0..rows {
        let (id, org) = (format!("user-{n:05}"), format!("org-{}", n % 2));
        let seal = |column: SealedColumn| {
            let place = column.row(&id).tenant(&org);
            vault.seal(&place, &secret(column, &id)).unwrap()
        };
        let token = match n % 7 {
            0 => "NULL".to_owned(),
            _ => format!("'{}'", seal(TOKEN).as_str()),
        };
        let secret = seal(SECRET);
        values.push(format!("('{id}', '{org}', {token}, '{}')", secret.as_str()));
    }
    for values in values.chunks(500) {
        db.execute(&format!("INSERT INTO users VALUES {}", values.join(",")))
            .await;
    }
}

fn secret(column: SealedColumn, id: &str) -> String {
    format!("the {} of {id}", column.name())
}

/// Opens every value; how many there are.
async fn open_all(db: &Database, vault: &Vault) -> usize {
    let mut opened = 0;
    for column in [TOKEN, SECRET] {
        let rows = db
            .rows(&format!("SELECT id, org, {} FROM users", column.name()))
            .await;
        for (id, org, sealed) in rows {
            let Some(sealed) = sealed else { continue };
            let value = vault.open_string(&column.row(&id).tenant(&org), &sealed);
            assert_eq!(value.unwrap().expose_secret(), secret(column, &id));
            opened += 1;
        }
    }
    opened
}

each_database!(brings_every_value_under_the_primary_key);
async fn brings_every_value_under_the_primary_key(db: Database) {
    let keys = Keys::new(2);
    let vault = Vault::new(&keys.ring(&[KeyState::Primary, KeyState::Pending]));
    users(&db, &vault, 100).await;
    let values = open_all(&db, &vault).await as u64;
    let old = vault.primary_key_id();

    vault.reload(&keys.ring(&[KeyState::Retired, KeyState::Primary]));
    let store = db.store();
    let rewrap = Rewrap::new(&vault, &*store).table(USERS).batch(9);
    assert_eq!(rewrap.remaining().await.unwrap().under(old), values);
    let mut seen = Vec::new();
    let report = rewrap
        .run(|progress| seen.push(progress.done))
        .await
        .unwrap();
    assert_eq!((report.done, report.skipped), (values, 0));
    assert_eq!((report.conflicted, report.failed), (0, 0));
    assert_eq!(report.remaining.under(old), 0);
    assert_eq!(report.remaining.under(vault.primary_key_id()), values);
    assert!(seen.is_sorted() && seen.len() > 20 && seen.last() == Some(&values));

    // Nothing of the old key is needed any more, and a second run finds nothing to do.
    vault.reload(&keys.only(1));
    assert_eq!(open_all(&db, &vault).await as u64, values);
    let before = db
        .rows("SELECT id, org, token FROM users ORDER BY id")
        .await;
    let again = Rewrap::new(&vault, &*store)
        .table(USERS)
        .run(|_| ())
        .await
        .unwrap();
    assert_eq!((again.done, again.skipped), (0, values));
    assert_eq!(
        db.rows("SELECT id, org, token FROM users ORDER BY id")
            .await,
        before
    );
}

each_database!(takes_rows_with_ids_of_every_kind);
async fn takes_rows_with_ids_of_every_kind(db: Database) {
    let keys = Keys::new(2);
    let vault = Vault::new(&keys.ring(&[KeyState::Primary, KeyState::Pending]));
    // Decimal order differs from the order of the texts, and UUIDs are stored in upper case once.
    let numbers = [-3_i64, 2, 10, 9_000_000_000];
    let uuids = [
        "0197f3c2-8f0a-7c3e-9d52-6f6f2d1c9b11",
        "ffffffff-ffff-4fff-bfff-ffffffffffff",
    ];
    const NUMBERS: SealedTable =
        SealedTable::new("numbers", "id", &["sealed"]).row_kind(RowKind::Integer);
    const BLOBS: SealedTable =
        SealedTable::new("blobs", "id", &["sealed"]).row_kind(RowKind::Bytes);
    const UUIDS: SealedTable = SealedTable::new("uuids", "id", &["sealed"]).row_kind(RowKind::Uuid);
    let (blob, literal) = db.blob_types();
    let uuid = db.uuid_type();
    db.execute("CREATE TABLE numbers (id BIGINT PRIMARY KEY, sealed TEXT)")
        .await;
    db.execute(&format!(
        "CREATE TABLE blobs (id {blob} PRIMARY KEY, sealed TEXT)"
    ))
    .await;
    db.execute(&format!(
        "CREATE TABLE uuids (id {uuid} PRIMARY KEY, sealed TEXT)"
    ))
    .await;
    for number in numbers {
        let sealed = vault
            .seal(&NUMBERS.column("sealed").row(&number.to_string()), "x")
            .unwrap();
        db.execute(&format!(
            "INSERT INTO numbers VALUES ({number}, '{}')",
            sealed.as_str()
        ))
        .await;
        let bytes = number.to_be_bytes();
        let sealed = vault
            .seal(&BLOBS.column("sealed").row(&bytes), "x")
            .unwrap();
        let id = literal(&bytes);
        db.execute(&format!(
            "INSERT INTO blobs VALUES ({id}, '{}')",
            sealed.as_str()
        ))
        .await;
    }
    for uuid in uuids {
        let sealed = vault.seal(&UUIDS.column("sealed").row(uuid), "x").unwrap();
        db.execute(&format!(
            "INSERT INTO uuids VALUES ('{uuid}', '{}')",
            sealed.as_str()
        ))
        .await;
    }
    vault.reload(&keys.ring(&[KeyState::Retired, KeyState::Primary]));
    let store = db.store();
    for batch in [1, 2, 100] {
        vault.reload(&keys.ring(&match batch {
            2 => [KeyState::Primary, KeyState::Retired],
            _ => [KeyState::Retired, KeyState::Primary],
        }));
        let rewrap = Rewrap::new(&vault, &*store)
            .table(NUMBERS)
            .table(BLOBS)
            .table(UUIDS);
        let report = rewrap.batch(batch).run(|_| ()).await.unwrap();
        assert_eq!((report.done, report.failed), (10, 0));
        assert_eq!(report.remaining.under(vault.primary_key_id()), 10);
    }
    // A description that does not fit the table is an error, and nothing is written.
    const WRONG: SealedTable =
        SealedTable::new("blobs", "id", &["sealed"]).row_kind(RowKind::Integer);
    vault.reload(&keys.ring(&[KeyState::Primary, KeyState::Retired]));
    let error = Rewrap::new(&vault, &*store)
        .table(WRONG)
        .run(|_| ())
        .await
        .unwrap_err();
    assert!(
        matches!(error, StoreError::RowKind | StoreError::Unavailable(_)),
        "{error}"
    );
}

each_database!(leaves_what_does_not_open_and_says_why);
async fn leaves_what_does_not_open_and_says_why(db: Database) {
    let keys = Keys::new(4);
    let sealed_by = |key: usize| {
        let id = format!("user-{key}");
        let place = TOKEN.row(&id).tenant("acme");
        let sealed = Vault::new(&keys.only(key)).seal(&place, "secret");
        sealed.unwrap().into_string()
    };
    db.execute(USERS_SQL).await;
    // Of a retired, a compromised and an unknown key; of another row; damaged; in clear.
    let stored = [
        ("user-1", sealed_by(1)),
        ("user-2", sealed_by(2)),
        ("user-3", sealed_by(3)),
        ("user-4", sealed_by(1)),
        ("user-5", "fv1.damaged".to_owned()),
        ("user-6", "gho_in_clear".to_owned()),
    ];
    for (id, token) in &stored {
        db.execute(&format!(
            "INSERT INTO users VALUES ('{id}', 'acme', '{token}', NULL)"
        ))
        .await;
    }
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let ring = keys.ring(&[KeyState::Primary, KeyState::Retired, KeyState::Compromised]);
    let vault = Vault::new(&ring).on_event(move |event: &VaultEvent<'_>| {
        if let VaultEvent::OpenFailed { reason, .. } = event {
            told.lock().unwrap().push(*reason);
        }
    });
    let store = db.store();
    let run = || Rewrap::new(&vault, &*store).table(USERS).batch(2);
    let report = run().run(|_| ()).await.unwrap();
    assert_eq!((report.done, report.failed), (1, 5));
    assert_eq!(report.remaining.unsealed(), 2);
    assert_eq!(
        *reasons.lock().unwrap(),
        [
            OpenFailure::CompromisedKey,
            OpenFailure::UnknownKey,
            OpenFailure::Authentication,
            OpenFailure::Malformed,
            OpenFailure::Malformed,
        ]
    );
    let tokens = db
        .rows("SELECT id, org, token FROM users ORDER BY id")
        .await;
    for ((id, before), (_, _, after)) in stored.iter().zip(tokens).skip(1) {
        assert_eq!(after.as_ref(), Some(before), "{id}");
    }

    // Asked for by name, the compromised key's value and the one in clear are taken as well.
    let report = run()
        .dangerous_open_compromised()
        .run(|_| ())
        .await
        .unwrap();
    assert_eq!((report.done, report.failed), (1, 4));
    let place = TOKEN.row("user-6").tenant("acme");
    assert!(vault.open(&place, "gho_in_clear").is_err());
    let reads = vault.clone().dangerous_read_unsealed();
    let opened = reads.open_string(&place, "gho_in_clear").unwrap();
    assert_eq!(opened.expose_secret(), "gho_in_clear");
    assert!(reads.open(&place, "fv1.damaged").is_err());
    let report = run().dangerous_seal_unsealed().run(|_| ()).await.unwrap();
    assert_eq!((report.done, report.failed), (1, 3));
    let token = db
        .rows("SELECT id, org, token FROM users WHERE id = 'user-6'")
        .await;
    let opened = vault
        .open_string(&place, token[0].2.as_deref().unwrap())
        .unwrap();
    assert_eq!(opened.expose_secret(), "gho_in_clear");
}

each_database!(a_value_written_meanwhile_is_not_lost);
async fn a_value_written_meanwhile_is_not_lost(db: Database) {
    let keys = Keys::new(2);
    let vault = Vault::new(&keys.ring(&[KeyState::Primary, KeyState::Pending]));
    users(&db, &vault, 10).await;
    let rotated = Vault::new(&keys.ring(&[KeyState::Retired, KeyState::Primary]));
    let place = SECRET.row("user-00003").tenant("org-1");
    let written = rotated.seal(&place, "written meanwhile").unwrap();
    let write = format!(
        "UPDATE users SET secret = '{}' WHERE id = 'user-00003'",
        written.as_str()
    );
    let store = database::WriteBeforeReplace::new(db.store(), db.clone(), write);
    let report = Rewrap::new(&rotated, &store)
        .table(USERS)
        .run(|_| ())
        .await
        .unwrap();
    assert_eq!((report.conflicted, report.failed), (1, 0));
    assert_eq!(
        report.remaining.total(),
        report.remaining.under(rotated.primary_key_id())
    );
    let rows = db
        .rows("SELECT id, org, secret FROM users WHERE id = 'user-00003'")
        .await;
    assert_eq!(rows[0].2.as_deref(), Some(written.as_str()));
}

each_database!(two_runs_at_once_share_the_work);
async fn two_runs_at_once_share_the_work(db: Database) {
    let keys = Keys::new(2);
    let vault = Vault::new(&keys.ring(&[KeyState::Primary, KeyState::Pending]));
    users(&db, &vault, 300).await;
    let values = open_all(&db, &vault).await as u64;
    vault.reload(&keys.ring(&[KeyState::Retired, KeyState::Primary]));
    let (one, two) = (db.store(), db.store());
    let run = |store| {
        let vault = vault.clone();
        async move {
            let store: Box<dyn SealedStore> = store;
            Rewrap::new(&vault, &*store)
                .table(USERS)
                .batch(13)
                .run(|_| ())
                .await
                .unwrap()
        }
    };
    let (one, two) = tokio::join!(tokio::spawn(run(one)), tokio::spawn(run(two)));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.done + two.done, values);
    assert_eq!((one.failed, two.failed), (0, 0));
    vault.reload(&keys.only(1));
    assert_eq!(open_all(&db, &vault).await as u64, values);
}

each_database!(eight_writers_and_readers_go_through_a_rotation);
async fn eight_writers_and_readers_go_through_a_rotation(db: Database) {
    let keys = Keys::new(2);
    let vault = Vault::new(&keys.ring(&[KeyState::Primary, KeyState::Pending]));
    let rows = 40;
    db.execute("CREATE TABLE counters (id TEXT PRIMARY KEY, sealed TEXT)")
        .await;
    const COUNTERS: SealedTable = SealedTable::new("counters", "id", &["sealed"]);
    const COUNTER: SealedColumn = COUNTERS.column("sealed");
    for row in 0..rows {
        let id = row.to_string();
        let sealed = vault.seal(&COUNTER.row(&id), "0").unwrap();
        db.execute(&format!(
            "INSERT INTO counters VALUES ('{id}', '{}')",
            sealed.as_str()
        ))
        .await;
    }

    // Each adds one to a counter, by compare-and-set on what it read; none fails to open.
    let (ended, updates) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let workers: Vec<_> = (0..8)
        .map(|worker: usize| {
            let (db, vault) = (db.clone(), vault.clone());
            let (ended, updates) = (Arc::clone(&ended), Arc::clone(&updates));
            tokio::spawn(async move {
                for n in worker.. {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    let id = (n * 7 % rows).to_string();
                    let old = db
                        .rows(&format!(
                            "SELECT id, '', sealed FROM counters WHERE id = '{id}'"
                        ))
                        .await[0]
                        .2
                        .clone()
                        .unwrap();
                    let count = vault.open_string(&COUNTER.row(&id), &old).unwrap();
                    let count: u64 = count.expose_secret().parse().unwrap();
                    let new = vault
                        .seal(&COUNTER.row(&id), &(count + 1).to_string())
                        .unwrap();
                    let update = format!(
                        "UPDATE counters SET sealed = '{}' WHERE id = '{id}' AND sealed = '{old}'",
                        new.as_str()
                    );
                    updates.fetch_add(db.execute(&update).await, Ordering::Relaxed);
                }
            })
        })
        .collect();

    let store = db.store();
    for round in 0..4 {
        let (old, new) = (round % 2, (round + 1) % 2);
        let mut states = [KeyState::Primary; 2];
        let enough = updates.load(Ordering::Relaxed) + 25;
        while updates.load(Ordering::Relaxed) < enough {
            tokio::task::yield_now().await;
        }
        states[new] = KeyState::Pending;
        vault.reload(&keys.ring(&states));
        (states[old], states[new]) = (KeyState::Retired, KeyState::Primary);
        vault.reload(&keys.ring(&states));
        // A writer that sealed before the promotion may write after the run: then there is another.
        let old = keys.id(old);
        loop {
            let rewrap = Rewrap::new(&vault, &*store).table(COUNTERS).batch(7);
            let report = rewrap.run(|_| ()).await.unwrap();
            assert_eq!(report.failed, 0);
            if report.remaining.under(old) == 0 {
                break;
            }
        }
    }
    ended.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    let mut counted = 0;
    for (id, _, sealed) in db.rows("SELECT id, '', sealed FROM counters").await {
        let count = vault
            .open_string(&COUNTER.row(&id), &sealed.unwrap())
            .unwrap();
        counted += count.expose_secret().parse::<u64>().unwrap();
    }
    assert_eq!(counted, updates.load(Ordering::Relaxed));
}
