//! The statements about alerts on their way, and about silences.

/// Implements the trait for a store; see `sql_monitor_store`.
macro_rules! sql_alert_store {
    ($store:ident, skip: $skip:literal) => {
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
                    let mut letters = letters(&rows);
                    letters.sort_by_key(|of| (of.delivery.created, of.delivery.id));
                    Ok(letters)
                })
            }

            fn dead(&self, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
                Box::pin(async move {
                    let rows = sqlx::query(
                        "SELECT id, sink, alert, created, due, attempts, settled_at, reason
                         FROM monitor_deliveries WHERE state = 'dead'
                         ORDER BY settled_at DESC, id DESC LIMIT $1",
                    )
                    .bind(number(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    Ok(letters(&rows))
                })
            }

            fn untold_requeues(&self, limit: usize) -> StoreFuture<'_, Vec<Requeued>> {
                Box::pin(async move {
                    let rows = sqlx::query(
                        "SELECT id, sink, alert, created, due, attempts, requeued_at, requeued_by
                         FROM monitor_deliveries WHERE requeued_by IS NOT NULL
                         ORDER BY requeued_at, id LIMIT $1",
                    )
                    .bind(number(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    let (readable, unreadable) = requeues(&rows);
                    // Told in the log, and once: nobody asks for it again, and it is forgotten.
                    for (id, error) in unreadable {
                        if self.requeue_told(id).await? {
                            tracing::error!(
                                %id, %error, "an alert that is to be tried again cannot be read"
                            );
                        }
                    }
                    Ok(readable)
                })
            }

            fn requeue_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE monitor_deliveries SET requeued_at = NULL, requeued_by = NULL
                         WHERE id = $1 AND requeued_by IS NOT NULL",
                    )
                    .bind(id.to_string())
                    .execute(&self.pool)
                    .await
                    .map_err(unavailable)?;
                    Ok(done.rows_affected() == 1)
                })
            }

            fn requeue<'a>(&'a self, id: Uuid, by: &'a Lift) -> StoreFuture<'a, bool> {
                Box::pin(async move {
                    let untold = Some(by).filter(|by| !by.told);
                    let done = sqlx::query(
                        "UPDATE monitor_deliveries
                         SET state = 'waiting', settled_at = NULL, leased_until = NULL,
                             attempts = 0, created = $2, due = $2, reason = NULL,
                             requeued_at = $3, requeued_by = $4
                         WHERE id = $1 AND state = 'dead'",
                    )
                    .bind(id.to_string())
                    .bind(by.at.as_micros())
                    .bind(untold.map(|by| by.at.as_micros()))
                    .bind(untold.map(|by| &*by.by))
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
                         WHERE state <> 'waiting' AND settled_at < $1 AND requeued_by IS NULL",
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
    };
}

pub(in crate::store) use sql_alert_store;
