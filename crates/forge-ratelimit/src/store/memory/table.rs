//! The table: lines of slots, each line of cache under its own lock.
//!
//! A key has a home, the line that its hash names, and a place in it as a rule; a home that is full
//! shares its neighbour's room. So a decision reads and writes one line of cache: it asks for the
//! line once, and no other processor's line is taken from it. Who finds nothing at home locks the
//! neighbour too, and then knows that the key is nowhere.
//!
//! A lock is a byte that is spun on: it is held for some ten nanoseconds, and a lock of the system
//! would cost more than all that is done under it. What it guards are atomics, so that a fault here
//! could mix two states, and never more than that; `loom/` shows that it does not.

use crate::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, spin_loop, yield_now};

/// Slots in a line. A key may stand in two lines.
const WAYS: usize = 5;
/// Keys two lines are to hold on average when the table is as full as it was made for, in tenths.
/// The rest of their slots is room for chance.
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
#[repr(C, align(64))]
struct Line {
    locked: AtomicU8,
    /// Written to have the line, and read by nobody.
    asked: AtomicU8,
    tags: [AtomicU32; WAYS],
    /// The theoretical arrival time, above the size of the bucket, see [`class`].
    slots: [AtomicU64; WAYS],
}

pub(super) struct Table {
    /// An even number; a line and its neighbour differ in the last bit of their index.
    lines: Box<[Line]>,
}

impl Table {
    pub(super) fn for_keys(keys: usize) -> Self {
        let pairs = keys.saturating_mul(10).div_ceil(LOAD_TENTHS);
        let lines = pairs.clamp(1, 1 << 31) * 2;
        Self {
            lines: std::iter::repeat_with(Line::default).take(lines).collect(),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.lines.len() / 2 * LOAD_TENTHS / 10
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }

    /// Slots that hold a debt or a block.
    pub(super) fn count(&self, now: u64) -> usize {
        let in_debt = |slot: &&AtomicU64| tat_of(slot.load(Ordering::Relaxed)) > now;
        let of_line = |line: &Line| line.slots.iter().filter(in_debt).count();
        self.lines.iter().map(of_line).sum()
    }

    /// The index of a hash's home: its upper half, multiplied into range. The lower half is the tag.
    #[inline]
    pub(super) fn home(&self, hash: u64) -> usize {
        ((hash >> 32).wrapping_mul(self.lines.len() as u64) >> 32) as usize
    }

    /// Asks for the memory of a line ahead of its use, while the caller does something else. It is
    /// written, so that it comes to be changed: one that was only read is asked for again, and what
    /// reads the time waits for reads.
    #[inline]
    pub(super) fn ask(&self, index: usize) {
        self.lines[index].asked.store(1, Ordering::Relaxed);
    }

    /// Locks a line. Who locks several does so in the order of their indices.
    #[inline]
    pub(super) fn lock(&self, index: usize) -> Guard<'_> {
        let line = &self.lines[index];
        if !line.try_lock() {
            line.lock_later();
        }
        Guard(line)
    }

    /// Locks what a decision on the key whose home is at `index` needs: its home where it is found
    /// there, else both lines.
    #[inline]
    pub(super) fn lock_for(&self, index: usize, hash: u64) -> (Locked<'_>, Found<'_>) {
        let home = self.lock(index);
        let found = home.0.find(hash);
        if found.is_some() {
            return (Locked { home, other: None }, Found(found));
        }
        let locked = self.widen(index, home);
        let found = locked.lines().find(hash);
        (locked, found)
    }

    /// Locks both lines of a hash.
    pub(super) fn lock_both(&self, hash: u64) -> Locked<'_> {
        let index = self.home(hash);
        self.widen(index, self.lock(index))
    }

    #[inline(never)]
    fn widen<'a>(&'a self, index: usize, home: Guard<'a>) -> Locked<'a> {
        let other = neighbour(index);
        let (home, other) = if other > index {
            (home, self.lock(other))
        } else if self.lines[other].try_lock() {
            (home, Guard(&self.lines[other]))
        } else {
            // Whoever holds it may be waiting for the home.
            drop(home);
            let other = self.lock(other);
            (self.lock(index), other)
        };
        Locked {
            home,
            other: Some(other),
        }
    }
}

/// The index of the line beside.
#[inline]
pub(super) fn neighbour(index: usize) -> usize {
    index ^ 1
}

impl Line {
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

    #[inline]
    fn find(&self, hash: u64) -> Option<&AtomicU64> {
        let tag = hash as u32;
        // Looking at all is faster than guessing where to stop.
        let mut matches = 0u32;
        for (way, at) in self.tags.iter().enumerate() {
            matches |= u32::from(at.load(Ordering::Relaxed) == tag) << way;
        }
        self.slots.get(matches.trailing_zeros() as usize)
    }
}

/// A line that nobody else reads or writes until this is dropped.
pub(super) struct Guard<'a>(&'a Line);

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.locked.store(0, Ordering::Release);
    }
}

/// The lines that are locked for one key.
pub(super) struct Locked<'a> {
    home: Guard<'a>,
    other: Option<Guard<'a>>,
}

impl<'a> Locked<'a> {
    #[inline]
    pub(super) fn lines(&self) -> Lines<'a> {
        Lines::of(&self.home, self.other.as_ref())
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

/// A key's slot, where it has one; it stays the key's while its line is locked.
#[derive(Clone, Copy)]
pub(super) struct Found<'a>(Option<&'a AtomicU64>);

impl Found<'_> {
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// What is in the slot at time `now`.
    #[inline]
    pub(super) fn state(&self, now: u64) -> State {
        let Some(slot) = self.0 else {
            return State {
                tat: 0,
                blocked: false,
            };
        };
        let slot = slot.load(Ordering::Relaxed);
        let tat = tat_of(slot);
        State {
            tat,
            // A block that is over is no debt either: its time says nothing of units.
            blocked: slot & BLOCKED == BLOCKED && tat > now,
        }
    }
}

/// A key's state.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) tat: u64,
    pub(super) blocked: bool,
}

/// The lines that a key may stand in, of which its home alone may do where it was found there.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a> {
    home: &'a Line,
    other: Option<&'a Line>,
}

impl<'a> Lines<'a> {
    #[inline]
    pub(super) fn of(home: &Guard<'a>, other: Option<&Guard<'a>>) -> Self {
        Self {
            home: home.0,
            other: other.map(|other| other.0),
        }
    }

    #[inline]
    pub(super) fn find(self, hash: u64) -> Found<'a> {
        let beside = || self.other.and_then(|other| other.find(hash));
        Found(self.home.find(hash).or_else(beside))
    }

    /// Writes a key's slot; `found` says where it is. A key without one takes the slot that
    /// matters least.
    #[inline]
    pub(super) fn put(self, hash: u64, found: Found<'_>, entry: Entry, now: u64) {
        let class = match entry.blocked {
            true => BLOCKED,
            false => class(entry.capacity),
        };
        let slot = entry.tat.min(LATEST) << CLASS_BITS | class;
        match found.0 {
            Some(place) => place.store(slot, Ordering::Relaxed),
            None => self.take_slot(hash as u32, slot, now),
        }
    }

    fn take_slot(self, tag: u32, slot: u64, now: u64) {
        let at_home = least(self.home, now);
        let beside = self.other.map(|other| (other, least(other, now)));
        let (line, way) = match beside {
            Some((other, beside)) if beside.0 < at_home.0 => (other, beside.1),
            _ => (self.home, at_home.1),
        };
        line.tags[way].store(tag, Ordering::Relaxed);
        line.slots[way].store(slot, Ordering::Relaxed);
    }
}

#[inline]
fn tat_of(slot: u64) -> u64 {
    slot >> CLASS_BITS
}

/// The slot that owes nothing, or else the smallest part of its bucket, and what it owes, zero for
/// nothing; a block is the last to go.
fn least(line: &Line, now: u64) -> (u64, usize) {
    let mut best = (u64::MAX, 0);
    for (way, slot) in line.slots.iter().enumerate() {
        let slot = slot.load(Ordering::Relaxed);
        let debt = tat_of(slot).saturating_sub(now);
        if debt == 0 {
            return (0, way);
        }
        let rank = match slot & BLOCKED {
            BLOCKED => u64::MAX,
            class => part(debt, class).max(1),
        };
        if rank < best.0 {
            best = (rank, way);
        }
    }
    best
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
        let line = Line::default();
        let (now, hour) = (1_000, 3_600_000_000_000);
        let write = |way: usize, tat: u64, class: u64| {
            line.slots[way].store(tat << CLASS_BITS | class, Ordering::Relaxed);
        };
        for way in 0..WAYS {
            write(way, now + (way as u64 + 2) * (hour / 16), class(hour));
        }
        // A longer debt, and a smaller part of a larger bucket.
        write(4, now + hour, class(64 * hour));
        assert_eq!(least(&line, now).1, 4);
        write(4, now + hour, BLOCKED);
        assert_eq!(least(&line, now).1, 0);
        write(3, now, class(hour));
        assert_eq!(least(&line, now), (0, 3));
    }

    #[test]
    fn a_line_is_a_line_of_cache() {
        assert_eq!((size_of::<Line>(), align_of::<Line>()), (64, 64));
    }

    #[test]
    fn a_slot_holds_years_and_no_bucket_is_taken_for_a_block() {
        let year = 366 * 24 * 3600 * 1_000_000_000;
        assert!(LATEST > 9 * year);
        assert!(class(year) < BLOCKED && class(u64::MAX) < BLOCKED);
        let table = Table::for_keys(1);
        put(&table, 7, u64::MAX);
        let (_locked, found) = table.lock_for(0, 7);
        let state = found.state(0);
        assert_eq!((state.tat, state.blocked), (LATEST, false));
    }

    fn put(table: &Table, hash: u64, tat: u64) {
        let entry = Entry {
            tat,
            capacity: 1 << 30,
            blocked: false,
        };
        let (locked, found) = table.lock_for(table.home(hash), hash);
        locked.lines().put(hash, found, entry, 0);
    }

    #[test]
    fn what_finds_no_room_at_home_stands_beside_and_is_found_there() {
        for home in [0, 1 << 63] {
            let table = Table::for_keys(1);
            let hashes = (home..).take(2 * WAYS);
            assert!(
                hashes
                    .clone()
                    .all(|hash| table.home(hash) == (home >> 63) as usize)
            );
            for (tat, hash) in (1..).zip(hashes.clone()) {
                put(&table, hash, tat);
            }
            for (tat, hash) in (1..).zip(hashes) {
                let (locked, found) = table.lock_for(table.home(hash), hash);
                assert_eq!(found.state(0).tat, tat);
                assert_eq!(locked.other.is_some(), tat > WAYS as u64);
            }
            assert_eq!(table.count(0), 2 * WAYS);
        }
    }

    #[test]
    fn the_last_line_is_within_range() {
        let table = Table::for_keys(1000);
        assert_eq!(table.home(u64::MAX), table.lines.len() - 1);
        assert_eq!(table.home(0), 0);
        assert!(table.lines.len().is_multiple_of(2));
    }
}
