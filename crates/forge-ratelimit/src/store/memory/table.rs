//! The table: sets of slots, each set under its own lock.
//!
//! The lock is one word that is spun on: it is held for some ten nanoseconds, and a lock of the
//! system would cost more than all that is done under it. What it guards are atomics, so that a
//! fault here could mix two states, and never more than that; `loom/` shows that it does not.

use crate::atomic::{AtomicU32, AtomicU64, Ordering, spin_loop, yield_now};

/// Slots in a set, the places one key may stand in: as many as fit two lines of cache.
const WAYS: usize = 10;
/// Keys a set is to hold on average when the table is as full as it was made for, in tenths. The
/// rest of its slots is room for chance.
const LOAD_TENTHS: usize = 47;
/// Bits of a slot that say how large the bucket is; the others are its time.
const CLASS_BITS: u32 = 6;
/// The class of a block, whatever the bucket.
const BLOCKED: u64 = (1 << CLASS_BITS) - 1;
/// The latest time that a slot can hold: nine years.
pub(super) const LATEST: u64 = u64::MAX >> CLASS_BITS;
/// Looks at a lock before the processor is given to others: its holder may be waiting for it.
const SPINS: u32 = 64;

/// The parts stand in arrays of their own, so that the tags, which are searched, lie together.
#[derive(Default)]
#[repr(C, align(128))]
struct Set {
    locked: AtomicU32,
    tags: [AtomicU32; WAYS],
    /// The theoretical arrival time, above the size of the bucket, see [`class`].
    slots: [AtomicU64; WAYS],
}

pub(super) struct Table {
    sets: Box<[Set]>,
}

impl Table {
    pub(super) fn for_keys(keys: usize) -> Self {
        let sets = keys.saturating_mul(10).div_ceil(LOAD_TENTHS);
        let sets = sets.clamp(1, u32::MAX as usize);
        Self {
            sets: std::iter::repeat_with(Set::default).take(sets).collect(),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.sets.len() * LOAD_TENTHS / 10
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// Slots that hold a debt or a block.
    pub(super) fn count(&self, now: u64) -> usize {
        let in_debt = |slot: &&AtomicU64| tat_of(slot.load(Ordering::Relaxed)) > now;
        let of_set = |set: &Set| set.slots.iter().filter(in_debt).count();
        self.sets.iter().map(of_set).sum()
    }

    /// The index of a hash's set: its upper half, multiplied into range. The lower half is the tag.
    #[inline]
    pub(super) fn index(&self, hash: u64) -> usize {
        ((hash >> 32).wrapping_mul(self.sets.len() as u64) >> 32) as usize
    }

    #[inline]
    pub(super) fn place_at(&self, index: usize) -> Place<'_> {
        Place(&self.sets[index])
    }

    /// The set of a hash.
    #[inline]
    pub(super) fn place(&self, hash: u64) -> Place<'_> {
        self.place_at(self.index(hash))
    }
}

/// A set that is not locked yet.
#[derive(Clone, Copy)]
pub(super) struct Place<'a>(&'a Set);

impl<'a> Place<'a> {
    /// Asks for its memory ahead of its use: both lines at once, while the caller reads the time.
    #[inline]
    pub(super) fn touch(self) {
        self.0.locked.load(Ordering::Relaxed);
        self.0.slots[WAYS - 1].load(Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn lock(self) -> SetGuard<'a> {
        if !self.0.try_lock() {
            self.0.lock_later();
        }
        SetGuard(self.0)
    }
}

impl Set {
    #[inline]
    fn try_lock(&self) -> bool {
        self.locked
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    fn lock_later(&self) {
        let mut spins = 0u32;
        loop {
            spins = spins.wrapping_add(1);
            if spins.is_multiple_of(SPINS) {
                yield_now();
            } else {
                spin_loop();
            }
            // Looked at before it is asked for: whoever waits does not disturb whoever holds it.
            if self.locked.load(Ordering::Relaxed) == 0 && self.try_lock() {
                return;
            }
        }
    }
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) tat: u64,
    /// The time the whole bucket takes to fill.
    pub(super) capacity: u64,
    pub(super) blocked: bool,
}

/// A key's state, and its slot where it has one.
#[derive(Clone, Copy)]
pub(super) struct Found {
    way: usize,
    pub(super) tat: u64,
    pub(super) blocked: bool,
}

/// A set that nobody else reads or writes until this is dropped.
pub(super) struct SetGuard<'a>(&'a Set);

impl Drop for SetGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.locked.store(0, Ordering::Release);
    }
}

impl SetGuard<'_> {
    #[inline]
    pub(super) fn find(&self, hash: u64, now: u64) -> Found {
        let (set, tag) = (self.0, hash as u32);
        // Looking at all is faster than guessing where to stop.
        let mut matches = 0u32;
        for (way, at) in set.tags.iter().enumerate() {
            matches |= u32::from(at.load(Ordering::Relaxed) == tag) << way;
        }
        let way = matches.trailing_zeros() as usize;
        let Some(slot) = set.slots.get(way) else {
            return Found {
                way,
                tat: 0,
                blocked: false,
            };
        };
        let slot = slot.load(Ordering::Relaxed);
        let tat = tat_of(slot);
        Found {
            way,
            tat,
            // A block that is over is no debt either: its time says nothing of units.
            blocked: slot & BLOCKED == BLOCKED && tat > now,
        }
    }

    /// Writes a key's slot; `found` says where it is. A key without one takes the slot that
    /// matters least.
    #[inline]
    pub(super) fn put(&mut self, hash: u64, found: &Found, entry: Entry, now: u64) {
        let set = self.0;
        let class = match entry.blocked {
            true => BLOCKED,
            false => class(entry.capacity),
        };
        let slot = entry.tat.min(LATEST) << CLASS_BITS | class;
        match set.slots.get(found.way) {
            Some(place) => place.store(slot, Ordering::Relaxed),
            None => set.take_slot(hash as u32, slot, now),
        }
    }
}

impl Set {
    fn take_slot(&self, tag: u32, slot: u64, now: u64) {
        let way = least(self, now);
        self.tags[way].store(tag, Ordering::Relaxed);
        self.slots[way].store(slot, Ordering::Relaxed);
    }
}

#[inline]
fn tat_of(slot: u64) -> u64 {
    slot >> CLASS_BITS
}

/// The slot that owes nothing, or else the smallest part of its bucket; a block is the last to go.
fn least(set: &Set, now: u64) -> usize {
    let mut best = (u64::MAX, 0);
    for (way, slot) in set.slots.iter().enumerate() {
        let slot = slot.load(Ordering::Relaxed);
        let debt = tat_of(slot).saturating_sub(now);
        if debt == 0 {
            return way;
        }
        let rank = match slot & BLOCKED {
            BLOCKED => u64::MAX,
            class => part(debt, class),
        };
        if rank < best.0 {
            best = (rank, way);
        }
    }
    best.1
}

/// A bucket's size: the power of two that it is at least.
#[inline]
fn class(capacity: u64) -> u64 {
    u64::from((capacity | 1).ilog2()).min(BLOCKED - 1)
}

/// The part of its bucket that a debt is, in 4096ths of the class: right to a factor of two, and in
/// order among buckets of one size.
fn part(debt: u64, class: u64) -> u64 {
    u64::try_from((u128::from(debt) << 12) >> class).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_right_to_a_factor_of_two_for_every_size_of_bucket() {
        for exponent in 1..56 {
            for capacity in [
                1u64 << exponent,
                (1 << exponent) + (1 << (exponent - 1)),
                (2 << exponent) - 1,
            ] {
                let full = part(capacity, class(capacity));
                assert!((4096..=8191).contains(&full), "{capacity}: {full}");
            }
        }
    }

    #[test]
    fn what_owes_nothing_goes_first_then_the_smallest_part_and_a_block_last() {
        let set = Set::default();
        let (now, hour) = (1_000, 3_600_000_000_000);
        let write = |way: usize, tat: u64, class: u64| {
            set.slots[way].store(tat << CLASS_BITS | class, Ordering::Relaxed);
        };
        for way in 0..WAYS {
            write(way, now + (way as u64 + 2) * (hour / 16), class(hour));
        }
        // A longer debt, and a smaller part of a larger bucket.
        write(4, now + hour, class(64 * hour));
        assert_eq!(least(&set, now), 4);
        write(4, now + hour, BLOCKED);
        assert_eq!(least(&set, now), 0);
        write(7, now, class(hour));
        assert_eq!(least(&set, now), 7);
    }

    #[test]
    fn a_set_is_two_lines_of_cache() {
        assert_eq!(size_of::<Set>(), 128);
    }

    #[test]
    fn a_slot_holds_years_and_no_bucket_is_taken_for_a_block() {
        let year = 366 * 24 * 3600 * 1_000_000_000;
        assert!(LATEST > 9 * year);
        assert!(class(year) < BLOCKED && class(u64::MAX) < BLOCKED);
        let table = Table::for_keys(1);
        let mut set = table.place(7).lock();
        let found = set.find(7, 0);
        let entry = Entry {
            tat: u64::MAX,
            capacity: year,
            blocked: false,
        };
        set.put(7, &found, entry, 0);
        let found = set.find(7, 0);
        assert_eq!((found.tat, found.blocked), (LATEST, false));
    }

    #[test]
    fn the_last_set_is_within_range() {
        let table = Table::for_keys(1000);
        assert!(table.index(u64::MAX) == table.sets.len() - 1);
        assert_eq!(table.index(0), 0);
    }
}
