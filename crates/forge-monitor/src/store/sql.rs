//! What the stores in SQL databases have in common: the statements, which differ in what holds a
//! row, and how a row is read.

use sqlx::error::{DatabaseError, ErrorKind};

use crate::error::StoreError;

/// Implements the traits of a store for one with a `pool` and `begin`.
///
/// `$now` is the time by the clock of the database. `$lock` is what makes a selection hold its rows for the statement around it; `$skip` is the
/// same, passing over rows that another holds.
macro_rules! sql_monitor_store {
    (
        $store:ident,
        $row:ident,
        $connection:ident,
        now: $now:literal,
        lock: $lock:literal,
        skip: $skip:literal
    ) => {
        impl DecisionStore for $store {
            fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()> {
                Box::pin(async move {
                    let mut connection = self.pool.acquire().await.map_err(unavailable)?;
                    insert(&mut connection, decision).await
                })
            }

            fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>> {
                Box::pin(async move {
                    sqlx::query(
                        "SELECT id, scenario, kind, target, action, since, until, escalation
                         FROM monitor_decisions
                         WHERE until > $1 AND lifted_at IS NULL
                         ORDER BY until DESC, id DESC
                         LIMIT $2",
                    )
                    .bind(at.as_micros())
                    .bind(number(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(unavailable)?
                    .iter()
                    .map(decision)
                    .collect()
                })
            }

            fn changed(&self, since: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
                Box::pin(async move {
                    sqlx::query(
                        "SELECT * FROM (
                             SELECT id, scenario, kind, target, action, since, until, escalation,
                                    lifted_at, lifted_by, lift_told, changed_at
                             FROM monitor_decisions WHERE changed_at >= $1
                             UNION
                             SELECT id, scenario, kind, target, action, since, until, escalation,
                                    lifted_at, lifted_by, lift_told, changed_at
                             FROM monitor_decisions WHERE NOT lift_told
                         ) AS changed
                         ORDER BY lifted_at IS NULL, changed_at DESC, id
                         LIMIT $2",
                    )
                    .bind(since.as_micros())
                    .bind(number(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(unavailable)?
                    .iter()
                    .map(stored)
                    .collect()
                })
            }

            fn lift<'a>(&'a self, id: Uuid, lift: &'a Lift) -> StoreFuture<'a, bool> {
                Box::pin(async move {
                    let lifted = sqlx::query(concat!(
                        "WITH meant AS (
                             SELECT id FROM monitor_decisions
                             WHERE lifted_at IS NULL AND until > $1
                               AND (kind, target, action) = (
                                   SELECT kind, target, action FROM monitor_decisions
                                   WHERE id = $2 AND lifted_at IS NULL AND until > $1)
                             ORDER BY id",
                        $lock,
                        ")
                         UPDATE monitor_decisions
                         SET lifted_at = $1, lifted_by = $3, lift_told = $4, changed_at = ",
                        $now,
                        "
                         WHERE id IN (SELECT id FROM meant)
                         RETURNING id",
                    ))
                    .bind(lift.at.as_micros())
                    .bind(id.to_string())
                    .bind(&*lift.by)
                    .bind(lift.told)
                    .fetch_all(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    for row in &lifted {
                        if self::id(row)? == id {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                })
            }

            fn lift_alike<'a>(
                &'a self,
                action: Action,
                target: &'a Target,
                lift: &'a Lift,
            ) -> StoreFuture<'a, u64> {
                Box::pin(async move {
                    let done = sqlx::query(concat!(
                        "WITH meant AS (
                             SELECT id FROM monitor_decisions
                             WHERE lifted_at IS NULL AND until > $1 AND since <= $1
                               AND kind = $2 AND target = $3 AND action = $4
                             ORDER BY id",
                        $lock,
                        ")
                         UPDATE monitor_decisions
                         SET lifted_at = $1, lifted_by = $5, lift_told = $6, changed_at = ",
                        $now,
                        "
                         WHERE id IN (SELECT id FROM meant)",
                    ))
                    .bind(lift.at.as_micros())
                    .bind(target.kind())
                    .bind(target.stored())
                    .bind(action.as_str())
                    .bind(&*lift.by)
                    .bind(lift.told)
                    .execute(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    Ok(done.rows_affected())
                })
            }

            fn lift_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE monitor_decisions SET lift_told = TRUE
                         WHERE id = $1 AND lifted_at IS NOT NULL AND NOT lift_told",
                    )
                    .bind(id.to_string())
                    .execute(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    Ok(done.rows_affected() == 1)
                })
            }

            fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
                Box::pin(async move {
                    let done = sqlx::query("DELETE FROM monitor_decisions WHERE until < $1")
                        .bind(before.as_micros())
                        .execute(&self.pool)
                        .await
                        .map_err(unavailable)?;
                    Ok(done.rows_affected())
                })
            }
        }

        impl AlertStore for $store {
            fn enqueue<'a>(&'a self, deliveries: &'a [Delivery]) -> StoreFuture<'a, ()> {
                Box::pin(async move {
                    let mut transaction = self.begin().await?;
                    for delivery in deliveries {
                        enqueue(&mut transaction, delivery).await?;
                    }
                    transaction.commit().await.map_err(unavailable)
                })
            }

            fn lease<'a>(
                &'a self,
                sink: &'a str,
                now: Timestamp,
                until: Timestamp,
            ) -> StoreFuture<'a, Option<Delivery>> {
                Box::pin(async move {
                    let row = sqlx::query(concat!(
                        "UPDATE monitor_deliveries
                         SET attempts = attempts + 1, leased_until = $3
                         WHERE id = (
                             SELECT id FROM monitor_deliveries
                             WHERE sink = $1 AND state = 'waiting'
                               AND (due <= $2 OR due > $4)
                               AND (leased_until IS NULL OR leased_until <= $2
                                    OR leased_until > $4)
                             ORDER BY due, id LIMIT 1",
                        $skip,
                        ")
                         RETURNING id, sink, alert, created, due, attempts",
                    ))
                    .bind(sink)
                    .bind(now.as_micros())
                    .bind(until.as_micros())
                    .bind((now + HORIZON).as_micros())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    row.map(|row| delivery(&row)).transpose()
                })
            }

            fn settle<'a>(
                &'a self,
                id: Uuid,
                attempts: u32,
                settled: Settled,
                at: Timestamp,
            ) -> StoreFuture<'a, bool> {
                let (state, settled_at, due) = match settled {
                    Settled::Delivered => ("delivered", Some(at), None),
                    Settled::Dead => ("dead", Some(at), None),
                    Settled::Again(due) => ("waiting", None, Some(due)),
                };
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE monitor_deliveries
                         SET state = $3, settled_at = $4, due = coalesce($5, due),
                             leased_until = NULL
                         WHERE id = $1 AND attempts = $2 AND state = 'waiting'",
                    )
                    .bind(id.to_string())
                    .bind(i64::from(attempts))
                    .bind(state)
                    .bind(settled_at.map(Timestamp::as_micros))
                    .bind(due.map(Timestamp::as_micros))
                    .execute(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    Ok(done.rows_affected() == 1)
                })
            }

            fn outbox(&self) -> StoreFuture<'_, OutboxStats> {
                Box::pin(async move {
                    let row = sqlx::query(
                        "SELECT (SELECT count(*) FROM monitor_deliveries
                                 WHERE state = 'waiting') AS waiting,
                                (SELECT count(*) FROM monitor_deliveries
                                 WHERE state = 'dead') AS dead,
                                (SELECT min(created) FROM monitor_deliveries
                                 WHERE state = 'waiting') AS oldest",
                    )
                    .fetch_one(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    let number = |column| row.try_get::<i64, _>(column).map_err(unavailable);
                    let oldest: Option<i64> = row.try_get("oldest").map_err(unavailable)?;
                    Ok(OutboxStats::new(
                        u64::try_from(number("waiting")?).unwrap_or(0),
                        u64::try_from(number("dead")?).unwrap_or(0),
                        oldest.map(Timestamp::from_micros),
                    ))
                })
            }

            fn attend<'a>(
                &'a self,
                sinks: &'a [Arc<str>],
                now: Timestamp,
            ) -> StoreFuture<'a, Vec<Arc<str>>> {
                Box::pin(async move {
                    let rows = sqlx::query(
                        "SELECT sink, max(waits) AS waits, max(since) AS since FROM (
                             SELECT DISTINCT sink, CAST(1 AS BIGINT) AS waits,
                                    CAST(NULL AS BIGINT) AS since
                             FROM monitor_deliveries WHERE state = 'waiting'
                             UNION ALL
                             SELECT sink, CAST(0 AS BIGINT) AS waits, since
                             FROM monitor_missing_sinks
                         ) AS known
                         GROUP BY sink ORDER BY sink LIMIT $1",
                    )
                    .bind(number(MAX_MISSING_SINKS))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    let mut missing = Vec::new();
                    // A statement each, so that no node has a row in its hands that another waits
                    // for; most of the time there is nothing to do.
                    for row in &rows {
                        let sink = text(row)("sink")?;
                        let waits = integer(row)("waits")?;
                        let since: Option<i64> = row.try_get("since").map_err(unavailable)?;
                        let is_here = sinks.iter().any(|here| **here == *sink);
                        let is_ahead = since.is_some_and(|at| at > (now + HORIZON).as_micros());
                        if since.is_some() && (is_here || waits == 0 || is_ahead) {
                            sqlx::query("DELETE FROM monitor_missing_sinks WHERE sink = $1")
                                .bind(sink)
                                .execute(&self.pool)
                                .await
                                .map_err(unavailable)?;
                        }
                        if !is_here && waits > 0 && (since.is_none() || is_ahead) {
                            let done = sqlx::query(
                                "INSERT INTO monitor_missing_sinks (sink, since) VALUES ($1, $2)
                                 ON CONFLICT DO NOTHING",
                            )
                            .bind(sink)
                            .bind(now.as_micros())
                            .execute(&self.pool)
                            .await
                            .map_err(unavailable)?;
                            if done.rows_affected() == 1 {
                                missing.push(Arc::from(sink));
                            }
                        }
                    }
                    Ok(missing)
                })
            }

            fn give_up(
                &self,
                now: Timestamp,
                patience: Patience,
                limit: usize,
            ) -> StoreFuture<'_, Vec<DeadLetter>> {
                Box::pin(async move {
                    let rows = sqlx::query(concat!(
                        "WITH missing AS (
                             SELECT sink FROM monitor_missing_sinks WHERE since <= $3),
                         meant AS (
                             SELECT id FROM monitor_deliveries
                             WHERE state = 'waiting'
                               AND (leased_until IS NULL OR leased_until <= $1
                                    OR leased_until > $4)
                               AND (created <= $2
                                    OR (created <= $3 OR created > $4)
                                       AND sink IN (SELECT sink FROM missing))
                             ORDER BY created, id LIMIT $5",
                        $skip,
                        ")
                         UPDATE monitor_deliveries
                         SET state = 'dead', settled_at = $1, leased_until = NULL,
                             reason = CASE WHEN sink IN (SELECT sink FROM missing)
                                      THEN 'no_sink' ELSE 'too_old' END
                         WHERE id IN (SELECT id FROM meant) AND state = 'waiting'
                         RETURNING id, sink, alert, created, due, attempts, settled_at, reason",
                    ))
                    .bind(now.as_micros())
                    .bind((now - patience.max_age).as_micros())
                    .bind((now - patience.without_sink).as_micros())
                    .bind((now + HORIZON).as_micros())
                    .bind(number(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    let letters = rows.iter().map(letter);
                    let mut letters = letters.collect::<Result<Vec<_>, _>>()?;
                    letters.sort_by_key(|of| (of.delivery.created, of.delivery.id));
                    Ok(letters)
                })
            }

            fn dead(&self, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
                Box::pin(async move {
                    sqlx::query(
                        "SELECT id, sink, alert, created, due, attempts, settled_at, reason
                         FROM monitor_deliveries WHERE state = 'dead'
                         ORDER BY settled_at DESC, id DESC LIMIT $1",
                    )
                    .bind(number(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(unavailable)?
                    .iter()
                    .map(letter)
                    .collect()
                })
            }

            fn requeue(&self, id: Uuid, at: Timestamp) -> StoreFuture<'_, bool> {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE monitor_deliveries
                         SET state = 'waiting', settled_at = NULL, leased_until = NULL,
                             attempts = 0, created = $2, due = $2, reason = NULL
                         WHERE id = $1 AND state = 'dead'",
                    )
                    .bind(id.to_string())
                    .bind(at.as_micros())
                    .execute(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    Ok(done.rows_affected() == 1)
                })
            }

            fn forget(&self, before: Timestamp) -> StoreFuture<'_, u64> {
                Box::pin(async move {
                    let done = sqlx::query(
                        "DELETE FROM monitor_deliveries
                         WHERE state <> 'waiting' AND settled_at < $1",
                    )
                    .bind(before.as_micros())
                    .execute(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    sqlx::query(
                        "DELETE FROM monitor_silences WHERE until < $1 AND told AND end_told",
                    )
                    .bind(before.as_micros())
                    .execute(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    Ok(done.rows_affected())
                })
            }

            fn silence<'a>(&'a self, silence: &'a Silence) -> StoreFuture<'a, ()> {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO monitor_silences
                             (id, scenario, scope, since, until, made_by, comment, told)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                    )
                    .bind(silence.id.to_string())
                    .bind(&*silence.scenario)
                    .bind(&*silence.scope)
                    .bind(silence.since.as_micros())
                    .bind(silence.until.as_micros())
                    .bind(&*silence.by)
                    .bind(&*silence.comment)
                    .bind(silence.told)
                    .execute(&self.pool)
                    .await
                    .map_err(duplicate)?;
                    Ok(())
                })
            }

            fn unsilence<'a>(&'a self, id: Uuid, end: &'a Lift) -> StoreFuture<'a, bool> {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE monitor_silences SET until = $2, ended_by = $3, end_told = $4
                         WHERE id = $1 AND until > $2",
                    )
                    .bind(id.to_string())
                    .bind(end.at.as_micros())
                    .bind(&*end.by)
                    .bind(end.told)
                    .execute(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    Ok(done.rows_affected() == 1)
                })
            }

            fn untold_silences(&self, limit: usize) -> StoreFuture<'_, Vec<StoredSilence>> {
                Box::pin(async move {
                    sqlx::query(
                        "SELECT id, scenario, scope, since, until, made_by, comment, told,
                                ended_by, end_told
                         FROM monitor_silences WHERE NOT told OR NOT end_told
                         ORDER BY since, id LIMIT $1",
                    )
                    .bind(number(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(unavailable)?
                    .iter()
                    .map(stored_silence)
                    .collect()
                })
            }

            fn silence_told(&self, id: Uuid, ended: bool) -> StoreFuture<'_, bool> {
                let update = match ended {
                    false => "UPDATE monitor_silences SET told = TRUE WHERE id = $1 AND NOT told",
                    true => {
                        "UPDATE monitor_silences SET end_told = TRUE
                         WHERE id = $1 AND NOT end_told"
                    }
                };
                Box::pin(async move {
                    let done = sqlx::query(update)
                        .bind(id.to_string())
                        .execute(&self.pool)
                        .await
                        .map_err(unavailable)?;
                    Ok(done.rows_affected() == 1)
                })
            }

            fn silences(&self, at: Timestamp) -> StoreFuture<'_, Vec<Silence>> {
                Box::pin(async move {
                    sqlx::query(
                        "SELECT id, scenario, scope, since, until, made_by, comment, told
                         FROM monitor_silences WHERE until > $1 ORDER BY since, id LIMIT $2",
                    )
                    .bind(at.as_micros())
                    .bind(number(MAX_SILENCES))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(unavailable)?
                    .iter()
                    .map(silence)
                    .collect()
                })
            }
        }

        impl MonitorStore for $store {
            fn record<'a>(&'a self, batch: &'a Batch) -> StoreFuture<'a, ()> {
                Box::pin(async move {
                    let mut transaction = self.begin().await?;
                    for decision in &batch.decisions {
                        insert(&mut transaction, decision).await?;
                    }
                    for id in &batch.withdrawn {
                        sqlx::query(
                            "DELETE FROM monitor_deliveries
                             WHERE id = $1 AND state = 'waiting' AND attempts = 0",
                        )
                        .bind(id.to_string())
                        .execute(&mut *transaction)
                        .await
                        .map_err(unavailable)?;
                    }
                    for delivery in &batch.deliveries {
                        enqueue(&mut transaction, delivery).await?;
                    }
                    transaction.commit().await.map_err(unavailable)
                })
            }
        }

        async fn insert(connection: &mut $connection, decision: &Decision) -> Result<(), StoreError> {
            sqlx::query(concat!(
                "INSERT INTO monitor_decisions
                     (id, scenario, kind, target, action, since, until, escalation, changed_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ",
                $now,
                ")",
            ))
            .bind(decision.id.to_string())
            .bind(&*decision.scenario)
            .bind(decision.target.kind())
            .bind(decision.target.stored())
            .bind(decision.action.as_str())
            .bind(decision.since.as_micros())
            .bind(decision.until.as_micros())
            .bind(i64::from(decision.escalation))
            .execute(connection)
            .await
            .map_err(duplicate)?;
            Ok(())
        }

        async fn enqueue(connection: &mut $connection, delivery: &Delivery) -> Result<(), StoreError> {
            let alert = serde_json::to_string(&delivery.alert)
                .map_err(|_| StoreError::Corrupt("alert"))?;
            sqlx::query(
                "INSERT INTO monitor_deliveries (id, sink, alert, created, due, attempts)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(delivery.id.to_string())
            .bind(&*delivery.sink)
            .bind(alert)
            .bind(delivery.created.as_micros())
            .bind(delivery.due.as_micros())
            .bind(i64::from(delivery.attempts))
            .execute(connection)
            .await
            .map_err(duplicate)?;
            Ok(())
        }

        fn decision(row: &$row) -> Result<Decision, StoreError> {
            let (text, number) = (text(row), integer(row));
            let target = Target::parse(text("kind")?, text("target")?);
            let action = Action::parse(text("action")?).ok_or(StoreError::Corrupt("action"))?;
            let escalation = u32::try_from(number("escalation")?)
                .map_err(|_| StoreError::Corrupt("escalation"))?;
            Ok(Decision::new(
                action,
                text("scenario")?,
                target.ok_or(StoreError::Corrupt("target"))?,
                Timestamp::from_micros(number("since")?),
                Timestamp::from_micros(number("until")?),
            )
            .id(id(row)?)
            .escalation(escalation))
        }

        fn stored(row: &$row) -> Result<Stored, StoreError> {
            let lifted_at: Option<i64> = row.try_get("lifted_at").map_err(unavailable)?;
            let lifted = match lifted_at {
                None => None,
                Some(at) => {
                    let by: Option<&str> = row.try_get("lifted_by").map_err(unavailable)?;
                    let told = row.try_get("lift_told").map_err(unavailable)?;
                    let at = Timestamp::from_micros(at);
                    Some(Lift::new(at, by.unwrap_or_default()).told(told))
                }
            };
            Ok(Stored::new(decision(row)?, lifted))
        }

        fn delivery(row: &$row) -> Result<Delivery, StoreError> {
            let (text, number) = (text(row), integer(row));
            let alert = serde_json::from_str(text("alert")?)
                .map_err(|_| StoreError::Corrupt("alert"))?;
            let attempts = u32::try_from(number("attempts")?)
                .map_err(|_| StoreError::Corrupt("attempts"))?;
            let created = Timestamp::from_micros(number("created")?);
            Ok(Delivery::new(text("sink")?, alert, created)
                .due(Timestamp::from_micros(number("due")?))
                .stored(id(row)?, attempts))
        }

        fn letter(row: &$row) -> Result<DeadLetter, StoreError> {
            let at = Timestamp::from_micros(integer(row)("settled_at")?);
            let reason: Option<&str> = row.try_get("reason").map_err(unavailable)?;
            let reason = match reason {
                None => DeadReason::NotTaken,
                Some(reason) => DeadReason::parse(reason).ok_or(StoreError::Corrupt("reason"))?,
            };
            Ok(DeadLetter::new(delivery(row)?, at).reason(reason))
        }

        fn stored_silence(row: &$row) -> Result<StoredSilence, StoreError> {
            let silence = silence(row)?;
            let ended_by: Option<&str> = row.try_get("ended_by").map_err(unavailable)?;
            let told = row.try_get("end_told").map_err(unavailable)?;
            let ended = ended_by.map(|by| Lift::new(silence.until, by).told(told));
            Ok(StoredSilence::new(silence, ended))
        }

        fn silence(row: &$row) -> Result<Silence, StoreError> {
            let (text, number) = (text(row), integer(row));
            let since = Timestamp::from_micros(number("since")?);
            let until = Timestamp::from_micros(number("until")?);
            Ok(Silence::new(text("scenario")?, since, until)
                .id(id(row)?)
                .scope(text("scope")?)
                .by(text("made_by")?, text("comment")?)
                .told(row.try_get("told").map_err(unavailable)?))
        }

        fn id(row: &$row) -> Result<Uuid, StoreError> {
            Uuid::parse_str(text(row)("id")?).map_err(|_| StoreError::Corrupt("id"))
        }

        fn text<'r>(row: &'r $row) -> impl Fn(&'static str) -> Result<&'r str, StoreError> {
            move |column| row.try_get::<&str, _>(column).map_err(unavailable)
        }

        fn integer(row: &$row) -> impl Fn(&'static str) -> Result<i64, StoreError> {
            move |column| row.try_get::<i64, _>(column).map_err(unavailable)
        }
    };
}

pub(super) use sql_monitor_store;

pub(super) fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn duplicate(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(e) if e.is_unique_violation() => StoreError::Duplicate,
        sqlx::Error::Database(e) if is_about_the_row(&*e) => StoreError::Refused(e),
        e => unavailable(e),
    }
}

/// Whether another row might be taken: SQLSTATE classes 22, data exception, and 23, integrity
/// constraint violation. The codes of SQLite are shorter.
fn is_about_the_row(error: &dyn DatabaseError) -> bool {
    let code = error.code();
    let code = code.as_deref().filter(|code| code.len() == 5);
    let is_of_class = code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"));
    let is_violation = matches!(
        error.kind(),
        ErrorKind::CheckViolation | ErrorKind::ForeignKeyViolation | ErrorKind::NotNullViolation
    );
    is_of_class || is_violation
}

pub(super) fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}
