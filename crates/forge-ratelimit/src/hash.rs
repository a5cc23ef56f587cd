//! SipHash-1-3 of words, keyed with a secret of the process.
//!
//! The function is that of the standard library's maps, whose interface takes bytes and pays for
//! it; keys come in words here. Aumasson and Bernstein, "SipHash: a fast short-input PRF".

use std::hash::{BuildHasher, RandomState};

/// The key of the hash; nobody who does not have it can choose keys that meet in one place.
#[derive(Clone)]
pub(crate) struct Secret {
    k0: u64,
    k1: u64,
}

impl Secret {
    /// A new one, from the standard library's own source of secrets.
    pub(crate) fn random() -> Self {
        let state = RandomState::new();
        Self {
            k0: state.hash_one(0u8),
            k1: state.hash_one(1u8),
        }
    }

    #[inline]
    pub(crate) fn hasher(&self) -> SipHasher {
        SipHasher {
            v0: self.k0 ^ 0x736f_6d65_7073_6575,
            v1: self.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: self.k0 ^ 0x6c79_6765_6e65_7261,
            v3: self.k1 ^ 0x7465_6462_7974_6573,
            words: 0,
        }
    }
}

pub(crate) struct SipHasher {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
    words: u64,
}

impl SipHasher {
    #[inline]
    pub(crate) fn word(&mut self, word: u64) {
        self.words += 1;
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    /// Bytes, the last word filled up with zeros: who feeds them says how many there are first.
    #[inline]
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
            let mut ours = Secret { k0: 0, k1: 0 }.hasher();
            for word in words {
                theirs.write(&word.to_le_bytes());
                ours.word(word);
            }
            prop_assert_eq!(ours.finish(), theirs.finish());
        }

        #[test]
        fn bytes_are_words_filled_up(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let secret = Secret::random();
            let (mut ours, mut filled) = (secret.hasher(), secret.hasher());
            ours.bytes(&bytes);
            for word in bytes.chunks(8) {
                let mut full = [0; 8];
                full[..word.len()].copy_from_slice(word);
                filled.word(u64::from_le_bytes(full));
            }
            prop_assert_eq!(ours.finish(), filled.finish());
        }
    }

    #[test]
    fn two_secrets_differ() {
        let hash = |secret: Secret| secret.hasher().finish();
        assert_ne!(hash(Secret::random()), hash(Secret::random()));
    }
}
