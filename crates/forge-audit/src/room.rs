//! The room in the queue: a share for every event, a reserve for those that matter, and one for
//! those that matter most.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::kind::Severity;

/// Room for events; what is taken is given back when the permit is dropped.
pub(crate) struct Room {
    /// For all, for high and critical, for critical alone.
    shares: [(Arc<Semaphore>, usize); 3],
}

impl Room {
    /// A quarter of the reserve, and at least one place, is for critical events alone.
    pub(crate) fn new(general: usize, reserve: usize) -> Self {
        // A permit for many counts in 32 bits.
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let critical = (reserve / 4).max(1);
        let share = |size: usize| {
            let size = size.min(most);
            (Arc::new(Semaphore::new(size)), size)
        };
        Self {
            shares: [
                share(general),
                share(reserve.saturating_sub(critical).max(1)),
                share(critical),
            ],
        }
    }

    fn open_to(&self, severity: Severity) -> &[(Arc<Semaphore>, usize)] {
        match severity {
            Severity::Low | Severity::Medium => &self.shares[..1],
            Severity::High => &self.shares[..2],
            Severity::Critical => &self.shares,
        }
    }

    /// The most events that can ever get room in one call.
    pub(crate) fn most_at_once(&self, severity: Severity) -> usize {
        let sizes = self.open_to(severity).iter().map(|(_, size)| *size);
        sizes.max().unwrap_or(0)
    }

    pub(crate) fn used(&self) -> usize {
        let used = |(share, size): &(Arc<Semaphore>, usize)| size - share.available_permits();
        self.shares.iter().map(used).sum()
    }

    pub(crate) fn try_take(
        &self,
        count: usize,
        severity: Severity,
    ) -> Option<OwnedSemaphorePermit> {
        let count = u32::try_from(count).ok()?;
        self.open_to(severity)
            .iter()
            .find_map(|(share, _)| Arc::clone(share).try_acquire_many_owned(count).ok())
    }

    /// Waits for room. `count` is at most [`most_at_once`](Self::most_at_once).
    pub(crate) async fn take(&self, count: usize, severity: Severity) -> OwnedSemaphorePermit {
        if let Some(permit) = self.try_take(count, severity) {
            return permit;
        }
        let open = self.open_to(severity);
        let wait = |share: Option<&(Arc<Semaphore>, usize)>| {
            let share = share.map(|(share, size)| (Arc::clone(share), *size));
            async move {
                match (share, u32::try_from(count)) {
                    // A share that is too small, or closed, which none ever is, never has room.
                    (Some((share, size)), Ok(many)) if count <= size => {
                        match share.acquire_many_owned(many).await {
                            Ok(permit) => permit,
                            Err(_) => std::future::pending().await,
                        }
                    }
                    _ => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            permit = wait(open.first()) => permit,
            permit = wait(open.get(1)) => permit,
            permit = wait(open.get(2)) => permit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_reserve_is_for_high_and_critical_and_its_end_for_critical_alone() {
        let room = Room::new(2, 2);
        let low: Vec<_> = (0..2)
            .map(|_| room.try_take(1, Severity::Low).unwrap())
            .collect();
        assert!(room.try_take(1, Severity::Medium).is_none());
        let high = room.try_take(1, Severity::High).unwrap();
        assert!(room.try_take(1, Severity::High).is_none());
        let critical = room.try_take(1, Severity::Critical).unwrap();
        assert!(room.try_take(1, Severity::Critical).is_none());
        assert_eq!(room.used(), 4);
        drop(low);
        // A share that has become free serves who waits, whichever it is.
        let permit = room.take(2, Severity::Critical).await;
        drop((permit, high, critical));
        assert_eq!(room.used(), 0);
    }
}
