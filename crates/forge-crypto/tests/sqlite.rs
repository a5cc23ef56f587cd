//! `Sealed` as a column of SQLite.
#![cfg(feature = "sqlite")]

use forge_crypto::{Context, Keyring, Sealed, Vault};
use secrecy::ExposeSecret;
use sqlx::{Connection, Row, SqliteConnection};

async fn database() -> SqliteConnection {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::query("CREATE TABLE users (id TEXT PRIMARY KEY, token TEXT)")
        .execute(&mut db)
        .await
        .unwrap();
    db
}

async fn insert(db: &mut SqliteConnection, id: &str, token: Option<&Sealed>) {
    sqlx::query("INSERT INTO users (id, token) VALUES (?, ?)")
        .bind(id)
        .bind(token)
        .execute(db)
        .await
        .unwrap();
}

async fn token(db: &mut SqliteConnection, id: &str) -> Option<Sealed> {
    sqlx::query("SELECT token FROM users WHERE id = ?")
        .bind(id)
        .fetch_one(db)
        .await
        .unwrap()
        .get("token")
}

#[tokio::test]
async fn a_sealed_column_is_written_and_read_back() {
    let vault = Vault::new(&Keyring::generate().unwrap());
    let mut db = database().await;
    let place = Context::new("users", "token", "ada");
    let sealed = vault.seal(&place, "hunter2").unwrap();
    insert(&mut db, "ada", Some(&sealed)).await;
    insert(&mut db, "bob", None).await;

    assert_eq!(token(&mut db, "bob").await, None);
    let stored = token(&mut db, "ada").await.unwrap();
    assert_eq!(stored, sealed);
    let opened = vault.open_string(&place, &stored).unwrap();
    assert_eq!(opened.expose_secret(), "hunter2");

    let clear: String = sqlx::query_scalar("SELECT token FROM users WHERE id = 'ada'")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(clear, sealed.as_str());
}

#[tokio::test]
async fn sql_counts_what_a_key_still_protects() {
    let (old, new) = (Keyring::generate().unwrap(), Keyring::generate().unwrap());
    let vault = Vault::new(&old);
    let mut db = database().await;
    for id in ["a", "b", "c"] {
        if id == "c" {
            vault.reload(&new);
        }
        let sealed = vault.seal(&Context::new("users", "token", id), "hunter2");
        insert(&mut db, id, Some(&sealed.unwrap())).await;
    }
    for (ring, expected) in [(old, 2), (new, 1)] {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM users WHERE substr(token, 1, 16) = 'fv1.' || ? || '.'",
        )
        .bind(ring.primary().id().to_string())
        .fetch_one(&mut db)
        .await
        .unwrap();
        assert_eq!(count, expected);
    }
}

/// A row can be read although a column is damaged; opening reports it.
#[tokio::test]
async fn a_damaged_column_does_not_spoil_its_row() {
    let vault = Vault::new(&Keyring::generate().unwrap());
    let mut db = database().await;
    insert(&mut db, "ada", Some(&Sealed::from_stored("gho_clear"))).await;
    let stored = token(&mut db, "ada").await.unwrap();
    assert!(!format!("{stored:?}").contains("gho_clear"));
    assert!(
        vault
            .open(&Context::new("users", "token", "ada"), &stored)
            .is_err()
    );
}
