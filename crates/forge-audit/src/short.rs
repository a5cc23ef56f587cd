//! SHA-256 of a message that is mostly of a few blocks, which takes less time without the buffer
//! that a hasher keeps: of each record, its commitment, its own hash and on average one node of the
//! tree.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

use crate::chain::Hash;

/// FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// So many blocks a short message and its padding take at most.
const BLOCKS: usize = 8;

/// How long a short message may be: behind it there are a byte and its length in bits.
const MAX: usize = BLOCKS * 64 - 9;

/// The hash of the message that `parts` make.
pub(crate) fn sha256<const N: usize>(parts: [&[u8]; N]) -> Hash {
    short(parts).unwrap_or_else(|| {
        let mut hasher = Sha256::new();
        parts.iter().for_each(|part| hasher.update(part));
        Hash(hasher.finalize().into())
    })
}

/// The hash, if the message is at most [`MAX`] bytes long.
fn short<const N: usize>(parts: [&[u8]; N]) -> Option<Hash> {
    let mut message = [[0; 64]; BLOCKS];
    let bytes = message.as_flattened_mut();
    let mut length = 0;
    for part in parts {
        bytes
            .get_mut(length..length + part.len())?
            .copy_from_slice(part);
        length += part.len();
    }
    if length > MAX {
        return None;
    }
    // Section 5.1.1.
    bytes[length] = 0x80;
    let end = (length + 9).next_multiple_of(64);
    let bits = length as u64 * 8;
    bytes[end - 8..end].copy_from_slice(&bits.to_be_bytes());
    let mut state = INITIAL;
    compress256(&mut state, &message[..end / 64]);
    let mut hash = [0; 32];
    for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Some(Hash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sha_256_of_every_length() {
        let bytes: Vec<u8> = (0..2 * MAX).map(|n| (n % 251) as u8).collect();
        for length in 0..bytes.len() {
            let (message, middle) = (&bytes[..length], length / 3);
            let parts = [&message[..middle], &message[middle..]];
            let hash = <[u8; 32]>::from(Sha256::digest(message));
            assert_eq!(sha256(parts).0, hash, "{length}");
            assert_eq!(short(parts).is_some(), length <= MAX, "{length}");
        }
    }
}
