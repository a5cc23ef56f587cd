//! The keys that sign access tokens: Ed25519, known by their thumbprint.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{KeyError, RandomError};

/// An Ed25519 key (RFC 8037) that signs access tokens.
///
/// Its id (`kid`) is the JWK thumbprint of the public key (RFC 7638), so that it needs no
/// bookkeeping and cannot be given to two keys.
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    /// The public key, base64url.
    x: String,
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl SigningKey {
    /// A new key from the operating system's random bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError::Random`] when it gives none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(RandomError)?;
        Self::new(&ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// Reads a key that [`to_pkcs8`](Self::to_pkcs8), or `openssl genpkey -algorithm ed25519
    /// -outform DER`, wrote.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] when the bytes are anything else.
    pub fn from_pkcs8(der: &SecretSlice<u8>) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_der(der.expose_secret());
        Self::new(&key.map_err(|_| KeyError::Malformed)?)
    }

    /// The private key as PKCS #8 (RFC 5958), DER. Seal it before you store it.
    #[must_use]
    pub fn to_pkcs8(&self) -> SecretSlice<u8> {
        self.signing.as_bytes().to_vec().into()
    }

    /// The key's id, `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn new(key: &ed25519_dalek::SigningKey) -> Result<Self, KeyError> {
        let der = key.to_pkcs8_der().map_err(|_| KeyError::Malformed)?;
        let public = key.verifying_key();
        let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
        // RFC 8037, appendix A.3: the required members in lexical order, without white space.
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(Sha256::digest(thumbprint)),
            x,
            signing: EncodingKey::from_ed_der(der.as_bytes()),
            verifying: DecodingKey::from_ed_der(public.as_bytes()),
        })
    }

    pub(crate) fn signing(&self) -> &EncodingKey {
        &self.signing
    }

    pub(crate) fn verifying(&self) -> &DecodingKey {
        &self.verifying
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The keys of one issuer: one that signs, and those that signed before and are still accepted.
#[derive(Clone, Debug)]
pub struct TokenKeys {
    current: SigningKey,
    previous: Vec<SigningKey>,
}

impl TokenKeys {
    /// Signs with `current`, accepts nothing else.
    #[must_use]
    pub fn new(current: SigningKey) -> Self {
        Self {
            current,
            previous: Vec::new(),
        }
    }

    /// Accepts tokens of `key` too. Keep a retired key for as long as its last token lives.
    #[must_use]
    pub fn previous(mut self, key: SigningKey) -> Self {
        self.previous.push(key);
        self
    }

    /// The public keys as a JWK Set (RFC 7517, RFC 8037), to be served as `jwks_uri`.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        let keys = self.all().map(|key| {
            json!({
                "kty": "OKP", "crv": "Ed25519", "x": key.x,
                "kid": key.id, "alg": "EdDSA", "use": "sig",
            })
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }

    pub(crate) fn current(&self) -> &SigningKey {
        &self.current
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<&SigningKey> {
        self.all().find(|key| key.id == id)
    }

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        let key = SigningKey::generate().unwrap();
        let read = SigningKey::from_pkcs8(&key.to_pkcs8()).unwrap();
        assert_eq!(read.id(), key.id());
        assert_ne!(SigningKey::generate().unwrap().id(), key.id());
    }

    #[test]
    fn knows_the_thumbprint_of_rfc_8037() {
        let d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
        let seed = URL_SAFE_NO_PAD.decode(d).unwrap();
        let key = ed25519_dalek::SigningKey::from_bytes(&seed.try_into().unwrap());
        let key = SigningKey::new(&key).unwrap();
        assert_eq!(key.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.id, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn refuses_what_is_no_key() {
        assert!(SigningKey::from_pkcs8(&vec![0x30, 0x03].into()).is_err());
    }

    #[test]
    fn shows_public_halves_only() {
        let (new, old) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let keys = TokenKeys::new(new.clone()).previous(old.clone());
        let jwks = keys.jwks();
        assert_eq!(jwks["keys"][0]["kid"], new.id());
        assert_eq!(jwks["keys"][1]["kid"], old.id());
        assert_eq!(jwks["keys"][0]["x"], new.x);
        assert!(jwks["keys"][0].get("d").is_none());
        let pkcs8 = new.to_pkcs8();
        let seed = format!("{:?}", &pkcs8.expose_secret()[16..48]);
        assert!(!format!("{keys:?}").contains(&seed));
        assert_eq!(
            format!("{new:?}"),
            format!("SigningKey {{ id: {:?}, .. }}", new.id())
        );
    }
}
