//! The settings of a log, and its opening.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{SetOnce, watch};

use crate::clock::{Clock, SystemClock};
use crate::error::StoreError;
use crate::flood::Floods;
use crate::gap::Losses;
use crate::log::{AuditLog, Shared};
use crate::notary::Notary;
use crate::on_checkpoint::{OnCheckpoint, Sign};
use crate::on_record::OnRecord;
use crate::queue::Queue;
use crate::room::Room;
use crate::store::{AuditStore, tree_of};
use crate::tree::Tree;
use crate::writer::Writer;

/// Settings of an [`AuditLog`].
#[must_use]
pub struct AuditLogBuilder {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn OnRecord>,
    capacity: usize,
    reserve: usize,
    deadline: Duration,
    floods: Option<Floods>,
    notary: Option<Notary>,
}

impl AuditLogBuilder {
    /// A log in `store`, with the defaults.
    pub fn new(store: Arc<dyn AuditStore>) -> Self {
        Self {
            store,
            clock: Arc::new(SystemClock::new()),
            observer: Arc::new(()),
            capacity: 6144,
            reserve: 2048,
            deadline: Duration::from_secs(5),
            floods: None,
            notary: None,
        }
    }

    /// The time. The default is the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Who hears what the log does. The default is nobody; a pair is heard by both.
    pub fn on_record(mut self, observer: impl OnRecord) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// How many events of any severity may wait. The default is 6144, the least is 1.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events.max(1);
        self
    }

    /// How many more events of high and critical severity may wait when the capacity is used up.
    /// The default is 2048, the least is 1.
    pub fn reserve(mut self, events: usize) -> Self {
        self.reserve = events.max(1);
        self
    }

    /// How long `record` waits for room and the commit together. The default is 5 seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Coalesces floods: of events of low or medium severity, with the same kind, action, outcome,
    /// actor and source, that are [enqueued](AuditLog::enqueue), the first `burst` in `window` are
    /// recorded each, and the others become one event with their number, at its end. The default is
    /// to record each.
    pub fn coalesce(mut self, burst: u32, window: Duration) -> Self {
        self.floods = Some(Floods::new(burst, window));
        self
    }

    /// Signs a checkpoint after `events` more, and when there are new ones after so much `time`; and
    /// tells `observer` of it, who should take it elsewhere. The default is none.
    pub fn checkpoints(
        mut self,
        signer: impl Sign,
        events: u64,
        time: Duration,
        observer: impl OnCheckpoint,
    ) -> Self {
        self.notary = Some(Notary::new(signer, events, time, observer));
        self
    }

    /// Reads the end of the stored log, and starts the task that writes on from there.
    ///
    /// Must be called on a Tokio runtime with time enabled, which has to live until the
    /// [shutdown](AuditLog::shutdown).
    ///
    /// # Errors
    ///
    /// The store's error when its end cannot be read.
    pub async fn open(self) -> Result<AuditLog, StoreError> {
        let head = self.store.tail().await?;
        let shared = Arc::new(Shared {
            store: self.store,
            clock: self.clock,
            observer: self.observer,
            queue: Queue::new(),
            room: Room::new(self.capacity, self.reserve),
            losses: Losses::default(),
            head: Mutex::new(head),
            failing: AtomicBool::new(false),
            done: SetOnce::new(),
            floods: self.floods,
            notary: self.notary,
            written: watch::Sender::new(head.seq),
            deadline: self.deadline,
        });
        let tree = match &shared.notary {
            Some(_) => tree_of(&*shared.store, head.seq).await?,
            None => Tree::new(),
        };
        tokio::spawn(Writer::new(Arc::clone(&shared), head, tree).run());
        Ok(AuditLog::new(shared))
    }
}

impl fmt::Debug for AuditLogBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLogBuilder")
            .field("capacity", &self.capacity)
            .field("reserve", &self.reserve)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
