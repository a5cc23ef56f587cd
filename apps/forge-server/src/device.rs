//! Sign-ins from a terminal that are under way (RFC 8628).
//!
//! The device code that the terminal polls with is Forge's own, of which the database holds a hash;
//! GitHub's never leaves the server, and lies sealed. A terminal may poll any node.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge_crypto::{Sealed, Vault};
use forge_session::ClientId;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::database::Pool;
use crate::database::sql::{self, Turn};
use crate::github::DeviceStart;
use crate::keys::DEVICE_CODE;

/// How many may be under way.
const MAX: i64 = 1000;

/// What GitHub wants between two polls, and a little more, so that the limit of this server for
/// such requests is never in the way of who keeps to it.
const MIN_INTERVAL: Duration = Duration::from_secs(7);

/// What polling too early adds (RFC 8628, section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// The sign-ins under way, by the hash of Forge's device code.
#[derive(Clone)]
pub struct DeviceLogins {
    pool: Pool,
    vault: Vault,
    clock: Clock,
}

/// What the terminal is told.
pub(crate) struct Begun {
    pub(crate) device_code: Zeroizing<String>,
    pub(crate) interval: Duration,
}

/// What a poll may do.
pub(crate) enum Poll {
    /// Ask GitHub.
    Ask {
        github: SecretString,
        client: ClientId,
    },
    /// It came too early.
    SlowDown,
    /// The code is over.
    Expired,
    /// Nobody was given this code, or it is used up.
    Unknown,
}

/// Why a sign-in under way could not be kept or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The system gives no randomness.
    #[error("no randomness")]
    Random(#[from] getrandom::Error),
    /// The database failed.
    #[error("the store of sign-ins is unavailable")]
    Unavailable(#[from] sqlx::Error),
    /// GitHub's code could not be sealed.
    #[error("the code could not be sealed")]
    Seal(#[from] forge_crypto::SealError),
    /// GitHub's code cannot be opened: its row was changed, or its key is missing.
    #[error("the code could not be opened")]
    Open(#[from] forge_crypto::OpenError),
}

impl DeviceLogins {
    pub(crate) fn new(pool: Pool, vault: Vault, clock: Clock) -> Self {
        Self { pool, vault, clock }
    }

    /// Keeps a device flow that has begun at GitHub. None where too many are under way.
    pub(crate) async fn begin(
        &self,
        start: &DeviceStart,
        client: &ClientId,
    ) -> Result<Option<Begun>, DeviceError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice())?;
        let device_code = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let now = self.clock.now_micros();
        let interval = start.interval.max(MIN_INTERVAL);
        let id = Uuid::now_v7().to_string();
        let code = start.device_code.expose_secret();
        let sealed = self.vault.seal(&DEVICE_CODE.row(&id), code)?;
        let mut transaction = self.pool.begin(&[Turn::DeviceLogins]).await?;
        sql::query("DELETE FROM device_logins WHERE ends_at <= $1")
            .bind(now)
            .execute(&mut transaction)
            .await?;
        let kept = sql::query(
            "INSERT INTO device_logins (id, code_hash, client, github_code, pause, next_poll_at, \
             ends_at) SELECT $1, $2, $3, $4, $5, $6, $7 \
             WHERE (SELECT count(*) FROM device_logins) < $8",
        )
        .bind(&id)
        .bind(hash(&device_code))
        .bind(client.as_str())
        .bind(sealed)
        .bind(micros(interval))
        .bind(now)
        .bind(now.saturating_add(micros(start.expires_in)))
        .bind(MAX)
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok((kept == 1).then_some(Begun {
            device_code,
            interval,
        }))
    }

    /// A poll: GitHub is asked for one code by one request at a time, and not too often.
    pub(crate) async fn poll(
        &self,
        device_code: &str,
        client: &ClientId,
    ) -> Result<Poll, DeviceError> {
        let (now, hash) = (self.clock.now_micros(), hash(device_code));
        let row = sql::query(
            "SELECT id, github_code, next_poll_at, ends_at FROM device_logins \
             WHERE code_hash = $1 AND client = $2",
        )
        .bind(hash.clone())
        .bind(client.as_str())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else {
            return Ok(Poll::Unknown);
        };
        if row.try_get::<i64>("ends_at")? <= now {
            let ended = self.end(device_code).await?;
            return Ok(if ended { Poll::Expired } else { Poll::Unknown });
        }
        let next_poll_at: i64 = row.try_get("next_poll_at")?;
        // Of several that poll at once, at whichever nodes, one may ask.
        if next_poll_at > now || !self.ask(&hash, next_poll_at, now).await? {
            self.slow_down(device_code).await?;
            return Ok(Poll::SlowDown);
        }
        let (id, sealed): (String, Sealed) = (row.try_get("id")?, row.try_get("github_code")?);
        Ok(Poll::Ask {
            github: self.vault.open_string(&DEVICE_CODE.row(&id), &sealed)?,
            client: client.clone(),
        })
    }

    /// Whether nobody else has asked since the next poll was set to `expected`.
    async fn ask(&self, hash: &[u8], expected: i64, now: i64) -> Result<bool, sqlx::Error> {
        let asked = sql::query(
            "UPDATE device_logins SET next_poll_at = $3 + pause \
             WHERE code_hash = $1 AND next_poll_at = $2",
        )
        .bind(hash.to_vec())
        .bind(expected)
        .bind(now)
        .execute(&self.pool)
        .await?;
        Ok(asked == 1)
    }

    /// It was polled too early, here or at GitHub.
    pub(crate) async fn slow_down(&self, device_code: &str) -> Result<(), DeviceError> {
        sql::query(
            "UPDATE device_logins SET pause = pause + $2, next_poll_at = $3 + pause + $2 \
             WHERE code_hash = $1",
        )
        .bind(hash(device_code))
        .bind(micros(SLOW_DOWN))
        .bind(self.clock.now_micros())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The code is used up, whatever came of it. Whether it was not before.
    pub(crate) async fn end(&self, device_code: &str) -> Result<bool, DeviceError> {
        let ended = sql::query("DELETE FROM device_logins WHERE code_hash = $1")
            .bind(hash(device_code))
            .execute(&self.pool)
            .await?;
        Ok(ended == 1)
    }
}

impl fmt::Debug for DeviceLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceLogins").finish_non_exhaustive()
    }
}

fn hash(device_code: &str) -> Vec<u8> {
    Sha256::digest(device_code).to_vec()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
