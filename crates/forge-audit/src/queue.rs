//! The queue: a list to which callers add, and which the task that writes takes whole.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{mem, slice, vec};

use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use crate::error::RecordError;
use crate::flight::{Batch, Receipts, Stamped};
use crate::record::Record;

/// For so many events memory is kept when they are gone.
const SPARE: usize = 4096;

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

/// Who waits for events, how many they are, and the room they take.
pub(crate) struct Ticket {
    pub(crate) count: usize,
    pub(crate) ack: Option<Ack>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// What waits to be given to the store, in order.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) events: Vec<Stamped>,
    tickets: Vec<Ticket>,
    /// Whether somebody may be waiting for one of them.
    pub(crate) is_awaited: bool,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.is_awaited |= entry.ack.is_some();
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
        let tickets = self.tickets.drain(..tickets).collect();
        self.is_awaited &= !self.is_empty();
        (self.events.drain(..events), tickets)
    }

    /// Adds what `queued` holds, and leaves it the memory that is not needed.
    fn append(&mut self, queued: &mut Self) {
        if self.is_empty() {
            self.events.shrink_to(SPARE);
            return mem::swap(self, queued);
        }
        self.events.append(&mut queued.events);
        self.tickets.append(&mut queued.tickets);
        self.is_awaited |= mem::take(&mut queued.is_awaited);
    }

    /// Puts what a batch had back to the front.
    pub(crate) fn put_back(&mut self, batch: Batch) {
        let back = |r: &Record| Stamped::new(r.event.clone(), r.occurred);
        self.is_awaited |= batch.tickets.iter().any(|ticket| ticket.ack.is_some());
        drop(self.events.splice(..0, batch.told().iter().map(back)));
        drop(self.tickets.splice(..0, batch.tickets));
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

/// What callers have handed over and the task that writes has not taken.
pub(crate) struct Queue {
    state: Mutex<State>,
    news: Notify,
}

struct State {
    waiting: Pending,
    is_open: bool,
    /// Of so many events the task that writes wants to hear.
    enough: usize,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Pending::default(),
                is_open: true,
                enough: usize::MAX,
            }),
            news: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `entry`; returns it if the queue is closed.
    pub(crate) fn push(&self, entry: Entry) -> Option<Entry> {
        let is_flush = entry.events.as_slice().is_empty();
        let mut state = self.lock();
        if !state.is_open {
            return Some(entry);
        }
        state.waiting.push(entry);
        let is_enough = state.waiting.events.len() >= state.enough;
        if is_enough {
            state.enough = usize::MAX;
        }
        drop(state);
        if is_enough || is_flush {
            self.wake();
        }
        None
    }

    /// Takes all that is queued. Whether more may come.
    pub(crate) fn take(&self, pending: &mut Pending) -> bool {
        let mut state = self.lock();
        if !state.waiting.is_empty() {
            pending.append(&mut state.waiting);
        }
        state.enough = usize::MAX;
        state.is_open
    }

    /// Resolves when `enough` events are queued, or when there is something else to look at.
    pub(crate) async fn news(&self, enough: usize) {
        if !self.has(enough) {
            self.news.notified().await;
        }
    }

    /// Whether so many events are queued. If not, their coming is news.
    fn has(&self, enough: usize) -> bool {
        let mut state = self.lock();
        state.enough = enough;
        state.waiting.events.len() >= enough
    }

    /// Has the task that writes look at what there is to do.
    pub(crate) fn wake(&self) {
        self.news.notify_one();
    }

    /// Takes no more.
    pub(crate) fn close(&self) {
        self.lock().is_open = false;
        self.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        !self.lock().is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::event::Event;
    use crate::kind::Kind;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn entry(count: usize) -> Entry {
        let event = || Event::new(Kind::System, "x");
        let stamped = || Stamped::new(event(), Timestamp::default());
        Entry {
            events: match count {
                1 => Events::One(stamped()),
                _ => Events::Many((0..count).map(|_| stamped()).collect()),
            },
            ack: None,
            permit: None,
        }
    }

    #[test]
    fn who_takes_hears_of_enough_events_and_of_every_flush() {
        let (queue, mut pending) = (Queue::new(), Pending::default());
        let mut context = Context::from_waker(Waker::noop());
        for (pushed, enough, is_news) in [(1, 1, true), (2, 3, false), (3, 3, true), (0, 9, true)] {
            let mut news = pin!(queue.news(enough));
            assert!(news.as_mut().poll(&mut context).is_pending());
            assert!(queue.push(entry(pushed)).is_none());
            assert_eq!(news.poll(&mut context).is_ready(), is_news);
            // What is there already is news at once.
            assert_eq!(queue.has(enough), pushed >= enough);
            assert!(queue.take(&mut pending));
            assert!(!queue.has(1));
        }
        assert_eq!(pending.events.len(), 6);
    }

    #[test]
    fn what_was_queued_before_the_end_is_taken_and_nothing_after() {
        let (queue, mut pending) = (Queue::new(), Pending::default());
        assert!(queue.push(entry(2)).is_none());
        queue.close();
        assert!(queue.is_closed());
        let refused = queue.push(entry(1)).unwrap();
        assert_eq!(refused.events.as_slice().len(), 1);
        assert!(!queue.take(&mut pending));
        assert_eq!(pending.events.len(), 2);
        let (events, tickets) = pending.take(1);
        assert_eq!((events.len(), tickets.len()), (2, 1));
    }
}
