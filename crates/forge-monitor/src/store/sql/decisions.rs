//! The statements about decisions.

/// Implements the trait for a store; see `sql_monitor_store`.
macro_rules! sql_decision_store {
    ($store:ident, now: $now:literal, lock: $lock:literal) => {
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
    };
}

pub(in crate::store) use sql_decision_store;
