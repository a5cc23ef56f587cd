//! Following the log as it grows.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::chain::Content;
use crate::error::StoreError;
use crate::record::Record;
use crate::store::{AuditStore, Span};

const PAGE: usize = 256;

/// What comes next in a log that is followed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Next {
    /// A record.
    Record(Box<Record>),
    /// Records that are not there any more, or not yet: nobody shall take the silence for peace.
    Gap(Span),
}

impl Next {
    /// The sequence to follow on from after this.
    #[must_use]
    pub fn last(&self) -> u64 {
        match self {
            Self::Record(record) => record.seq,
            Self::Gap(span) => span.last,
        }
    }
}

/// Follows a log from a sequence on: first what is stored, then each record as it becomes durable.
///
/// It reads from the store, so that who follows slowly loses nothing and costs no memory. Records
/// of other processes come with the next of this one.
pub struct Tail {
    store: Arc<dyn AuditStore>,
    written: watch::Receiver<u64>,
    after: u64,
    ready: VecDeque<Next>,
}

impl Tail {
    pub(crate) fn new(
        store: Arc<dyn AuditStore>,
        written: watch::Receiver<u64>,
        after: u64,
    ) -> Self {
        let mut ready = VecDeque::new();
        let mut after = after;
        let end = *written.borrow();
        if after > end {
            // Not of this log, or of one that was cut.
            ready.push_back(Next::Gap(Span::new(end + 1, after)));
            after = end;
        }
        Self {
            store,
            written,
            after,
            ready,
        }
    }

    /// What comes next; waits for it. `None` when the log is closed and nothing is left.
    ///
    /// # Errors
    ///
    /// The store's error; another call tries again.
    pub async fn next(&mut self) -> Result<Option<Next>, StoreError> {
        loop {
            if let Some(next) = self.ready.pop_front() {
                return Ok(Some(next));
            }
            if *self.written.borrow_and_update() > self.after {
                self.read().await?;
            } else if self.written.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    async fn read(&mut self) -> Result<(), StoreError> {
        let page = self.store.scan(self.after, PAGE).await?;
        let mut expected = self.after + 1;
        for stored in page {
            let last = stored.seq + stored.count() - 1;
            if stored.seq > expected {
                self.gap(expected, stored.seq - 1);
            }
            match stored.content {
                Content::Pruned { .. } => self.gap(expected.max(stored.seq), last),
                _ => self
                    .ready
                    .push_back(Next::Record(Box::new(stored.into_record()))),
            }
            expected = last + 1;
        }
        if expected == self.after + 1 {
            // The end is known and nothing is there.
            let end = *self.written.borrow();
            self.gap(expected, end);
            expected = end + 1;
        }
        self.after = expected - 1;
        Ok(())
    }

    fn gap(&mut self, first: u64, last: u64) {
        match self.ready.back_mut() {
            Some(Next::Gap(span)) if span.last + 1 == first => span.last = last,
            _ => self.ready.push_back(Next::Gap(Span::new(first, last))),
        }
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
