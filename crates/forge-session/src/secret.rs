//! The random secret of a session, shown once and stored as hashes, and how one follows another.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::RandomError;
use crate::session::SessionId;

/// The part that all secrets of one session have in common.
const FAMILY_LEN: usize = 16;

/// Family and 256 bits of the secret's own.
const LEN: usize = FAMILY_LEN + 32;

/// The length of a secret as text: base64url without padding (RFC 4648, section 5).
const TEXT_LEN: usize = 64;

/// Sets the derivation apart from every other use of HMAC with such a key.
const SUCCESSOR: &[u8] = b"forge-session successor 1\0";

macro_rules! thirty_two_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Read back from a store.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// As bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

thirty_two_bytes! {
    /// What the store keeps of a secret: its SHA-256.
    ///
    /// A fast hash is enough, because nothing shorter than the 256 random bits can be guessed; and
    /// a look-up by the hash leaks no usable timing, because the hash of a guess cannot be steered.
    SecretHash
}

thirty_two_bytes! {
    /// By what the store finds a session: the SHA-256 of the 128 random bits that all secrets of
    /// one session begin with. So a secret is recognised however many came after it.
    FamilyHash
}

thirty_two_bytes! {
    /// What a secret's successor is derived with, together with the secret itself: random, and
    /// stored, so that the same secret has the same successor however often it is asked for, and
    /// whoever has an old secret, or the database, but not both, can derive none.
    RotationSalt
}

impl RotationSalt {
    pub(crate) fn generate() -> Result<Self, RandomError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(RandomError)?;
        Ok(Self(bytes))
    }
}

/// A secret in the clear; wiped when dropped.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<[u8; LEN]>);

impl Secret {
    pub(crate) fn generate() -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; LEN]);
        getrandom::fill(bytes.as_mut_slice()).map_err(RandomError)?;
        Ok(Self(bytes))
    }

    /// Reads exactly what [`reveal`](Self::reveal) writes: there is one text for each secret.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_LEN {
            return None;
        }
        let mut bytes = Zeroizing::new([0; LEN]);
        let decoded = URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut_slice());
        (decoded.ok()? == LEN).then_some(Self(bytes))
    }

    pub(crate) fn family(&self) -> FamilyHash {
        FamilyHash(Sha256::digest(&self.0[..FAMILY_LEN]).into())
    }

    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0.as_slice()).into())
    }

    /// The secret that follows this one, the same each time it is asked for with the same salt.
    pub(crate) fn successor(&self, session: SessionId, salt: &RotationSalt) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice())
            .expect("HMAC takes a key of any length");
        mac.update(SUCCESSOR);
        mac.update(session.as_uuid().as_bytes());
        mac.update(salt.as_bytes());
        let own = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        let mut bytes = self.0.clone();
        bytes[FAMILY_LEN..].copy_from_slice(own.as_slice());
        Self(bytes)
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
        assert_ne!(a.family(), b.family());
    }

    #[test]
    fn refuses_other_lengths_and_other_letters() {
        let zero = "A".repeat(TEXT_LEN);
        assert!(Secret::parse(&zero).is_some());
        let long = format!("{zero}A");
        let padded = format!("{}=", "A".repeat(TEXT_LEN - 1));
        let standard = format!("+{}", "A".repeat(TEXT_LEN - 1));
        for text in ["", "A", &long, &padded, &standard] {
            assert!(Secret::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn has_one_successor_for_each_salt_and_session_and_it_keeps_the_family() {
        let secret = Secret::generate().unwrap();
        let (one, other) = (SessionId::new(), SessionId::new());
        let (salt, pepper) = (RotationSalt([1; 32]), RotationSalt([2; 32]));
        let next = secret.successor(one, &salt);
        assert_eq!(next.hash(), secret.successor(one, &salt).hash());
        assert_eq!(next.family(), secret.family());
        for different in [
            secret.clone(),
            secret.successor(one, &pepper),
            secret.successor(other, &salt),
            next.successor(one, &salt),
        ] {
            assert_ne!(next.hash(), different.hash());
        }
    }

    #[test]
    fn hides_the_hash_from_debug() {
        assert_eq!(format!("{:?}", SecretHash([7; 32])), "SecretHash(..)");
        assert_eq!(format!("{:?}", RotationSalt([7; 32])), "RotationSalt(..)");
    }
}
