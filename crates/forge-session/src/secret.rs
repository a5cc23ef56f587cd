//! The 256-bit random secret of a session, shown once and stored as its SHA-256.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::RandomError;

/// The length of a secret as text: 32 bytes in base64url without padding (RFC 4648, section 5).
const TEXT_LEN: usize = 43;

/// What the store keeps of a secret: its SHA-256.
///
/// A fast hash is enough, because nothing shorter than the 256 random bits can be guessed; and a
/// look-up by the hash leaks no usable timing, because the hash of a guess cannot be steered.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// A hash read back from a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash as bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// A secret in the clear; wiped when dropped.
pub(crate) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    pub(crate) fn generate() -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(RandomError)?;
        Ok(Self(bytes))
    }

    /// Reads exactly what [`reveal`](Self::reveal) writes: there is one text for each secret.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_LEN {
            return None;
        }
        // The decoder asks for room by its own estimate, which is a little above 32 bytes.
        let mut bytes = Zeroizing::new([0; 36]);
        let len = URL_SAFE_NO_PAD
            .decode_slice(text, bytes.as_mut_slice())
            .ok()?;
        let bytes = bytes.get(..len)?.try_into().ok()?;
        Some(Self(Zeroizing::new(bytes)))
    }

    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0.as_slice()).into())
    }

    pub(crate) fn reveal(&self) -> SecretString {
        URL_SAFE_NO_PAD.encode(self.0.as_slice()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn reads_back_what_it_shows() {
        let secret = Secret::generate().unwrap();
        let text = secret.reveal();
        assert_eq!(text.expose_secret().len(), TEXT_LEN);
        let read = Secret::parse(text.expose_secret()).unwrap();
        assert_eq!(read.hash(), secret.hash());
    }

    #[test]
    fn two_secrets_differ() {
        let (a, b) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_ne!(a.hash(), b.hash());
    }

    #[test]
    fn refuses_other_lengths_other_letters_and_stray_bits() {
        let zero = "A".repeat(TEXT_LEN);
        assert!(Secret::parse(&zero).is_some());
        // The last letter holds four bits of the secret; the other two must be zero.
        let stray = format!("{}B", "A".repeat(TEXT_LEN - 1));
        let long = format!("{zero}A");
        let padded = format!("{}=", "A".repeat(TEXT_LEN - 1));
        let standard = format!("+{}", "A".repeat(TEXT_LEN - 1));
        for text in ["", "A", &stray, &long, &padded, &standard] {
            assert!(Secret::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn hides_the_hash_from_debug() {
        assert_eq!(format!("{:?}", SecretHash([7; 32])), "SecretHash(..)");
    }
}
