//! Access tokens: `at+jwt` (RFC 9068), signed with EdDSA or HS256, validated after RFC 8725.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cache::Recent;
use crate::clock::Timestamp;
use crate::error::{BuildError, IssueError, TokenError};
use crate::scopes::Scopes;
use crate::session::{Session, SessionId};
use crate::signing_key::TokenKeys;

/// The most bytes of an access token that are looked at.
const MAX_LEN: usize = 4096;

/// How far the clocks of issuer and verifier may be apart, in seconds.
const LEEWAY: i64 = 30;

/// How many tokens are remembered as well signed.
const VERIFIED: usize = 10_000;

/// The media type of an access token, without `application/` (RFC 9068, section 2.1).
const TYPE: &str = "at+jwt";

/// Who issues access tokens, for whom, with which keys. Clones share the keys.
///
/// A token whose signature was found good is remembered by its SHA-256, so that the next request
/// with it has only its times, its keys and its session to be checked.
#[derive(Clone)]
pub struct AccessTokens {
    issuer: String,
    audience: String,
    eddsa: Validation,
    hs256: Validation,
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
        let (issuer, audience) = (issuer.into(), audience.into());
        Self {
            eddsa: validation(Algorithm::EdDSA, &issuer, &audience),
            hs256: validation(Algorithm::HS256, &issuer, &audience),
            issuer,
            audience,
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
        let token = jsonwebtoken::encode(&header, &claims, key.signing())
            .map_err(|error| IssueError::Sign(error.into()))?;
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

    /// Everything but the times.
    fn decode(&self, token: &str, keys: &TokenKeys) -> Result<Verified, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let (algorithm, kid) = check_header(header)?;
        let key = keys.by_id(&kid).ok_or(TokenError::Key)?;
        if key.algorithm() != algorithm {
            return Err(TokenError::Algorithm);
        }
        let validation = match key.algorithm() {
            Algorithm::HS256 => &self.hs256,
            _ => &self.eddsa,
        };
        let token = jsonwebtoken::decode::<Claims>(token, key.verifying(), validation)
            .map_err(|error| token_error(error.kind()))?;
        token.claims.try_into()
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

fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    // The library reads the system's clock; the times are checked with this crate's.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

/// An access token to hand out.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token, for `Authorization: Bearer`.
    pub token: SecretString,
    /// How long it lives, for `expires_in` (RFC 6749, section 5.1).
    pub expires_in: Duration,
}

/// The claims of RFC 9068, section 2.2, with the session and its kind. All but `scope` are
/// required, and each has one value: a token with several audiences is not one of ours.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    client_id: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    sid: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

/// What a token says whose signature is good.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) session: SessionId,
    pub(crate) user: String,
    pub(crate) client: String,
    pub(crate) kind: String,
    pub(crate) scopes: Option<Scopes>,
    not_before: i64,
    expires: i64,
}

impl TryFrom<Claims> for Verified {
    type Error = TokenError;

    fn try_from(claims: Claims) -> Result<Self, TokenError> {
        let scopes = claims.scope.map(|scope| scope.parse());
        Ok(Self {
            session: claims.sid.parse().map_err(|_| TokenError::Claims)?,
            user: claims.sub,
            client: claims.client_id,
            kind: claims.kind,
            scopes: scopes.transpose().map_err(|_| TokenError::Claims)?,
            not_before: claims.nbf.max(claims.iat),
            expires: claims.exp,
        })
    }
}

impl Verified {
    fn check_times(&self, now: Timestamp) -> Result<(), TokenError> {
        let now = now.as_secs();
        if now >= self.expires.saturating_add(LEEWAY) {
            return Err(TokenError::Expired);
        }
        if self.not_before > now.saturating_add(LEEWAY) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}

/// Admits exactly the members that tokens of this crate have: whoever sends another, such as
/// `crit`, `jku`, `jwk`, `x5u` or `b64`, wants it to be interpreted (RFC 8725, section 3.10).
fn check_header(header: Header) -> Result<(Algorithm, String), TokenError> {
    let mut rest = header.clone();
    (rest.typ, rest.kid) = (None, None);
    let mut bare = Header::new(header.alg);
    bare.typ = None;
    if rest != bare {
        return Err(TokenError::Header);
    }
    let typ = header.typ.unwrap_or_default();
    let full = format!("application/{TYPE}");
    if !typ.eq_ignore_ascii_case(TYPE) && !typ.eq_ignore_ascii_case(&full) {
        return Err(TokenError::Type);
    }
    Ok((header.alg, header.kid.ok_or(TokenError::Key)?))
}

fn token_error(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) => TokenError::Claims,
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::EncodingKey;
    use secrecy::{ExposeSecret, SecretSlice};
    use serde_json::{Value, json};

    use crate::kind::Kind;
    use crate::session::{ClientId, UserId};
    use crate::signing_key::SigningKey;

    const NOW: i64 = 1_800_000_000;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    fn tokens() -> AccessTokens {
        let keys = TokenKeys::new(SigningKey::generate().unwrap());
        AccessTokens::new("https://forge.example", "https://forge.example/mcp", keys)
    }

    fn session() -> Session {
        Session {
            id: SessionId::new(),
            user: UserId::new("github:1001").unwrap(),
            kind: Kind::MCP,
            client: Some(ClientId::new("inspector").unwrap()),
            scopes: None,
            created: at(NOW),
            last_used: at(NOW),
            idle_expires: at(NOW + 7200),
            absolute_expires: at(NOW + 7200),
            created_ip: None,
            last_ip: None,
            user_agent: None,
            generation: 0,
            rotated: None,
            revoked: None,
        }
    }

    fn claims() -> Value {
        json!({
            "iss": "https://forge.example", "aud": "https://forge.example/mcp",
            "sub": "github:1001", "client_id": "inspector", "iat": NOW, "nbf": NOW,
            "exp": NOW + 900, "jti": "1", "sid": SessionId::new().to_string(), "kind": "mcp",
        })
    }

    fn header(tokens: &AccessTokens) -> Value {
        json!({"typ": "at+jwt", "alg": "EdDSA", "kid": tokens.keys().current().id()})
    }

    /// A token with any header at all, correctly signed.
    fn signed(tokens: &AccessTokens, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let keys = tokens.keys();
        let key = keys.current();
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), key.signing(), key.algorithm());
        let signature = signature.unwrap();
        format!("{message}.{signature}")
    }

    fn refused(tokens: &AccessTokens, token: &str) -> TokenError {
        let verified = tokens.verify(token, at(NOW));
        verified.expect_err("the token must be refused")
    }

    fn refused_with_header(name: &str, value: Value) -> TokenError {
        let tokens = tokens();
        let mut header = header(&tokens);
        header[name] = value;
        refused(&tokens, &signed(&tokens, &header, &claims()))
    }

    fn refused_with_claim(name: &str, value: Value) -> TokenError {
        let tokens = tokens();
        let mut claims = claims();
        claims[name] = value;
        refused(&tokens, &signed(&tokens, &header(&tokens), &claims))
    }

    #[test]
    fn accepts_what_it_issues_with_every_claim_of_rfc_9068() {
        let (tokens, session) = (tokens(), session());
        let issued = tokens
            .issue(&session, None, Duration::from_secs(900), at(NOW))
            .unwrap();
        assert_eq!(issued.expires_in, Duration::from_secs(900));
        let token = issued.token.expose_secret();
        let verified = tokens.verify(token, at(NOW)).unwrap();
        assert_eq!(verified.session, session.id);
        assert_eq!((verified.not_before, verified.expires), (NOW, NOW + 900));
        assert_eq!(verified.user, "github:1001");
        assert_eq!(verified.client, "inspector");
        assert_eq!(verified.kind, "mcp");
        assert_eq!(verified.scopes, None);
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(header.kid.as_deref(), Some(tokens.keys().current().id()));
    }

    #[test]
    fn accepts_the_hand_made_token_that_the_refusals_start_from() {
        let tokens = tokens();
        let token = signed(&tokens, &header(&tokens), &claims());
        assert!(tokens.verify(&token, at(NOW)).is_ok());
    }

    #[test]
    fn never_outlives_the_session() {
        let ttl = Duration::from_secs(900);
        let issued = tokens()
            .issue(&session(), None, ttl, at(NOW + 7000))
            .unwrap();
        assert_eq!(issued.expires_in, Duration::from_secs(200));
    }

    #[test]
    fn refuses_alg_none() {
        assert_eq!(
            refused_with_header("alg", json!("none")),
            TokenError::Malformed
        );
        let tokens = tokens();
        let header = json!({"typ": "at+jwt", "alg": "none"});
        let token = signed(&tokens, &header, &claims());
        let bare = &token[..=token.rfind('.').unwrap()];
        assert_eq!(refused(&tokens, bare), TokenError::Malformed);
    }

    #[test]
    fn refuses_the_public_key_used_as_a_shared_secret() {
        let tokens = tokens();
        let keys = tokens.keys();
        let public = keys.current().verifying();
        let secret = EncodingKey::from_secret(public.try_get_as_bytes().unwrap());
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(tokens.keys().current().id().to_owned());
        let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
        assert_eq!(refused(&tokens, &token), TokenError::Algorithm);
    }

    #[test]
    fn refuses_another_type() {
        assert_eq!(refused_with_header("typ", json!("JWT")), TokenError::Type);
        assert_eq!(refused_with_header("typ", Value::Null), TokenError::Type);
        assert_eq!(refused_with_header("typ", json!("")), TokenError::Type);
    }

    #[test]
    fn accepts_the_type_written_in_full_and_in_capitals() {
        let tokens = tokens();
        for typ in ["application/at+jwt", "AT+JWT"] {
            let mut header = header(&tokens);
            header["typ"] = json!(typ);
            let token = signed(&tokens, &header, &claims());
            assert!(tokens.verify(&token, at(NOW)).is_ok(), "{typ}");
        }
    }

    #[test]
    fn refuses_an_unknown_or_absent_key() {
        let other = SigningKey::generate().unwrap();
        assert_eq!(
            refused_with_header("kid", json!(other.id())),
            TokenError::Key
        );
        assert_eq!(refused_with_header("kid", Value::Null), TokenError::Key);
    }

    #[test]
    fn refuses_header_members_that_want_to_be_interpreted() {
        let x = tokens().keys().jwks()["keys"][0].clone();
        for (name, value) in [
            ("crit", json!(["exp"])),
            ("jku", json!("https://evil.example/jwks")),
            ("jwk", x),
            ("x5u", json!("https://evil.example/x5u")),
            ("x5c", json!(["MAo="])),
            ("b64", json!(false)),
            ("zip", json!("DEF")),
            ("cty", json!("JWT")),
        ] {
            assert_eq!(
                refused_with_header(name, value),
                TokenError::Header,
                "{name}"
            );
        }
    }

    #[test]
    fn refuses_another_issuer_or_audience() {
        let evil = "https://evil.example";
        assert_eq!(refused_with_claim("iss", json!(evil)), TokenError::Issuer);
        assert_eq!(refused_with_claim("aud", json!(evil)), TokenError::Audience);
        let both = json!(["https://forge.example/mcp", evil]);
        assert_eq!(refused_with_claim("aud", both), TokenError::Claims);
    }

    #[test]
    fn refuses_a_token_without_any_one_of_its_claims() {
        let tokens = tokens();
        for name in claims().as_object().unwrap().keys() {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(name);
            let token = signed(&tokens, &header(&tokens), &claims);
            assert_eq!(refused(&tokens, &token), TokenError::Claims, "{name}");
            assert_eq!(
                refused_with_claim(name, Value::Null),
                TokenError::Claims,
                "{name}"
            );
        }
        assert_eq!(refused_with_claim("exp", json!("soon")), TokenError::Claims);
    }

    #[test]
    fn allows_thirty_seconds_between_the_clocks_and_no_more() {
        let tokens = tokens();
        let token = signed(&tokens, &header(&tokens), &claims());
        let verify = |now| tokens.verify(&token, at(now)).map(|_| ());
        let expires = NOW + 900;
        assert_eq!(verify(expires + 29), Ok(()));
        assert_eq!(verify(expires + 30), Err(TokenError::Expired));
        assert_eq!(verify(expires + 31), Err(TokenError::Expired));
        assert_eq!(verify(NOW - 30), Ok(()));
        assert_eq!(verify(NOW - 31), Err(TokenError::NotYetValid));
    }

    #[test]
    fn refuses_a_token_of_the_future() {
        let error = TokenError::NotYetValid;
        assert_eq!(refused_with_claim("iat", json!(NOW + 31)), error);
        assert_eq!(refused_with_claim("nbf", json!(NOW + 31)), error);
        assert_eq!(refused_with_claim("nbf", json!(i64::MAX)), error);
    }

    #[test]
    fn refuses_times_at_the_edge_without_overflow() {
        assert_eq!(refused_with_claim("exp", json!(0)), TokenError::Expired);
        assert_eq!(refused_with_claim("exp", json!(-1)), TokenError::Claims);
        assert_eq!(refused_with_claim("exp", json!(1e300)), TokenError::Claims);
    }

    #[test]
    fn refuses_a_changed_token_and_a_foreign_signature() {
        let (ours, theirs) = (tokens(), tokens());
        let token = signed(&theirs, &header(&ours), &claims());
        assert_eq!(refused(&ours, &token), TokenError::Signature);
        let token = signed(&ours, &header(&ours), &claims());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let unsigned = format!("{message}.");
        assert_eq!(refused(&ours, &unsigned), TokenError::Signature);
        let (head, _) = message.split_once('.').unwrap();
        let mut admin = claims();
        admin["sub"] = json!("github:1");
        let admin = URL_SAFE_NO_PAD.encode(admin.to_string());
        let forged = format!("{head}.{admin}.{signature}");
        assert_eq!(refused(&ours, &forged), TokenError::Signature);
    }

    #[test]
    fn accepts_tokens_of_a_previous_key_only_while_it_is_kept() {
        let (old, new) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let with = |keys| AccessTokens::new("i", "a", keys);
        let before = with(TokenKeys::new(old.clone()));
        let issued = before
            .issue(&session(), None, Duration::from_secs(60), at(NOW))
            .unwrap();
        let token = issued.token.expose_secret();
        let during = with(TokenKeys::new(new.clone()).previous(old));
        assert!(during.verify(token, at(NOW)).is_ok());
        assert_eq!(refused(&with(TokenKeys::new(new)), token), TokenError::Key);
    }

    #[test]
    fn signs_with_a_shared_secret_and_refuses_to_mix_the_algorithms() {
        let secret = || SecretSlice::from(vec![7; 32]);
        let keys = TokenKeys::new(SigningKey::from_shared_secret(&secret()).unwrap());
        let tokens = AccessTokens::new("https://forge.example", "https://forge.example/mcp", keys);
        let kid = tokens.keys().current().id().to_owned();
        let header = |alg: &str| json!({"typ": "at+jwt", "alg": alg, "kid": kid});
        let token = signed(&tokens, &header("HS256"), &claims());
        assert!(tokens.verify(&token, at(NOW)).is_ok());
        for alg in ["EdDSA", "HS384", "HS512", "RS256", "ES256"] {
            let token = signed(&tokens, &header(alg), &claims());
            assert_eq!(refused(&tokens, &token), TokenError::Algorithm, "{alg}");
        }
        let other = SigningKey::from_shared_secret(&vec![8; 32].into()).unwrap();
        assert_ne!(other.id(), kid);
        let issued = tokens.issue(&session(), None, Duration::from_secs(60), at(NOW));
        let issued = issued.unwrap();
        assert!(tokens.verify(issued.token.expose_secret(), at(NOW)).is_ok());
        assert_eq!(tokens.keys().jwks(), json!({ "keys": [] }));
    }

    #[test]
    fn remembers_a_token_but_neither_past_its_time_nor_past_its_key() {
        let tokens = tokens();
        let token = signed(&tokens, &header(&tokens), &claims());
        for _ in 0..2 {
            assert!(tokens.verify(&token, at(NOW)).is_ok());
        }
        let expired = tokens.verify(&token, at(NOW + 930)).unwrap_err();
        assert_eq!(expired, TokenError::Expired);
        let early = tokens.verify(&token, at(NOW - 31)).unwrap_err();
        assert_eq!(early, TokenError::NotYetValid);
        tokens.set_keys(TokenKeys::new(SigningKey::generate().unwrap()));
        assert_eq!(refused(&tokens, &token), TokenError::Key);
    }

    #[test]
    fn reads_the_scopes_and_refuses_what_are_none() {
        let tokens = tokens();
        let mut claims = claims();
        claims["scope"] = json!("write read");
        let token = signed(&tokens, &header(&tokens), &claims);
        let verified = tokens.verify(&token, at(NOW)).unwrap();
        assert_eq!(verified.scopes, Some("read write".parse().unwrap()));
        assert_eq!(
            refused_with_claim("scope", json!("a  b")),
            TokenError::Claims
        );
        assert_eq!(
            refused_with_claim("scope", json!(["a"])),
            TokenError::Claims
        );
    }

    #[test]
    fn refuses_what_is_too_long_or_no_token_at_all() {
        let tokens = tokens();
        let mut long = claims();
        long["jti"] = json!("x".repeat(MAX_LEN));
        let long = signed(&tokens, &header(&tokens), &long);
        assert_eq!(refused(&tokens, &long), TokenError::TooLong);
        for text in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c.d",
            "\u{e9}.e30.e30",
            "e30.e30.e30",
        ] {
            assert_eq!(refused(&tokens, text), TokenError::Malformed, "{text}");
        }
    }
}
