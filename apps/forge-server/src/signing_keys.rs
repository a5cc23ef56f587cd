//! The keys that sign access tokens: sealed in the database, taking turns.

use std::fmt;

use forge_crypto::Vault;
use forge_session::{KeySchedule, SigningKey, Timestamp, TokenKeys};
use secrecy::{ExposeSecret, SecretSlice};
use uuid::Uuid;

use crate::clock::Clock;
use crate::database::Pool;
use crate::database::sql::{self, Turn};
use crate::error::StartError;
use crate::keys::SIGNING_KEY;

/// Where the keys are, and when which of them signs.
#[derive(Clone)]
pub(crate) struct SigningKeys {
    pool: Pool,
    vault: Vault,
    clock: Clock,
    schedule: KeySchedule,
}

impl SigningKeys {
    pub(crate) fn new(pool: Pool, vault: Vault, clock: Clock) -> Self {
        Self {
            pool,
            vault,
            clock,
            schedule: KeySchedule::default(),
        }
    }

    /// The keys of now: one is made where it is time, and those that no good token bears any more
    /// are deleted.
    ///
    /// # Errors
    /// The database failed, or a key cannot be opened with this keyring.
    pub(crate) async fn turn(&self) -> Result<TokenKeys, StartError> {
        let part = |error: sqlx::Error| StartError::part("signing key")(error.into());
        let now = Timestamp::from_micros(self.clock.now_micros());
        // Held against another process on the same database.
        let turn = self.pool.begin(&[Turn::SigningKeys]).await;
        let mut transaction = turn.map_err(part)?;
        let rows =
            sql::query("SELECT id, sealed, created_at FROM signing_keys ORDER BY created_at, id")
                .fetch_all(&mut transaction)
                .await
                .map_err(part)?;
        let (mut ids, mut keys, mut made) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let text = |column| row.try_get::<String>(column).map_err(part);
            let (id, sealed) = (text("id")?, text("sealed")?);
            keys.push(self.open(&id, &sealed)?);
            let at = row.try_get("created_at").map_err(part)?;
            made.push(Timestamp::from_micros(at));
            ids.push(id);
        }
        if self.schedule.plan(&made, now).make {
            let id = Uuid::now_v7().to_string();
            let (key, sealed) = self.make(&id)?;
            sql::query("INSERT INTO signing_keys (id, sealed, created_at) VALUES ($1, $2, $3)")
                .bind(&id)
                .bind(sealed)
                .bind(now.as_micros())
                .execute(&mut transaction)
                .await
                .map_err(part)?;
            tracing::info!(key = key.id(), "a new key for access tokens is published");
            keys.push(key);
            made.push(now);
            ids.push(id);
        }
        let plan = self.schedule.plan(&made, now);
        for index in &plan.forget {
            sql::query("DELETE FROM signing_keys WHERE id = $1")
                .bind(&ids[*index])
                .execute(&mut transaction)
                .await
                .map_err(part)?;
        }
        transaction.commit().await.map_err(part)?;
        let signs = plan.signs.expect("a key was made where there was none");
        let others = keys.iter().enumerate().rev();
        let others = others.filter(|(index, _)| *index != signs && !plan.forget.contains(index));
        Ok(
            others.fold(TokenKeys::new(keys[signs].clone()), |all, (_, key)| {
                all.previous(key.clone())
            }),
        )
    }

    fn open(&self, id: &str, sealed: &str) -> Result<SigningKey, StartError> {
        let der = self.vault.open(&SIGNING_KEY.row(id), sealed);
        let der = der.map_err(|error| StartError::Keys(error.into()))?;
        SigningKey::from_pkcs8(&der).map_err(|error| StartError::Keys(error.into()))
    }

    fn make(&self, id: &str) -> Result<(SigningKey, forge_crypto::Sealed), StartError> {
        let part = || StartError::part("signing key");
        let key = SigningKey::generate().map_err(|error| part()(error.into()))?;
        let der: SecretSlice<u8> = key.to_pkcs8();
        let sealed = self.vault.seal(&SIGNING_KEY.row(id), der.expose_secret());
        Ok((key, sealed.map_err(|error| part()(error.into()))?))
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").finish_non_exhaustive()
    }
}
