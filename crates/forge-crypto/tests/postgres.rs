//! `Sealed` as a column of PostgreSQL.
#![cfg(feature = "postgres")]

use forge_crypto::{Context, Keyring, Sealed, Vault};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use test_support::Postgres;

#[tokio::test]
async fn a_sealed_column_is_written_and_read_back() {
    let started = tokio::task::spawn_blocking(|| {
        test_support::require(Postgres::shared()).map(Postgres::create_database)
    });
    let Some(url) = started.await.unwrap() else {
        return;
    };
    let vault = Vault::new(&Keyring::generate().unwrap());
    let mut db = PgConnection::connect(&url).await.unwrap();
    for (table, column) in [("one", "text"), ("two", "varchar(200)")] {
        sqlx::raw_sql(AssertSqlSafe(format!(
            "CREATE TABLE {table} (id text PRIMARY KEY, token {column})"
        )))
        .execute(&mut db)
        .await
        .unwrap();
        let sealed = vault
            .seal(&Context::new("users", "token", "ada"), "hunter2")
            .unwrap();
        for (id, token) in [("ada", Some(&sealed)), ("bob", None)] {
            sqlx::query(AssertSqlSafe(format!(
                "INSERT INTO {table} VALUES ($1, $2)"
            )))
            .bind(id)
            .bind(token)
            .execute(&mut db)
            .await
            .unwrap();
        }
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT token FROM {table} ORDER BY id"
        )))
        .fetch_all(&mut db)
        .await
        .unwrap();
        let stored: Option<Sealed> = rows[0].get("token");
        assert_eq!(stored.as_ref(), Some(&sealed));
        assert_eq!(rows[1].get::<Option<Sealed>, _>("token"), None);
        let opened = vault.open_string(&Context::new("users", "token", "ada"), &sealed);
        assert_eq!(opened.unwrap().expose_secret(), "hunter2");
    }
}
