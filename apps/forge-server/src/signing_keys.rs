//! The keys that sign access tokens: made once, sealed in the database.

use forge_crypto::{Context, Vault};
use forge_session::{SigningKey, TokenKeys};
use secrecy::{ExposeSecret, SecretSlice};
use sqlx::{Row, SqlitePool};
use uuid::Uuid;

use crate::clock::Clock;
use crate::error::StartError;

/// The keys in the database, the newest first; one is made where there is none.
///
/// # Errors
/// The database failed, or a key cannot be opened with this keyring.
pub(crate) async fn load(
    pool: &SqlitePool,
    vault: &Vault,
    clock: &Clock,
) -> Result<TokenKeys, StartError> {
    // Held against another process that starts on the same database.
    let part = || StartError::part("signing key");
    let mut transaction = pool
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(|error| part()(error.into()))?;
    let rows = sqlx::query("SELECT id, sealed FROM signing_keys ORDER BY created_at DESC, id DESC")
        .fetch_all(&mut *transaction)
        .await
        .map_err(|error| part()(error.into()))?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        let (id, sealed): (String, String) = (row.get("id"), row.get("sealed"));
        let der = vault
            .open(&context(&id), &sealed)
            .map_err(|error| StartError::Keys(error.into()))?;
        let key = SigningKey::from_pkcs8(&der).map_err(|error| StartError::Keys(error.into()))?;
        keys.push(key);
    }
    if keys.is_empty() {
        let key = SigningKey::generate().map_err(|error| part()(error.into()))?;
        let id = Uuid::now_v7().to_string();
        let der: SecretSlice<u8> = key.to_pkcs8();
        let sealed = vault
            .seal(&context(&id), der.expose_secret())
            .map_err(|error| part()(error.into()))?;
        sqlx::query("INSERT INTO signing_keys (id, sealed, created_at) VALUES (?1, ?2, ?3)")
            .bind(&id)
            .bind(sealed)
            .bind(clock.now_micros())
            .execute(&mut *transaction)
            .await
            .map_err(|error| part()(error.into()))?;
        keys.push(key);
    }
    transaction
        .commit()
        .await
        .map_err(|error| part()(error.into()))?;
    let mut keys = keys.into_iter();
    let current = keys.next().expect("a key was made where there was none");
    Ok(keys.fold(TokenKeys::new(current), TokenKeys::previous))
}

fn context(id: &str) -> Context<'_> {
    Context::new("signing_keys", "sealed", id)
}
