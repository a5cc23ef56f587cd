//! SHA-256 of a message of a few blocks, which takes less time without the buffer that a hasher
//! keeps: of each record, its own hash and on average one node of the tree.

use sha2::block_api::compress256;

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

/// So many blocks a message and its padding may take.
const BLOCKS: usize = 4;

/// How long a message may be: behind it there are a byte and its length in bits.
pub(crate) const MAX: usize = BLOCKS * 64 - 9;

/// The hash of the message that `parts` make, at most [`MAX`] bytes long; of more, `None`.
pub(crate) fn sha256<const N: usize>(parts: [&[u8]; N]) -> Option<Hash> {
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
    use sha2::{Digest, Sha256};

    #[test]
    fn is_sha_256_of_every_length() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..=MAX {
            let (message, middle) = (&bytes[..length], length / 3);
            let hash = sha256([&message[..middle], &message[middle..]]).unwrap();
            assert_eq!(
                hash.0,
                <[u8; 32]>::from(Sha256::digest(message)),
                "{length}"
            );
        }
        assert_eq!(sha256([&bytes[..MAX], &[0]]), None);
        assert_eq!(sha256([&bytes, &bytes]), None);
    }
}
