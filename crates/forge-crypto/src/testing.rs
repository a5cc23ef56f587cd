//! What the unit tests share: a published key, and random generators that are not.

use sha2::{Digest, Sha256};

use crate::error::BoxError;
use crate::key::RootKey;
use crate::keyring::{KeyEntry, KeyState, Keyring};

pub(crate) fn key(word: &str) -> RootKey {
    RootKey::unchecked(&Sha256::digest(word).into())
}

pub(crate) fn keyring(words: &[(KeyState, &str)]) -> Keyring {
    let entry = |&(state, word): &(KeyState, &str)| KeyEntry::new(state, key(word));
    Keyring::new(words.iter().map(entry)).unwrap()
}

/// A generator that fails, after writing what looks like random bytes.
pub(crate) fn no_entropy(bytes: &mut [u8]) -> Result<(), BoxError> {
    bytes.fill(0xa7);
    Err("no entropy".into())
}

/// 0, 1, 2, …
pub(crate) fn counting(bytes: &mut [u8]) -> Result<(), BoxError> {
    for (byte, count) in bytes.iter_mut().zip(0..) {
        *byte = count;
    }
    Ok(())
}
