//! The table: sets of slots, each set under its own lock.
//!
//! The lock is one word that is spun on: it is held for some ten nanoseconds, and a lock of the
//! system would cost more than all that is done under it. What it guards are atomics, so that a
//! fault here could mix two states, and never more than that; `loom/` shows that it does not.

use crate::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, spin_loop, yield_now};

/// Slots in a set, the places one key may stand in: as many as fit two lines of cache.
const WAYS: usize = 9;
/// Keys a set is to hold on average when the table is as full as it was made for. The rest of
/// its slots is room for chance.
const LOAD: usize = 4;
/// Set in [`Set::bucket`] where the slot is a block.
const BLOCKED: u8 = 0x80;
/// Looks at a lock before the processor is given to others: its holder may be waiting for it.
const SPINS: u32 = 64;

/// The parts stand in arrays of their own, so that the tags, which are searched, lie together.
#[derive(Default)]
#[repr(C, align(128))]
struct Set {
    locked: AtomicU32,
    tags: [AtomicU32; WAYS],
    /// The size of the bucket, see [`class`], and [`BLOCKED`].
    bucket: [AtomicU8; WAYS],
    tats: [AtomicU64; WAYS],
}

pub(super) struct Table {
    sets: Box<[Set]>,
}

impl Table {
    pub(super) fn for_keys(keys: usize) -> Self {
        let sets = keys.div_ceil(LOAD).clamp(1, u32::MAX as usize);
        Self {
            sets: std::iter::repeat_with(Set::default).take(sets).collect(),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.sets.len() * LOAD
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// Slots that hold a debt or a block.
    pub(super) fn count(&self, now: u64) -> usize {
        let in_debt = |tat: &&AtomicU64| tat.load(Ordering::Relaxed) > now;
        let of_set = |set: &Set| set.tats.iter().filter(in_debt).count();
        self.sets.iter().map(of_set).sum()
    }

    /// The set of a hash: its upper half, multiplied into range. The lower half is the tag.
    #[inline]
    pub(super) fn index(&self, hash: u64) -> usize {
        (((hash >> 32) * self.sets.len() as u64) >> 32) as usize
    }

    /// Asks for the memory of a set ahead of its use: both lines at once, while the caller reads
    /// the time.
    #[inline]
    pub(super) fn touch(&self, index: usize) {
        let set = &self.sets[index];
        set.locked.load(Ordering::Relaxed);
        set.tats[WAYS - 1].load(Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn lock_at(&self, index: usize) -> SetGuard<'_> {
        let set = &self.sets[index];
        let mut spins = 0;
        while set
            .locked
            .compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            spins += 1;
            if spins % SPINS == 0 {
                yield_now();
            } else {
                spin_loop();
            }
        }
        SetGuard(set)
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
pub(super) struct Found {
    way: Option<usize>,
    pub(super) tat: u64,
    pub(super) blocked: bool,
}

/// A set that nobody else reads or writes until this is dropped.
pub(super) struct SetGuard<'a>(&'a Set);

impl Drop for SetGuard<'_> {
    fn drop(&mut self) {
        self.0.locked.store(0, Ordering::Release);
    }
}

impl SetGuard<'_> {
    #[inline]
    pub(super) fn find(&self, hash: u64, now: u64) -> Found {
        let (set, tag) = (self.0, hash as u32);
        // Looking at all is faster than guessing where to stop.
        let mut matches = 0;
        for (way, at) in set.tags.iter().enumerate() {
            matches |= u32::from(at.load(Ordering::Relaxed) == tag) << way;
        }
        let way = matches.trailing_zeros() as usize;
        if way >= WAYS {
            return Found {
                way: None,
                tat: 0,
                blocked: false,
            };
        }
        let tat = set.tats[way].load(Ordering::Relaxed);
        let bucket = set.bucket[way].load(Ordering::Relaxed);
        Found {
            way: Some(way),
            tat,
            // A block that is over is no debt either: its time says nothing of units.
            blocked: bucket & BLOCKED != 0 && tat > now,
        }
    }

    /// Writes a key's slot; `found` says where it is. A key without one takes the slot that
    /// matters least.
    #[inline]
    pub(super) fn put(&mut self, hash: u64, found: &Found, entry: Entry, now: u64) {
        let set = self.0;
        let way = found.way.unwrap_or_else(|| least(set, now));
        let bucket = class(entry.capacity) | if entry.blocked { BLOCKED } else { 0 };
        set.tags[way].store(hash as u32, Ordering::Relaxed);
        set.tats[way].store(entry.tat, Ordering::Relaxed);
        set.bucket[way].store(bucket, Ordering::Relaxed);
    }
}

/// The slot that owes nothing, or else the smallest part of its bucket; a block is the last to go.
fn least(set: &Set, now: u64) -> usize {
    let mut best = (u64::MAX, 0);
    for way in 0..WAYS {
        let debt = set.tats[way].load(Ordering::Relaxed).saturating_sub(now);
        if debt == 0 {
            return way;
        }
        let rank = match set.bucket[way].load(Ordering::Relaxed) {
            bucket if bucket & BLOCKED != 0 => u64::MAX,
            bucket => part(debt, bucket),
        };
        if rank < best.0 {
            best = (rank, way);
        }
    }
    best.1
}

/// A bucket's size as a floating-point number of seven bits: six of exponent, one of fraction.
fn class(capacity: u64) -> u8 {
    let exponent = capacity.max(2).ilog2();
    let fraction = (capacity.max(2) >> (exponent - 1)) & 1;
    ((exponent << 1) as u8) | fraction as u8
}

/// The part of its bucket that a debt is, in 4096ths.
fn part(debt: u64, class: u8) -> u64 {
    let exponent = u32::from(class >> 1).max(1);
    let size = u128::from(2 | (class & 1)) << (exponent - 1);
    u64::try_from((u128::from(debt) << 12) / size).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_right_to_a_third_for_every_size_of_bucket() {
        for exponent in 1..55 {
            for capacity in [
                1u64 << exponent,
                (1 << exponent) + (1 << (exponent - 1)),
                (2 << exponent) - 1,
            ] {
                let full = part(capacity, class(capacity));
                assert!((4096..=5500).contains(&full), "{capacity}: {full}");
            }
        }
    }

    #[test]
    fn what_owes_nothing_goes_first_then_the_smallest_part_and_a_block_last() {
        let set = Set::default();
        let (now, hour) = (1_000, 3_600_000_000_000);
        let write = |way: usize, tat: u64, bucket: u8| {
            set.tats[way].store(tat, Ordering::Relaxed);
            set.bucket[way].store(bucket, Ordering::Relaxed);
        };
        for way in 0..WAYS {
            write(way, now + (way as u64 + 2) * (hour / 16), class(hour));
        }
        // A longer debt, and a smaller part of a larger bucket.
        write(4, now + hour, class(64 * hour));
        assert_eq!(least(&set, now), 4);
        write(4, now + hour, class(64 * hour) | BLOCKED);
        assert_eq!(least(&set, now), 0);
        write(7, now, class(hour));
        assert_eq!(least(&set, now), 7);
    }

    #[test]
    fn a_set_is_two_lines_of_cache() {
        assert_eq!(size_of::<Set>(), 128);
    }

    #[test]
    fn the_last_set_is_within_range() {
        let table = Table::for_keys(1000);
        assert!(table.index(u64::MAX) == table.sets.len() - 1);
        assert_eq!(table.index(0), 0);
    }
}
