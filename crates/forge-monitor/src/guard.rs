//! The look-up of active blocks, and the layer that refuses who is blocked.

mod client_address;
mod future;
mod layer;
mod on_refusal;
mod service;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::blocks::BlockSet;
use crate::clock::Clock;
use crate::decision::Decision;
use crate::never_block::NeverBlock;

pub use client_address::{ClientAddress, PeerAddress};
pub use future::ResponseFuture;
pub use layer::GuardLayer;
pub use on_refusal::{OnRefusal, RefusalReason, RefusedByGuard};
pub use service::Guarded;

/// Tells who is blocked now. Clones look at the same monitor; a look-up takes no lock.
#[derive(Clone)]
pub struct Guard {
    blocks: Arc<BlockSet>,
    never_block: Arc<NeverBlock>,
    clock: Arc<dyn Clock>,
}

impl Guard {
    pub(crate) fn new(
        blocks: Arc<BlockSet>,
        never_block: NeverBlock,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            blocks,
            never_block: Arc::new(never_block),
            clock,
        }
    }

    /// The block that holds for the address; never one for an address on the never-block list.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<Arc<Decision>> {
        self.blocks
            .of_address(address, || self.clock.now())
            .filter(|_| !self.never_block.contains(address))
    }

    /// The block that holds for the user; never one for a user on the never-block list. The layer
    /// stands before authentication and cannot ask this: whoever signs a user in should.
    #[must_use]
    pub fn user(&self, user: &str) -> Option<Arc<Decision>> {
        self.blocks
            .of_user(user, self.clock.now())
            .filter(|_| !self.never_block.contains_user(user))
    }

    pub(crate) fn count(&self) -> usize {
        self.blocks.count(self.clock.now())
    }

    pub(crate) fn blocks(&self) -> Vec<Arc<Decision>> {
        self.blocks.list(self.clock.now())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("blocks", &self.blocks.len())
            .field("never_block", &self.never_block)
            .finish_non_exhaustive()
    }
}
