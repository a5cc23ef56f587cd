//! Sliding-window counts for many keys in fixed memory.
//!
//! For each key the times of its last `threshold + 1` signals are kept, so a count is exact, not an
//! estimate. When all places are taken, a new key displaces first one whose signals have all left
//! the window, else the one with the fewest signals in it, and among these the least recent: a
//! flood of keys seen once displaces its like, not the key that is close to the threshold.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// No place: the end of a list.
const NONE: u32 = u32::MAX;

/// What one signal did to its key's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The count is over the threshold.
    pub(crate) exceeded: bool,
    /// A key whose signals were still in the window had to go.
    pub(crate) evicted: bool,
}

#[derive(Debug)]
pub(crate) struct WindowCounter<K> {
    places: HashMap<K, u32>,
    slots: Vec<Slot<K>>,
    /// `width` times for each slot, a ring, in microseconds.
    times: Vec<u64>,
    free: Vec<u32>,
    /// The slots with `n` counted signals, least recent first.
    by_count: Vec<List>,
    width: usize,
    window: u64,
    capacity: usize,
    latest: u64,
}

#[derive(Debug)]
struct Slot<K> {
    key: Option<K>,
    /// Where in the ring the oldest counted signal is.
    start: usize,
    count: usize,
    previous: u32,
    next: u32,
}

#[derive(Clone, Debug)]
struct List {
    first: u32,
    last: u32,
}

impl<K: Clone + Eq + Hash> WindowCounter<K> {
    /// Counts up to `threshold + 1` signals of each of up to `capacity` keys.
    pub(crate) fn new(threshold: u32, window: Duration, capacity: usize) -> Self {
        let width = threshold as usize + 1;
        Self {
            places: HashMap::new(),
            slots: Vec::new(),
            times: Vec::new(),
            free: Vec::new(),
            by_count: vec![
                List {
                    first: NONE,
                    last: NONE
                };
                width + 1
            ],
            width,
            window: micros(window),
            capacity: capacity.min(NONE as usize),
            latest: 0,
        }
    }

    /// Counts a signal of `key` at the monotonic time `now`.
    pub(crate) fn observe(&mut self, key: &K, now: Duration) -> Observed {
        // Signals of several threads may arrive slightly out of order; the time never goes back.
        self.latest = self.latest.max(micros(now));
        let mut evicted = false;
        let slot = match self.places.get(key) {
            Some(&slot) => {
                self.unlink(slot);
                slot
            }
            None => {
                if self.places.len() >= self.capacity {
                    evicted = self.evict();
                }
                self.occupy(key.clone())
            }
        };
        self.forget_past(slot);
        self.push(slot);
        let count = self.slots[slot as usize].count;
        self.link(slot, count);
        Observed {
            exceeded: count == self.width,
            evicted,
        }
    }

    /// Forgets `key`.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(slot) = self.places.remove(key) {
            self.unlink(slot);
            self.release(slot);
        }
    }

    /// How many keys have a place.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    fn occupy(&mut self, key: K) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                // Below NONE, since the capacity is.
                let slot = self.slots.len() as u32;
                self.times.resize(self.times.len() + self.width, 0);
                self.slots.push(Slot {
                    key: None,
                    start: 0,
                    count: 0,
                    previous: NONE,
                    next: NONE,
                });
                slot
            }
        };
        self.slots[slot as usize].key = Some(key.clone());
        self.places.insert(key, slot);
        slot
    }

    fn release(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        place.key = None;
        place.start = 0;
        place.count = 0;
        self.free.push(slot);
    }

    /// Drops the signals that have left the window.
    fn forget_past(&mut self, slot: u32) {
        let base = slot as usize * self.width;
        let place = &mut self.slots[slot as usize];
        while place.count > 0
            && self.times[base + place.start].saturating_add(self.window) <= self.latest
        {
            place.start = (place.start + 1) % self.width;
            place.count -= 1;
        }
    }

    /// Adds a signal at `latest`, in place of the oldest where the ring is full.
    fn push(&mut self, slot: u32) {
        let base = slot as usize * self.width;
        let place = &mut self.slots[slot as usize];
        let end = (place.start + place.count) % self.width;
        self.times[base + end] = self.latest;
        if place.count == self.width {
            place.start = (place.start + 1) % self.width;
        } else {
            place.count += 1;
        }
    }

    /// Makes room; whether the key that goes was still counted.
    fn evict(&mut self) -> bool {
        let mut fewest = None;
        let mut past = None;
        for list in &self.by_count {
            if list.first == NONE {
                continue;
            }
            fewest = fewest.or(Some(list.first));
            if self.last_time(list.first).saturating_add(self.window) <= self.latest {
                past = Some(list.first);
                break;
            }
        }
        let Some(slot) = past.or(fewest) else {
            return false;
        };
        self.unlink(slot);
        if let Some(key) = self.slots[slot as usize].key.take() {
            self.places.remove(&key);
        }
        self.release(slot);
        past.is_none()
    }

    fn last_time(&self, slot: u32) -> u64 {
        let place = &self.slots[slot as usize];
        let last = (place.start + place.count + self.width - 1) % self.width;
        self.times[slot as usize * self.width + last]
    }

    fn link(&mut self, slot: u32, count: usize) {
        let last = self.by_count[count].last;
        self.slots[slot as usize].previous = last;
        self.slots[slot as usize].next = NONE;
        if last == NONE {
            self.by_count[count].first = slot;
        } else {
            self.slots[last as usize].next = slot;
        }
        self.by_count[count].last = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let Slot {
            previous,
            next,
            count,
            ..
        } = self.slots[slot as usize];
        if previous == NONE {
            self.by_count[count].first = next;
        } else {
            self.slots[previous as usize].next = next;
        }
        if next == NONE {
            self.by_count[count].last = previous;
        } else {
            self.slots[next as usize].previous = previous;
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_signal_after_the_threshold_exceeds_it() {
        let mut counter = WindowCounter::new(2, 10 * SECOND, 8);
        assert!(!counter.observe(&'a', Duration::ZERO).exceeded);
        assert!(!counter.observe(&'a', SECOND).exceeded);
        assert!(!counter.observe(&'b', SECOND).exceeded);
        assert!(counter.observe(&'a', 2 * SECOND).exceeded);
        counter.remove(&'a');
        assert!(!counter.observe(&'a', 2 * SECOND).exceeded);
    }

    #[test]
    fn a_signal_leaves_the_window_at_its_very_end() {
        let mut counter = WindowCounter::new(1, 10 * SECOND, 8);
        counter.observe(&'a', Duration::ZERO);
        assert!(!counter.observe(&'a', 10 * SECOND).exceeded);
        assert!(
            counter
                .observe(&'a', 20 * SECOND - Duration::from_micros(1))
                .exceeded
        );
    }

    #[test]
    fn a_threshold_of_zero_is_exceeded_by_the_first_signal() {
        let mut counter = WindowCounter::new(0, SECOND, 1);
        assert!(counter.observe(&'a', SECOND).exceeded);
        assert!(counter.observe(&'b', SECOND).exceeded);
    }

    #[test]
    fn a_flood_of_keys_does_not_displace_the_one_that_is_counted_twice() {
        let mut counter = WindowCounter::new(5, 900 * SECOND, 100);
        let attacker = u32::MAX;
        counter.observe(&attacker, SECOND);
        counter.observe(&attacker, SECOND);
        let mut evicted = 0;
        for (round, start) in (0..4).map(|round| (round, round * 25_000)) {
            for key in start..start + 25_000 {
                evicted += u32::from(counter.observe(&key, SECOND).evicted);
            }
            let exceeded = counter.observe(&attacker, SECOND).exceeded;
            assert_eq!(exceeded, round == 3);
        }
        assert_eq!(counter.len(), 100);
        assert_eq!(evicted, 100_000 - 99);
    }

    #[test]
    fn a_key_whose_signals_are_all_past_goes_before_one_seen_once() {
        let mut counter = WindowCounter::new(5, 10 * SECOND, 2);
        for _ in 0..3 {
            counter.observe(&"old", Duration::ZERO);
        }
        counter.observe(&"fresh", 15 * SECOND);
        assert!(!counter.observe(&"new", 15 * SECOND).evicted);
        assert!(!counter.places.contains_key("old"));
        assert!(counter.places.contains_key("fresh"));
    }

    proptest! {
        #[test]
        fn counts_as_a_plain_list_of_times_would(
            threshold in 0u32..6,
            signals in prop::collection::vec((0u8..5, 0u64..4), 1..400),
        ) {
            let window = Duration::from_secs(10);
            let mut counter = WindowCounter::new(threshold, window, 5);
            let mut all: Vec<(u8, Duration)> = Vec::new();
            let mut now = Duration::ZERO;
            for (key, pause) in signals {
                now += Duration::from_secs(pause);
                all.push((key, now));
                let count = all.iter().filter(|(k, at)| *k == key && *at + window > now).count();
                let observed = counter.observe(&key, now);
                prop_assert_eq!(observed.exceeded, count > threshold as usize);
                prop_assert!(!observed.evicted);
            }
        }

        #[test]
        fn never_holds_more_than_its_capacity(
            capacity in 1usize..8,
            signals in prop::collection::vec((0u8..40, 0u64..4, any::<bool>()), 1..400),
        ) {
            let mut counter = WindowCounter::new(3, Duration::from_secs(10), capacity);
            let mut now = Duration::ZERO;
            for (key, pause, remove) in signals {
                now += Duration::from_secs(pause);
                counter.observe(&key, now);
                prop_assert!(counter.places.contains_key(&key));
                if remove {
                    counter.remove(&key);
                }
                prop_assert!(counter.len() <= capacity);
                prop_assert!(counter.slots.len() <= capacity);
                let listed: usize = counter.by_count.iter().map(|list| {
                    let (mut n, mut at) = (0, list.first);
                    while at != NONE { n += 1; at = counter.slots[at as usize].next; }
                    n
                }).sum();
                prop_assert_eq!(listed, counter.len());
            }
        }
    }
}
