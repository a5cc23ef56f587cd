//! The keyed hash of a key.
//!
//! A key of up to [`WORDS`] words is hashed by multiplication: each word times a secret of 128 bits
//! of its own, all added up modulo 2^128, of which the upper half is taken. That is strongly
//! universal (Dietzfelbinger 1996; Lemire and Kaser, "Strongly universal string hashing is fast"):
//! the hashes of any two keys are as two random numbers to whoever does not know the secret, so
//! that two keys chosen without seeing hashes meet in one bucket with a chance of 2^-64, and in one
//! of n sets of the table with one of 1/n. The multiplications do not wait for each other, which
//! is what makes it fast. What is taken for the set is mixed once more, by multiplications that are
//! not linear, so that keys in a row, such as the networks of an allocation, do not fall in a row,
//! and that two keys found to meet say nothing of others as far apart.
//!
//! Longer keys are first brought to one word by SipHash-1-3, the function of the standard library's
//! maps (Aumasson and Bernstein, "SipHash: a fast short-input PRF").
//!
//! The secret is the process's, made when it is first needed.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// Words of a key that are hashed by multiplication.
pub(crate) const WORDS: usize = 6;

/// Nobody who does not have it can choose keys that meet in one place.
pub(crate) struct Secret {
    /// What is added, then what is multiplied with the head, the tail and each word.
    keys: [u128; WORDS + 3],
    mix: [u64; 4],
    sip: (u64, u64),
}

/// The secret of this process.
pub(crate) fn secret() -> &'static Secret {
    static SECRET: LazyLock<Secret> = LazyLock::new(Secret::random);
    &SECRET
}

impl Secret {
    /// A new one, from the standard library's own source of secrets.
    fn random() -> Self {
        // SipHash under a random key, of numbers that do not repeat: a stream of secrets.
        let (one, other) = (RandomState::new(), RandomState::new());
        let mut count = 0u64;
        let mut word = || {
            count += 1;
            one.hash_one(count) ^ other.hash_one(count).rotate_left(32)
        };
        Self {
            keys: std::array::from_fn(|_| u128::from(word()) << 64 | u128::from(word())),
            mix: std::array::from_fn(|_| word() | 1),
            sip: (word(), word()),
        }
    }

    /// Begins the hash of a key. Words that [`Sum::words`] is not given are zero, which the head must
    /// tell apart from a longer key.
    #[inline]
    pub(crate) fn sum(&self, head: u64, tail: u64) -> Sum<'_> {
        let [add, of_head, of_tail, of_words @ ..] = &self.keys;
        let mut sum = add.wrapping_add(of_head.wrapping_mul(head.into()));
        if tail != 0 {
            sum = sum.wrapping_add(of_tail.wrapping_mul(tail.into()));
        }
        Sum {
            keys: of_words,
            sum,
        }
    }

    /// A bucket's place: the hash of a key under a policy. Two policies have two places for one
    /// key.
    #[inline]
    pub(crate) fn place(&self, policy: u64, key: u64) -> u64 {
        let [a, b, c, d] = self.mix;
        fold(fold(key ^ policy ^ a, b) ^ c, d)
    }

    /// SipHash-1-3, for what is longer or is fed in parts.
    #[inline]
    pub(crate) fn sip(&self) -> SipHasher {
        SipHasher::new(self.sip.0, self.sip.1)
    }
}

/// A hash in the making.
#[derive(Clone, Copy)]
pub(crate) struct Sum<'a> {
    keys: &'a [u128; WORDS],
    sum: u128,
}

impl Sum<'_> {
    /// The first words, [`WORDS`] at most, filled up with zeros; and the hash of them.
    #[inline(always)]
    pub(crate) fn words<const N: usize>(self, words: [u64; N]) -> ([u64; WORDS], u64) {
        const { assert!(N <= WORDS) };
        let mut all = [0; WORDS];
        let mut sum = self.sum;
        let mut at = 0;
        while at < N {
            all[at] = words[at];
            sum = sum.wrapping_add(self.keys[at].wrapping_mul(words[at].into()));
            at += 1;
        }
        (all, (sum >> 64) as u64)
    }
}

/// The two halves of a product, together.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    (product >> 64) as u64 ^ product as u64
}

pub(crate) struct SipHasher {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
    words: u64,
}

impl SipHasher {
    fn new(k0: u64, k1: u64) -> Self {
        Self {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            v1: k1 ^ 0x646f_7261_6e64_6f6d,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
            words: 0,
        }
    }

    #[inline]
    pub(crate) fn word(&mut self, word: u64) {
        self.words = self.words.wrapping_add(1);
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    /// Bytes, the last word filled up with zeros: who feeds them says how many there are first.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(word));
        }
    }

    #[inline]
    pub(crate) fn finish(mut self) -> u64 {
        // The last word of SipHash: the length in bytes, modulo 256, above the rest, which is none.
        let last = (self.words << 3) << 56;
        self.word(last);
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    #[inline]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hash::{DefaultHasher, Hasher};

    proptest! {
        /// The standard library's hasher is SipHash-1-3, with a key of zero when made like this.
        #[test]
        fn is_the_hash_of_the_standard_library(words in prop::collection::vec(any::<u64>(), 0..80)) {
            let mut theirs = DefaultHasher::new();
            let mut ours = SipHasher::new(0, 0);
            for word in words {
                theirs.write(&word.to_le_bytes());
                ours.word(word);
            }
            prop_assert_eq!(ours.finish(), theirs.finish());
        }

        #[test]
        fn bytes_are_words_filled_up(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let (mut ours, mut filled) = (secret().sip(), secret().sip());
            ours.bytes(&bytes);
            for word in bytes.chunks(8) {
                let mut full = [0; 8];
                full[..word.len()].copy_from_slice(word);
                filled.word(u64::from_le_bytes(full));
            }
            prop_assert_eq!(ours.finish(), filled.finish());
        }

        /// Each word counts, whatever the others are.
        #[test]
        fn a_change_of_one_word_changes_the_hash(
            words in any::<[u64; WORDS]>(), at in 0..WORDS + 2, by in 1u64..,
        ) {
            let mut all = [0; WORDS + 2];
            all[2..].copy_from_slice(&words);
            let before = hash(secret(), &all);
            all[at] ^= by;
            prop_assert_ne!(before, hash(secret(), &all));
        }
    }

    /// Of a head, a tail and words.
    fn hash(secret: &Secret, of: &[u64]) -> u64 {
        let mut words = [0; WORDS];
        words[..of.len() - 2].copy_from_slice(&of[2..]);
        secret.sum(of[0], of[1]).words(words).1
    }

    #[test]
    fn two_secrets_differ() {
        let (one, other) = (Secret::random(), Secret::random());
        assert_ne!(hash(&one, &[1, 2, 3]), hash(&other, &[1, 2, 3]));
        assert_ne!(one.place(1, 2), other.place(1, 2));
        assert_ne!(one.sip().finish(), other.sip().finish());
    }

    /// How many of `keys` fall into each of so many sets, under a secret.
    fn loads(secret: &Secret, sets: usize, keys: impl Iterator<Item = u64>) -> Vec<usize> {
        let mut loads = vec![0; sets];
        for key in keys {
            let hash = hash(secret, &[key >> 32, 0, key & 0xffff_ffff]);
            let place = secret.place(7, hash);
            loads[(((place >> 32) * sets as u64) >> 32) as usize] += 1;
        }
        loads
    }

    #[test]
    fn keys_in_a_row_fall_as_if_by_chance() {
        // Whole allocations, counters, and every 2^32nd number: what is 65,536 times the same
        // distance apart, under several secrets.
        for step in [1u64, 1 << 16, 1 << 32, 0x1_0001, 0xdead_beef] {
            for _ in 0..4 {
                let secret = Secret::random();
                let keys = (0..65_536u64).map(|n| n.wrapping_mul(step));
                let loads = loads(&secret, 16_384, keys);
                // Four each on average; by chance more than 20 once in ten million sets.
                let most = loads.iter().max().copied().unwrap_or_default();
                assert!(most <= 24, "{most} for {step:#x}");
                // The variance of a Poisson distribution is its mean.
                let squares = loads.iter().map(|load| (load * load) as f64).sum::<f64>();
                let variance = squares / 16_384.0 - 16.0;
                assert!((3.4..4.6).contains(&variance), "{variance} for {step:#x}");
            }
        }
    }

    #[test]
    fn half_the_bits_of_a_place_change_with_one_bit_of_a_key() {
        let secret = Secret::random();
        for bit in 0..64 {
            let mut changed = 0;
            for key in 0..512u64 {
                let of = |key: u64| secret.place(7, hash(&secret, &[17, 0, key]));
                changed += (of(key) ^ of(key ^ (1 << bit))).count_ones();
            }
            let mean = f64::from(changed) / 512.0;
            assert!((28.0..36.0).contains(&mean), "bit {bit}: {mean}");
        }
    }
}
