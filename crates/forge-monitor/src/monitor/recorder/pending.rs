//! What holds here and is lifted here, and the store does not know yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::decision::{Decision, Lift};

/// How many decisions that could not be stored are tried again, and how many liftings.
const MAX_PENDING: usize = 4096;

/// The lifting of a decision, and of what was decided like it by then.
#[derive(Clone, Debug)]
pub(in crate::monitor) struct Lifting {
    pub(in crate::monitor) decision: Arc<Decision>,
    pub(in crate::monitor) lift: Lift,
}

impl Lifting {
    pub(super) fn covers(&self, other: &Decision) -> bool {
        self.is_like(other) && other.since <= self.lift.at
    }

    fn is_like(&self, other: &Decision) -> bool {
        let Decision { action, target, .. } = &*self.decision;
        *action == other.action && *target == other.target
    }
}

/// Both are tried again. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending(Arc<Mutex<Both>>);

#[derive(Debug, Default)]
struct Both {
    unsaved: VecDeque<Arc<Decision>>,
    unlifted: VecDeque<Lifting>,
}

impl Pending {
    /// Decisions that could not be stored; the oldest go where they are too many.
    pub(super) fn unsaved(&self, decisions: &[Arc<Decision>]) {
        let unsaved = &mut self.both().unsaved;
        unsaved.extend(decisions.iter().cloned());
        let excess = unsaved.len().saturating_sub(MAX_PENDING);
        unsaved.drain(..excess);
    }

    /// The next decision to try, where one that holds is left.
    pub(super) fn next_unsaved(&self, now: Timestamp) -> Option<Arc<Decision>> {
        let unsaved = &mut self.both().unsaved;
        unsaved.retain(|decision| decision.is_active(now));
        unsaved.front().cloned()
    }

    /// It is stored, or never will be.
    pub(super) fn saved(&self, id: Uuid) {
        self.both().unsaved.retain(|decision| decision.id != id);
    }

    /// Forgets the decisions that are lifted by this; whether there were any.
    pub(super) fn drop_lifted(&self, lifting: &Lifting) -> bool {
        let unsaved = &mut self.both().unsaved;
        let before = unsaved.len();
        unsaved.retain(|decision| !lifting.covers(decision));
        unsaved.len() < before
    }

    /// A lifting that could not be stored.
    pub(super) fn unlifted(&self, lifting: Lifting) {
        let unlifted = &mut self.both().unlifted;
        let same = unlifted.iter_mut().find(|of| of.is_like(&lifting.decision));
        match same {
            Some(same) if same.lift.at > lifting.lift.at => {}
            Some(same) => *same = lifting,
            None => unlifted.push_back(lifting),
        }
        let excess = unlifted.len().saturating_sub(MAX_PENDING);
        unlifted.drain(..excess);
    }

    /// The next lifting to try.
    pub(super) fn next_unlifted(&self) -> Option<Lifting> {
        self.both().unlifted.front().cloned()
    }

    /// The lifting of that decision, where it could not be stored.
    pub(super) fn unlifted_of(&self, id: Uuid) -> Option<Lifting> {
        let both = self.both();
        let mut unlifted = both.unlifted.iter();
        unlifted.find(|of| of.decision.id == id).cloned()
    }

    /// It is stored, or never will be.
    pub(super) fn lifted(&self, lifting: &Lifting) {
        let unlifted = &mut self.both().unlifted;
        unlifted.retain(|of| !of.is_like(&lifting.decision) || of.lift.at > lifting.lift.at);
    }

    pub(super) fn is_empty(&self) -> bool {
        let both = self.both();
        both.unsaved.is_empty() && both.unlifted.is_empty()
    }

    fn both(&self) -> MutexGuard<'_, Both> {
        // No code that can panic runs while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
