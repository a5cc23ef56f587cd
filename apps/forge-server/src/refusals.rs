//! How many refusals are put on record: enough to see an attack, too few to fill the disk with it.
//!
//! Whoever is refused before anybody knows who they are pays nothing for it, so not each refusal
//! may cost a row. For one action an address has so many rows a minute, and all addresses together
//! so many a second. What is left out is counted, and the count stands in the next row.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forge_ratelimit::Key;

use crate::clock::Clock;

/// Rows a minute for one action of one address.
const EACH: u64 = 10;
/// Rows a second for all.
const ALL: u64 = 50;
/// Signals a second for all.
const ALL_SIGNALS: u64 = 2000;
/// Counters for actions of addresses; those that fall together share their rows.
const SLOTS: usize = 16_384;

/// The rows that refusals may still take. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct RefusalBudget(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    each: Box<[AtomicU64]>,
    all: AtomicU64,
    left_out: AtomicU64,
    /// Secret of this process: nobody can choose whose rows to share.
    hasher: RandomState,
    clock: Clock,
    all_most: u64,
    metric: &'static str,
}

impl RefusalBudget {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self::with(clock, ALL, "forge_server_refusals_left_out_total")
    }

    /// For signals, which cost less than rows: as many for each address, more for all.
    pub(crate) fn signals(clock: &Clock) -> Self {
        Self::with(clock, ALL_SIGNALS, "forge_server_signals_coalesced_total")
    }

    /// For what another site may have made a browser do: so much of it is forgiven an address.
    pub(crate) fn excuses(clock: &Clock) -> Self {
        Self::with(clock, ALL_SIGNALS, "forge_server_excuses_used_up_total")
    }

    fn with(clock: &Clock, all_most: u64, metric: &'static str) -> Self {
        Self(Arc::new(Counters {
            each: std::iter::repeat_with(AtomicU64::default)
                .take(SLOTS)
                .collect(),
            all: AtomicU64::default(),
            left_out: AtomicU64::default(),
            hasher: RandomState::new(),
            clock: clock.clone(),
            all_most,
            metric,
        }))
    }

    /// Whether a row may be written for this action of this address; if so, how many were left out
    /// since the last one.
    pub(crate) fn take(&self, action: &str, address: Option<IpAddr>) -> Option<u64> {
        let counters = &*self.0;
        let second = counters.clock.since_start().as_secs();
        let client = address.map_or_else(Key::global, Key::address);
        let slot = counters.hasher.hash_one((action, client)) % SLOTS as u64;
        let each = &counters.each[usize::try_from(slot).unwrap_or_default()];
        if count(each, second / 60, EACH) && count(&counters.all, second, counters.all_most) {
            return Some(counters.left_out.swap(0, Ordering::Relaxed));
        }
        counters.left_out.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(counters.metric).increment(1);
        None
    }
}

/// Counts one in this window, if fewer than `most` were. A counter holds its window in the upper
/// half and the count in the lower.
fn count(counter: &AtomicU64, window: u64, most: u64) -> bool {
    let window = window & u64::from(u32::MAX);
    let next = |old: u64| match old >> 32 == window {
        true if old & u64::from(u32::MAX) >= most => None,
        true => Some(old + 1),
        false => Some(window << 32 | 1),
    };
    counter
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_has_ten_rows_a_minute_for_an_action_and_the_rest_is_counted() {
        let clock = Clock::system();
        let budget = RefusalBudget::new(&clock);
        let (one, other) = (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
        let written = (0..1000)
            .filter(|_| budget.take("request.refuse", one).is_some())
            .count();
        assert_eq!(written, 10);
        assert_eq!(budget.take("rate_limit.exceed", one), Some(990));
        assert_eq!(budget.take("request.refuse", other), Some(0));
        clock.advance(Duration::from_secs(60));
        assert_eq!(budget.take("request.refuse", one), Some(0));
    }

    #[test]
    fn all_addresses_together_have_fifty_rows_a_second() {
        let clock = Clock::system();
        let budget = RefusalBudget::new(&clock);
        let flood = |budget: &RefusalBudget| {
            let addresses = (0..10_000u32).map(|n| Some(IpAddr::from(n.to_be_bytes())));
            addresses
                .filter(|address| budget.take("request.refuse", *address).is_some())
                .count()
        };
        // A second may begin while the flood goes on.
        assert!(flood(&budget) <= 100);
        clock.advance(Duration::from_secs(61));
        assert!(flood(&budget) >= 50);
    }
}
