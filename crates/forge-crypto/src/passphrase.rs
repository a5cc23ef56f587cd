//! A key from a passphrase, for who has to type it.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::argon2id::{Cost, SALT_LEN, Text};
use crate::entropy;
use crate::error::KeyError;
use crate::key::RootKey;

/// The fewest bytes of a passphrase.
const MIN_LEN: usize = 16;

/// What must be kept beside a passphrase to get its key again: a random salt, and how much work
/// the derivation is. It is no secret.
///
/// Its text is `$argon2id$v=19$m=65536,t=3,p=4$<salt>`: Argon2id with the second recommended
/// parameters of RFC 9106, section 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassphraseSalt(Text);

impl PassphraseSalt {
    /// A new random salt.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let mut salt = vec![0; SALT_LEN];
        entropy::from_os(&mut salt).map_err(KeyError::Random)?;
        Ok(Self(Text {
            cost: Cost {
                memory_kib: 64 * 1024,
                passes: 3,
                lanes: 4,
            },
            salt,
            hash: Vec::new(),
        }))
    }
}

impl FromStr for PassphraseSalt {
    type Err = KeyError;

    /// Reads what `Display` writes. Parameters that would take the machine down are refused, and
    /// so are those below 19 MiB in two passes.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = Text::parse(text).ok_or(KeyError::Salt)?;
        let work = u64::from(text.cost.memory_kib) * u64::from(text.cost.passes);
        let enough = work >= 2 * 19 * 1024 && text.salt.len() >= SALT_LEN;
        if !text.hash.is_empty() || !text.cost.is_bearable() || !enough {
            return Err(KeyError::Salt);
        }
        Ok(Self(text))
    }
}

impl fmt::Display for PassphraseSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.write())
    }
}

impl RootKey {
    /// The key that a passphrase and its salt give; always the same. Takes some tenths of a second
    /// and 64 MiB: call it when the process starts.
    ///
    /// A passphrase is a makeshift for a key that somebody has to carry in their head: whoever has
    /// the salt and a sealed value can try passphrases for as long as they like.
    ///
    /// # Errors
    /// [`KeyError::ShortPassphrase`] below 16 bytes, [`KeyError::Memory`] when the memory is not
    /// to be had.
    pub fn from_passphrase(
        passphrase: &SecretString,
        salt: &PassphraseSalt,
    ) -> Result<Self, KeyError> {
        let passphrase = passphrase.expose_secret();
        if passphrase.len() < MIN_LEN {
            return Err(KeyError::ShortPassphrase {
                found: passphrase.len(),
            });
        }
        let mut key = Zeroizing::new([0; Self::LEN]);
        let PassphraseSalt(text) = salt;
        text.cost
            .hash(passphrase.as_bytes(), &text.salt, key.as_mut_slice())
            .ok_or(KeyError::Memory)?;
        Self::from_bytes(key.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA";

    #[test]
    fn a_passphrase_gives_the_same_key_again() {
        let passphrase = SecretString::from("correct horse battery staple");
        let salt: PassphraseSalt = SALT.parse().unwrap();
        assert_eq!(salt.to_string(), SALT);
        let key = RootKey::from_passphrase(&passphrase, &salt).unwrap();
        assert_eq!(key.id().to_string(), "FgB8C9zjXoo");
        let other = SALT.replace("c29t", "C29t").parse().unwrap();
        assert_ne!(RootKey::from_passphrase(&passphrase, &other).unwrap(), key);
        assert!(matches!(
            RootKey::from_passphrase(&SecretString::from("too short"), &salt),
            Err(KeyError::ShortPassphrase { found: 9 })
        ));
    }

    #[test]
    fn a_salt_is_random_and_refused_when_it_is_too_cheap_or_too_dear() {
        let salt = PassphraseSalt::generate().unwrap();
        assert_ne!(salt, PassphraseSalt::generate().unwrap());
        assert_eq!(salt.to_string().parse::<PassphraseSalt>().unwrap(), salt);
        for wrong in [
            SALT.replace("m=19456", "m=1024"),
            SALT.replace("m=19456", "m=4194304"),
            SALT.replace("c29tZXNhbHRzb21lc2FsdA", "c29tZXNhbHQ"),
            format!("{SALT}$c29tZXNhbHRzb21lc2FsdA"),
            String::new(),
        ] {
            assert!(
                matches!(wrong.parse::<PassphraseSalt>(), Err(KeyError::Salt)),
                "{wrong}"
            );
        }
    }
}
