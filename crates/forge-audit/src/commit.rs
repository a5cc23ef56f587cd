//! From the queue into the store: batches are given, land, or are taken back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::chain::Chain;
use crate::error::{RecordError, StoreError};
use crate::flight::{Batch, Flight, Stamped, acknowledge};
use crate::gap::Gap;
use crate::on_record::{Commit, OnRecord};
use crate::queue::Ticket;
use crate::record::Record;
use crate::store::tree_of;
use crate::trace;
use crate::writer::{FIRST_PAUSE, Retry, Writer};

const MAX_BATCH: usize = 1024;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So often another writer may come first before that is a failure.
const CONFLICTS: u32 = 8;

impl Writer {
    /// Gives the store what it is due: the gap if there is one, and the entries that have waited
    /// longest. The chain goes on as if all of it will be durable.
    pub(crate) async fn launch(&mut self) {
        while self.is_due() {
            let gap = self.shared.losses.take();
            let told = gap
                .as_ref()
                .map(|gap| Stamped::new(gap.event(), self.shared.clock.now()));
            let (events, tickets) = self.pending.take(MAX_BATCH);
            let started = self.shared.clock.monotonic();
            let chain = &mut self.chain;
            let chained = told.into_iter().chain(events).map(|stamped| {
                let (event, sealed, occurred) = stamped.into_parts();
                chain.append_sealed(event, sealed, occurred)
            });
            let records: Arc<[Record]> = chained.collect();
            if records.is_empty() {
                return self.flush(tickets);
            }
            let batch = Batch {
                records,
                head: self.chain.head(),
                gap,
                tickets,
                started,
            };
            let store = Arc::clone(&self.shared.store);
            self.flights.push_back(Flight::begin(store, batch).await);
        }
    }

    /// Flushes with nothing after what the store was given.
    fn flush(&mut self, tickets: Vec<Ticket>) {
        match self.flights.back_mut() {
            Some(last) => last.batch.tickets.extend(tickets),
            None => {
                // There is nothing to try again either.
                self.retry = None;
                acknowledge(tickets, &[]);
            }
        }
    }

    /// Takes the store's answer to the batch that it has had longest.
    pub(crate) async fn arrive(&mut self, answer: Result<(), StoreError>) {
        let Some(flight) = self.flights.pop_front() else {
            return;
        };
        match answer {
            Ok(()) => self.land(flight.batch),
            Err(error) => self.recover(flight.batch, error).await,
        }
    }

    /// A batch is durable.
    fn land(&mut self, batch: Batch) {
        let took = self.shared.clock.monotonic().saturating_sub(batch.started);
        self.head = batch.head;
        self.grow(&batch.records);
        *self
            .shared
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = batch.head;
        self.retry = None;
        self.conflicts = 0;
        self.shared.failing.store(false, Ordering::Relaxed);
        let Batch {
            records,
            gap,
            tickets,
            ..
        } = batch;
        // A flush is answered after the observers have heard.
        let (flushes, tickets) = tickets.into_iter().partition(|ticket| ticket.count == 0);
        acknowledge(tickets, &records[gap.iter().count()..]);
        self.shared.written.send_replace(self.head.seq);
        self.tell(&records, took);
        acknowledge(flushes, &[]);
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

    /// The store did not take `first`, or its answer was lost: finds out how far it came.
    async fn recover(&mut self, first: Batch, error: StoreError) {
        let (mut batches, mut landed) = (vec![first], 0);
        while let Some(mut flight) = self.flights.pop_front() {
            // It begins where the one before it ends: if it is there, all before it are.
            if flight.answer().await.is_ok() {
                landed = batches.len() + 1;
            }
            batches.push(flight.batch);
        }
        if let Ok(tail) = self.shared.store.tail().await
            && let Some(last) = batches.iter().rposition(|batch| batch.head == tail)
        {
            landed = landed.max(last + 1);
        }
        let rest = batches.split_off(landed);
        batches.into_iter().for_each(|batch| self.land(batch));
        if rest.is_empty() {
            return;
        }
        self.take_back(rest);
        let is_conflict = matches!(error, StoreError::Conflict);
        let error = if is_conflict && self.conflicts < CONFLICTS {
            self.conflicts += 1;
            match self.adopt().await {
                Ok(()) => return,
                Err(error) => error,
            }
        } else {
            error
        };
        self.chain = Chain::resume(self.head);
        self.conflicts = 0;
        self.refuse(error);
    }

    /// Puts batches back where they came from, in order.
    fn take_back(&mut self, batches: Vec<Batch>) {
        for batch in batches.into_iter().rev() {
            if let Some(gap) = batch.gap {
                self.shared.losses.add(gap);
            }
            self.pending.put_back(batch);
        }
    }

    /// Another writer has appended: goes on from where it ended, if what this one wrote is there.
    async fn adopt(&mut self) -> Result<(), StoreError> {
        let (own, store) = (self.head, &self.shared.store);
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
        self.head = tail;
        self.chain = Chain::resume(tail);
        Ok(())
    }

    /// After a failure: who waits is told, the rest stays queued, in order, for the next try.
    fn refuse(&mut self, error: StoreError) {
        let error = Arc::new(error);
        self.pending.refuse(|events, ack| {
            if let Some(first) = events.first() {
                let gap = Gap::refused(events.len(), first.occurred);
                self.shared.losses.add(gap);
            }
            let _ = ack.send(Err(RecordError::Store(Arc::clone(&error))));
        });
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

/// An observer that panics must not end the log.
fn guard(hook: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(hook)).is_err() {
        tracing::error!(target: trace::TARGET, "an audit observer panicked");
    }
}
