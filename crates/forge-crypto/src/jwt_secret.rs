//! Keys for who has no keyring yet: derived from the secret that signs tokens, and left behind as
//! soon as there is a keyring.

use std::fmt;

use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::KeySourceError;
use crate::key::{KeyId, RootKey};
use crate::keyring::{KeyEntry, KeyState, Keyring};

/// No other use of a JWT secret derives under this label.
const KDF_LABEL: &[u8] = b"forge-crypto key from jwt secret";

/// The secret that signs a service's tokens (HS256 and the like): at least 32 bytes.
pub struct JwtSecret(SecretSlice<u8>);

impl JwtSecret {
    /// The fewest bytes a secret has (RFC 7518, section 3.2).
    pub const MIN_LEN: usize = 32;

    /// A secret of these bytes, exactly as they sign; the caller wipes them.
    ///
    /// # Errors
    /// [`KeySourceError::ShortJwtSecret`] below 32 bytes.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, KeySourceError> {
        let secret = secret.as_ref();
        if secret.len() < Self::MIN_LEN {
            return Err(KeySourceError::ShortJwtSecret {
                found: secret.len(),
            });
        }
        Ok(Self(SecretSlice::from(secret.to_vec())))
    }

    /// HKDF-SHA256 (RFC 5869) with the salt `forge-crypto` and a label of its own.
    fn derive(&self) -> RootKey {
        let mut key = Zeroizing::new([0; RootKey::LEN]);
        Hkdf::<Sha256>::new(Some(b"forge-crypto"), self.0.expose_secret())
            .expand(KDF_LABEL, key.as_mut_slice())
            .expect("HKDF-SHA256 gives up to 8160 bytes");
        RootKey::unchecked(&key)
    }

    /// Whether the secret is `key`: its bytes, or one of its texts.
    fn is(&self, key: &RootKey) -> bool {
        let secret = self.0.expose_secret();
        if bool::from(key.expose().as_slice().ct_eq(secret)) {
            return true;
        }
        let text = std::str::from_utf8(secret).ok();
        text.and_then(|text| RootKey::parse(text).ok())
            .is_some_and(|parsed| parsed == *key)
    }
}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtSecret([redacted])")
    }
}

/// Where a service's keys come from: a keyring of their own, or, for want of one, the JWT secret.
///
/// | keyring | JWT secret | gives |
/// |---|---|---|
/// | yes | no | the keyring |
/// | yes | yes | the keyring, and what the JWT secret derives as retired keys |
/// | no | yes | what the JWT secret derives as primary key, with a warning |
/// | no | no | an error |
///
/// So a service can start with its JWT secret alone, and nothing that it sealed is lost when a
/// keyring is made later, or the JWT secret changes and the previous one is still given.
///
/// ```
/// use forge_crypto::{JwtSecret, KeySources};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keyring = KeySources::new()
///     .jwt_secret(JwtSecret::new("a secret of more than thirty-two bytes")?)
///     .resolve(|warning| eprintln!("WARNING: {warning}"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "sources give a keyring when they are resolved"]
pub struct KeySources {
    keyring: Option<Keyring>,
    jwt_secret: Option<JwtSecret>,
    previous: Vec<JwtSecret>,
    production: bool,
    fallback_allowed: bool,
}

/// What is not as it should be with the keys, though it works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyWarning {
    /// There is no keyring, and the key that seals is derived from the JWT secret.
    DerivedFromJwtSecret {
        /// The key.
        id: KeyId,
    },
}

impl fmt::Display for KeyWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DerivedFromJwtSecret { id } => write!(
                f,
                "there is no keyring: secrets are sealed under key {id}, which is derived from the \
                 JWT secret, so that whoever learns the one can open the other; make a keyring, \
                 and keep the JWT secret until everything is sealed anew"
            ),
        }
    }
}

impl KeySources {
    /// No source yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A keyring of the service's own. Default: none.
    pub fn keyring(mut self, keyring: Keyring) -> Self {
        self.keyring = Some(keyring);
        self
    }

    /// The JWT secret of today. Default: none.
    pub fn jwt_secret(mut self, secret: JwtSecret) -> Self {
        self.jwt_secret = Some(secret);
        self
    }

    /// A JWT secret of before, whose derived key still opens what it sealed; may be repeated.
    pub fn previous_jwt_secret(mut self, secret: JwtSecret) -> Self {
        self.previous.push(secret);
        self
    }

    /// Whether this is production, where a key derived from the JWT secret is refused.
    /// Default: `false`.
    pub fn production(mut self, production: bool) -> Self {
        self.production = production;
        self
    }

    /// Lets production go without a keyring, on a key derived from the JWT secret.
    /// Default: it does not start.
    pub fn dangerous_allow_jwt_secret_in_production(mut self) -> Self {
        self.fallback_allowed = true;
        self
    }

    /// The keyring to work with; `warn` is told, loudly in a log at best, what is not as it should
    /// be.
    ///
    /// # Errors
    /// When there is no source, production has none but the JWT secret, a key is the JWT secret
    /// itself, or there are too many keys.
    pub fn resolve(self, mut warn: impl FnMut(&KeyWarning)) -> Result<Keyring, KeySourceError> {
        let secrets = || self.jwt_secret.iter().chain(&self.previous);
        if let Some(keyring) = &self.keyring {
            for entry in keyring.entries() {
                if secrets().any(|secret| secret.is(entry.key())) {
                    return Err(KeySourceError::JwtSecret { id: entry.id() });
                }
            }
        }
        let derived: Vec<_> = secrets().map(JwtSecret::derive).collect();
        let keyring = match (self.keyring, &self.jwt_secret) {
            (Some(keyring), _) => keyring,
            (None, None) => return Err(KeySourceError::None),
            (None, Some(_)) if self.production && !self.fallback_allowed => {
                return Err(KeySourceError::Production);
            }
            (None, Some(secret)) => {
                let key = secret.derive();
                warn(&KeyWarning::DerivedFromJwtSecret { id: key.id() });
                Keyring::new([KeyEntry::new(KeyState::Primary, key)])?
            }
        };
        let mut derived = derived.into_iter();
        Ok(derived.try_fold(keyring, |keyring, key| {
            keyring.with_retired(key, "derived from a JWT secret")
        })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::testing::key;
    use crate::vault::Vault;

    const SECRET: &str = "the JWT secret of the year 2025, in words";
    const NEXT: &str = "the JWT secret of the year 2026, in words";

    fn jwt(secret: &str) -> JwtSecret {
        JwtSecret::new(secret).unwrap()
    }

    fn dedicated() -> Keyring {
        Keyring::new([KeyEntry::new(KeyState::Primary, key("dedicated"))]).unwrap()
    }

    fn resolve(sources: KeySources) -> (Vault, Vec<KeyWarning>) {
        let mut warnings = Vec::new();
        let ring = sources.resolve(|warning| warnings.push(warning.clone()));
        (Vault::new(&ring.unwrap()), warnings)
    }

    #[test]
    fn the_derived_key_never_changes_and_is_no_other_use_of_the_secret() {
        let key = jwt(SECRET).derive();
        assert_eq!(key.id().to_string(), "KVOKRfU5bxg");
        let as_key = RootKey::unchecked(SECRET.as_bytes()[..32].try_into().unwrap());
        assert_ne!(as_key.id(), key.id());
        assert_ne!(jwt(NEXT).derive(), key);
    }

    #[test]
    fn what_the_fallback_sealed_stays_readable() {
        let place = Context::new("users", "token", "7");
        let (first, warnings) = resolve(KeySources::new().jwt_secret(jwt(SECRET)));
        assert!(
            matches!(&warnings[..], [KeyWarning::DerivedFromJwtSecret { id }]
            if *id == first.primary_key_id())
        );
        let sealed = first.seal(&place, "secret").unwrap();

        // Another JWT secret, still without a keyring; then with one.
        let (second, warnings) = resolve(
            KeySources::new()
                .jwt_secret(jwt(NEXT))
                .previous_jwt_secret(jwt(SECRET)),
        );
        assert_eq!(warnings.len(), 1);
        assert!(second.open(&place, &sealed).is_ok());
        assert_ne!(second.primary_key_id(), first.primary_key_id());
        let (third, warnings) = resolve(
            KeySources::new()
                .keyring(dedicated())
                .jwt_secret(jwt(NEXT))
                .previous_jwt_secret(jwt(SECRET)),
        );
        assert_eq!(warnings, []);
        assert_eq!(third.primary_key_id(), key("dedicated").id());
        assert!(third.open(&place, &sealed).is_ok());
        let states: Vec<_> = third.keys().iter().map(|(_, state)| *state).collect();
        assert_eq!(
            states,
            [KeyState::Primary, KeyState::Retired, KeyState::Retired]
        );

        // Without the secret it came from, it does not open.
        let (without, _) = resolve(KeySources::new().keyring(dedicated()).jwt_secret(jwt(NEXT)));
        assert!(without.open(&place, &sealed).is_err());
    }

    #[test]
    fn a_derived_key_may_stand_in_the_keyring_already() {
        let ring = dedicated()
            .with_retired(jwt(SECRET).derive(), "kept")
            .unwrap();
        let (vault, _) = resolve(KeySources::new().keyring(ring).jwt_secret(jwt(SECRET)));
        assert_eq!(vault.keys().len(), 2);
    }

    #[test]
    fn production_has_a_keyring_unless_it_is_asked_not_to() {
        let fallback = || KeySources::new().jwt_secret(jwt(SECRET)).production(true);
        assert!(matches!(
            fallback().resolve(|_| ()),
            Err(KeySourceError::Production)
        ));
        assert!(fallback().keyring(dedicated()).resolve(|_| ()).is_ok());
        let (_, warnings) = resolve(fallback().dangerous_allow_jwt_secret_in_production());
        assert_eq!(warnings.len(), 1);
        assert!(matches!(
            KeySources::new().resolve(|_| ()),
            Err(KeySourceError::None)
        ));
    }

    #[test]
    fn refuses_short_secrets_and_keys_that_are_the_secret() {
        assert!(matches!(
            JwtSecret::new("x".repeat(31)),
            Err(KeySourceError::ShortJwtSecret { found: 31 })
        ));
        let text = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let bytes = *RootKey::parse(text).unwrap().expose();
        for secret in [text.as_bytes(), hex.as_bytes(), &bytes] {
            for previous in [false, true] {
                let ring = Keyring::parse(&format!("forge-keyring v1\nprimary {text}")).unwrap();
                let secret = JwtSecret::new(secret).unwrap();
                let sources = KeySources::new().keyring(ring);
                let sources = match previous {
                    false => sources.jwt_secret(secret),
                    true => sources.previous_jwt_secret(secret),
                };
                assert!(matches!(
                    sources.resolve(|_| ()),
                    Err(KeySourceError::JwtSecret { .. })
                ));
            }
        }
        assert_eq!(format!("{:?}", jwt(SECRET)), "JwtSecret([redacted])");
    }
}
