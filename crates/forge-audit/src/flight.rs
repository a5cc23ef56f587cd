//! Batches on their way into the store.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::chain::{Head, Sealed};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::event::Event;
use crate::gap::Gap;
use crate::log::Receipt;
use crate::queue::Ticket;
use crate::record::Record;
use crate::store::AuditStore;

/// A receipt for each event of an entry.
pub(crate) enum Receipts {
    One(Receipt),
    Many(Vec<Receipt>),
}

impl Receipts {
    fn of(records: &[Record]) -> Self {
        let receipt = |r: &Record| Receipt {
            seq: r.seq,
            time: r.time,
        };
        match records {
            [one] => Self::One(receipt(one)),
            many => Self::Many(many.iter().map(receipt).collect()),
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Receipt> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// An event, and when it occurred.
pub(crate) struct Stamped {
    pub(crate) event: Event,
    pub(crate) occurred: Timestamp,
    sealed: Option<Sealed>,
}

impl Stamped {
    pub(crate) fn new(event: Event, occurred: Timestamp) -> Self {
        Self {
            event,
            occurred,
            sealed: None,
        }
    }

    /// Works out what its hash covers; what is not sealed is when it is written.
    pub(crate) fn seal(&mut self) {
        self.sealed = Some(Sealed::of(&self.event));
    }

    pub(crate) fn into_parts(self) -> (Event, Sealed, Timestamp) {
        let sealed = self.sealed.unwrap_or_else(|| Sealed::of(&self.event));
        (self.event, sealed, self.occurred)
    }
}

/// What is appended in one step.
pub(crate) struct Batch {
    pub(crate) records: Arc<[Record]>,
    /// The end of the log with them.
    pub(crate) head: Head,
    /// The loss that the first of them tells of.
    pub(crate) gap: Option<Gap>,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) started: Duration,
}

impl Batch {
    /// The records of the tickets.
    pub(crate) fn told(&self) -> &[Record] {
        &self.records[self.gap.iter().count()..]
    }
}

/// A batch that the store has been given.
pub(crate) struct Flight {
    pub(crate) batch: Batch,
    answer: Answer,
}

enum Answer {
    Awaited(Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>),
    Here(Result<(), StoreError>),
}

impl Flight {
    /// Gives `batch` to `store`, without waiting for the answer.
    pub(crate) async fn begin(store: Arc<dyn AuditStore>, batch: Batch) -> Self {
        let records = Arc::clone(&batch.records);
        let mut appending: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(async move { store.append(records).await });
        // The first poll hands it over: batches are, in their order.
        let first = poll_fn(|cx| Poll::Ready(appending.as_mut().poll(cx))).await;
        let answer = match first {
            Poll::Ready(answer) => Answer::Here(answer),
            Poll::Pending => Answer::Awaited(appending),
        };
        Self { batch, answer }
    }

    /// Resolves with what the store says, and is not asked again after that.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        match &mut self.answer {
            Answer::Awaited(appending) => appending.as_mut().poll(cx),
            Answer::Here(answer) => Poll::Ready(mem::replace(answer, Ok(()))),
        }
    }

    pub(crate) async fn answer(&mut self) -> Result<(), StoreError> {
        poll_fn(|cx| self.poll(cx)).await
    }
}

/// Answers who waits, and gives the room back.
pub(crate) fn acknowledge(tickets: Vec<Ticket>, mut records: &[Record]) {
    for ticket in tickets {
        drop(ticket.permit);
        let (own, rest) = records.split_at(ticket.count);
        records = rest;
        if let Some(ack) = ticket.ack {
            // Nobody may wait any more.
            let _ = ack.send(Ok(Receipts::of(own)));
        }
    }
}
