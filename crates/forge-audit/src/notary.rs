//! When checkpoints are signed, and where they go.

use std::sync::Arc;
use std::time::Duration;

use crate::on_checkpoint::{OnCheckpoint, Sign};
use crate::store::SignedNote;
use crate::tree::Tree;

pub(crate) struct Notary {
    signer: Box<dyn Sign>,
    events: u64,
    pub(crate) time: Duration,
    observer: Arc<dyn OnCheckpoint>,
}

impl Notary {
    pub(crate) fn new(
        signer: impl Sign,
        events: u64,
        time: Duration,
        observer: impl OnCheckpoint,
    ) -> Self {
        Self {
            signer: Box::new(signer),
            events: events.max(1),
            time,
            observer: Arc::new(observer),
        }
    }

    /// Whether so many records are worth a checkpoint at once.
    pub(crate) fn is_due(&self, unsigned: u64) -> bool {
        unsigned >= self.events
    }

    pub(crate) fn sign(&self, tree: &Tree) -> SignedNote {
        self.signer.sign(tree.size(), tree.root())
    }

    /// Tells the observer, on a thread where it may block.
    pub(crate) fn tell(&self, note: SignedNote) {
        let observer = Arc::clone(&self.observer);
        tokio::task::spawn_blocking(move || observer.on_checkpoint(&note));
    }
}
