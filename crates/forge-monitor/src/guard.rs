//! The look-up of active blocks, and the layer that refuses who is blocked.

mod client_address;
mod future;
mod layer;
mod on_refusal;
mod service;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::decider::Active;
use crate::decision::Decision;
use crate::never_block::NeverBlock;

pub use client_address::{ClientAddress, PeerAddress};
pub use future::ResponseFuture;
pub use layer::GuardLayer;
pub use on_refusal::{OnRefusal, RefusalReason, RefusedByGuard};
pub use service::Guarded;

/// Tells what holds for whom now. Clones look at the same monitor; a look-up takes no lock.
#[derive(Clone)]
pub struct Guard {
    active: Arc<Active>,
    never_block: Arc<NeverBlock>,
    clock: Arc<dyn Clock>,
}

impl Guard {
    pub(crate) fn new(active: Arc<Active>, never_block: NeverBlock, clock: Arc<dyn Clock>) -> Self {
        Self {
            active,
            never_block: Arc::new(never_block),
            clock,
        }
    }

    /// The block that holds for the address; never one for an address on the never-block list.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<Arc<Decision>> {
        self.active
            .blocks
            .of_address(address, || self.clock.now())
            .filter(|_| !self.never_block.contains(address))
    }

    /// The block that holds for the user; never one for a user on the never-block list. The layer
    /// stands before authentication and cannot ask this: whoever signs a user in should.
    #[must_use]
    pub fn user(&self, user: &str) -> Option<Arc<Decision>> {
        self.active
            .blocks
            .of_user(user, || self.clock.now())
            .filter(|_| !self.never_block.contains_user(user))
    }

    /// Whether the limits of an address or a user are to be smaller than usual.
    #[must_use]
    pub fn is_tightened(&self, address: Option<IpAddr>, user: Option<&str>) -> bool {
        let set = &self.active.tightened;
        let of_address = address.is_some_and(|address| {
            set.of_address(address, || self.clock.now()).is_some()
                && !self.never_block.contains(address)
        });
        let of_user = user.is_some_and(|user| {
            set.of_user(user, || self.clock.now()).is_some()
                && !self.never_block.contains_user(user)
        });
        of_address || of_user
    }

    /// The moment before which a user must not have signed in: sessions that began earlier are not
    /// to be accepted.
    #[must_use]
    pub fn must_sign_in(&self, user: &str) -> Option<Timestamp> {
        self.active
            .sign_in
            .of_user(user, || self.clock.now())
            .filter(|_| !self.never_block.contains_user(user))
            .map(|decision| decision.since)
    }

    pub(crate) fn count(&self) -> usize {
        let now = self.clock.now();
        self.active.sets().iter().map(|set| set.count(now)).sum()
    }

    pub(crate) fn decisions(&self) -> Vec<Arc<Decision>> {
        let now = self.clock.now();
        let sets = self.active.sets();
        let mut all: Vec<_> = sets.iter().flat_map(|set| set.list(now)).collect();
        all.sort_by_key(|decision| (decision.since, decision.id));
        all
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("blocks", &self.active.blocks.len())
            .field("never_block", &self.never_block)
            .finish_non_exhaustive()
    }
}
