//! Who may sign in, and who has: the allow-list and the users, by GitHub's numeric id.

mod members;

use std::fmt;
use std::sync::Arc;

use forge_crypto::{Sealed, Vault};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::database::Pool;
use crate::database::sql::{self, Row, Turn};
use crate::github::{Github, GithubError, GithubToken, GithubUser};
use crate::keys::GITHUB_TOKEN;

use members::TRUSTED_FOR;
pub use members::{Member, Membership};

/// How long before its end a token is refreshed.
const REFRESH_AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;

/// Connections at once that are kept while GitHub is asked.
const EXCHANGES: usize = 2;

/// What somebody on the allow-list may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Signs in and uses what is behind Forge.
    User,
    /// Also administers Forge.
    Admin,
}

impl Role {
    /// The role as it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    fn read(text: &str) -> Result<Self, AccountError> {
        match text {
            "user" => Ok(Self::User),
            "admin" => Ok(Self::Admin),
            _ => Err(AccountError::Corrupt("role")),
        }
    }
}

/// A user who is on the allow-list.
#[derive(Clone, Debug)]
pub struct Account {
    /// GitHub's numeric id.
    pub github_id: u64,
    /// The login, as of the last sign-in.
    pub login: String,
    /// The name, as of the last sign-in.
    pub name: Option<String>,
    /// What the user may do.
    pub role: Role,
}

/// An entry of the allow-list.
#[derive(Clone, Debug, Serialize)]
pub struct Allowed {
    /// GitHub's numeric id.
    pub github_id: u64,
    /// What the account may do.
    pub role: Role,
    /// The login when it was added or last signed in, for people to read.
    pub login: Option<String>,
}

/// Why an account could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The database failed.
    #[error("account store unavailable")]
    Unavailable(#[from] sqlx::Error),
    /// A stored value is none the server writes.
    #[error("a stored {0} is not valid")]
    Corrupt(&'static str),
    /// The token could not be sealed.
    #[error("the token could not be sealed")]
    Seal(#[source] forge_crypto::SealError),
    /// The token cannot be opened: its row was changed, or its key is missing.
    #[error("the token could not be opened")]
    Open(#[source] forge_crypto::OpenError),
    /// GitHub gave no next token, or does not say who is a member of what.
    #[error("GitHub could not be asked")]
    Github(#[source] GithubError),
    /// The sessions of an account that was removed could not be ended.
    #[error("session store unavailable")]
    Sessions(#[source] forge_monitor::BoxError),
    /// The last admin would be gone.
    #[error("the last admin cannot be removed")]
    LastAdmin,
    /// The account is there already.
    #[error("the account is on the allow-list already")]
    Exists,
}

/// The allow-list and the users.
#[derive(Clone)]
pub struct Accounts {
    pool: Pool,
    vault: Vault,
    clock: Clock,
    /// Held while a refresh token is exchanged; users share a few.
    refreshing: Arc<[tokio::sync::Mutex<()>; 16]>,
    /// How many exchanges may keep a connection, which shows other nodes whose turn it is.
    exchanges: Arc<Semaphore>,
}

/// A token as it is kept.
struct KeptToken {
    id: String,
    sealed: Sealed,
    access: SecretString,
    refresh: Option<SecretString>,
    expires_at: Option<i64>,
}

impl Accounts {
    /// Over the server's database; tokens are sealed by `vault`.
    #[must_use]
    pub fn new(pool: Pool, vault: Vault, clock: Clock) -> Self {
        Self {
            pool,
            vault,
            clock,
            refreshing: Arc::default(),
            exchanges: Arc::new(Semaphore::new(EXCHANGES)),
        }
    }

    /// Puts the configured first admin on the list if no admin is there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ensure_admin(&self, github_id: u64) -> Result<bool, AccountError> {
        let mut transaction = self.pool.begin(&[Turn::AllowList]).await?;
        let inserted = sql::query(
            "INSERT INTO allow_list (github_id, role, added_at) \
             SELECT $1, 'admin', $2 WHERE NOT EXISTS (SELECT 1 FROM allow_list WHERE role = 'admin') \
             ON CONFLICT (github_id) DO UPDATE SET role = 'admin'",
        )
        .bind(db_id(github_id))
        .bind(self.clock.now_micros())
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(inserted == 1)
    }

    /// The role of an account: that of the allow-list, or a user's where it is in through an
    /// organisation or a team.
    ///
    /// # Errors
    /// The database failed.
    pub async fn role(&self, github_id: u64) -> Result<Option<Role>, AccountError> {
        let row = sql::query(
            "SELECT (SELECT role FROM allow_list WHERE github_id = $1) AS role, \
             (SELECT verified_at FROM memberships WHERE github_id = $1) AS verified_at",
        )
        .bind(db_id(github_id))
        .fetch_optional(&self.pool)
        .await?;
        row.map_or(Ok(None), |row| self.read_role(&row))
    }

    fn read_role(&self, row: &Row) -> Result<Option<Role>, AccountError> {
        let listed: Option<String> = row.try_get("role")?;
        let verified_at: Option<i64> = row.try_get("verified_at")?;
        let trusted_for = i64::try_from(TRUSTED_FOR.as_micros()).unwrap_or(i64::MAX);
        let now = self.clock.now_micros();
        let is_member = verified_at.is_some_and(|at| now.saturating_sub(at) < trusted_for);
        match listed {
            Some(role) => Role::read(&role).map(Some),
            None => Ok(is_member.then_some(Role::User)),
        }
    }

    /// Whether an account is on the allow-list itself.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn is_listed(&self, github_id: u64) -> Result<bool, AccountError> {
        let found = sql::query("SELECT 1 FROM allow_list WHERE github_id = $1")
            .bind(db_id(github_id))
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.is_some())
    }

    /// The user of that id, if they may still sign in.
    ///
    /// # Errors
    /// The database failed.
    pub async fn account(&self, github_id: u64) -> Result<Option<Account>, AccountError> {
        let row = sql::query(
            "SELECT login, name, \
             (SELECT role FROM allow_list WHERE github_id = $1) AS role, \
             (SELECT verified_at FROM memberships WHERE github_id = $1) AS verified_at \
             FROM users WHERE github_id = $1",
        )
        .bind(db_id(github_id))
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(role) = self.read_role(&row)? else {
            return Ok(None);
        };
        Ok(Some(Account {
            github_id,
            login: row.try_get("login")?,
            name: row.try_get("name")?,
            role,
        }))
    }

    /// Keeps who has signed in and the token GitHub gave, sealed for the user's own row. False, and
    /// nothing is kept, where the account is not on the allow-list, unless a membership lets it in.
    ///
    /// # Errors
    /// The database failed or the token could not be sealed.
    pub async fn signed_in(
        &self,
        user: &GithubUser,
        token: &GithubToken,
        membership: Option<&Membership>,
    ) -> Result<bool, AccountError> {
        let now = self.clock.now_micros();
        let account = Turn::Account(db_id(user.id));
        let mut transaction = self.pool.begin(&[account]).await?;
        let allowed = sql::query("SELECT 1 FROM allow_list WHERE github_id = $1")
            .bind(db_id(user.id))
            .fetch_optional(&mut transaction)
            .await?;
        match (allowed, membership) {
            (Some(_), _) => {}
            (None, None) => return Ok(false),
            (None, Some(membership)) => {
                sql::query(
                    "INSERT INTO memberships (github_id, through, verified_at, asked_at) \
                     VALUES ($1, $2, $3, $3) ON CONFLICT (github_id) DO UPDATE SET \
                     through = excluded.through, verified_at = excluded.verified_at, \
                     asked_at = excluded.asked_at",
                )
                .bind(db_id(user.id))
                .bind(&membership.through)
                .bind(membership.verified_at)
                .execute(&mut transaction)
                .await?;
            }
        }
        // The row's id exists before the row, so that the token is bound to it.
        let known = sql::query("SELECT id FROM users WHERE github_id = $1")
            .bind(db_id(user.id))
            .fetch_optional(&mut transaction)
            .await?;
        let known: Option<String> = known.map(|row| row.try_get("id")).transpose()?;
        let id = known.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
        let sealed = self.seal(&id, token)?;
        let statement = match known {
            Some(_) => {
                "UPDATE users SET login = $3, name = $4, github_token = $5, last_sign_in_at = $6, \
                 github_token_expires_at = $7 WHERE id = $1 AND github_id = $2"
            }
            None => {
                "INSERT INTO users (id, github_id, login, name, github_token, created_at, \
                 last_sign_in_at, github_token_expires_at) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)"
            }
        };
        sql::query(statement)
            .bind(&id)
            .bind(db_id(user.id))
            .bind(&user.login)
            .bind(&user.name)
            .bind(sealed)
            .bind(now)
            .bind(expires_at(token, now))
            .execute(&mut transaction)
            .await?;
        // A login is for people to read: the list shows the one of today.
        sql::query("UPDATE allow_list SET login = $2 WHERE github_id = $1")
            .bind(db_id(user.id))
            .bind(&user.login)
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The GitHub token of a user, opened, whether it has expired or not.
    ///
    /// # Errors
    /// The database failed or the token cannot be opened.
    pub async fn token(&self, github_id: u64) -> Result<Option<SecretString>, AccountError> {
        let kept = self.kept(github_id).await?;
        Ok(kept.map(|kept| kept.access))
    }

    /// The GitHub token of a user, opened; where it has expired, or is about to, the next one. None
    /// where the user has to sign in again.
    ///
    /// A refresh token is good once, so one request at a time exchanges it, of all nodes, and those
    /// that waited take what it got. Should the process end between GitHub's answer and the database, the user
    /// has to sign in again.
    ///
    /// # Errors
    /// The database or GitHub failed, or the token cannot be opened.
    pub async fn fresh_token(
        &self,
        github: &Github,
        github_id: u64,
    ) -> Result<Option<SecretString>, AccountError> {
        let turn = usize::try_from(github_id).unwrap_or(0) % self.refreshing.len();
        let mut guard = None;
        loop {
            let Some(kept) = self.kept(github_id).await? else {
                return Ok(None);
            };
            let now = self.clock.now_micros();
            if kept
                .expires_at
                .is_none_or(|at| now < at - REFRESH_AHEAD_MICROS)
            {
                return Ok(Some(kept.access));
            }
            let Some(refresh) = &kept.refresh else {
                return Ok(None);
            };
            if guard.is_none() {
                // Whoever held it may have got the next one meanwhile: look again.
                let mine = self.refreshing[turn].lock().await;
                let permit = self.exchanges.acquire().await.ok();
                let ours = self.pool.hold(Turn::Exchange(db_id(github_id))).await?;
                guard = Some((ours, permit, mine));
                continue;
            }
            let next = match github.refresh(refresh).await {
                Ok(next) => next,
                Err(GithubError::Refused(code)) => {
                    tracing::warn!(%code, "GitHub did not accept a refresh token");
                    self.replace(&kept, None, None).await?;
                    return Ok(None);
                }
                Err(error) => return Err(AccountError::Github(error)),
            };
            let sealed = self.seal(&kept.id, &next)?;
            let expires_at = expires_at(&next, now);
            if self.replace(&kept, Some(sealed), expires_at).await? {
                return Ok(Some(next.access));
            }
            // The user has signed in meanwhile, or was removed: what is there now counts.
        }
    }

    /// Puts another token in the place of this one, if that is still there.
    async fn replace(
        &self,
        kept: &KeptToken,
        sealed: Option<Sealed>,
        expires_at: Option<i64>,
    ) -> Result<bool, AccountError> {
        let done = sql::query(
            "UPDATE users SET github_token = $3, github_token_expires_at = $4 \
             WHERE id = $1 AND github_token = $2",
        )
        .bind(&kept.id)
        .bind(&kept.sealed)
        .bind(sealed)
        .bind(expires_at)
        .execute(&self.pool)
        .await?;
        Ok(done == 1)
    }

    async fn kept(&self, github_id: u64) -> Result<Option<KeptToken>, AccountError> {
        let row = sql::query(
            "SELECT id, github_token, github_token_expires_at FROM users WHERE github_id = $1",
        )
        .bind(db_id(github_id))
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let (id, sealed): (String, Option<Sealed>) =
            (row.try_get("id")?, row.try_get("github_token")?);
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        let opened = self
            .vault
            .open_string(&GITHUB_TOKEN.row(&id), &sealed)
            .map_err(AccountError::Open)?;
        // A token has no line break: what follows one is the refresh token.
        let (access, refresh) = match opened.expose_secret().split_once('\n') {
            Some((access, refresh)) => (access.into(), Some(refresh.into())),
            None => (opened, None),
        };
        Ok(Some(KeptToken {
            expires_at: row.try_get("github_token_expires_at")?,
            id,
            sealed,
            access,
            refresh,
        }))
    }

    /// The token with what takes its place, sealed as one value, so that they are never apart.
    fn seal(&self, id: &str, token: &GithubToken) -> Result<Sealed, AccountError> {
        let mut text = Zeroizing::new(token.access.expose_secret().to_owned());
        if let Some(refresh) = &token.refresh {
            text.push('\n');
            text.push_str(refresh.expose_secret());
        }
        let sealed = self.vault.seal(&GITHUB_TOKEN.row(id), text.as_bytes());
        sealed.map_err(AccountError::Seal)
    }

    /// The allow-list, by id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn allowed(&self) -> Result<Vec<Allowed>, AccountError> {
        let rows = sql::query("SELECT github_id, role, login FROM allow_list ORDER BY github_id")
            .fetch_all(&self.pool)
            .await?;
        let allowed = rows.iter().map(|row| {
            let github_id: i64 = row.try_get("github_id")?;
            Ok(Allowed {
                github_id: u64::try_from(github_id).map_err(|_| AccountError::Corrupt("id"))?,
                role: Role::read(&row.try_get::<String>("role")?)?,
                login: row.try_get("login")?,
            })
        });
        allowed.collect()
    }

    /// Puts an account on the allow-list.
    ///
    /// # Errors
    /// It is there already, or the database failed.
    pub async fn allow(&self, allowed: &Allowed, by: u64) -> Result<(), AccountError> {
        let inserted = sql::query(
            "INSERT INTO allow_list (github_id, role, login, added_by, added_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (github_id) DO NOTHING",
        )
        .bind(db_id(allowed.github_id))
        .bind(allowed.role.as_str())
        .bind(&allowed.login)
        .bind(db_id(by))
        .bind(self.clock.now_micros())
        .execute(&self.pool)
        .await?;
        if inserted == 0 {
            Err(AccountError::Exists)
        } else {
            Ok(())
        }
    }

    /// Takes an account off the allow-list; whether it was there.
    ///
    /// # Errors
    /// It is the last admin's, or the database failed.
    pub async fn disallow(&self, github_id: u64) -> Result<bool, AccountError> {
        let turns = [Turn::AllowList, Turn::Account(db_id(github_id))];
        let mut transaction = self.pool.begin(&turns).await?;
        let deleted = sql::query(
            "DELETE FROM allow_list WHERE github_id = $1 AND (role <> 'admin' OR \
             (SELECT count(*) FROM allow_list WHERE role = 'admin') > 1)",
        )
        .bind(db_id(github_id))
        .execute(&mut transaction)
        .await?;
        if deleted == 0 {
            let still = sql::query("SELECT 1 FROM allow_list WHERE github_id = $1")
                .bind(db_id(github_id))
                .fetch_optional(&mut transaction)
                .await?;
            return if still.is_some() {
                Err(AccountError::LastAdmin)
            } else {
                Ok(false)
            };
        }
        // The token of somebody who may no longer sign in is not kept.
        sql::query("UPDATE users SET github_token = NULL WHERE github_id = $1")
            .bind(db_id(github_id))
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

/// When a token expires that was got at `now`.
fn expires_at(token: &GithubToken, now: i64) -> Option<i64> {
    let lives = i64::try_from(token.expires_in?.as_micros()).unwrap_or(i64::MAX);
    Some(now.saturating_add(lives))
}

/// The databases' integers are signed; ids beyond were refused where they came in.
fn db_id(github_id: u64) -> i64 {
    i64::try_from(github_id).unwrap_or(i64::MAX)
}
