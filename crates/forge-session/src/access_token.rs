//! Access tokens: `at+jwt` (RFC 9068), signed with EdDSA, validated after RFC 8725.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::{BuildError, IssueError, TokenError};
use crate::session::{Session, SessionId};
use crate::signing_key::TokenKeys;

/// The most bytes of an access token that are looked at.
const MAX_LEN: usize = 4096;

/// How far the clocks of issuer and verifier may be apart, in seconds.
const LEEWAY: i64 = 30;

/// The media type of an access token, without `application/` (RFC 9068, section 2.1).
const TYPE: &str = "at+jwt";

/// Who issues access tokens, for whom, with which keys.
#[derive(Clone, Debug)]
pub struct AccessTokens {
    issuer: String,
    audience: String,
    keys: TokenKeys,
    validation: Validation,
}

impl AccessTokens {
    /// Tokens of `issuer` for `audience`, both as they are written in `iss` and `aud`: the URL of
    /// the authorization server and that of the protected resource.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, keys: TokenKeys) -> Self {
        let (issuer, audience) = (issuer.into(), audience.into());
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[&audience]);
        // The library reads the system's clock; `verify` checks the times with this crate's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            issuer,
            audience,
            keys,
            validation,
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

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &TokenKeys {
        &self.keys
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
        };
        let key = self.keys.current();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.id().to_owned());
        let token = jsonwebtoken::encode(&header, &claims, key.signing())
            .map_err(|error| IssueError::Sign(error.into()))?;
        Ok(AccessToken {
            token: token.into(),
            expires_in: expires.duration_since(now),
        })
    }

    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > MAX_LEN {
            return Err(TokenError::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let kid = check_header(header)?;
        let key = self.keys.by_id(&kid).ok_or(TokenError::Key)?;
        let token = jsonwebtoken::decode::<Claims>(token, key.verifying(), &self.validation)
            .map_err(|error| token_error(error.kind()))?;
        token.claims.check_times(now)?;
        Ok(token.claims)
    }
}

/// An access token to hand out.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token, for `Authorization: Bearer`.
    pub token: SecretString,
    /// How long it lives, for `expires_in` (RFC 6749, section 5.1).
    pub expires_in: Duration,
}

/// The claims of RFC 9068, section 2.2, with the session and its kind. All are required, and each
/// has one value: a token with several audiences is not one of ours.
#[derive(Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    pub(crate) sub: String,
    pub(crate) client_id: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    sid: String,
    pub(crate) kind: String,
}

impl Claims {
    pub(crate) fn session(&self) -> Result<SessionId, TokenError> {
        self.sid.parse().map_err(|_| TokenError::Claims)
    }

    fn check_times(&self, now: Timestamp) -> Result<(), TokenError> {
        let now = now.as_secs();
        if now >= self.exp.saturating_add(LEEWAY) {
            return Err(TokenError::Expired);
        }
        if self.nbf.max(self.iat) > now.saturating_add(LEEWAY) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}

/// Admits exactly the members that tokens of this crate have: whoever sends another, such as
/// `crit`, `jku`, `jwk`, `x5u` or `b64`, wants it to be interpreted (RFC 8725, section 3.10).
fn check_header(header: Header) -> Result<String, TokenError> {
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
    if header.alg != Algorithm::EdDSA {
        return Err(TokenError::Algorithm);
    }
    header.kid.ok_or(TokenError::Key)
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
    use secrecy::ExposeSecret;
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
        json!({"typ": "at+jwt", "alg": "EdDSA", "kid": tokens.keys.current().id()})
    }

    /// A token with any header at all, correctly signed.
    fn signed(tokens: &AccessTokens, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let key = tokens.keys.current().signing();
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }

    fn refused(tokens: &AccessTokens, token: &str) -> TokenError {
        let verified = tokens.verify(token, at(NOW));
        verified.err().expect("the token must be refused")
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
            .issue(&session, Duration::from_secs(900), at(NOW))
            .unwrap();
        assert_eq!(issued.expires_in, Duration::from_secs(900));
        let token = issued.token.expose_secret();
        let claims = tokens.verify(token, at(NOW)).unwrap();
        assert_eq!(claims.session().unwrap(), session.id);
        assert_eq!((claims.iat, claims.nbf, claims.exp), (NOW, NOW, NOW + 900));
        assert_eq!(claims.sub, "github:1001");
        assert_eq!(claims.client_id, "inspector");
        assert_eq!(claims.kind, "mcp");
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(header.kid.as_deref(), Some(tokens.keys.current().id()));
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
        let issued = tokens().issue(&session(), ttl, at(NOW + 7000)).unwrap();
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
        let public = tokens.keys.current().verifying();
        let secret = EncodingKey::from_secret(public.try_get_as_bytes().unwrap());
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(tokens.keys.current().id().to_owned());
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
        let x = tokens().keys.jwks()["keys"][0].clone();
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
            .issue(&session(), Duration::from_secs(60), at(NOW))
            .unwrap();
        let token = issued.token.expose_secret();
        let during = with(TokenKeys::new(new.clone()).previous(old));
        assert!(during.verify(token, at(NOW)).is_ok());
        assert_eq!(refused(&with(TokenKeys::new(new)), token), TokenError::Key);
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
