//! What a token says: its header, its claims, and which of them are admitted.

use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::TokenError;
use crate::scopes::Scopes;
use crate::session::SessionId;

/// How far the clocks of issuer and verifier may be apart, in seconds.
const LEEWAY: i64 = 30;

/// The media type of an access token, without `application/` (RFC 9068, section 2.1).
pub(super) const TYPE: &str = "at+jwt";

/// The claims of RFC 9068, section 2.2, with the session and its kind. All but `scope` are
/// required, and each has one value: a token with several audiences is not one of ours.
#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: String,
    pub(super) sub: String,
    pub(super) client_id: String,
    pub(super) iat: i64,
    pub(super) nbf: i64,
    pub(super) exp: i64,
    pub(super) jti: String,
    pub(super) sid: String,
    pub(super) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
}

/// What a token says whose signature is good.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) session: SessionId,
    pub(crate) user: String,
    pub(crate) client: String,
    pub(crate) kind: String,
    pub(crate) scopes: Option<Scopes>,
    pub(super) not_before: i64,
    pub(super) expires: i64,
}

impl Claims {
    pub(super) fn read(json: &[u8]) -> Result<Self, TokenError> {
        let claims: Self = serde_json::from_slice(json).map_err(|_| TokenError::Claims)?;
        // No time before 1970 was meant.
        match [claims.iat, claims.nbf, claims.exp]
            .iter()
            .any(|time| *time < 0)
        {
            true => Err(TokenError::Claims),
            false => Ok(claims),
        }
    }

    /// What they say, where they are of `issuer` and for `audience`.
    pub(super) fn of(self, issuer: &str, audience: &str) -> Result<Verified, TokenError> {
        if self.iss != issuer {
            return Err(TokenError::Issuer);
        }
        if self.aud != audience {
            return Err(TokenError::Audience);
        }
        let scopes = self.scope.map(|scope| scope.parse());
        Ok(Verified {
            session: self.sid.parse().map_err(|_| TokenError::Claims)?,
            user: self.sub,
            client: self.client_id,
            kind: self.kind,
            scopes: scopes.transpose().map_err(|_| TokenError::Claims)?,
            not_before: self.nbf.max(self.iat),
            expires: self.exp,
        })
    }
}

impl Verified {
    pub(super) fn check_times(&self, now: Timestamp) -> Result<(), TokenError> {
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
pub(super) fn check_header(header: Header) -> Result<(Algorithm, String), TokenError> {
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
