//! The task that writes: it takes what is queued, chains it, and commits it as one batch.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::chain::{Chain, Head};
use crate::clock::Timestamp;
use crate::error::{RecordError, ShutdownError, StoreError};
use crate::event::Event;
use crate::flood::Floods;
use crate::gap::Gap;
use crate::log::{Receipt, Shared};
use crate::notary::Notary;
use crate::on_record::{Commit, OnRecord};
use crate::record::Record;
use crate::store::tree_of;
use crate::trace;
use crate::tree::Tree;

const MAX_BATCH: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So often the store may refuse in a row while the log closes.
const LAST_TRIES: u32 = 5;
/// So often another writer may come first before that is a failure.
const CONFLICTS: u32 = 8;

pub(crate) enum Message {
    Entry(Entry),
    Shutdown,
}

/// Events that are written together, or a flush when there are none.
pub(crate) struct Entry {
    pub(crate) events: Vec<Stamped>,
    pub(crate) ack: Option<oneshot::Sender<Result<Vec<Receipt>, RecordError>>>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

pub(crate) struct Stamped {
    pub(crate) event: Event,
    pub(crate) occurred: Timestamp,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::UnboundedReceiver<Message>,
    /// Advances only with a commit.
    chain: Chain,
    /// Taken from the queue, not yet written.
    pending: VecDeque<Entry>,
    /// Whether somebody may be waiting for an entry in `pending`.
    asked: bool,
    /// How many events the store has been given without having answered yet.
    writing: usize,
    open: bool,
    retry: Option<Retry>,
    /// Of the records as this log wrote them, if checkpoints are signed.
    tree: Tree,
    /// The size of the last checkpoint.
    signed: u64,
    /// When records that are not signed for have to be.
    sign_at: Option<Instant>,
}

/// The store has refused.
struct Retry {
    at: Instant,
    pause: Duration,
    failures: u32,
    error: Arc<StoreError>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: mpsc::UnboundedReceiver<Message>,
        chain: Chain,
        tree: Tree,
    ) -> Self {
        let signed = tree.size();
        let pending = VecDeque::new();
        Self {
            shared,
            queue,
            chain,
            pending,
            asked: false,
            writing: 0,
            open: true,
            retry: None,
            tree,
            // What a log that was ended in a hurry has not signed is signed soon.
            sign_at: Some(Instant::now()).filter(|_| signed > 0),
            signed: 0,
        }
    }

    /// Writes until the log is shut down or its last handle is gone, and nothing is left.
    pub(crate) async fn run(mut self) {
        loop {
            self.gather().await;
            self.tell_floods();
            if !self.open && self.pending.is_empty() && !self.shared.losses.is_open() {
                self.sign().await;
                let _ = self.shared.done.set(Ok(()));
                return;
            }
            self.write().await;
            let is_due = |notary: &Notary| {
                notary.is_due(self.tree.size() - self.signed)
                    || self.sign_at.is_some_and(|at| Instant::now() >= at)
            };
            if self.shared.notary.as_ref().is_some_and(is_due) {
                self.sign().await;
            }
            let failures = self.retry.as_ref().map_or(0, |retry| retry.failures);
            if !self.open && failures >= LAST_TRIES {
                // Dropping the writer counts what is left.
                return;
            }
        }
    }

    /// Takes what is queued, until there is something to do, or nothing more will come.
    async fn gather(&mut self) {
        loop {
            while let Ok(message) = self.queue.try_recv() {
                self.accept(message);
            }
            if !self.open {
                // Closed for new events: what senders had begun to send still arrives.
                while let Some(message) = self.queue.recv().await {
                    self.accept(message);
                }
                if let Some(retry) = &self.retry {
                    sleep_until(retry.at).await;
                }
                return;
            }
            let now = Instant::now();
            if self.sign_at.is_some_and(|at| now >= at) && self.retry.is_none() {
                return;
            }
            let floods = self.shared.floods.as_ref();
            let flood = floods.and_then(|floods| floods.due_in(self.shared.clock.monotonic()));
            if flood.is_some_and(|left| left.is_zero()) && self.retry.is_none() {
                return;
            }
            let due = match &self.retry {
                None => !self.pending.is_empty() || self.shared.losses.is_open(),
                // Who waits for an answer is not made to wait for the pause to end.
                Some(retry) => self.asked || Instant::now() >= retry.at,
            };
            if due {
                return;
            }
            let retry = self.retry.as_ref().map(|retry| retry.at);
            // While the store fails nothing else is due.
            let other = [self.sign_at, flood.map(|left| now + left)];
            let pause = retry.or_else(|| other.into_iter().flatten().min());
            tokio::select! {
                biased;
                message = self.queue.recv() => match message {
                    Some(message) => self.accept(message),
                    None => self.open = false,
                },
                () = self.shared.lost.notified() => {}
                () = self.shared.flooded.notified() => {}
                () = sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => {}
            }
        }
    }

    /// Queues the events that tell of floods that are over.
    fn tell_floods(&mut self) {
        let Some(floods) = &self.shared.floods else {
            return;
        };
        let now = Some(self.shared.clock.monotonic()).filter(|_| self.open);
        for (event, occurred) in floods.take(now) {
            self.pending.push_back(Entry {
                events: vec![Stamped { event, occurred }],
                ack: None,
                permit: None,
            });
        }
    }

    /// Signs for all that is written, if there is something new.
    async fn sign(&mut self) {
        self.sign_at = None;
        let Some(notary) = &self.shared.notary else {
            return;
        };
        if self.tree.size() == self.signed {
            return;
        }
        let note = notary.sign(&self.tree);
        match self.shared.store.add_checkpoint(note.clone()).await {
            Ok(()) => {
                self.signed = self.tree.size();
                notary.tell(note);
            }
            Err(error) => {
                tracing::error!(target: trace::TARGET, error = &error as &dyn std::error::Error, "a checkpoint could not be stored");
                self.sign_at = Some(Instant::now() + notary.time.max(FIRST_PAUSE));
            }
        }
    }

    /// The tree goes on with what was written.
    fn grow(&mut self, records: &[Record]) {
        let Some(notary) = &self.shared.notary else {
            return;
        };
        records
            .iter()
            .for_each(|record| self.tree.push(record.hash));
        if self.sign_at.is_none() && self.tree.size() > self.signed {
            self.sign_at = Some(Instant::now() + notary.time);
        }
    }

    fn accept(&mut self, message: Message) {
        match message {
            Message::Entry(entry) => {
                self.asked |= entry.ack.is_some();
                self.pending.push_back(entry);
            }
            Message::Shutdown => {
                self.queue.close();
                self.open = false;
            }
        }
    }

    /// Writes one batch: the gap if there is one, and the entries that have waited longest.
    async fn write(&mut self) {
        let gap = self.shared.losses.take();
        let mut events = Vec::new();
        if let Some(gap) = &gap {
            events.push(Stamped {
                event: gap.event(),
                occurred: self.shared.clock.now(),
            });
        }
        let mut tickets = Vec::new();
        while events.len() < MAX_BATCH {
            let Some(mut entry) = self.pending.pop_front() else {
                break;
            };
            let count = entry.events.len();
            events.append(&mut entry.events);
            tickets.push((entry, count));
        }
        self.asked &= !self.pending.is_empty();
        if events.is_empty() {
            // Flushes with nothing before them: there is nothing to try again either.
            self.retry = None;
            acknowledge(tickets, &mut std::iter::empty());
            return;
        }
        let started = self.shared.clock.monotonic();
        self.writing = events.len();
        let (records, result) = self.commit(events).await;
        self.writing = 0;
        match result {
            Ok(head) => {
                let took = self.shared.clock.monotonic().saturating_sub(started);
                self.chain = Chain::resume(head);
                self.grow(&records);
                *self
                    .shared
                    .head
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = head;
                self.retry = None;
                self.shared.failing.store(false, Ordering::Relaxed);
                // A flush is answered after the observers have heard.
                let (flushes, tickets) = tickets.into_iter().partition(|(_, count)| *count == 0);
                acknowledge(tickets, &mut records.iter().skip(gap.iter().count()));
                self.shared.written.send_replace(head.seq);
                self.tell(&records, took);
                acknowledge(flushes, &mut std::iter::empty());
            }
            Err(error) => self.keep(gap, &records, tickets, error),
        }
    }

    /// Chains `events` and appends them to the store. The end it returns is durable.
    async fn commit(&mut self, events: Vec<Stamped>) -> (Arc<[Record]>, Result<Head, StoreError>) {
        let mut chain = self.chain.clone();
        let mut records: Arc<[Record]> = events
            .into_iter()
            .map(|e| chain.append(e.event, e.occurred))
            .collect();
        for _ in 0..CONFLICTS {
            let head = chain.head();
            let error = match self.shared.store.append(Arc::clone(&records)).await {
                Ok(()) => return (records, Ok(head)),
                Err(error) => error,
            };
            if !matches!(error, StoreError::Conflict) {
                // Perhaps only the answer was lost, and the records are there.
                let there = self
                    .shared
                    .store
                    .tail()
                    .await
                    .is_ok_and(|tail| tail == head);
                return (records, if there { Ok(head) } else { Err(error) });
            }
            match self.adopt().await {
                Ok(tail) => chain = Chain::resume(tail),
                Err(error) => return (records, Err(error)),
            }
            let again = |r: &Record| chain.append(r.event.clone(), r.occurred);
            records = records.iter().map(again).collect();
        }
        (records, Err(StoreError::Conflict))
    }

    /// Another writer has appended: goes on from where it ended, if what this one wrote is there.
    async fn adopt(&mut self) -> Result<Head, StoreError> {
        let (own, store) = (self.chain.head(), &self.shared.store);
        let tail = store.tail().await?;
        if own.seq > 0 {
            let found = store.scan(own.seq - 1, 1).await?;
            if !found
                .first()
                .is_some_and(|s| s.seq == own.seq && s.hash == own.hash)
            {
                return Err(StoreError::Altered);
            }
        }
        if self.shared.notary.is_some() {
            self.tree = tree_of(&**store, tail.seq).await?;
        }
        self.chain = Chain::resume(tail);
        Ok(tail)
    }

    /// After a failure: who waits is told, the rest stays queued, in order, for the next try.
    fn keep(
        &mut self,
        gap: Option<Gap>,
        records: &[Record],
        tickets: Vec<(Entry, usize)>,
        error: StoreError,
    ) {
        let error = Arc::new(error);
        let mut rest = records.iter().skip(gap.iter().count());
        let restored = tickets.into_iter().map(|(mut entry, count)| {
            let back = |r: &Record| Stamped {
                event: r.event.clone(),
                occurred: r.occurred,
            };
            entry.events.extend(rest.by_ref().take(count).map(back));
            entry
        });
        let pending: VecDeque<_> = restored.chain(self.pending.drain(..)).collect();
        if let Some(gap) = gap {
            self.shared.losses.add(gap);
        }
        for mut entry in pending {
            // Whose caller has stopped waiting is written as if it had been enqueued.
            match entry.ack.take().filter(|ack| !ack.is_closed()) {
                Some(ack) => {
                    if let Some(first) = entry.events.first() {
                        self.shared
                            .losses
                            .add(Gap::refused(entry.events.len(), first.occurred));
                    }
                    let _ = ack.send(Err(RecordError::Store(Arc::clone(&error))));
                }
                None if entry.events.is_empty() => {}
                None => self.pending.push_back(entry),
            }
        }
        self.asked = false;
        self.shared.failing.store(true, Ordering::Relaxed);
        tracing::error!(target: trace::TARGET, error = &*error as &dyn std::error::Error, "audit store refused a batch");
        guard(|| self.shared.observer.on_failure(&error));
        let (pause, failures) = self.retry.as_ref().map_or((FIRST_PAUSE, 1), |r| {
            ((r.pause * 2).min(LONGEST_PAUSE), r.failures + 1)
        });
        self.retry = Some(Retry {
            at: Instant::now() + pause,
            pause,
            failures,
            error,
        });
    }

    fn tell(&self, records: &[Record], took: Duration) {
        let observer: &dyn OnRecord = &*self.shared.observer;
        for record in records {
            trace::record(record);
            guard(|| observer.on_record(record));
        }
        let commit = Commit {
            records: records.len(),
            took,
            queue_depth: self.shared.room.used(),
        };
        guard(|| observer.on_commit(&commit));
    }
}

impl Drop for Writer {
    /// The writer ends with events unwritten when it gives up, or when its runtime ends.
    /// Then what the store was given may still be written; it counts as lost.
    fn drop(&mut self) {
        if self.shared.done.initialized() {
            return;
        }
        self.queue.close();
        while let Ok(message) = self.queue.try_recv() {
            self.accept(message);
        }
        let events = || self.pending.iter().flat_map(|entry| &entry.events);
        let gap = self.shared.losses.take();
        let unwritten = (events().count() + self.writing) as u64;
        let absorbed = self.shared.floods.as_ref().map_or(0, Floods::absorbed);
        let lost = unwritten + gap.map_or(0, |gap| gap.count()) + absorbed;
        if lost == 0 {
            let _ = self.shared.done.set(Ok(()));
            return;
        }
        let since = events()
            .map(|e| e.occurred)
            .chain(gap.map(|gap| gap.from))
            .min();
        let source = match &self.retry {
            Some(retry) => Arc::clone(&retry.error),
            None => Arc::new(StoreError::unavailable("the runtime ended before the log")),
        };
        tracing::error!(target: trace::TARGET, lost, "audit log closed with events unwritten");
        let since = since.unwrap_or_else(|| self.shared.clock.now());
        let _ = self.shared.done.set(Err(ShutdownError {
            lost,
            since,
            source,
        }));
    }
}

/// Answers who waits, and gives the room back.
fn acknowledge(tickets: Vec<(Entry, usize)>, records: &mut dyn Iterator<Item = &Record>) {
    for (entry, count) in tickets {
        drop(entry.permit);
        let receipt = |r: &Record| Receipt {
            seq: r.seq,
            time: r.time,
        };
        let receipts: Vec<_> = records.take(count).map(receipt).collect();
        if let Some(ack) = entry.ack {
            // Nobody may wait any more.
            let _ = ack.send(Ok(receipts));
        }
    }
}

/// An observer that panics must not end the log.
fn guard(hook: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(hook)).is_err() {
        tracing::error!(target: trace::TARGET, "an audit observer panicked");
    }
}
