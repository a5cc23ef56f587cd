//! Finding records: by time, actor, kind, action, severity, outcome, source, resource, request.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::error::QueryError;
use crate::escape::bounded;
use crate::event::{Event, MAX_TEXT, action_name};
use crate::kind::{Kind, Outcome, Severity};
use crate::record::Record;
use crate::store::{AuditStore, StoreFuture};

/// The most records of one page.
pub const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;
/// So many records one page looks at for [`Query::mentioning`].
const MOST_LOOKED_AT: usize = 10_000;
/// So many words of a search count.
const MAX_WORDS: usize = 8;

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
    /// In lower case.
    words: Vec<String>,
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
            words: Vec::new(),
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

    /// Whose details mention each of the words of `text`, whatever their case: within a text, a key
    /// or a number. Eight words count, and 256 bytes.
    ///
    /// Details are not indexed. One page looks at ten thousand of the records that the rest of the
    /// query finds; it may have fewer records than asked for, even none, and still a
    /// [`next`](Page::next) to go on with.
    pub fn mentioning(mut self, text: impl AsRef<str>) -> Self {
        let text = bounded(text.as_ref(), MAX_TEXT).to_lowercase();
        let words = text.split_whitespace().map(str::to_owned);
        self.words = words.take(MAX_WORDS).collect();
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
        let (records, next) = self.page(store).await?;
        Ok(Page { records, next })
    }

    /// Whether it finds this record, whatever its order and its pages: for a log that is
    /// [followed](crate::Tail).
    #[must_use]
    pub fn finds(&self, record: &Record) -> bool {
        self.filter.matches(record.time, &record.event) && self.is_mentioned(&record.event)
    }

    /// What is asked for, to whoever keeps several logs.
    #[cfg(feature = "postgres")]
    pub(crate) fn parts(&self) -> (&Filter, Order) {
        (&self.filter, self.order)
    }

    /// A page of what `source` has, and where the next begins.
    pub(crate) async fn page<S: Listing + ?Sized>(
        &self,
        source: &S,
    ) -> Result<(Vec<S::Item>, Option<Cursor>), QueryError> {
        let mut beyond = match &self.cursor {
            Some(cursor) => Some(self.position(cursor).ok_or(QueryError::Cursor)?),
            None => None,
        };
        // One more than wanted tells whether there is a next page.
        let step = match self.words.is_empty() {
            true => self.limit + 1,
            false => MAX_LIMIT,
        };
        let (mut page, mut looked_at) = (Vec::new(), 0);
        loop {
            let found = source.ask(self, beyond, step).await?;
            let is_last = found.len() < step;
            for one in found {
                let at = one.position();
                if self.is_mentioned(one.event()) {
                    if page.len() == self.limit {
                        return Ok((page, beyond.map(|place| self.cursor_after(place))));
                    }
                    page.push(one);
                }
                beyond = Some(at);
                looked_at += 1;
            }
            if is_last {
                return Ok((page, None));
            }
            if looked_at >= MOST_LOOKED_AT {
                return Ok((page, beyond.map(|place| self.cursor_after(place))));
            }
        }
    }

    fn is_mentioned(&self, event: &Event) -> bool {
        self.words.is_empty()
            || event
                .details_value()
                .is_some_and(|details| self.words.iter().all(|word| mentions(&details, word)))
    }

    fn cursor_after(&self, place: impl Position) -> Cursor {
        let mut bytes = place.to_bytes();
        bytes.extend(self.fingerprint());
        Cursor(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn position<P: Position>(&self, cursor: &str) -> Option<P> {
        // Three bytes are four characters: nothing longer is even decoded.
        let length = (P::LENGTH + FINGERPRINT) / 3 * 4;
        let bytes = Some(cursor).filter(|c| c.len() == length)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).ok()?;
        let (place, fingerprint) = bytes.split_at_checked(P::LENGTH)?;
        (fingerprint == self.fingerprint())
            .then(|| P::of_bytes(place))
            .flatten()
    }

    /// What a cursor is bound to: the filter and the order, not the size of the page.
    fn fingerprint(&self) -> [u8; FINGERPRINT] {
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
        self.words.iter().for_each(|word| part(Some(word.clone())));
        let hash: [u8; 32] = hasher.finalize().into();
        std::array::from_fn(|i| hash[i])
    }
}

const FINGERPRINT: usize = 16;

/// Where a page can end. With the fingerprint its bytes are a multiple of three.
pub(crate) trait Position: Copy + Send {
    const LENGTH: usize;

    fn to_bytes(self) -> Vec<u8>;

    fn of_bytes(bytes: &[u8]) -> Option<Self>;
}

/// Where records are asked for.
pub(crate) trait Listing: Sync {
    type Item: Listed + Send;

    /// The first `limit` of those that the filter of `query` finds, in its order, beyond a place.
    fn ask<'a>(
        &'a self,
        query: &'a Query,
        beyond: Option<<Self::Item as Listed>::Position>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<Self::Item>>;
}

impl Listing for dyn AuditStore + '_ {
    type Item = Record;

    fn ask<'a>(
        &'a self,
        query: &'a Query,
        beyond: Option<u64>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<Record>> {
        Box::pin(async move {
            let selection = Selection {
                filter: query.filter.clone(),
                order: query.order,
                beyond,
                limit,
            };
            let found = self.query(&selection).await?;
            Ok(found.into_iter().map(crate::Stored::into_record).collect())
        })
    }
}

/// What a page lists.
pub(crate) trait Listed {
    type Position: Position;

    fn position(&self) -> Self::Position;

    fn event(&self) -> &Event;
}

impl Listed for Record {
    type Position = u64;

    fn position(&self) -> u64 {
        self.seq
    }

    fn event(&self) -> &Event {
        &self.event
    }
}

impl Position for u64 {
    const LENGTH: usize = 8;

    fn to_bytes(self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// Whether `word`, in lower case, is in a text, a key or a number. Values are not deep: details are
/// bounded, and read from JSON that is.
fn mentions(details: &Value, word: &str) -> bool {
    let is_in = |text: &str| text.to_lowercase().contains(word);
    match details {
        Value::Null => false,
        Value::Bool(is) => is_in(if *is { "true" } else { "false" }),
        Value::Number(number) => is_in(&number.to_string()),
        Value::String(text) => is_in(text),
        Value::Array(values) => values.iter().any(|value| mentions(value, word)),
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| is_in(key) || mentions(value, word)),
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
        let cursor = query.cursor_after(42_u64);
        assert_eq!(query.position(cursor.as_str()), Some(42_u64));
        assert_eq!(query.clone().limit(7).position(cursor.as_str()), Some(42));
        for other in [
            Query::new(),
            Query::new().resource("7").kind(Kind::Session),
            query.clone().actor("8"),
            query.clone().order(Order::OldestFirst),
            query.clone().from(Timestamp::from_micros(0)),
            query.clone().at_least(Severity::Low),
            query.clone().mentioning("x"),
        ] {
            assert_eq!(other.position::<u64>(cursor.as_str()), None, "{other:?}");
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
            assert_eq!(Query::new().position::<u64>(cursor), None);
        }
    }

    #[test]
    fn the_limit_is_brought_within_its_bounds() {
        assert_eq!(Query::new().limit(0).limit, 1);
        assert_eq!(Query::new().limit(usize::MAX).limit, 1000);
    }

    #[test]
    fn a_record_is_found_by_its_fields_and_its_words() {
        let mut chain = crate::chain::Chain::new();
        let event = Event::new(Kind::Session, "session.create")
            .actor(crate::Actor::new("7"))
            .details(&serde_json::json!({ "client": "agent" }));
        let record = chain.append(event, Timestamp::default());
        let query = Query::new().actor("7").kind(Kind::Session);
        assert!(query.finds(&record));
        assert!(query.clone().limit(1).mentioning("AGENT").finds(&record));
        assert!(!query.clone().mentioning("agent other").finds(&record));
        assert!(!query.at_least(Severity::Critical).finds(&record));
    }

    #[test]
    fn words_are_found_in_texts_keys_and_numbers_whatever_their_case() {
        let details = serde_json::json!({
            "Tool": "Delete_Repo", "args": [{ "name": "Ünïcode" }, 4711], "forced": true, "n": null,
        });
        let event = Event::new(Kind::ToolCall, "tool.call").details(&details);
        for found in [
            "delete",
            "REPO tool",
            "ÜNÏ",
            "471",
            "true",
            "args name",
            " ",
        ] {
            assert!(
                Query::new().mentioning(found).is_mentioned(&event),
                "{found}"
            );
        }
        for missing in ["delete x", "null", "tool.call", "{", "4712"] {
            assert!(
                !Query::new().mentioning(missing).is_mentioned(&event),
                "{missing}"
            );
        }
        let bare = Event::new(Kind::ToolCall, "tool.call");
        assert!(!Query::new().mentioning("tool").is_mentioned(&bare));
        assert_eq!(Query::new().mentioning("a ".repeat(1000)).words.len(), 8);
    }

    #[tokio::test]
    async fn a_search_looks_at_so_many_records_a_page_and_misses_none() {
        let (store, mut chain) = (crate::MemoryAuditStore::new(), crate::Chain::new());
        // Two needles, far apart.
        let records: Vec<Record> = (0..25_000)
            .map(|n| {
                let word = if n % 20_000 == 100 { "needle" } else { "hay" };
                let details = serde_json::json!({ "in": word });
                let event = Event::new(Kind::System, "x").details(&details);
                chain.append(event, Timestamp::from_micros(n))
            })
            .collect();
        store.append(records.into()).await.unwrap();
        let (mut found, mut pages) = (Vec::new(), Vec::new());
        let mut query = Query::new().mentioning("Needle").limit(1);
        loop {
            let page = query.run(&store).await.unwrap();
            pages.push(page.records.len());
            found.extend(page.records.iter().map(|record| record.seq));
            let Some(next) = page.next else { break };
            query = query.cursor(next);
        }
        assert_eq!(found, [20_101, 101]);
        // The second looked at ten thousand in vain.
        assert_eq!(pages, [1, 0, 1]);
        // Nothing is found, and it is said where to go on.
        let none = Query::new()
            .mentioning("nowhere")
            .run(&store)
            .await
            .unwrap();
        assert!(none.records.is_empty() && none.next.is_some());
    }
}
