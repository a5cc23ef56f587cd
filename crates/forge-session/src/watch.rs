//! Waiting for the end of a session, so that what is still open for it can be closed.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::session::{Session, SessionId};
use crate::store::Selector;

/// Who waits for the end of which session.
#[derive(Default)]
pub(crate) struct Watchers {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    slots: HashMap<u64, Slot>,
}

struct Slot {
    session: Arc<Session>,
    ended: bool,
    waker: Option<Waker>,
}

impl Watchers {
    /// A future that ends with the session. It waits from now on, polled or not.
    pub(crate) fn watch(self: &Arc<Self>, session: Arc<Session>) -> Ended {
        let mut waiting = self.waiting();
        let id = waiting.next;
        waiting.next += 1;
        let slot = Slot {
            session,
            ended: false,
            waker: None,
        };
        waiting.slots.insert(id, slot);
        Ended {
            watchers: Arc::clone(self),
            id,
        }
    }

    /// Wakes whoever waits for one of the selected sessions.
    pub(crate) fn end(&self, selector: &Selector) {
        let mut wakers = Vec::new();
        for slot in self.waiting().slots.values_mut() {
            if selector.selects(&slot.session) {
                slot.ended = true;
                wakers.extend(slot.waker.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The sessions whose end is waited for.
    pub(crate) fn watched(&self) -> BTreeSet<SessionId> {
        let waiting = self.waiting();
        let open = waiting.slots.values().filter(|slot| !slot.ended);
        open.map(|slot| slot.session.id).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Ended {
    watchers: Arc<Watchers>,
    id: u64,
}

impl Future for Ended {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.watchers.waiting();
        match waiting.slots.get_mut(&self.id) {
            Some(slot) if !slot.ended => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.watchers.waiting().slots.remove(&self.id);
    }
}
