//! What the stores in SQL databases have in common: the statements, which differ in two words, and
//! how a row is read.

use crate::error::{BoxError, StoreError};
use crate::store::Selector;

/// Which rows are live at a time, given as the placeholder that holds it.
macro_rules! live {
    ($now:literal) => {
        concat!(
            "revoked_at IS NULL AND idle_expires_at > ",
            $now,
            " AND absolute_expires_at > ",
            $now,
            " AND epoch = (SELECT MAX(epoch) FROM sessions_epochs)"
        )
    };
}

/// Implements `SessionStore` for a store with a `pool`, `begin` and `lock`.
///
/// `greatest` and `least` are the functions of several values; `lock` is what makes a selection
/// hold its rows, in an order that all selections share, for the statement that follows; `limit` is
/// the same for no more than `$2` rows, without waiting for any.
macro_rules! sql_session_store {
    ($store:ident, $row:ident, greatest: $greatest:literal, least: $least:literal, lock: $lock:literal, limit: $limit:literal) => {
        impl SessionStore for $store {
            fn create<'a>(
                &'a self,
                session: &'a Session,
                family: FamilyHash,
                secret: SecretHash,
                max: NonZeroU32,
            ) -> StoreFuture<'a, Vec<SessionId>> {
                Box::pin(async move {
                    let now = session.created.as_micros();
                    let mut tx = self.begin().await?;
                    self.lock(&mut tx, session.user.as_str()).await?;
                    let rows = sqlx::query(concat!(
                        "SELECT id, client_id, created_at FROM sessions \
                         WHERE user_id = $1 AND kind = $2 AND ",
                        live!("$3"),
                        $lock
                    ))
                    .bind(session.user.as_str())
                    .bind(session.kind.as_str())
                    .bind(now)
                    .fetch_all(&mut *tx)
                    .await?;
                    let mut live = Vec::with_capacity(rows.len());
                    for row in &rows {
                        let client: Option<String> = row.try_get("client_id")?;
                        let created: i64 = row.try_get("created_at")?;
                        live.push((created, session_id(row)?, parsed(client, ClientId::new)?));
                    }
                    live.sort_by_key(|(created, id, _)| (*created, *id));
                    let live: Vec<_> = live.into_iter().map(|(_, id, c)| (id, c)).collect();

                    let evicted = choose_evicted(&live, session.client.as_ref(), max);
                    for id in &evicted {
                        sqlx::query(
                            "UPDATE sessions SET revoked_at = $1, revoked_cause = $2 \
                             WHERE id = $3 AND revoked_at IS NULL",
                        )
                        .bind(now)
                        .bind(RevokeCause::Evicted.as_str())
                        .bind(id.to_string())
                        .execute(&mut *tx)
                        .await?;
                    }
                    sqlx::query(
                        "INSERT INTO sessions (id, epoch, user_id, kind, client_id, scopes, \
                         family_hash, current_hash, generation, created_at, last_used_at, \
                         idle_expires_at, absolute_expires_at, created_ip, last_ip, created_user_agent, \
                         user_agent) \
                         VALUES ($1, (SELECT MAX(epoch) FROM sessions_epochs), $2, $3, $4, $5, \
                         $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
                    )
                    .bind(session.id.to_string())
                    .bind(session.user.as_str())
                    .bind(session.kind.as_str())
                    .bind(session.client.as_ref().map(ClientId::as_str))
                    .bind(session.scopes.as_ref().map(Scopes::to_string))
                    .bind(family.as_bytes().as_slice())
                    .bind(secret.as_bytes().as_slice())
                    .bind(i64::from(session.generation))
                    .bind(now)
                    .bind(session.last_used.as_micros())
                    .bind(session.idle_expires.as_micros())
                    .bind(session.absolute_expires.as_micros())
                    .bind(session.created_ip.map(|ip| ip.to_string()))
                    .bind(session.last_ip.map(|ip| ip.to_string()))
                    .bind(session.created_user_agent.as_deref())
                    .bind(session.user_agent.as_deref())
                    .execute(&mut *tx)
                    .await?;
                    tx.commit().await?;
                    Ok(evicted)
                })
            }

            fn find_by_secret(
                &self,
                family: FamilyHash,
                secret: SecretHash,
            ) -> StoreFuture<'_, Option<Found>> {
                Box::pin(async move {
                    let row = sqlx::query(
                        "SELECT * FROM sessions JOIN sessions_epochs USING (epoch) \
                         WHERE family_hash = $1",
                    )
                    .bind(family.as_bytes().as_slice())
                    .fetch_optional(&self.pool)
                    .await?;
                    let Some(row) = row else { return Ok(None) };
                    let current = SecretHash::from_bytes(bytes(row.try_get("current_hash")?)?);
                    let previous: Option<Vec<u8>> = row.try_get("previous_hash")?;
                    let salt: Option<Vec<u8>> = row.try_get("rotation_salt")?;
                    let matched = if current == secret {
                        Matched::Current
                    } else if previous.as_deref() == Some(secret.as_bytes().as_slice()) {
                        Matched::Previous
                    } else {
                        Matched::Older
                    };
                    Ok(Some(Found {
                        session: session(&row, true)?,
                        matched,
                        current,
                        salt: salt.map(bytes).transpose()?.map(RotationSalt::from_bytes),
                    }))
                })
            }

            fn find(&self, id: SessionId) -> StoreFuture<'_, Option<Session>> {
                Box::pin(async move {
                    let row = sqlx::query(
                        "SELECT * FROM sessions JOIN sessions_epochs USING (epoch) WHERE id = $1",
                    )
                    .bind(id.to_string())
                    .fetch_optional(&self.pool)
                    .await?;
                    row.as_ref().map(|row| session(row, true)).transpose()
                })
            }

            fn list<'a>(
                &'a self,
                user: &'a UserId,
                now: Timestamp,
            ) -> StoreFuture<'a, Vec<Session>> {
                Box::pin(async move {
                    let rows = sqlx::query(concat!(
                        "SELECT * FROM sessions WHERE user_id = $1 AND ",
                        live!("$2"),
                        " ORDER BY created_at DESC, id DESC"
                    ))
                    .bind(user.as_str())
                    .bind(now.as_micros())
                    .fetch_all(&self.pool)
                    .await?;
                    rows.iter().map(|row| session(row, false)).collect()
                })
            }

            fn count(&self, now: Timestamp) -> StoreFuture<'_, Vec<(Kind, u64)>> {
                Box::pin(async move {
                    let rows = sqlx::query(concat!(
                        "SELECT kind, COUNT(*) AS live FROM sessions WHERE ",
                        live!("$1"),
                        " GROUP BY kind ORDER BY kind"
                    ))
                    .bind(now.as_micros())
                    .fetch_all(&self.pool)
                    .await?;
                    let mut counts = Vec::with_capacity(rows.len());
                    for row in rows {
                        let kind = Kind::new(row.try_get::<String, _>("kind")?).map_err(corrupt)?;
                        let live: i64 = row.try_get("live")?;
                        counts.push((kind, u64::try_from(live).map_err(corrupt)?));
                    }
                    Ok(counts)
                })
            }

            fn rotate<'a>(&'a self, rotation: &'a Rotation) -> StoreFuture<'a, Option<Session>> {
                Box::pin(async move {
                    let row = sqlx::query(concat!(
                        "UPDATE sessions SET previous_hash = current_hash, current_hash = $1, \
                         rotation_salt = $2, generation = generation + 1, rotated_at = $3, \
                         last_used_at = ",
                        $greatest,
                        "(last_used_at, $3), idle_expires_at = ",
                        $greatest,
                        "(idle_expires_at, ",
                        $least,
                        "($4, absolute_expires_at)), last_ip = COALESCE($5, last_ip), \
                         user_agent = COALESCE($6, user_agent) \
                         WHERE id = $7 AND generation = $8 AND current_hash = $9 AND ",
                        live!("$3"),
                        " RETURNING *"
                    ))
                    .bind(rotation.secret.as_bytes().as_slice())
                    .bind(rotation.salt.as_bytes().as_slice())
                    .bind(rotation.at.as_micros())
                    .bind(rotation.idle_expires.as_micros())
                    .bind(rotation.ip.map(|ip| ip.to_string()))
                    .bind(rotation.user_agent.as_deref())
                    .bind(rotation.id.to_string())
                    .bind(i64::from(rotation.expected_generation))
                    .bind(rotation.expected_secret.as_bytes().as_slice())
                    .fetch_optional(&self.pool)
                    .await?;
                    row.as_ref().map(|row| session(row, false)).transpose()
                })
            }

            fn touch<'a>(
                &'a self,
                touches: &'a [Touch],
                now: Timestamp,
            ) -> StoreFuture<'a, u64> {
                Box::pin(async move {
                    // In one order everywhere, so that two batches never wait for each other.
                    let mut touches: Vec<_> = touches.iter().collect();
                    touches.sort_by_key(|touch| touch.id);
                    let mut tx = self.begin().await?;
                    let mut taken = 0;
                    for touch in touches {
                        let done = sqlx::query(concat!(
                            "UPDATE sessions SET last_used_at = $1, idle_expires_at = ",
                            $greatest,
                            "(idle_expires_at, ",
                            $least,
                            "($2, absolute_expires_at)), last_ip = COALESCE($3, last_ip), \
                             user_agent = COALESCE($4, user_agent) \
                             WHERE id = $5 AND last_used_at < $1 AND ",
                            live!("$6")
                        ))
                        .bind(touch.at.as_micros())
                        .bind(touch.idle_expires.as_micros())
                        .bind(touch.ip.map(|ip| ip.to_string()))
                        .bind(touch.user_agent.as_deref())
                        .bind(touch.id.to_string())
                        .bind(now.as_micros())
                        .execute(&mut *tx)
                        .await?;
                        taken += done.rows_affected();
                    }
                    tx.commit().await?;
                    Ok(taken)
                })
            }

            fn revoke<'a>(
                &'a self,
                selector: &'a Selector,
                cause: RevokeCause,
                at: Timestamp,
            ) -> StoreFuture<'a, Vec<SessionId>> {
                Box::pin(async move {
                    let Some((statement, names)) = revocation!(selector, $lock) else {
                        return self.end_epoch(cause, at).await;
                    };
                    let mut query = sqlx::query(statement)
                        .bind(at.as_micros())
                        .bind(cause.as_str());
                    for name in names {
                        query = query.bind(name);
                    }
                    let rows = query.fetch_all(&self.pool).await?;
                    rows.iter().map(session_id).collect()
                })
            }

            fn sweep(&self, before: Timestamp, limit: NonZeroU32) -> StoreFuture<'_, u64> {
                Box::pin(async move {
                    // `idle_expires_at` is never after `absolute_expires_at` (a CHECK), so it
                    // decides alone.
                    let done = sqlx::query(concat!(
                        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions \
                         WHERE idle_expires_at < $1 OR revoked_at < $1 OR epoch IN \
                         (SELECT epoch FROM sessions_epochs WHERE ended_at < $1)",
                        $limit,
                        ")"
                    ))
                    .bind(before.as_micros())
                    .bind(i64::from(limit.get()))
                    .execute(&self.pool)
                    .await?;
                    Ok(done.rows_affected())
                })
            }
        }

        impl $store {
            /// Ends all sessions with one step, however many they are.
            async fn end_epoch(
                &self,
                cause: RevokeCause,
                at: Timestamp,
            ) -> Result<Vec<SessionId>, StoreError> {
                let mut tx = self.begin().await?;
                self.lock(&mut tx, "").await?;
                let ended = sqlx::query(
                    "UPDATE sessions_epochs SET ended_at = $1, ended_cause = $2 \
                     WHERE ended_at IS NULL RETURNING epoch",
                )
                .bind(at.as_micros())
                .bind(cause.as_str())
                .fetch_one(&mut *tx)
                .await?;
                let ended: i64 = ended.try_get("epoch")?;
                sqlx::query("INSERT INTO sessions_epochs (epoch) VALUES ($1)")
                    .bind(ended + 1)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
                // Nothing changes these rows any more: they can be read without holding anybody up.
                let rows = sqlx::query(
                    "SELECT id FROM sessions WHERE epoch = $1 AND revoked_at IS NULL",
                )
                .bind(ended)
                .fetch_all(&self.pool)
                .await?;
                rows.iter().map(session_id).collect()
            }
        }

        /// The session of a row, of which the epoch is joined if it may have ended.
        fn session(row: &$row, with_epoch: bool) -> Result<Session, StoreError> {
            let timestamp =
                |column: &str| Ok::<_, StoreError>(Timestamp::from_micros(row.try_get(column)?));
            let ip = |column: &str| {
                let text: Option<String> = row.try_get(column)?;
                parsed(text, |text| text.parse())
            };
            let ended = |at: &str, cause: &str| {
                let at: Option<i64> = row.try_get(at)?;
                let cause: Option<String> = row.try_get(cause)?;
                let cause = parsed(cause, |text| RevokeCause::from_str(&text))?;
                Ok::<_, StoreError>(at.map(Timestamp::from_micros).zip(cause))
            };
            let mut revoked = ended("revoked_at", "revoked_cause")?;
            if with_epoch && revoked.is_none() {
                revoked = ended("ended_at", "ended_cause")?;
            }
            let client: Option<String> = row.try_get("client_id")?;
            let scopes: Option<String> = row.try_get("scopes")?;
            let rotated: Option<i64> = row.try_get("rotated_at")?;
            let generation: i64 = row.try_get("generation")?;
            Ok(Session {
                id: session_id(row)?,
                user: UserId::new(row.try_get::<String, _>("user_id")?).map_err(corrupt)?,
                kind: Kind::new(row.try_get::<String, _>("kind")?).map_err(corrupt)?,
                client: parsed(client, ClientId::new)?,
                scopes: parsed(scopes, |text| text.parse())?,
                created: timestamp("created_at")?,
                last_used: timestamp("last_used_at")?,
                idle_expires: timestamp("idle_expires_at")?,
                absolute_expires: timestamp("absolute_expires_at")?,
                created_ip: ip("created_ip")?,
                last_ip: ip("last_ip")?,
                created_user_agent: row.try_get("created_user_agent")?,
                user_agent: row.try_get("user_agent")?,
                generation: u32::try_from(generation).map_err(corrupt)?,
                rotated: rotated.map(Timestamp::from_micros),
                revoked,
            })
        }

        fn session_id(row: &$row) -> Result<SessionId, StoreError> {
            row.try_get::<&str, _>("id")?.parse().map_err(corrupt)
        }

        impl fmt::Debug for $store {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($store)).finish_non_exhaustive()
            }
        }
    };
}

/// The statement for a selector and what it names; nothing for everybody.
macro_rules! revocation {
    ($selector:expr, $lock:literal) => {{
        let statement = match $selector {
            Selector::Session(_) => Some(revoke_where!("id = $3", $lock)),
            Selector::SessionOf { .. } => Some(revoke_where!("id = $3 AND user_id = $4", $lock)),
            Selector::User(_) => Some(revoke_where!("user_id = $3", $lock)),
            Selector::Kind { .. } => Some(revoke_where!("user_id = $3 AND kind = $4", $lock)),
            Selector::Client { .. } => {
                Some(revoke_where!("user_id = $3 AND client_id = $4", $lock))
            }
            Selector::AllBut { .. } => Some(revoke_where!("user_id = $3 AND id <> $4", $lock)),
            Selector::Everybody => None,
        };
        statement.map(|statement| (statement, names($selector)))
    }};
}

macro_rules! revoke_where {
    ($which:literal, $lock:literal) => {
        concat!(
            "UPDATE sessions SET revoked_at = $1, revoked_cause = $2 \
             WHERE revoked_at IS NULL AND id IN (SELECT id FROM sessions WHERE ",
            $which,
            " AND revoked_at IS NULL AND epoch = (SELECT MAX(epoch) FROM sessions_epochs)",
            $lock,
            ") RETURNING id"
        )
    };
}

pub(super) use {live, revocation, revoke_where, sql_session_store};

/// What a selector names, in the order of the placeholders.
pub(super) fn names(selector: &Selector) -> Vec<String> {
    match selector {
        Selector::Session(id) => vec![id.to_string()],
        Selector::SessionOf { user, session } => vec![session.to_string(), user.to_string()],
        Selector::User(user) => vec![user.to_string()],
        Selector::Kind { user, kind } => vec![user.to_string(), kind.to_string()],
        Selector::Client { user, client } => vec![user.to_string(), client.to_string()],
        Selector::AllBut { user, keep } => vec![user.to_string(), keep.to_string()],
        Selector::Everybody => Vec::new(),
    }
}

pub(super) fn bytes(bytes: Vec<u8>) -> Result<[u8; 32], StoreError> {
    let wrong = |_| corrupt("a hash is not 32 bytes long");
    bytes.try_into().map_err(wrong)
}

/// Reads a column that may be absent, but not wrong.
pub(super) fn parsed<T, E: Into<BoxError>>(
    text: Option<String>,
    parse: impl FnOnce(String) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    text.map(parse).transpose().map_err(corrupt)
}

pub(super) fn corrupt(error: impl Into<BoxError>) -> StoreError {
    StoreError::Corrupt(error.into())
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => corrupt(error),
            other => Self::Unavailable(other.into()),
        }
    }
}
