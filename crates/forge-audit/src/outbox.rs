//! Events that are written with the caller's own change, in the caller's own database, and brought
//! into the log from there.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::canonical;
use crate::clock::Timestamp;
use crate::details::Details;
use crate::error::{RelayError, StoreError};
use crate::event::Event;
use crate::flight::Stamped;
use crate::log::AuditLog;
use crate::query::{Filter, Order, Selection};
use crate::store::StoreFuture;

/// The table of an outbox, for SQLite; add it to the migrations of the database it shall lie in.
pub const OUTBOX_SQLITE: &str = "CREATE TABLE IF NOT EXISTS audit_outbox (
    id       BLOB    NOT NULL PRIMARY KEY,
    occurred INTEGER NOT NULL,
    event    BLOB    NOT NULL
) STRICT;";

/// The table of an outbox, for PostgreSQL.
pub const OUTBOX_POSTGRES: &str = "CREATE TABLE IF NOT EXISTS audit_outbox (
    id       bytea  NOT NULL PRIMARY KEY,
    occurred bigint NOT NULL,
    event    bytea  NOT NULL
);";

const PAGE: usize = 256;

/// An event in an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxEntry {
    /// Which one: random.
    pub id: [u8; 16],
    /// When it occurred.
    pub occurred: Timestamp,
    /// The event, encoded.
    pub event: Vec<u8>,
}

impl OutboxEntry {
    /// An entry for `event`, with a random id.
    #[must_use]
    pub fn of(event: &Event, occurred: Timestamp) -> Self {
        let (open, personal) = canonical::encode(event);
        let mut bytes = u32::try_from(open.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes()
            .to_vec();
        bytes.extend(open);
        bytes.extend(personal);
        Self {
            id: crate::chain::salt(),
            occurred,
            event: bytes,
        }
    }

    /// An entry as it is found in a table.
    #[must_use]
    pub fn from_row(id: [u8; 16], occurred: Timestamp, event: Vec<u8>) -> Self {
        Self {
            id,
            occurred,
            event,
        }
    }

    fn name(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The event with the name of the entry among its details. Of one that cannot be read only that
    /// is left.
    fn into_event(self) -> Event {
        let read = || {
            let (length, rest) = self.event.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (open, personal) = rest.split_at_checked(length)?;
            canonical::decode(open, personal).ok()
        };
        let mut event = read().unwrap_or_else(|| {
            Event::new(crate::Kind::SecurityViolation, "audit.damaged")
                .outcome(crate::Outcome::Error)
                .severity(crate::Severity::Critical)
        });
        let details = match event.details_value() {
            Some(Value::Object(mut object)) => {
                object.insert("outbox".to_owned(), json!(self.name()));
                Value::Object(object)
            }
            None => json!({ "outbox": self.name() }),
            Some(other) => json!({ "outbox": self.name(), "details": other }),
        };
        event.details = Details::of(&details);
        event
    }
}

/// A transaction of the caller's database.
pub trait OutboxTransaction {
    /// Inserts `entry` into the table of the outbox.
    fn put(&mut self, entry: OutboxEntry) -> StoreFuture<'_, ()>;
}

/// Where events wait for the log.
pub trait Outbox: Send + Sync {
    /// The first `limit` entries by the time they occurred.
    fn peek(&self, limit: usize) -> StoreFuture<'_, Vec<OutboxEntry>>;

    /// Deletes these entries.
    fn remove(&self, ids: Vec<[u8; 16]>) -> StoreFuture<'_, ()>;
}

pub(crate) async fn relay(log: &AuditLog, outbox: &dyn Outbox) -> Result<u64, RelayError> {
    let mut relayed = 0;
    let mut is_first = true;
    loop {
        let page = outbox.peek(PAGE).await.map_err(RelayError::Outbox)?;
        let Some(since) = page.iter().map(|entry| entry.occurred).min() else {
            return Ok(relayed);
        };
        let known = if is_first {
            known(log, since).await.map_err(RelayError::Log)?
        } else {
            HashSet::new()
        };
        is_first = false;
        let ids = page.iter().map(|entry| entry.id).collect();
        let new: Vec<Stamped> = page
            .into_iter()
            .filter(|entry| !known.contains(&entry.name()))
            .map(|entry| {
                let occurred = entry.occurred;
                Stamped::new(entry.into_event(), occurred)
            })
            .collect();
        relayed += new.len() as u64;
        log.record_stamped(new).await?;
        outbox.remove(ids).await.map_err(RelayError::Outbox)?;
    }
}

/// The names of entries that the log has already, since that time.
async fn known(log: &AuditLog, since: Timestamp) -> Result<HashSet<String>, StoreError> {
    let mut selection = Selection {
        filter: Filter {
            from: Some(since),
            ..Filter::default()
        },
        order: Order::OldestFirst,
        beyond: None,
        limit: 1000,
    };
    let mut known = HashSet::new();
    loop {
        let page = log.store().query(&selection).await?;
        let Some(last) = page.last() else {
            return Ok(known);
        };
        selection.beyond = Some(last.seq);
        let name = |event: Event| {
            event
                .details_value()?
                .get("outbox")?
                .as_str()
                .map(str::to_owned)
        };
        known.extend(page.iter().filter_map(|s| name(s.event()?)));
    }
}

#[cfg(feature = "sqlite")]
impl OutboxTransaction for rusqlite::Transaction<'_> {
    fn put(&mut self, entry: OutboxEntry) -> StoreFuture<'_, ()> {
        let values = (entry.id, entry.occurred.as_micros(), entry.event);
        let put = self
            .prepare_cached("INSERT INTO audit_outbox (id, occurred, event) VALUES (?1, ?2, ?3)")
            .and_then(|mut insert| insert.execute(values));
        Box::pin(std::future::ready(put.map(drop).map_err(StoreError::from)))
    }
}

#[cfg(feature = "postgres")]
impl OutboxTransaction for sqlx::Transaction<'_, sqlx::Postgres> {
    fn put(&mut self, entry: OutboxEntry) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            sqlx::query("INSERT INTO audit_outbox (id, occurred, event) VALUES ($1, $2, $3)")
                .bind(&entry.id[..])
                .bind(entry.occurred.as_micros())
                .bind(entry.event)
                .execute(&mut **self)
                .await?;
            Ok(())
        })
    }
}
