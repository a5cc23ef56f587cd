//! State for many keys in fixed memory.
//!
//! Each key has a few words, a rank, and a time after which its state means nothing. When all
//! places are taken, a new key displaces first one whose state means nothing any more, else the one
//! of the lowest rank, and among these the least recent: a flood of keys seen rarely displaces its
//! like, not the key that is close to a threshold.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// No place: the end of a list.
const NONE: u32 = u32::MAX;

/// Keys are hashes with a secret of the process already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    places: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    slots: Vec<Slot>,
    /// `width` words for each slot.
    words: Vec<u64>,
    free: Vec<u32>,
    /// The slots of each rank, least recent first.
    by_rank: Vec<List>,
    width: usize,
    capacity: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    void_at: u64,
    previous: u32,
    next: u32,
    used: u32,
    rank: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// A key's state, to be changed.
#[derive(Debug)]
pub(crate) struct State<'a> {
    /// The words; of a key that was not there, those an earlier key left behind.
    pub(crate) words: &'a mut [u64],
    /// How many of them are in use, as the user of the table counts; zero for a new key.
    pub(crate) used: &'a mut u32,
}

/// What is to be remembered beside a key's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// How much the key matters.
    pub(crate) rank: usize,
    /// When its state means nothing any more.
    pub(crate) void_at: u64,
}

impl Table {
    /// Room for `capacity` keys of `width` words, with ranks up to `max_rank`.
    pub(crate) fn new(width: usize, max_rank: usize, capacity: usize) -> Self {
        let empty = List {
            first: NONE,
            last: NONE,
        };
        Self {
            places: HashMap::default(),
            slots: Vec::new(),
            words: Vec::new(),
            free: Vec::new(),
            by_rank: vec![empty; max_rank + 1],
            width,
            capacity: capacity.min(NONE as usize),
        }
    }

    pub(crate) fn contains(&self, key: u64) -> bool {
        self.places.contains_key(&key)
    }

    /// Changes the state of `key`, which gets a place where it has none; whether a key whose state
    /// still meant something had to go for that.
    pub(crate) fn change(
        &mut self,
        key: u64,
        now: u64,
        change: impl FnOnce(State<'_>) -> Kept,
    ) -> bool {
        let mut evicted = false;
        let slot = match self.places.get(&key) {
            Some(&slot) => {
                self.unlink(slot);
                slot
            }
            None => {
                if self.places.len() >= self.capacity {
                    evicted = self.evict(now);
                }
                self.occupy(key)
            }
        };
        let at = slot as usize * self.width;
        let place = &mut self.slots[slot as usize];
        let kept = change(State {
            words: &mut self.words[at..at + self.width],
            used: &mut place.used,
        });
        place.void_at = kept.void_at;
        place.rank = kept.rank.min(self.by_rank.len() - 1) as u32;
        self.link(slot);
        evicted
    }

    /// Forgets `key`.
    pub(crate) fn remove(&mut self, key: u64) {
        if let Some(slot) = self.places.remove(&key) {
            self.unlink(slot);
            self.release(slot);
        }
    }

    /// How many keys have a place.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The memory it takes now, in bytes; of the map an estimate from above.
    pub(crate) fn bytes(&self) -> usize {
        const MAP_ENTRY: usize = size_of::<(u64, u32)>() + 1;
        let buckets = (self.places.capacity() * 8 / 7).next_power_of_two();
        buckets * MAP_ENTRY
            + self.slots.capacity() * size_of::<Slot>()
            + (self.words.capacity() + self.by_rank.capacity()) * size_of::<u64>()
            + self.free.capacity() * size_of::<u32>()
    }

    fn occupy(&mut self, key: u64) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                // Below NONE, since the capacity is.
                let slot = self.slots.len() as u32;
                self.words.resize(self.words.len() + self.width, 0);
                self.slots.push(Slot {
                    key: 0,
                    void_at: 0,
                    previous: NONE,
                    next: NONE,
                    used: 0,
                    rank: 0,
                });
                slot
            }
        };
        self.slots[slot as usize].key = key;
        self.slots[slot as usize].used = 0;
        self.places.insert(key, slot);
        slot
    }

    fn release(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// Makes room; whether the key that goes still meant something.
    fn evict(&mut self, now: u64) -> bool {
        let mut lowest = None;
        let mut void = None;
        for list in &self.by_rank {
            if list.first == NONE {
                continue;
            }
            lowest = lowest.or(Some(list.first));
            if self.slots[list.first as usize].void_at <= now {
                void = Some(list.first);
                break;
            }
        }
        let Some(slot) = void.or(lowest) else {
            return false;
        };
        self.unlink(slot);
        self.places.remove(&self.slots[slot as usize].key);
        self.release(slot);
        void.is_none()
    }

    fn link(&mut self, slot: u32) {
        let rank = self.slots[slot as usize].rank as usize;
        let last = self.by_rank[rank].last;
        self.slots[slot as usize].previous = last;
        self.slots[slot as usize].next = NONE;
        if last == NONE {
            self.by_rank[rank].first = slot;
        } else {
            self.slots[last as usize].next = slot;
        }
        self.by_rank[rank].last = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let Slot {
            previous,
            next,
            rank,
            ..
        } = self.slots[slot as usize];
        let list = rank as usize;
        if previous == NONE {
            self.by_rank[list].first = next;
        } else {
            self.slots[previous as usize].next = next;
        }
        if next == NONE {
            self.by_rank[list].last = previous;
        } else {
            self.slots[next as usize].previous = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keep(table: &mut Table, key: u64, rank: usize, void_at: u64, now: u64) -> bool {
        table.change(key, now, |state| {
            *state.used += 1;
            state.words[0] = key;
            Kept { rank, void_at }
        })
    }

    #[test]
    fn what_means_nothing_goes_first_then_the_lowest_rank_then_the_least_recent() {
        let mut table = Table::new(1, 5, 4);
        keep(&mut table, 1, 5, 100, 0);
        keep(&mut table, 2, 3, 50, 0);
        keep(&mut table, 3, 1, 100, 0);
        keep(&mut table, 4, 1, 100, 0);
        assert!(!keep(&mut table, 5, 2, 100, 60), "the void one");
        assert!(!table.contains(2));
        assert!(keep(&mut table, 6, 2, 100, 60));
        assert!(!table.contains(3));
        assert!(table.contains(1) && table.contains(4));
    }

    #[test]
    fn a_place_is_clean_for_the_next_key() {
        let mut table = Table::new(1, 1, 1);
        for key in 0..3 {
            table.change(key, 0, |state| {
                assert_eq!(*state.used, 0);
                *state.used = 1;
                Kept {
                    rank: 1,
                    void_at: 9,
                }
            });
        }
        table.remove(2);
        assert_eq!(table.len(), 0);
    }

    proptest! {
        #[test]
        fn never_holds_more_than_its_capacity(
            capacity in 1usize..8,
            changes in prop::collection::vec((0u64..40, 0u64..20, 0usize..6, any::<bool>()), 1..400),
        ) {
            let mut table = Table::new(2, 5, capacity);
            for (now, (key, life, rank, remove)) in changes.into_iter().enumerate() {
                let now = now as u64;
                keep(&mut table, key, rank, now + life, now);
                prop_assert!(table.contains(key));
                if remove {
                    table.remove(key);
                }
                prop_assert!(table.len() <= capacity);
                prop_assert!(table.slots.len() <= capacity);
                let listed: usize = table.by_rank.iter().map(|list| {
                    let (mut n, mut at) = (0, list.first);
                    while at != NONE { n += 1; at = table.slots[at as usize].next; }
                    n
                }).sum();
                prop_assert_eq!(listed, table.len());
            }
        }
    }
}
