//! The room in the queue: a share for every event, and a reserve for those that matter most.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::kind::Severity;
use crate::log::is_reserved;

/// Room for events; what is taken is given back when the permit is dropped.
pub(crate) struct Room {
    general: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    sizes: (usize, usize),
}

impl Room {
    pub(crate) fn new(general: usize, reserve: usize) -> Self {
        // A permit for many counts in 32 bits.
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let sizes = (general.min(most), reserve.min(most));
        Self {
            general: Arc::new(Semaphore::new(sizes.0)),
            reserve: Arc::new(Semaphore::new(sizes.1)),
            sizes,
        }
    }

    /// The most events that can ever get room in one call.
    pub(crate) fn most_at_once(&self, severity: Severity) -> usize {
        let (general, reserve) = self.sizes;
        if is_reserved(severity) {
            general.max(reserve)
        } else {
            general
        }
    }

    pub(crate) fn used(&self) -> usize {
        let free = self.general.available_permits() + self.reserve.available_permits();
        (self.sizes.0 + self.sizes.1).saturating_sub(free)
    }

    pub(crate) fn try_take(
        &self,
        count: usize,
        severity: Severity,
    ) -> Option<OwnedSemaphorePermit> {
        let count = u32::try_from(count).ok()?;
        let from = |share: &Arc<Semaphore>| Arc::clone(share).try_acquire_many_owned(count).ok();
        from(&self.general).or_else(|| from(&self.reserve).filter(|_| is_reserved(severity)))
    }

    /// Waits for room. `count` is at most [`most_at_once`](Self::most_at_once).
    pub(crate) async fn take(&self, count: usize, severity: Severity) -> OwnedSemaphorePermit {
        if let Some(permit) = self.try_take(count, severity) {
            return permit;
        }
        let wait = |share: &Arc<Semaphore>, size: usize| {
            let share = Arc::clone(share);
            async move {
                match u32::try_from(count) {
                    // A share that is too small, or closed, which none ever is, never has room.
                    Ok(many) if count <= size => match share.acquire_many_owned(many).await {
                        Ok(permit) => permit,
                        Err(_) => std::future::pending().await,
                    },
                    _ => std::future::pending().await,
                }
            }
        };
        let (general, reserve) = self.sizes;
        tokio::select! {
            biased;
            permit = wait(&self.general, general) => permit,
            permit = wait(&self.reserve, reserve), if is_reserved(severity) => permit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_reserve_is_for_high_and_critical_alone() {
        let room = Room::new(2, 1);
        let low: Vec<_> = (0..2)
            .map(|_| room.try_take(1, Severity::Low).unwrap())
            .collect();
        assert!(room.try_take(1, Severity::Medium).is_none());
        let high = room.try_take(1, Severity::High).unwrap();
        assert!(room.try_take(1, Severity::Critical).is_none());
        assert_eq!(room.used(), 3);
        drop(low);
        // A share that has become free serves who waits, whichever it is.
        let permit = room.take(2, Severity::Critical).await;
        drop((permit, high));
        assert_eq!(room.used(), 0);
    }
}
