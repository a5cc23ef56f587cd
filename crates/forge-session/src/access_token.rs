//! Access tokens: `at+jwt` (RFC 9068), signed with EdDSA or HS256, validated after RFC 8725.

mod claims;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cache::Recent;
use crate::clock::Timestamp;
use crate::error::{BuildError, IssueError, TokenError};
use crate::scopes::Scopes;
use crate::session::Session;
use crate::signing_key::{SigningKey, TokenKeys};

pub(crate) use claims::Verified;
use claims::{Claims, TYPE, check_header};

/// The most bytes of an access token that are looked at.
const MAX_LEN: usize = 4096;

/// How many tokens are remembered as well signed.
const VERIFIED: usize = 10_000;

/// Who issues access tokens, for whom, with which keys. Clones share the keys.
///
/// A token whose signature was found good is remembered by its SHA-256, so that the next request
/// with it has only its times, its keys and its session to be checked.
#[derive(Clone)]
pub struct AccessTokens {
    issuer: String,
    audience: String,
    shared: Arc<Shared>,
}

struct Shared {
    keys: RwLock<Keys>,
    verified: Mutex<Recent<[u8; 32], Remembered>>,
}

struct Keys {
    keys: Arc<TokenKeys>,
    /// How often they were replaced.
    version: u64,
}

struct Remembered {
    verified: Arc<Verified>,
    /// The keys it was verified with.
    version: u64,
}

impl AccessTokens {
    /// Tokens of `issuer` for `audience`, both as they are written in `iss` and `aud`: the URL of
    /// the authorization server and that of the protected resource.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, keys: TokenKeys) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            shared: Arc::new(Shared {
                keys: RwLock::new(Keys {
                    keys: Arc::new(keys),
                    version: 0,
                }),
                verified: Mutex::new(Recent::new(VERIFIED)),
            }),
        }
    }

    /// The value of `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The value of `aud`.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The keys of now.
    #[must_use]
    pub fn keys(&self) -> Arc<TokenKeys> {
        self.versioned_keys().0
    }

    /// Goes on with other keys, in all clones. A token of a key that is not among them is refused
    /// from now on.
    pub fn set_keys(&self, keys: TokenKeys) {
        let mut current = self
            .shared
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        current.keys = Arc::new(keys);
        current.version += 1;
    }

    fn versioned_keys(&self) -> (Arc<TokenKeys>, u64) {
        let keys = self.shared.keys.read();
        let keys = keys.unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&keys.keys), keys.version)
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err(BuildError::AccessTokens);
        }
        Ok(())
    }

    /// Signs a token for `session` that lives for `ttl`, but no longer than the session can.
    pub(crate) fn issue(
        &self,
        session: &Session,
        scopes: Option<&Scopes>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<AccessToken, IssueError> {
        let client = session.client.as_ref().ok_or(IssueError::NotEntitled)?;
        let expires = (now + ttl).min(session.absolute_expires);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: session.user.to_string(),
            client_id: client.to_string(),
            iat: now.as_secs(),
            nbf: now.as_secs(),
            exp: expires.as_secs(),
            jti: Uuid::now_v7().to_string(),
            sid: session.id.to_string(),
            kind: session.kind.to_string(),
            scope: scopes.map(Scopes::to_string),
        };
        let keys = self.keys();
        let key = keys.current();
        let mut header = Header::new(key.algorithm());
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.id().to_owned());
        let token = sign(key, &header, &claims).map_err(|error| IssueError::Sign(error.into()))?;
        Ok(AccessToken {
            token: token.into(),
            expires_in: expires.duration_since(now),
        })
    }

    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Verified>, TokenError> {
        if token.len() > MAX_LEN {
            return Err(TokenError::TooLong);
        }
        let (keys, version) = self.versioned_keys();
        let hash = Sha256::digest(token).into();
        let known = self.verified(&hash, version);
        let verified = match known {
            Some(verified) => verified,
            None => {
                let verified = Arc::new(self.decode(token, &keys)?);
                let remembered = Remembered {
                    verified: Arc::clone(&verified),
                    version,
                };
                let all = self.shared.verified.lock();
                let mut all = all.unwrap_or_else(PoisonError::into_inner);
                all.insert(hash, remembered);
                verified
            }
        };
        verified.check_times(now)?;
        Ok(verified)
    }

    fn verified(&self, hash: &[u8; 32], version: u64) -> Option<Arc<Verified>> {
        let all = self.shared.verified.lock();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        let remembered = all.get(hash)?;
        (remembered.version == version).then(|| Arc::clone(&remembered.verified))
    }

    /// Everything but the times. Nothing of what the token claims is read before its signature was
    /// found good.
    fn decode(&self, token: &str, keys: &TokenKeys) -> Result<Verified, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let (algorithm, kid) = check_header(header)?;
        let key = keys.by_id(&kid).ok_or(TokenError::Key)?;
        if key.algorithm() != algorithm {
            return Err(TokenError::Algorithm);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (_, claims) = message.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let decode = |part| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| TokenError::Malformed)
        };
        if !key.verifies(message.as_bytes(), &decode(signature)?) {
            return Err(TokenError::Signature);
        }
        Claims::read(&decode(claims)?)?.of(&self.issuer, &self.audience)
    }
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}

/// A JWT in its compact form (RFC 7515, section 7.1).
fn sign(key: &SigningKey, header: &Header, claims: &Claims) -> serde_json::Result<String> {
    let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(header)?);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// An access token to hand out.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token, for `Authorization: Bearer`.
    pub token: SecretString,
    /// How long it lives, for `expires_in` (RFC 6749, section 5.1).
    pub expires_in: Duration,
}
