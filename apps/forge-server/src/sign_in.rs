//! Signing in with GitHub: OAuth 2.0 with PKCE (RFC 7636), state bound to the browser, `iss`
//! checked (RFC 9207).
//!
//! The browser alone knows the secret of a sign-in, in a cookie. The state GitHub hands back and
//! the PKCE verifier are derived from it; the database holds a hash of the state. So neither the
//! database nor the callback's URL is enough to finish somebody's sign-in.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::{Row, SqlitePool};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::clock::Clock;

/// How long a sign-in may take.
pub(crate) const VALID_FOR: Duration = Duration::from_secs(600);
/// Sign-ins under way at once; beyond, the oldest are forgotten.
const MAX_PENDING: i64 = 100_000;

/// The secret that one browser signs in with.
pub struct BrowserSecret(Zeroizing<[u8; 32]>);

impl BrowserSecret {
    /// A fresh one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret)?;
        Ok(Self(secret))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut *secret).ok()?;
        (length == 32).then_some(Self(secret))
    }

    /// What GitHub hands back to the browser.
    #[must_use]
    pub fn state(&self) -> String {
        self.derive(b"forge sign-in state v1")
    }

    /// The PKCE verifier.
    #[must_use]
    pub fn verifier(&self) -> SecretString {
        self.derive(b"forge sign-in pkce v1").into()
    }

    /// The PKCE challenge, by S256.
    #[must_use]
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier().expose_secret()))
    }

    fn derive(&self, label: &[u8]) -> String {
        let digest = Sha256::new_with_prefix(label)
            .chain_update(*self.0)
            .finalize();
        URL_SAFE_NO_PAD.encode(digest)
    }
}

impl std::fmt::Debug for BrowserSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BrowserSecret(..)")
    }
}

/// The cookie that holds the secret.
#[derive(Clone, Copy, Debug)]
pub struct SignInCookie {
    https: bool,
}

impl SignInCookie {
    /// With the `__Host-` prefix over https; for plain http on loopback under another name.
    #[must_use]
    pub fn new(https: bool) -> Self {
        Self { https }
    }

    fn name(self) -> &'static str {
        if self.https {
            "__Host-forge-sign-in"
        } else {
            "forge-sign-in-dev"
        }
    }

    /// Gives the browser its secret. `SameSite=Lax`, since the way back from GitHub is cross-site.
    #[must_use]
    pub fn set(self, secret: &BrowserSecret) -> HeaderValue {
        let value = URL_SAFE_NO_PAD.encode(*secret.0);
        self.header(&value, VALID_FOR.as_secs())
    }

    /// Takes the secret away.
    #[must_use]
    pub fn clear(self) -> HeaderValue {
        self.header("", 0)
    }

    fn header(self, value: &str, max_age: u64) -> HeaderValue {
        let secure = if self.https { "; Secure" } else { "" };
        let name = self.name();
        let text =
            format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
        let mut header = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }

    /// The secret of the browser that sends these headers; none where it is missing, malformed,
    /// or there twice.
    #[must_use]
    pub fn read(self, headers: &HeaderMap) -> Option<BrowserSecret> {
        let pairs = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut ours = pairs
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name());
        let (_, value) = ours.next()?;
        ours.next()
            .is_none()
            .then(|| BrowserSecret::parse(value))
            .flatten()
    }

    /// Whether a callback with that state continues what this browser began.
    #[must_use]
    pub fn continues(self, headers: &HeaderMap, state: &str) -> Option<BrowserSecret> {
        let secret = self.read(headers)?;
        let same: bool = secret.state().as_bytes().ct_eq(state.as_bytes()).into();
        same.then_some(secret)
    }
}

/// The sign-ins under way, in the database.
#[derive(Clone, Debug)]
pub struct SignIns {
    pool: SqlitePool,
    clock: Clock,
}

impl SignIns {
    /// Over the server's database.
    #[must_use]
    pub fn new(pool: SqlitePool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Keeps that a browser began to sign in and where it wants to go then.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin(&self, state: &str, next: &LocalPath) -> Result<(), sqlx::Error> {
        let now = self.clock.now_micros();
        let valid = i64::try_from(VALID_FOR.as_micros()).unwrap_or(i64::MAX);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM sign_ins WHERE expires_at <= ?1")
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "DELETE FROM sign_ins WHERE state_hash IN \
             (SELECT state_hash FROM sign_ins ORDER BY expires_at DESC LIMIT -1 OFFSET ?1)",
        )
        .bind(MAX_PENDING - 1)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("INSERT INTO sign_ins (state_hash, next, expires_at) VALUES (?1, ?2, ?3)")
            .bind(hash(state))
            .bind(next.as_str())
            .bind(now + valid)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Ends a sign-in: where it wanted to go, if it was under way. A second time it is not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish(&self, state: &str) -> Result<Option<LocalPath>, sqlx::Error> {
        let row =
            sqlx::query("DELETE FROM sign_ins WHERE state_hash = ?1 RETURNING next, expires_at")
                .bind(hash(state))
                .fetch_optional(&self.pool)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let expires_at: i64 = row.try_get("expires_at")?;
        let next: String = row.try_get("next")?;
        Ok((expires_at > self.clock.now_micros()).then(|| LocalPath::parse(&next)))
    }
}

fn hash(state: &str) -> Vec<u8> {
    Sha256::digest(state).to_vec()
}

/// A path on this server, safe to redirect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPath(String);

impl LocalPath {
    /// The path, or `/` where it could lead a browser elsewhere.
    ///
    /// Browsers read `//host` and `/\host` as another host, drop tabs and line feeds, and some
    /// intermediaries decode before they compare: so is it judged, after decoding as often as it
    /// decodes.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let root = || Self("/".to_owned());
        if text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return root();
        }
        let mut seen = text.to_owned();
        for _ in 0..4 {
            if !is_local(&seen) {
                return root();
            }
            let decoded = percent_encoding::percent_decode_str(&seen).decode_utf8_lossy();
            if decoded == seen {
                return Self(text.to_owned());
            }
            seen = decoded.into_owned();
        }
        root()
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_local(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.first() == Some(&b'/')
        && !matches!(bytes.get(1), Some(b'/' | b'\\'))
        && !path.contains(['\\', '\t', '\r', '\n'])
        && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_stays_on_this_server() {
        for good in ["/", "/api/me", "/a?b=c&d=/e", "/a//b", "/%C3%A4", "/a%20b"] {
            assert_eq!(LocalPath::parse(good).as_str(), good);
        }
        for bad in [
            "",
            "evil",
            "//evil",
            "/\\evil",
            "\\\\evil",
            "https://evil",
            "/%2Fevil",
            "/%5Cevil",
            "/%252Fevil",
            "/%25252Fevil",
            "/%2525252Fevil",
            "/\t/evil",
            "/%09/evil",
            "/%0d%0aSet-Cookie:x",
            "javascript:alert(1)",
            " /a",
        ] {
            assert_eq!(LocalPath::parse(bad).as_str(), "/", "{bad:?}");
        }
        assert_eq!(
            LocalPath::parse(&format!("/{}", "a".repeat(600))).as_str(),
            "/"
        );
    }

    #[test]
    fn only_the_browser_that_began_continues() {
        let cookie = SignInCookie::new(true);
        let (ours, others) = (
            BrowserSecret::random().unwrap(),
            BrowserSecret::random().unwrap(),
        );
        let mut headers = HeaderMap::new();
        assert!(cookie.continues(&headers, &ours.state()).is_none());
        let set = cookie.set(&ours).to_str().unwrap().to_owned();
        let pair = set.split(';').next().unwrap();
        headers.insert(COOKIE, pair.parse().unwrap());
        assert!(cookie.continues(&headers, &ours.state()).is_some());
        assert!(cookie.continues(&headers, &others.state()).is_none());
        assert!(cookie.continues(&headers, "").is_none());
        headers.append(COOKIE, pair.parse().unwrap());
        assert!(
            cookie.continues(&headers, &ours.state()).is_none(),
            "a doubled cookie is nobody's"
        );
    }

    #[test]
    fn state_verifier_and_challenge_differ() {
        let secret = BrowserSecret::random().unwrap();
        let verifier = secret.verifier();
        assert_ne!(secret.state(), verifier.expose_secret());
        assert_ne!(secret.challenge(), verifier.expose_secret());
        assert_eq!(verifier.expose_secret().len(), 43);
    }
}
