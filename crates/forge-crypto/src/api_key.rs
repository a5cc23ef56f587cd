//! API keys: long random texts, of which only a keyed hash is stored.
//!
//! ```text
//! acme_Kp3…                                                  …x9Zd0Ab1cD
//! prefix   43 random characters of base62: 256 bits          checksum: 6 characters
//! ```
//!
//! The checksum is the CRC-32 (ISO-HDLC) of all before it, in base62. It refuses mistyped keys
//! without a look-up, and lets scanners for leaked secrets be sure of what they found.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::entropy::{self, Entropy};
use crate::error::ApiKeyError;
use crate::key::KeyId;
use crate::keyring::{KeyState, Keyring};

const KDF_API_KEY: &[u8] = b"api-key hmac-sha256";
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_LEN: usize = 43;
const CHECKSUM_LEN: usize = 6;
const MAX_PREFIX: usize = 16;
const VERSION: &str = "fk1.";
const HASH_LEN: usize = 32;

/// Issues API keys and recognises them by a hash that only who has the keyring can compute.
///
/// The hash is HMAC-SHA256 under a key derived from a key of the keyring. One look-up by it, in an
/// index, finds the row of a presented key; a dump of the table yields nothing, and who can write
/// to it cannot add a key of their own.
///
/// ```
/// use forge_crypto::secrecy::ExposeSecret;
/// use forge_crypto::{ApiKeys, Keyring};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = ApiKeys::new(&Keyring::generate()?, "acme")?;
/// let (key, hash) = keys.issue()?; // show the key once, store the hash
/// assert!(key.expose_secret().starts_with("acme_"));
///
/// // Later: SELECT … FROM api_keys WHERE hash = ?, for each of these until one is found.
/// let found = keys.hashes(key.expose_secret())?.any(|candidate| candidate == hash);
/// assert!(found && keys.verify(key.expose_secret(), &hash));
/// # Ok(())
/// # }
/// ```
///
/// A hash cannot be made anew without the key it is of: when one is found that
/// [needs it](Self::rehash_needed), store [`hash`](Self::hash) instead. Once a key is taken out of
/// the keyring, the API keys whose hashes are under it are not recognised any more.
pub struct ApiKeys {
    prefix: String,
    /// The primary key's first.
    hashers: Vec<Hasher>,
    entropy: Entropy,
}

struct Hasher {
    key: KeyId,
    hmac: Hmac<Sha256>,
}

/// What is stored of an API key: `fk1.<key id>.<base64url of 32 bytes>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ApiKeyHash(String);

impl ApiKeyHash {
    /// A hash that was read from where hashes are stored.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text to store and to look up.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(&self) -> Option<(KeyId, [u8; HASH_LEN])> {
        let (key, hash) = self.0.strip_prefix(VERSION)?.split_once('.')?;
        let mut bytes = [0; HASH_LEN];
        // The decoder wants room for what the text could be.
        let mut room = [0; HASH_LEN + 1];
        match BASE64_URL_SAFE_NO_PAD.decode_slice(hash, &mut room) {
            Ok(HASH_LEN) => bytes.copy_from_slice(&room[..HASH_LEN]),
            _ => return None,
        }
        Some((KeyId::parse(key).ok()?, bytes))
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parse() {
            Some((key, _)) => write!(f, "ApiKeyHash({key})"),
            None => f.write_str("ApiKeyHash([malformed])"),
        }
    }
}

impl ApiKeys {
    /// Keys that start with `prefix` and an underscore; hashed under the keys of `keyring`,
    /// compromised ones excepted.
    ///
    /// # Errors
    /// [`ApiKeyError::Prefix`] unless the prefix has 1 to 16 lower-case letters, digits and
    /// underscores and starts with a letter.
    pub fn new(keyring: &Keyring, prefix: impl Into<String>) -> Result<Self, ApiKeyError> {
        let prefix = prefix.into();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts = prefix.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts || prefix.len() > MAX_PREFIX || !prefix.chars().all(plain) {
            return Err(ApiKeyError::Prefix);
        }
        let mut entries: Vec<_> = keyring
            .entries()
            .iter()
            .filter(|entry| entry.state() != KeyState::Compromised)
            .collect();
        entries.sort_by_key(|entry| entry.state() != KeyState::Primary);
        let hasher = |entry: &&crate::KeyEntry| {
            let mut key = Zeroizing::new([0; 32]);
            entry.key().derive(KDF_API_KEY, key.as_mut_slice());
            Hasher {
                key: entry.id(),
                hmac: Hmac::new_from_slice(key.as_slice()).expect("HMAC takes keys of any length"),
            }
        };
        Ok(Self {
            prefix,
            hashers: entries.iter().map(hasher).collect(),
            entropy: entropy::from_os,
        })
    }

    /// A new key, to be shown once, and its hash, to be stored.
    ///
    /// # Errors
    /// [`ApiKeyError::Random`] when the operating system gives no random bytes.
    pub fn issue(&self) -> Result<(SecretString, ApiKeyHash), ApiKeyError> {
        let len = self.len();
        let mut text = Zeroizing::new(String::with_capacity(len));
        text.push_str(&self.prefix);
        text.push('_');
        let mut bytes = Zeroizing::new([0; 64]);
        while text.len() < len - CHECKSUM_LEN {
            (self.entropy)(bytes.as_mut_slice()).map_err(ApiKeyError::Random)?;
            // The bytes from 248 on would make some characters more likely than others.
            let random = bytes.iter().filter(|&&byte| byte < 248);
            let room = len - CHECKSUM_LEN - text.len();
            text.extend(random.take(room).map(|&byte| base62(u32::from(byte))));
        }
        let mut checksum = crc32(text.as_bytes());
        let mut digits = [' '; CHECKSUM_LEN];
        for digit in digits.iter_mut().rev() {
            *digit = base62(checksum);
            checksum /= 62;
        }
        text.extend(digits);
        let hash = self.hashers[0].hash(&text);
        Ok((SecretString::from(std::mem::take(&mut *text)), hash))
    }

    /// The hash of a presented key, to be stored.
    ///
    /// # Errors
    /// [`ApiKeyError::Malformed`] when it is no key of this prefix, or mistyped.
    pub fn hash(&self, presented: &str) -> Result<ApiKeyHash, ApiKeyError> {
        self.check(presented)?;
        Ok(self.hashers[0].hash(presented))
    }

    /// The hashes under which a presented key may be stored, the likeliest first.
    ///
    /// # Errors
    /// [`ApiKeyError::Malformed`] when it is no key of this prefix, or mistyped: then there is
    /// nothing to look up.
    pub fn hashes(
        &self,
        presented: &str,
    ) -> Result<impl ExactSizeIterator<Item = ApiKeyHash>, ApiKeyError> {
        self.check(presented)?;
        Ok(self
            .hashers
            .iter()
            .map(move |hasher| hasher.hash(presented)))
    }

    /// Whether a presented key is the one whose hash is stored; compared in constant time.
    pub fn verify(&self, presented: &str, stored: &ApiKeyHash) -> bool {
        let Some((key, hash)) = stored.parse() else {
            return false;
        };
        let hasher = self.hashers.iter().find(|hasher| hasher.key == key);
        // What has the hash of a key needs no other check.
        presented.len() == self.len()
            && hasher.is_some_and(|hasher| hasher.bytes(presented).ct_eq(&hash).into())
    }

    /// Whether a hash is under another key than the primary one.
    pub fn rehash_needed(&self, stored: &ApiKeyHash) -> bool {
        stored
            .parse()
            .is_none_or(|(key, _)| key != self.hashers[0].key)
    }

    /// The length of a key.
    fn len(&self) -> usize {
        self.prefix.len() + 1 + RANDOM_LEN + CHECKSUM_LEN
    }

    fn check(&self, presented: &str) -> Result<(), ApiKeyError> {
        let is_key = || {
            let random = presented.strip_prefix(&self.prefix)?.strip_prefix('_')?;
            if random.len() != RANDOM_LEN + CHECKSUM_LEN {
                return None;
            }
            let (keyed, digits) = presented.as_bytes().split_last_chunk::<CHECKSUM_LEN>()?;
            let mut checksum = 0_u64;
            for digit in digits {
                checksum = checksum * 62 + value(*digit)?;
            }
            let alphanumeric = random.bytes().all(|byte| byte.is_ascii_alphanumeric());
            (alphanumeric && checksum == u64::from(crc32(keyed))).then_some(())
        };
        is_key().ok_or(ApiKeyError::Malformed)
    }
}

impl Hasher {
    fn bytes(&self, presented: &str) -> [u8; HASH_LEN] {
        let mut hmac = self.hmac.clone();
        hmac.update(presented.as_bytes());
        hmac.finalize().into_bytes().into()
    }

    fn hash(&self, presented: &str) -> ApiKeyHash {
        let mut bytes = self.bytes(presented);
        let mut text = String::with_capacity(VERSION.len() + KeyId::TEXT_LEN + 1 + RANDOM_LEN);
        text.push_str(VERSION);
        text.extend(self.key.to_text().map(char::from));
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        bytes.zeroize();
        ApiKeyHash(text)
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.hashers.iter().map(|hasher| hasher.key).collect();
        f.debug_struct("ApiKeys")
            .field("prefix", &self.prefix)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

fn base62(number: u32) -> char {
    char::from(BASE62[(number % 62) as usize])
}

fn value(digit: u8) -> Option<u64> {
    Some(
        match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            b'a'..=b'z' => digit - b'a' + 36,
            _ => return None,
        }
        .into(),
    )
}

/// CRC-32 as in ISO 3309, Ethernet and zip.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let (mut crc, mut bit) = (at as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xedb8_8320
                } else {
                    crc >> 1
                };
                bit += 1;
            }
            table[at] = crc;
            at += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8;
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::testing::{counting, keyring, no_entropy};

    fn keys() -> ApiKeys {
        ApiKeys::new(&keyring(&[(KeyState::Primary, "a")]), "acme").unwrap()
    }

    #[test]
    fn the_checksum_is_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_key_and_its_hash_have_the_documented_form() {
        let mut keys = keys();
        keys.entropy = counting;
        let (key, hash) = keys.issue().unwrap();
        assert_eq!(
            key.expose_secret(),
            "acme_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1cfhE7"
        );
        assert_eq!(
            hash.as_str(),
            "fk1.Dx1GRushqPk.ZCmyLkX4_fVpHwHqgVU_4PFL-bOokg1Y-gQ_MnacOIs"
        );
    }

    #[test]
    fn a_key_is_known_by_its_hash_alone() {
        let keys = keys();
        let (key, hash) = keys.issue().unwrap();
        let (other, _) = keys.issue().unwrap();
        assert_eq!(key.expose_secret().len(), 4 + 1 + 43 + 6);
        assert_eq!(keys.hash(key.expose_secret()).unwrap(), hash);
        assert!(keys.verify(key.expose_secret(), &hash));
        assert!(!keys.verify(other.expose_secret(), &hash));
        assert!(!keys.verify(key.expose_secret(), &ApiKeyHash::from_stored("")));
        let stored = ApiKeyHash::from_stored(hash.as_str());
        assert!(keys.verify(key.expose_secret(), &stored) && !keys.rehash_needed(&stored));
        let shown = format!("{key:?} {hash:?} {keys:?}");
        assert!(!shown.contains(&hash.as_str()[16..]), "{shown}");
    }

    #[test]
    fn a_change_of_keys_leaves_api_keys_valid() {
        let old = keys();
        let (key, hash) = old.issue().unwrap();
        let rotated = keyring(&[(KeyState::Retired, "a"), (KeyState::Primary, "b")]);
        let new = ApiKeys::new(&rotated, "acme").unwrap();
        let candidates: Vec<_> = new.hashes(key.expose_secret()).unwrap().collect();
        assert_eq!(candidates.len(), 2);
        assert_eq!(candidates[1], hash);
        assert!(new.verify(key.expose_secret(), &hash) && new.rehash_needed(&hash));
        let rehashed = new.hash(key.expose_secret()).unwrap();
        assert!(new.verify(key.expose_secret(), &rehashed) && !new.rehash_needed(&rehashed));

        let compromised = keyring(&[(KeyState::Compromised, "a"), (KeyState::Primary, "b")]);
        let refuses = ApiKeys::new(&compromised, "acme").unwrap();
        assert!(!refuses.verify(key.expose_secret(), &hash));
    }

    #[test]
    fn refuses_what_is_mistyped_without_a_look_up() {
        let keys = keys();
        let (key, hash) = keys.issue().unwrap();
        let key = key.expose_secret();
        let mut wrong = vec![String::new(), "acme_".into(), key[..key.len() - 1].into()];
        wrong.push(format!("{key}0"));
        wrong.push(key.replacen("acme", "acmf", 1));
        for at in 0..key.len() {
            let other = if key.as_bytes()[at] == b'x' { 'y' } else { 'x' };
            wrong.push(format!("{}{other}{}", &key[..at], &key[at + 1..]));
            wrong.push(format!("{}é{}", &key[..at], &key[at + 1..]));
        }
        for wrong in wrong {
            assert!(
                matches!(keys.hash(&wrong), Err(ApiKeyError::Malformed)),
                "{wrong}"
            );
            assert!(keys.hashes(&wrong).is_err() && !keys.verify(&wrong, &hash));
        }
    }

    #[test]
    fn issues_nothing_without_random_bytes_and_takes_plain_prefixes_only() {
        let mut keys = keys();
        keys.entropy = no_entropy;
        assert!(matches!(keys.issue(), Err(ApiKeyError::Random(_))));
        let ring = keyring(&[(KeyState::Primary, "a")]);
        for prefix in ["", "1a", "_a", "Acme", "a-b", "a b", "seventeen_letters"] {
            let made = ApiKeys::new(&ring, prefix);
            assert!(matches!(made, Err(ApiKeyError::Prefix)), "{prefix}");
        }
    }
}
