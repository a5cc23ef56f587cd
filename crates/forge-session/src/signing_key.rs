//! The keys that sign access tokens: Ed25519, known by their thumbprint, or a shared secret.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signature, Signer, Verifier};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::Algorithm;
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::error::{KeyError, RandomError};

/// The least bytes of a shared secret: as many as its hash has (RFC 7518, section 3.2).
const MIN_SHARED: usize = 32;

/// A key that signs access tokens: Ed25519 (RFC 8037), or a secret that is shared with whoever
/// verifies them (HS256).
///
/// The id (`kid`) of an Ed25519 key is the JWK thumbprint of the public key (RFC 7638), so that it
/// needs no bookkeeping and cannot be given to two keys. That of a shared secret is derived from
/// it, and tells no more of it than a token does. The key says which algorithm its tokens have,
/// never the token.
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    /// The public key, base64url; none of a shared secret.
    x: Option<String>,
    /// As [`to_pkcs8`](Self::to_pkcs8) has it.
    bytes: Zeroizing<Vec<u8>>,
    material: Material,
}

/// What signs. Both are at hand without `jsonwebtoken`'s cryptography, which panics in a binary in
/// which none, or more than one, of its backends was compiled.
#[derive(Clone)]
enum Material {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    /// The bytes themselves: a state of HMAC made of them would be as secret, a second time.
    Shared,
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
        Self::new(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// Reads a key that [`to_pkcs8`](Self::to_pkcs8), or `openssl genpkey -algorithm ed25519
    /// -outform DER`, wrote.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] when the bytes are anything else.
    pub fn from_pkcs8(der: &SecretSlice<u8>) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_der(der.expose_secret());
        Self::new(key.map_err(|_| KeyError::Malformed)?)
    }

    /// A secret that is shared with whoever verifies the tokens: whoever can verify one can make
    /// one too. Take random bytes, not a password.
    ///
    /// # Errors
    ///
    /// [`KeyError::TooShort`] for less than 32 bytes.
    pub fn from_shared_secret(secret: &SecretSlice<u8>) -> Result<Self, KeyError> {
        let secret = secret.expose_secret();
        if secret.len() < MIN_SHARED {
            return Err(KeyError::TooShort);
        }
        let id = mac(secret, b"forge-session kid 1").finalize().into_bytes();
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(&id[..16]),
            x: None,
            bytes: secret.to_vec().into(),
            material: Material::Shared,
        })
    }

    /// The private key as PKCS #8 (RFC 5958), DER; of a shared secret, its bytes. Seal it before
    /// you store it.
    #[must_use]
    pub fn to_pkcs8(&self) -> SecretSlice<u8> {
        self.bytes.to_vec().into()
    }

    /// The key's id, `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn new(key: ed25519_dalek::SigningKey) -> Result<Self, KeyError> {
        let der = key.to_pkcs8_der().map_err(|_| KeyError::Malformed)?;
        let public = key.verifying_key();
        let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
        // RFC 8037, appendix A.3: the required members in lexical order, without white space.
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(Sha256::digest(thumbprint)),
            x: Some(x),
            bytes: der.as_bytes().to_vec().into(),
            material: Material::Ed25519(Box::new(key)),
        })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Ed25519(_) => Algorithm::EdDSA,
            Material::Shared => Algorithm::HS256,
        }
    }

    /// The signature of `message`, for the last part of a JWS (RFC 7515, section 5.1; of Ed25519:
    /// RFC 8037, section 3.1).
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.material {
            Material::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Material::Shared => {
                let mac = mac(&self.bytes, message).finalize();
                mac.into_bytes().to_vec()
            }
        }
    }

    /// Whether the key made this signature; of a shared secret in constant time.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Ed25519(key) => Signature::from_slice(signature)
                .is_ok_and(|signature| key.verifying_key().verify(message, &signature).is_ok()),
            Material::Shared => mac(&self.bytes, message).verify_slice(signature).is_ok(),
        }
    }
}

/// Its state, which is two hashes of the secret, is wiped when it is dropped.
fn mac(secret: &[u8], message: &[u8]) -> Hmac<Sha256> {
    const { is_wiped::<Sha256>() };
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.chain_update(message)
}

const fn is_wiped<T: ZeroizeOnDrop>() {}

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

    /// Accepts tokens of `key` too, and publishes it: one that signed before, for as long as its
    /// last token lives, or one that is to sign next, so that verifiers know it by then. See
    /// [`KeySchedule`](crate::KeySchedule).
    #[must_use]
    pub fn previous(mut self, key: SigningKey) -> Self {
        self.previous.push(key);
        self
    }

    /// The public keys as a JWK Set (RFC 7517, RFC 8037), to be served as `jwks_uri`. A shared
    /// secret is not among them.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        let keys = self.all().filter_map(|key| {
            Some(json!({
                "kty": "OKP", "crv": "Ed25519", "x": key.x.as_ref()?,
                "kid": key.id, "alg": "EdDSA", "use": "sig",
            }))
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
        let key = SigningKey::new(key).unwrap();
        assert_eq!(
            key.x.unwrap(),
            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        );
        assert_eq!(key.id, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn refuses_what_is_no_key() {
        assert!(SigningKey::from_pkcs8(&vec![0x30, 0x03].into()).is_err());
    }

    #[test]
    fn refuses_a_shared_secret_of_31_bytes() {
        let short = SigningKey::from_shared_secret(&vec![1; 31].into());
        assert!(matches!(short, Err(KeyError::TooShort)));
        assert!(SigningKey::from_shared_secret(&vec![1; 32].into()).is_ok());
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
        assert_eq!(jwks["keys"][0]["x"], new.x.clone().unwrap());
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
