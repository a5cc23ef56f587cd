//! Finding records: by time, actor, kind, action, severity, outcome, source, resource, request.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::error::QueryError;
use crate::escape::bounded;
use crate::event::{Event, MAX_TEXT, action_name};
use crate::kind::{Kind, Outcome, Severity};
use crate::record::Record;
use crate::store::AuditStore;

/// The most records of one page.
pub const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;

/// Which records a query finds. All that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Filter {
    /// Not before this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// By the actor with this id.
    pub actor: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With this action.
    pub action: Option<String>,
    /// Of this severity or above.
    pub at_least: Option<Severity>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// From this address.
    pub address: Option<IpAddr>,
    /// On this resource.
    pub resource: Option<String>,
    /// Of this request.
    pub request_id: Option<String>,
}

impl Filter {
    /// Whether a record with this time and event is found.
    #[must_use]
    pub fn matches(&self, time: Timestamp, event: &Event) -> bool {
        fn fits<T: PartialEq + ?Sized>(wanted: Option<&T>, is: Option<&T>) -> bool {
            wanted.is_none() || wanted == is
        }
        self.from.is_none_or(|from| time >= from)
            && self.until.is_none_or(|until| time < until)
            && fits(self.actor.as_deref(), event.actor.id.as_deref())
            && fits(self.kind.as_ref(), Some(&event.kind))
            && fits(self.action.as_deref(), Some(&event.action))
            && self.at_least.is_none_or(|least| event.severity >= least)
            && fits(self.outcome.as_ref(), Some(&event.outcome))
            && fits(self.address.as_ref(), event.source.address.as_ref())
            && fits(self.resource.as_deref(), event.resource.as_deref())
            && fits(self.request_id.as_deref(), event.request_id.as_deref())
    }
}

/// In which order records come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Order {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// What a store is asked for: the first `limit` records in `order` beyond `beyond` that `filter`
/// finds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Selection {
    /// Which records.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// Only records after this sequence, in the order asked for.
    pub beyond: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// A question to the log: the newest hundred records, until told otherwise.
///
/// Pages follow each other by the sequence of their records, so that a walk neither skips nor
/// repeats a record while events arrive.
#[derive(Clone, Debug)]
#[must_use]
pub struct Query {
    filter: Filter,
    order: Order,
    limit: usize,
    cursor: Option<String>,
}

impl Default for Query {
    fn default() -> Self {
        Self::new()
    }
}

impl Query {
    /// All records, the newest first, a hundred a page.
    pub fn new() -> Self {
        Self {
            filter: Filter::default(),
            order: Order::default(),
            limit: DEFAULT_LIMIT,
            cursor: None,
        }
    }

    /// Not before this time.
    pub fn from(mut self, from: Timestamp) -> Self {
        self.filter.from = Some(from);
        self
    }

    /// Before this time.
    pub fn until(mut self, until: Timestamp) -> Self {
        self.filter.until = Some(until);
        self
    }

    /// By the actor with this id.
    pub fn actor(mut self, id: impl AsRef<str>) -> Self {
        self.filter.actor = Some(bounded(id.as_ref(), MAX_TEXT));
        self
    }

    /// Of this kind.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.filter.kind = Some(kind);
        self
    }

    /// With this action.
    pub fn action(mut self, action: impl AsRef<str>) -> Self {
        self.filter.action = Some(action_name(Cow::Owned(action.as_ref().to_owned())).into_owned());
        self
    }

    /// Of this severity or above.
    pub fn at_least(mut self, severity: Severity) -> Self {
        self.filter.at_least = Some(severity);
        self
    }

    /// With this outcome.
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.filter.outcome = Some(outcome);
        self
    }

    /// From this address.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.filter.address = Some(address.to_canonical());
        self
    }

    /// On this resource.
    pub fn resource(mut self, resource: impl AsRef<str>) -> Self {
        self.filter.resource = Some(bounded(resource.as_ref(), MAX_TEXT));
        self
    }

    /// Of this request.
    pub fn request_id(mut self, id: impl AsRef<str>) -> Self {
        self.filter.request_id = Some(bounded(id.as_ref(), MAX_TEXT));
        self
    }

    /// In which order. The default is the newest first.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// At most so many records a page: 1 to 1000, brought within; the default is 100.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, MAX_LIMIT);
        self
    }

    /// Goes on where the page that gave this cursor ended.
    ///
    /// Checked when the query runs: a cursor is bound to the filter and the order.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// Asks `store` for one page.
    ///
    /// # Errors
    ///
    /// [`QueryError::Cursor`] if the cursor is malformed or of another query, or the store's error.
    pub async fn run(&self, store: &dyn AuditStore) -> Result<Page, QueryError> {
        let beyond = match &self.cursor {
            Some(cursor) => Some(self.position(cursor).ok_or(QueryError::Cursor)?),
            None => None,
        };
        let (filter, order) = (self.filter.clone(), self.order);
        // One more than wanted tells whether there is a next page.
        let selection = Selection {
            filter,
            order,
            beyond,
            limit: self.limit + 1,
        };
        let mut found = store.query(&selection).await?;
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| self.cursor_after(last.seq));
        Ok(Page {
            records: found.into_iter().map(crate::Stored::into_record).collect(),
            next,
        })
    }

    fn cursor_after(&self, seq: u64) -> Cursor {
        let mut bytes = seq.to_be_bytes().to_vec();
        bytes.extend(self.fingerprint());
        Cursor(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn position(&self, cursor: &str) -> Option<u64> {
        // Three bytes are four characters: nothing longer is even decoded.
        let bytes = Some(cursor).filter(|c| c.len() == 32)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).ok()?;
        let (seq, fingerprint) = bytes.split_first_chunk::<8>()?;
        (fingerprint == self.fingerprint()).then(|| u64::from_be_bytes(*seq))
    }

    /// What a cursor is bound to: the filter and the order, not the size of the page.
    fn fingerprint(&self) -> [u8; 16] {
        let Filter {
            from,
            until,
            actor,
            kind,
            action,
            at_least,
            outcome,
            address,
            resource,
            request_id,
        } = &self.filter;
        let mut hasher = Sha256::new();
        let mut part = |text: Option<String>| {
            let text = text.as_deref();
            hasher.update([u8::from(text.is_some())]);
            hasher.update((text.map_or(0, str::len) as u64).to_be_bytes());
            hasher.update(text.unwrap_or_default());
        };
        part(Some(format!("forge-audit/cursor/1 {:?}", self.order)));
        part(from.map(|t| t.as_micros().to_string()));
        part(until.map(|t| t.as_micros().to_string()));
        part(actor.clone());
        part(kind.map(|k| k.to_string()));
        part(action.clone());
        part(at_least.map(|s| s.to_string()));
        part(outcome.map(|o| o.to_string()));
        part(address.map(|a| a.to_string()));
        part(resource.clone());
        part(request_id.clone());
        let hash: [u8; 32] = hasher.finalize().into();
        std::array::from_fn(|i| hash[i])
    }
}

/// Where a page ended: opaque, and only good for the same query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cursor(String);

impl Cursor {
    /// The text of the cursor, safe in a URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.0
    }
}

/// One page of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Page {
    /// The records, in the order asked for.
    pub records: Vec<Record>,
    /// Where to go on; `None` when there was nothing more.
    pub next: Option<Cursor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_bound_to_filter_and_order_but_not_to_the_size_of_the_page() {
        let query = Query::new().actor("7").kind(Kind::Session);
        let cursor = query.cursor_after(42);
        assert_eq!(query.position(cursor.as_str()), Some(42));
        assert_eq!(query.clone().limit(7).position(cursor.as_str()), Some(42));
        for other in [
            Query::new(),
            Query::new().resource("7").kind(Kind::Session),
            query.clone().actor("8"),
            query.clone().order(Order::OldestFirst),
            query.clone().from(Timestamp::from_micros(0)),
            query.clone().at_least(Severity::Low),
        ] {
            assert_eq!(other.position(cursor.as_str()), None, "{other:?}");
        }
    }

    #[test]
    fn a_malformed_cursor_is_refused() {
        let long = "A".repeat(1_000_000);
        for cursor in [
            "",
            "x",
            "AAAA",
            "A".repeat(32).as_str(),
            "\u{202e}".repeat(11).as_str(),
            &long,
        ] {
            assert_eq!(Query::new().position(cursor), None);
        }
    }

    #[test]
    fn the_limit_is_brought_within_its_bounds() {
        assert_eq!(Query::new().limit(0).limit, 1);
        assert_eq!(Query::new().limit(usize::MAX).limit, 1000);
    }
}
