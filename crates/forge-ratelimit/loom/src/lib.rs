//! The very files of the crate, with loom's atomics in the place of the standard library's.

mod atomic {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
    pub(crate) use loom::thread::yield_now;
}

#[path = "../../src/store/memory/table.rs"]
mod table;

#[path = "../../src/clock/guarded.rs"]
mod guarded;

trait Clock {
    fn monotonic_nanos(&self) -> u64;
}

use std::sync::Arc;

use atomic::{AtomicU64, Ordering};

/// Two lines, as two threads see them.
#[derive(Clone)]
pub struct Set(Arc<table::Table>);

impl Default for Set {
    fn default() -> Self {
        Self(Arc::new(table::Table::for_keys(1)))
    }
}

impl Set {
    /// Takes one unit of a bucket that holds `burst`, as a decision does; whether it was there.
    pub fn take(&self, hash: u64, burst: u64) -> bool {
        let home = self.0.home(hash);
        let (locked, found) = self.0.lock_for(home, hash);
        let state = found.state(0);
        if state.blocked || state.tat >= burst {
            return false;
        }
        let entry = table::Entry {
            tat: state.tat + 1,
            capacity: burst,
            blocked: false,
        };
        locked.lines().put(hash, found, entry, 0);
        true
    }

    /// What was taken of a bucket.
    pub fn taken(&self, hash: u64) -> u64 {
        self.0.lock_both(hash).lines().find(hash).state(0).tat
    }

    /// How many buckets are in debt.
    pub fn count(&self) -> usize {
        assert!(self.0.capacity() * 27 <= self.0.bytes());
        self.0.count(0)
    }
}

/// A clock under the guard, that a test sets.
pub struct Time(guarded::Guarded<Hand>);

struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn monotonic_nanos(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Sets the time of a [`Time`].
#[derive(Clone)]
pub struct Setter(Arc<AtomicU64>);

impl Setter {
    /// Also back.
    pub fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::SeqCst);
    }
}

impl Time {
    /// A clock that stands at `nanos`.
    pub fn at(nanos: u64) -> (Self, Setter) {
        let hand = Arc::new(AtomicU64::new(nanos));
        (Self(guarded::Guarded::new(Hand(Arc::clone(&hand)))), Setter(hand))
    }

    /// What the store takes for the time.
    pub fn now(&self) -> u64 {
        self.0.now()
    }
}
