//! A store that fails as it is told to.

use tokio::sync::watch;

use crate::*;

/// One node's way to a store that others share.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) store: MemoryMonitorStore,
    state: Arc<watch::Sender<State>>,
    /// How often it was asked for what changed.
    pub(crate) asked: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    /// It may be read, and not written.
    ReadOnly,
    /// It does not take more of what waits, and does all else.
    Full,
    /// It answers what is asked at a start, and nothing else.
    Down,
    /// It does not even answer that.
    Gone,
    /// It panics when it is written.
    Panics,
    /// Takes batches, and does not answer.
    Hangs,
}

impl Node {
    pub(crate) fn new(store: &MemoryMonitorStore, state: State) -> Self {
        Self {
            store: store.clone(),
            state: Arc::new(watch::channel(state).0),
            asked: Arc::default(),
        }
    }

    /// Before a store of its own.
    pub(crate) fn alone(state: State) -> Self {
        Self::new(&MemoryMonitorStore::new(), state)
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    fn unless<'a, T: Send + 'a>(
        &self,
        failing: &[State],
        answer: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        match *self.state.borrow() {
            State::Panics if failing.contains(&State::Panics) => {
                Box::pin(async { panic!("on purpose") })
            }
            state if failing.contains(&state) => {
                Box::pin(async { Err(StoreError::Unavailable("down".into())) })
            }
            _ => answer,
        }
    }

    fn start<'a, T: Send + 'a>(&self, answer: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        self.unless(&[State::Gone], answer)
    }

    fn read<'a, T: Send + 'a>(&self, answer: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        self.unless(&[State::Gone, State::Down], answer)
    }

    fn write<'a, T: Send + 'a>(&self, answer: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        let failing = [State::Gone, State::Down, State::ReadOnly, State::Panics];
        self.unless(&failing, answer)
    }
}

impl DecisionStore for Node {
    fn insert<'a>(&'a self, decision: &'a Decision) -> StoreFuture<'a, ()> {
        self.write(self.store.insert(decision))
    }

    fn active(&self, at: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Decision>> {
        self.start(self.store.active(at, limit))
    }

    fn changed(&self, since: Timestamp, limit: usize) -> StoreFuture<'_, Vec<Stored>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.read(self.store.changed(since, limit))
    }

    fn lift<'a>(&'a self, id: Uuid, lift: &'a Lift) -> StoreFuture<'a, bool> {
        self.write(self.store.lift(id, lift))
    }

    fn lift_alike<'a>(
        &'a self,
        action: Action,
        target: &'a Target,
        lift: &'a Lift,
    ) -> StoreFuture<'a, u64> {
        self.write(self.store.lift_alike(action, target, lift))
    }

    fn lift_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
        self.write(self.store.lift_told(id))
    }

    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        self.write(self.store.prune(before))
    }
}

impl AlertStore for Node {
    fn enqueue<'a>(&'a self, deliveries: &'a [Delivery]) -> StoreFuture<'a, ()> {
        match *self.state.borrow() {
            State::Full => self.unless(&[State::Full], self.store.enqueue(deliveries)),
            _ => self.write(self.store.enqueue(deliveries)),
        }
    }

    fn lease<'a>(
        &'a self,
        sink: &'a str,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreFuture<'a, Option<Delivery>> {
        self.write(self.store.lease(sink, now, until))
    }

    fn settle<'a>(
        &'a self,
        id: Uuid,
        attempts: u32,
        settled: Settled,
        at: Timestamp,
    ) -> StoreFuture<'a, bool> {
        self.write(self.store.settle(id, attempts, settled, at))
    }

    fn attend<'a>(
        &'a self,
        sinks: &'a [Arc<str>],
        now: Timestamp,
    ) -> StoreFuture<'a, Vec<Arc<str>>> {
        self.write(self.store.attend(sinks, now))
    }

    fn give_up(
        &self,
        now: Timestamp,
        patience: Patience,
        limit: usize,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.write(self.store.give_up(now, patience, limit))
    }

    fn dead(&self, limit: usize) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.read(self.store.dead(limit))
    }

    fn requeue<'a>(&'a self, id: Uuid, by: &'a Lift) -> StoreFuture<'a, bool> {
        self.write(self.store.requeue(id, by))
    }

    fn untold_requeues(&self, limit: usize) -> StoreFuture<'_, Vec<Requeued>> {
        self.read(self.store.untold_requeues(limit))
    }

    fn requeue_told(&self, id: Uuid) -> StoreFuture<'_, bool> {
        self.write(self.store.requeue_told(id))
    }

    fn outbox(&self) -> StoreFuture<'_, OutboxStats> {
        self.read(self.store.outbox())
    }

    fn forget(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        self.write(self.store.forget(before))
    }

    fn silence<'a>(&'a self, silence: &'a Silence) -> StoreFuture<'a, ()> {
        self.write(self.store.silence(silence))
    }

    fn unsilence<'a>(&'a self, id: Uuid, end: &'a Lift) -> StoreFuture<'a, bool> {
        self.write(self.store.unsilence(id, end))
    }

    fn untold_silences(&self, limit: usize) -> StoreFuture<'_, Vec<StoredSilence>> {
        self.read(self.store.untold_silences(limit))
    }

    fn silence_told(&self, id: Uuid, ended: bool) -> StoreFuture<'_, bool> {
        self.write(self.store.silence_told(id, ended))
    }

    fn silences(&self, at: Timestamp) -> StoreFuture<'_, Vec<Silence>> {
        self.start(self.store.silences(at))
    }
}

impl MonitorStore for Node {
    fn record<'a>(&'a self, batch: &'a Batch) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.state.subscribe();
            let _ = state.wait_for(|state| *state != State::Hangs).await;
            self.write(self.store.record(batch)).await
        })
    }
}
