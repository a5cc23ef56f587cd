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
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::database::Pool;
use crate::database::sql::{self, Turn};

/// How long a sign-in may take.
pub(crate) const VALID_FOR: Duration = Duration::from_secs(600);
/// Sign-ins under way at once; beyond, the oldest are forgotten.
const MAX_PENDING: i64 = 100_000;
/// Sign-ins under way in one browser; beyond, the oldest are forgotten.
const MAX_OF_BROWSER: usize = 5;
/// How much of a state its cookie is named after.
const TAG: usize = 8;

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

/// The cookies that hold the secrets of a browser's sign-ins under way, each named after its state:
/// what is begun in one tab is not disturbed by another, nor by a way back that nobody asked for.
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

    /// Gives the browser a secret. `SameSite=Lax`, since the way back from GitHub is cross-site.
    #[must_use]
    pub fn set(self, secret: &BrowserSecret) -> HeaderValue {
        let value = URL_SAFE_NO_PAD.encode(*secret.0);
        self.header(tag(&secret.state()), &value, VALID_FOR.as_secs())
    }

    /// Takes the secret of that state away.
    #[must_use]
    pub fn clear(self, state: &str) -> HeaderValue {
        self.header(tag(state), "", 0)
    }

    /// Takes away what is too much for one more. Browsers send the oldest first (RFC 6265,
    /// section 5.4).
    #[must_use]
    pub fn make_room(self, headers: &HeaderMap) -> Vec<HeaderValue> {
        let tags: Vec<&str> = self.all(headers).map(|(tag, _)| tag).collect();
        let surplus = (tags.len() + 1).saturating_sub(MAX_OF_BROWSER);
        let surplus = tags.iter().take(surplus).take(MAX_OF_BROWSER);
        surplus.map(|tag| self.header(tag, "", 0)).collect()
    }

    fn header(self, tag: &str, value: &str, max_age: u64) -> HeaderValue {
        let secure = if self.https { "; Secure" } else { "" };
        let name = self.name();
        let text = format!(
            "{name}-{tag}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"
        );
        let mut header = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }

    /// The sign-ins that a browser says it has under way: tag and value.
    fn all(self, headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
        let pairs = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        pairs
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(move |(name, value)| {
                let tag = name.strip_prefix(self.name())?.strip_prefix('-')?;
                is_tag(tag).then_some((tag, value))
            })
    }

    /// Whether a callback with that state continues what this browser began. Not where the secret
    /// is missing, malformed, or there twice.
    #[must_use]
    pub fn continues(self, headers: &HeaderMap, state: &str) -> Option<BrowserSecret> {
        let mut ours = self.all(headers).filter(|(found, _)| *found == tag(state));
        let (_, value) = ours.next()?;
        if ours.next().is_some() {
            return None;
        }
        let secret = BrowserSecret::parse(value)?;
        let same: bool = secret.state().as_bytes().ct_eq(state.as_bytes()).into();
        same.then_some(secret)
    }
}

/// What the cookie of a state is named after; empty where it can be none of ours.
fn tag(state: &str) -> &str {
    state.get(..TAG).filter(|tag| is_tag(tag)).unwrap_or("")
}

fn is_tag(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    text.len() == TAG && text.bytes().all(letter)
}

/// The sign-ins under way, in the database.
#[derive(Clone, Debug)]
pub struct SignIns {
    pool: Pool,
    clock: Clock,
}

impl SignIns {
    /// Over the server's database.
    #[must_use]
    pub fn new(pool: Pool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Keeps that a browser began to sign in and where it wants to go then.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin(&self, state: &str, next: &LocalPath) -> Result<(), sqlx::Error> {
        let now = self.clock.now_micros();
        let valid = i64::try_from(VALID_FOR.as_micros()).unwrap_or(i64::MAX);
        let mut transaction = self.pool.begin(&[Turn::SignIns]).await?;
        sql::query("DELETE FROM sign_ins WHERE expires_at <= $1")
            .bind(now)
            .execute(&mut transaction)
            .await?;
        sql::query(
            "DELETE FROM sign_ins WHERE state_hash IN \
             (SELECT state_hash FROM sign_ins ORDER BY expires_at DESC LIMIT 1000000 OFFSET $1)",
        )
        .bind(MAX_PENDING - 1)
        .execute(&mut transaction)
        .await?;
        sql::query("INSERT INTO sign_ins (state_hash, next, expires_at) VALUES ($1, $2, $3)")
            .bind(hash(state))
            .bind(next.as_str())
            .bind(now + valid)
            .execute(&mut transaction)
            .await?;
        transaction.commit().await
    }

    /// Ends a sign-in: where it wanted to go, if it was under way. A second time it is not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish(&self, state: &str) -> Result<Option<LocalPath>, sqlx::Error> {
        let row =
            sql::query("DELETE FROM sign_ins WHERE state_hash = $1 RETURNING next, expires_at")
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
    fn a_browser_has_five_sign_ins_under_way_and_the_oldest_give_way() {
        let cookie = SignInCookie::new(true);
        let mut headers = HeaderMap::new();
        let secrets: Vec<_> = (0..7).map(|_| BrowserSecret::random().unwrap()).collect();
        for secret in &secrets {
            let set = cookie.set(secret).to_str().unwrap().to_owned();
            let pair = set.split(';').next().unwrap();
            headers.append(COOKIE, format!("a=b; {pair}").parse().unwrap());
        }
        for secret in &secrets {
            assert!(cookie.continues(&headers, &secret.state()).is_some());
        }
        let cleared = cookie.make_room(&headers);
        let expected: Vec<_> = secrets[..3]
            .iter()
            .map(|s| cookie.clear(&s.state()))
            .collect();
        assert_eq!(cleared, expected);
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, "__Host-forge-sign-in-a=b; x=y".parse().unwrap());
        assert!(cookie.make_room(&headers).is_empty());
    }

    #[test]
    fn no_state_makes_a_cookie_of_another_name() {
        let cookie = SignInCookie::new(true);
        for state in ["", "short", "a;b=c; d", "ääääääää", "\r\nSet-Co"] {
            let clear = cookie.clear(state);
            assert!(
                clear
                    .to_str()
                    .unwrap()
                    .starts_with("__Host-forge-sign-in-=;")
            );
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, "__Host-forge-sign-in-=x".parse().unwrap());
            assert!(cookie.continues(&headers, state).is_none());
        }
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
