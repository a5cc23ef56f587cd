//! Who may sign in through an organisation or a team, as GitHub said and when.

use std::time::Duration;

use super::{AccountError, Accounts, db_id};
use crate::database::sql::{self, Turn};

/// How long what GitHub said of a membership counts where GitHub does not answer since.
pub(crate) const TRUSTED_FOR: Duration = Duration::from_secs(48 * 3600);

/// Somebody who is in through an organisation or a team.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Member {
    /// GitHub's numeric id.
    pub github_id: u64,
    /// The login, as of the last sign-in.
    pub login: Option<String>,
    /// The organisation or team, as the configuration names it.
    pub through: String,
    /// When GitHub last said so, in microseconds since the Unix epoch.
    pub verified_at: i64,
    /// When GitHub was last asked.
    pub(crate) asked_at: i64,
}

/// What a sign-in through an organisation or a team rests on.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The organisation or team, as the configuration names it.
    pub through: String,
    /// When GitHub was asked.
    pub verified_at: i64,
}

impl Accounts {
    /// Keeps what the configuration's names stand for, and who is in through them; the rest is
    /// forgotten.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn keep_groups(&self, names: &[String]) -> Result<(), AccountError> {
        for (find, forget) in [
            (
                "SELECT name FROM github_groups",
                "DELETE FROM github_groups WHERE name = $1",
            ),
            (
                "SELECT DISTINCT through AS name FROM memberships",
                "DELETE FROM memberships WHERE through = $1",
            ),
        ] {
            for row in sql::query(find).fetch_all(&self.pool).await? {
                let name: String = row.try_get("name")?;
                if !names.contains(&name) {
                    let forget = sql::query(forget).bind(&name);
                    forget.execute(&self.pool).await?;
                }
            }
        }
        Ok(())
    }

    /// The id that a name of the configuration stands for, once it was resolved.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn group_id(&self, name: &str) -> Result<Option<u64>, AccountError> {
        let row = sql::query("SELECT github_id FROM github_groups WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        let id: Option<i64> = row.map(|row| row.try_get("github_id")).transpose()?;
        id.map(|id| u64::try_from(id).map_err(|_| AccountError::Corrupt("id")))
            .transpose()
    }

    /// Keeps the id that a name stands for. What it stood for first stays.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn resolve_group(&self, name: &str, id: u64) -> Result<u64, AccountError> {
        sql::query(
            "INSERT INTO github_groups (name, github_id, resolved_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(db_id(id))
        .bind(self.clock.now_micros())
        .execute(&self.pool)
        .await?;
        Ok(self.group_id(name).await?.unwrap_or(id))
    }

    /// Everybody who is in through an organisation or a team.
    ///
    /// # Errors
    /// The database failed.
    pub async fn members(&self) -> Result<Vec<Member>, AccountError> {
        self.select_members(i64::MAX, i64::MAX).await
    }

    /// Whose membership has not been asked about since that time, the longest ago first.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn members_not_asked_since(
        &self,
        time: i64,
        most: i64,
    ) -> Result<Vec<Member>, AccountError> {
        self.select_members(time, most).await
    }

    async fn select_members(&self, asked: i64, most: i64) -> Result<Vec<Member>, AccountError> {
        let rows = sql::query(
            "SELECT memberships.github_id, users.login, through, verified_at, asked_at \
             FROM memberships LEFT JOIN users ON users.github_id = memberships.github_id \
             WHERE asked_at <= $1 ORDER BY asked_at, memberships.github_id LIMIT $2",
        )
        .bind(asked)
        .bind(most)
        .fetch_all(&self.pool)
        .await?;
        let members = rows.iter().map(|row| {
            let id: i64 = row.try_get("github_id")?;
            Ok(Member {
                github_id: u64::try_from(id).map_err(|_| AccountError::Corrupt("id"))?,
                login: row.try_get("login")?,
                through: row.try_get("through")?,
                verified_at: row.try_get("verified_at")?,
                asked_at: row.try_get("asked_at")?,
            })
        });
        members.collect()
    }

    /// Moves when a membership was last asked about, if nobody else has since `member` was read:
    /// then it is this one's turn to ask.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn ask_about(
        &self,
        member: &Member,
        asked_at: i64,
    ) -> Result<bool, AccountError> {
        let done = sql::query(
            "UPDATE memberships SET asked_at = $3 WHERE github_id = $1 AND asked_at = $2",
        )
        .bind(db_id(member.github_id))
        .bind(member.asked_at)
        .bind(asked_at)
        .execute(&self.pool)
        .await?;
        Ok(done == 1)
    }

    /// Keeps that GitHub has said so again.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn verified(
        &self,
        github_id: u64,
        asked_at: i64,
        membership: &Membership,
    ) -> Result<(), AccountError> {
        sql::query(
            "UPDATE memberships SET verified_at = $3, through = $4 \
             WHERE github_id = $1 AND asked_at = $2",
        )
        .bind(db_id(github_id))
        .bind(asked_at)
        .bind(membership.verified_at)
        .bind(&membership.through)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets a membership, unless its user has signed in since it was asked about at `asked_at`;
    /// whoever is not on the allow-list either leaves no token here.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn end_membership(
        &self,
        github_id: u64,
        asked_at: i64,
    ) -> Result<bool, AccountError> {
        let account = Turn::Account(db_id(github_id));
        let mut transaction = self.pool.begin(&[account]).await?;
        let ended = sql::query("DELETE FROM memberships WHERE github_id = $1 AND asked_at = $2")
            .bind(db_id(github_id))
            .bind(asked_at)
            .execute(&mut transaction)
            .await?;
        if ended == 0 {
            return Ok(false);
        }
        sql::query(
            "UPDATE users SET github_token = NULL, github_token_expires_at = NULL \
             WHERE github_id = $1 AND NOT EXISTS \
             (SELECT 1 FROM allow_list WHERE allow_list.github_id = users.github_id)",
        )
        .bind(db_id(github_id))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }
}
