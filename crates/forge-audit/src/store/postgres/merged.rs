//! The logs of all nodes, as one.

use serde::Serialize;
use sqlx::{Postgres, QueryBuilder, Row};

use super::PostgresAuditStore;
use super::append::hash;
use super::read::{COLUMNS, push_filter, stored};
use crate::chain::Head;
use crate::clock::Timestamp;
use crate::error::{QueryError, StoreError};
use crate::event::Event;
use crate::query::{Cursor, Filter, Listed, Listing, Order, Position, Query};
use crate::record::Record;
use crate::store::StoreFuture;

/// One page of the records of all logs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MergedPage {
    /// The records, in the order asked for.
    pub records: Vec<Merged>,
    /// Where to go on; `None` when there was nothing more.
    pub next: Option<Cursor>,
}

/// A record, and whose log it is in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Merged {
    /// The log.
    pub origin: String,
    /// The record.
    #[serde(flatten)]
    pub record: Record,
    #[serde(skip)]
    place: Place,
}

/// Where a record stands among those of all logs: by its time, its log and its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    time: i64,
    log: i32,
    seq: i64,
}

impl Place {
    #[cfg(test)]
    pub(super) fn new(time: i64, log: i32, seq: i64) -> Self {
        Self { time, log, seq }
    }
}

impl Listing for PostgresAuditStore {
    type Item = Merged;

    fn ask<'a>(
        &'a self,
        query: &'a Query,
        beyond: Option<Place>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<Merged>> {
        Box::pin(self.merge(query.parts(), beyond, limit))
    }
}

impl Listed for Merged {
    type Position = Place;

    fn position(&self) -> Place {
        self.place
    }

    fn event(&self) -> &Event {
        &self.record.event
    }
}

impl Position for Place {
    const LENGTH: usize = 20;

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.time.to_be_bytes().to_vec();
        bytes.extend(self.log.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (time, rest) = bytes.split_first_chunk()?;
        let (log, seq) = rest.split_first_chunk()?;
        Some(Self {
            time: i64::from_be_bytes(*time),
            log: i32::from_be_bytes(*log),
            seq: i64::from_be_bytes(seq.try_into().ok()?),
        })
    }
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

    /// Asks for one page of the records of all logs, as one. Between nodes the order is that of
    /// their clocks, and of records at one time that of their logs.
    ///
    /// A cursor is a place among all logs; what is written meanwhile neither moves nor repeats what
    /// is older.
    ///
    /// # Errors
    ///
    /// [`QueryError::Cursor`] if the cursor is of another query, also of one of a single log; or
    /// [`StoreError::Unavailable`] when the database fails.
    pub async fn merged(&self, query: &Query) -> Result<MergedPage, QueryError> {
        let (records, next) = query.page(self).await?;
        Ok(MergedPage { records, next })
    }

    /// The first `limit` records of all logs that the filter finds beyond a place.
    async fn merge(
        &self,
        (filter, order): (&Filter, Order),
        beyond: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Merged>, StoreError> {
        let mut found = Vec::new();
        // As many of each log as could be among the first of all; each by its own indexes.
        for (id, origin) in self.ids().await? {
            let mut query = select(id, filter, order, beyond, limit);
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
        found.sort_by_key(|one| one.place);
        if order == Order::NewestFirst {
            found.reverse();
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn ids(&self) -> Result<Vec<(i32, String)>, StoreError> {
        let ids = sqlx::query_as("SELECT id, origin FROM audit_logs ORDER BY id");
        Ok(ids.fetch_all(&self.pool).await?)
    }
}

/// What is asked of one log.
pub(super) fn select(
    id: i32,
    filter: &Filter,
    order: Order,
    beyond: Option<Place>,
    limit: usize,
) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS);
    query.push(" FROM audit_records WHERE log = ").push_bind(id);
    if let Some(from) = filter.from {
        query.push(" AND time >= ").push_bind(from.as_micros());
    }
    if let Some(until) = filter.until {
        query.push(" AND time < ").push_bind(until.as_micros());
    }
    let (sign, sort) = match order {
        Order::NewestFirst => ("<", " ORDER BY time DESC, seq DESC LIMIT "),
        Order::OldestFirst => (">", " ORDER BY time, seq LIMIT "),
    };
    if let Some(Place { time, log, seq }) = beyond {
        // The second says nothing new, but that an index can be searched by it.
        query.push(format_args!(" AND (time, log, seq) {sign} ("));
        query.push_bind(time).push(", ").push_bind(log);
        query.push(", ").push_bind(seq).push(")");
        query
            .push(format_args!(" AND time {sign}= "))
            .push_bind(time);
    }
    push_filter(&mut query, filter);
    query.push(sort);
    query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query
}
