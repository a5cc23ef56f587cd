//! Who was seen once: eight bytes a key, so that a flood of keys that never come back costs little.
//!
//! A key gets a place in a scenario's own table when it comes a second time. Until then all that
//! is known of it fits here: when it was seen, and a few bits of what was counted. Sets of eight
//! slots are one line of cache each; a full set gives up what it saw longest ago.

/// Slots in a set.
const WAYS: usize = 8;
/// The unit of time, in microseconds as a shift: some 16 ms, so that 32 bits last for two years.
const UNIT: u32 = 14;
const MEMBER_BITS: u32 = 12;
const TAG_BITS: u32 = 20;

/// What is known of a key that was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// When, in microseconds on the monotonic clock, rounded down to 16 ms.
    pub(crate) at: u64,
    /// The lowest twelve bits of the member that was counted.
    pub(crate) member: u64,
}

/// A table of keys that were seen once.
pub(crate) struct Seen {
    /// `time (32) | tag (20) | member (12)`; zero is an empty slot.
    sets: Box<[[u64; WAYS]]>,
}

impl Seen {
    /// Room for about so many keys.
    pub(crate) fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(WAYS).clamp(1, u32::MAX as usize);
        Self {
            sets: vec![[0; WAYS]; sets].into_boxed_slice(),
        }
    }

    /// When the key was seen last.
    pub(crate) fn earlier(&self, key: u64) -> Option<Earlier> {
        let tag = tag(key);
        let set = &self.sets[self.index(key)];
        let slot = *set
            .iter()
            .find(|slot| **slot != 0 && (**slot >> MEMBER_BITS) & mask(TAG_BITS) == tag)?;
        Some(Earlier {
            // One unit was added, so that no slot in use is zero.
            at: ((slot >> 32) - 1) << UNIT,
            member: slot & mask(MEMBER_BITS),
        })
    }

    /// Notes that the key was seen at `now`.
    pub(crate) fn note(&mut self, key: u64, member: u64, now: u64) {
        let tag = tag(key);
        let index = self.index(key);
        let set = &mut self.sets[index];
        let place = set
            .iter()
            .position(|slot| *slot != 0 && (slot >> MEMBER_BITS) & mask(TAG_BITS) == tag)
            .or_else(|| oldest(set))
            .unwrap_or(0);
        let time = ((now >> UNIT) + 1).min(mask(32));
        set[place] = (time << 32) | (tag << MEMBER_BITS) | (member & mask(MEMBER_BITS));
    }

    /// Forgets the key.
    pub(crate) fn forget(&mut self, key: u64) {
        let tag = tag(key);
        let index = self.index(key);
        for slot in &mut self.sets[index] {
            if *slot != 0 && (*slot >> MEMBER_BITS) & mask(TAG_BITS) == tag {
                *slot = 0;
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// The upper half of the hash, multiplied into range; the tag is of the lower half.
    fn index(&self, key: u64) -> usize {
        (((key >> 32) * self.sets.len() as u64) >> 32) as usize
    }
}

/// The slot that is empty, or else that was written longest ago: the time is its highest part.
fn oldest(set: &[u64; WAYS]) -> Option<usize> {
    let by_age = set.iter().enumerate().min_by_key(|(_, slot)| **slot >> 32);
    by_age.map(|(place, _)| place)
}

fn tag(key: u64) -> u64 {
    key & mask(TAG_BITS)
}

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen")
            .field("slots", &(self.sets.len() * WAYS))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};

    #[test]
    fn remembers_when_and_what_until_it_is_told_to_forget() {
        let mut seen = Seen::new(64);
        let key = 0x1234_5678_9abc_def0;
        assert_eq!(seen.earlier(key), None);
        seen.note(key, 0xffff_f123, 5 << UNIT);
        let earlier = Earlier {
            at: 5 << UNIT,
            member: 0x123,
        };
        assert_eq!(seen.earlier(key), Some(earlier));
        seen.note(key, 0, 0);
        assert_eq!(seen.earlier(key).unwrap().at, 0);
        seen.forget(key);
        assert_eq!(seen.earlier(key), None);
    }

    #[test]
    fn a_full_set_gives_up_what_it_saw_longest_ago() {
        let mut seen = Seen::new(1);
        for key in 0..9 {
            seen.note(key, 0, key << UNIT);
        }
        assert_eq!(seen.earlier(0), None);
        assert!((1..9).all(|key| seen.earlier(key).is_some()));
    }

    #[test]
    fn a_quarter_of_a_million_strangers_do_not_make_it_forget_a_key() {
        let mut seen = Seen::new(1 << 20);
        let hashed = RandomState::new();
        let mut lost = 0;
        for round in 0..20_u64 {
            let key = hashed.hash_one((round, "key"));
            seen.note(key, 0, round << 30);
            for stranger in 0..50_000_u64 {
                seen.note(hashed.hash_one((round, stranger)), 0, (round << 30) + 1);
            }
            lost += u32::from(seen.earlier(key).is_none());
        }
        assert_eq!(lost, 0);
        assert!(seen.bytes() <= 8 << 20);
    }
}
