//! What the stores in SQL databases have in common: the statements, which differ in what holds a
//! row, and how a row is read.

mod alerts;
mod decisions;

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
        sql_decision_store!($store, now: $now, lock: $lock);
        sql_alert_store!($store, skip: $skip);

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

        /// Those that can be read: one that cannot, which another version may have written, keeps
        /// nobody from hearing of the rest.
        fn letters(rows: &[$row]) -> Vec<DeadLetter> {
            let readable = rows.iter().filter_map(|row| match letter(row) {
                Ok(letter) => Some(letter),
                Err(error) => {
                    let id = id(row).unwrap_or_default();
                    tracing::error!(%id, %error, "an alert that was given up cannot be read");
                    None
                }
            });
            readable.collect()
        }

        /// Those that can be read, and the others.
        fn requeues(rows: &[$row]) -> (Vec<Requeued>, Vec<(Uuid, StoreError)>) {
            let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
            for row in rows {
                match requeued(row) {
                    Ok(requeued) => readable.push(requeued),
                    Err(error) => unreadable.push((id(row).unwrap_or_default(), error)),
                }
            }
            (readable, unreadable)
        }

        fn requeued(row: &$row) -> Result<Requeued, StoreError> {
            let at = Timestamp::from_micros(integer(row)("requeued_at")?);
            let by = Lift::new(at, text(row)("requeued_by")?);
            Ok(Requeued::new(delivery(row)?, by))
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

pub(super) use alerts::sql_alert_store;
pub(super) use decisions::sql_decision_store;
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
