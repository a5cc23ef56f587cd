//! Batches on their way into the store.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{mem, slice, vec};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::chain::{Head, Sealed};
use crate::clock::Timestamp;
use crate::error::{RecordError, StoreError};
use crate::event::Event;
use crate::gap::Gap;
use crate::log::Receipt;
use crate::record::Record;
use crate::store::AuditStore;

/// Events that are written together, or a flush when there are none.
pub(crate) struct Entry {
    pub(crate) events: Events,
    pub(crate) ack: Option<Ack>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

pub(crate) type Ack = oneshot::Sender<Result<Receipts, RecordError>>;

/// The events of one call. One alone, as most are, needs no memory of its own.
#[expect(
    clippy::large_enum_variant,
    reason = "to move one is cheaper than to allocate where another thread frees"
)]
pub(crate) enum Events {
    One(Stamped),
    Many(Vec<Stamped>),
}

impl Events {
    pub(crate) fn as_slice(&self) -> &[Stamped] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    /// Works out what their hashes cover.
    pub(crate) fn seal(&mut self) {
        match self {
            Self::One(one) => one.seal(),
            Self::Many(many) => many.iter_mut().for_each(Stamped::seal),
        }
    }
}

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

/// Who waits for events, how many they are, and the room they take.
pub(crate) struct Ticket {
    pub(crate) count: usize,
    pub(crate) ack: Option<Ack>,
    permit: Option<OwnedSemaphorePermit>,
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
    fn seal(&mut self) {
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

/// What was taken from the queue and is not given to the store, in order.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) events: Vec<Stamped>,
    tickets: Vec<Ticket>,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.tickets.push(Ticket {
            count: entry.events.as_slice().len(),
            ack: entry.ack,
            permit: entry.permit,
        });
        match entry.events {
            Events::One(one) => self.events.push(one),
            Events::Many(many) => self.events.extend(many),
        }
    }

    /// Takes what has waited longest, until it is at least `most` events or all.
    pub(crate) fn take(&mut self, most: usize) -> (vec::Drain<'_, Stamped>, Vec<Ticket>) {
        let (mut events, mut tickets) = (0, 0);
        for ticket in &self.tickets {
            if events >= most {
                break;
            }
            events += ticket.count;
            tickets += 1;
        }
        (
            self.events.drain(..events),
            self.tickets.drain(..tickets).collect(),
        )
    }

    /// Puts what a batch had back to the front.
    pub(crate) fn put_back(&mut self, batch: Batch) {
        let back = |r: &Record| Stamped::new(r.event.clone(), r.occurred);
        drop(self.events.splice(..0, batch.told().iter().map(back)));
        drop(self.tickets.splice(..0, batch.tickets));
    }

    /// Whether somebody may be waiting for one of them.
    pub(crate) fn is_awaited(&self) -> bool {
        self.tickets.iter().any(|ticket| ticket.ack.is_some())
    }

    /// Takes out all for which somebody waits, and shows them to `refuse`. Of others the events stay.
    pub(crate) fn refuse(&mut self, mut refuse: impl FnMut(&[Stamped], Ack)) {
        let mut all = mem::take(self);
        let mut events = all.events.drain(..);
        for mut ticket in all.tickets {
            let own = events.by_ref().take(ticket.count);
            // Whose caller has stopped waiting is written as if it had been enqueued.
            match ticket.ack.take().filter(|ack| !ack.is_closed()) {
                Some(ack) => refuse(&own.collect::<Vec<_>>(), ack),
                None if ticket.count == 0 => {}
                None => {
                    self.events.extend(own);
                    self.tickets.push(ticket);
                }
            }
        }
    }
}
