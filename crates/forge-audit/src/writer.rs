//! The task that writes: it takes what is queued, and gives it to the store in batches.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::chain::{Chain, Head};
use crate::error::{ShutdownError, StoreError};
use crate::flight::{Flight, Stamped};
use crate::flood::Floods;
use crate::log::Shared;
use crate::notary::Notary;
use crate::queue::{Entry, Events, Pending};
use crate::trace;
use crate::tree::Tree;

pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// So many events are worth a step of their own while the store is busy with others.
const MANY: usize = 32;
/// So often the store may refuse in a row while the log closes.
const LAST_TRIES: u32 = 5;

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    /// The end of what is durable.
    pub(crate) head: Head,
    /// Goes on after what the store was given.
    pub(crate) chain: Chain,
    /// Taken from the queue, not yet given to the store.
    pub(crate) pending: Pending,
    /// Given to the store, which has not answered yet.
    pub(crate) flights: VecDeque<Flight>,
    open: bool,
    pub(crate) retry: Option<Retry>,
    /// How often in a row another writer came first.
    pub(crate) conflicts: u32,
    /// Of the records as this log wrote them, if checkpoints are signed.
    pub(crate) tree: Tree,
    /// The size of the last checkpoint.
    pub(crate) signed: u64,
    /// When records that are not signed for have to be.
    pub(crate) sign_at: Option<Instant>,
}

/// The store has refused.
pub(crate) struct Retry {
    pub(crate) at: Instant,
    pub(crate) pause: Duration,
    pub(crate) failures: u32,
    pub(crate) error: Arc<StoreError>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, head: Head, tree: Tree) -> Self {
        let signed = tree.size();
        Self {
            shared,
            head,
            chain: Chain::resume(head),
            pending: Pending::default(),
            flights: VecDeque::new(),
            open: true,
            retry: None,
            conflicts: 0,
            tree,
            // What a log that was ended in a hurry has not signed is signed soon.
            sign_at: Some(Instant::now()).filter(|_| signed > 0),
            signed: 0,
        }
    }

    /// Writes until the log is shut down or its last handle is gone, and nothing is left.
    pub(crate) async fn run(mut self) {
        loop {
            let answer = self.gather().await;
            let has_landed = answer.is_some();
            if let Some(answer) = answer {
                self.arrive(answer).await;
                // What came meanwhile goes with the next batch, not with the one after it.
                self.open = self.shared.queue.take(&mut self.pending);
            }
            self.tell_floods();
            self.launch().await;
            let is_written = self.flights.is_empty() && self.pending.is_empty();
            if !self.open && is_written && !self.shared.losses.is_open() {
                self.sign().await;
                let _ = self.shared.done.set(Ok(()));
                return;
            }
            let is_due = |notary: &Notary| {
                notary.is_due(self.tree.size() - self.signed)
                    || self.sign_at.is_some_and(|at| Instant::now() >= at)
            };
            let has_landed = has_landed || self.flights.is_empty();
            if has_landed && self.shared.notary.as_ref().is_some_and(is_due) {
                self.sign().await;
            }
            let failures = self.retry.as_ref().map_or(0, |retry| retry.failures);
            if !self.open && failures >= LAST_TRIES {
                // Dropping the writer counts what is left.
                return;
            }
        }
    }

    /// Takes what is queued, until there is something to do, or nothing more will come. Returns what
    /// the store says to the batch that it has had longest, if it says something.
    async fn gather(&mut self) -> Option<Result<(), StoreError>> {
        loop {
            self.open = self.shared.queue.take(&mut self.pending);
            if !self.open && self.flights.is_empty() {
                if let Some(retry) = &self.retry {
                    sleep_until(retry.at).await;
                }
                return None;
            }
            let now = Instant::now();
            let floods = self.shared.floods.as_ref();
            let flood = floods.and_then(|floods| floods.due_in(self.shared.clock.monotonic()));
            if self.open && self.retry.is_none() {
                let is_over = flood.is_some_and(|left| left.is_zero());
                // What the store has is signed for as well, when it has answered.
                let sign_at = self.sign_at.filter(|_| self.flights.is_empty());
                if is_over || sign_at.is_some_and(|at| now >= at) {
                    return None;
                }
            }
            if self.is_due() {
                return None;
            }
            let retry = self.retry.as_ref().map(|retry| retry.at);
            // While the store fails nothing else is due.
            let sign_at = self.sign_at.filter(|_| self.flights.is_empty());
            let other = [sign_at, flood.map(|left| now + left)];
            let pause = retry.or_else(|| other.into_iter().flatten().min());
            let enough = self.enough();
            tokio::select! {
                biased;
                answer = first(&mut self.flights) => return Some(answer),
                () = self.shared.queue.news(enough) => {}
                () = sleep_until(pause.unwrap_or(now)), if pause.is_some() => {}
            }
        }
    }

    /// Whether the store is to be given a batch now.
    pub(crate) fn is_due(&self) -> bool {
        match (&self.retry, self.flights.len()) {
            (None, 0) => !self.pending.is_empty() || self.shared.losses.is_open(),
            // What comes while the store writes goes along if it is worth a step of its own.
            (None, given) => given < self.shared.store.depth() && self.pending.events.len() >= MANY,
            // Who waits for an answer is not made to wait for the pause to end.
            (Some(retry), 0) => self.pending.is_awaited || Instant::now() >= retry.at,
            (Some(_), _) => false,
        }
    }

    /// How many events more make it worth to look whether something is due.
    fn enough(&self) -> usize {
        match (&self.retry, self.flights.len()) {
            (_, 0) => 1,
            (None, given) if given < self.shared.store.depth() => {
                MANY.saturating_sub(self.pending.events.len())
            }
            _ => usize::MAX,
        }
    }

    /// Queues the events that tell of floods that are over.
    fn tell_floods(&mut self) {
        let Some(floods) = &self.shared.floods else {
            return;
        };
        let now = Some(self.shared.clock.monotonic()).filter(|_| self.open);
        for (event, occurred) in floods.take(now) {
            self.pending.push(Entry {
                events: Events::One(Stamped::new(event, occurred)),
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
}

impl Drop for Writer {
    /// The writer ends with events unwritten when it gives up, or when its runtime ends.
    /// Then what the store was given may still be written; it counts as lost.
    fn drop(&mut self) {
        if self.shared.done.initialized() {
            return;
        }
        self.shared.queue.close();
        self.shared.queue.take(&mut self.pending);
        let events = &self.pending.events;
        let gap = self.shared.losses.take();
        let given = |flight: &Flight| flight.batch.records.len();
        let given: usize = self.flights.iter().map(given).sum();
        let unwritten = (events.len() + given) as u64;
        let absorbed = self.shared.floods.as_ref().map_or(0, Floods::absorbed);
        let lost = unwritten + gap.map_or(0, |gap| gap.count()) + absorbed;
        if lost == 0 {
            let _ = self.shared.done.set(Ok(()));
            return;
        }
        let since = events
            .iter()
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

/// What the store says to the batch that it has had longest; nothing, if it has none.
async fn first(flights: &mut VecDeque<Flight>) -> Result<(), StoreError> {
    match flights.front_mut() {
        Some(flight) => flight.answer().await,
        None => pending().await,
    }
}
