//! A guard against clocks that are set back.

use super::Clock;
use crate::atomic::{AtomicU64, Ordering};

/// A clock whose time never goes back: where the clock below is set back, time stands for that
/// moment and goes on from there.
#[derive(Debug)]
pub(crate) struct Guarded<C> {
    clock: C,
    /// The latest time told, to within [`SLACK`]; written rarely, so that reading it is cheap on
    /// many cores.
    latest: AtomicU64,
    /// What the clock was set back by in all.
    behind: AtomicU64,
}

/// How far `latest` may lag; and nothing is decided by setting a clock back by so little.
const SLACK: u64 = 1_000_000;

impl<C: Clock> Guarded<C> {
    pub(crate) fn new(clock: C) -> Self {
        Self {
            clock,
            latest: AtomicU64::new(0),
            behind: AtomicU64::new(0),
        }
    }

    /// The time in nanoseconds.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        // In this order: a clock read after `latest` was is behind it only when it was set back,
        // however long this thread is kept from running in between.
        let behind = self.behind.load(Ordering::Acquire);
        let latest = self.latest.load(Ordering::Acquire);
        let read = self.clock.monotonic_nanos();
        let time = read.saturating_add(behind);
        if time > latest.saturating_add(SLACK) {
            self.latest.fetch_max(time, Ordering::AcqRel);
            return time;
        }
        if latest.saturating_sub(time) <= SLACK {
            return time;
        }
        // Whoever is first makes up for it; for the others `behind` is no longer what they read.
        let further = behind.saturating_add(latest - time);
        let _ = self
            .behind
            .compare_exchange(behind, further, Ordering::AcqRel, Ordering::Acquire);
        latest
    }
}
