//! The logs of all nodes, as one.

use sqlx::{Postgres, QueryBuilder, Row};

use super::PostgresAuditStore;
use super::append::hash;
use super::read::{push_filter, stored};
use crate::chain::Head;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::query::{Filter, MAX_LIMIT};
use crate::record::Record;

/// A record, and whose log it is in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Merged {
    /// The log.
    pub origin: String,
    /// The record.
    pub record: Record,
    /// Where it stands among those of all logs.
    pub place: Place,
}

/// Where a record stands among those of all logs: by its time, its log and its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    time: i64,
    log: i32,
    seq: i64,
}

impl PostgresAuditStore {
    /// Every log in the database, with its end.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the database fails.
    pub async fn logs(&self) -> Result<Vec<(String, Head)>, StoreError> {
        let rows = sqlx::query("SELECT origin, seq, hash, time FROM audit_logs ORDER BY origin")
            .fetch_all(&self.pool)
            .await?;
        let mut logs = Vec::with_capacity(rows.len());
        for row in rows {
            let head = Head {
                seq: row.try_get::<i64, _>(1)?.cast_unsigned(),
                hash: hash(row.try_get(2)?),
                time: Timestamp::from_micros(row.try_get(3)?),
            };
            logs.push((row.try_get(0)?, head));
        }
        Ok(logs)
    }

    /// The newest records of all logs that `filter` finds, before `beyond` if that is given: at most
    /// `limit`, and never more than a thousand. Between nodes the order is that of their clocks.
    ///
    /// Where a page ends, its last [`Place`] begins the next; what is written meanwhile neither
    /// moves nor repeats what is older.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the database fails.
    pub async fn merged(
        &self,
        filter: &Filter,
        beyond: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Merged>, StoreError> {
        let mut found = Vec::new();
        let limit = limit.min(MAX_LIMIT);
        // As many of each log as could be among the newest of all; each by its own indexes.
        for (id, origin) in self.ids().await? {
            let mut query = QueryBuilder::<Postgres>::new("SELECT ");
            query.push(super::read::COLUMNS);
            query.push(" FROM audit_records WHERE log = ").push_bind(id);
            if let Some(from) = filter.from {
                query.push(" AND time >= ").push_bind(from.as_micros());
            }
            if let Some(until) = filter.until {
                query.push(" AND time < ").push_bind(until.as_micros());
            }
            if let Some(Place { time, log, seq }) = beyond {
                query.push(" AND (time, log, seq) < (").push_bind(time);
                query.push(", ").push_bind(log);
                query.push(", ").push_bind(seq).push(")");
                query.push(" AND time <= ").push_bind(time);
            }
            push_filter(&mut query, filter);
            query.push(" ORDER BY time DESC, seq DESC LIMIT ");
            query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
            for row in query.build().fetch_all(&self.pool).await? {
                let place = Place {
                    time: row.try_get(1)?,
                    log: id,
                    seq: row.try_get(0)?,
                };
                found.push(Merged {
                    origin: origin.clone(),
                    record: stored(&row)?.into_record(),
                    place,
                });
            }
        }
        found.sort_by_key(|one| std::cmp::Reverse(one.place));
        found.truncate(limit);
        Ok(found)
    }

    async fn ids(&self) -> Result<Vec<(i32, String)>, StoreError> {
        let ids = sqlx::query_as("SELECT id, origin FROM audit_logs ORDER BY id");
        Ok(ids.fetch_all(&self.pool).await?)
    }
}
