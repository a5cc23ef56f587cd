//! The number used once that ties a page's own scripts to its policy.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::security::random;

/// 128 bits in base64 without padding.
const LEN: usize = 22;

/// The nonce of this request, for the `nonce` attribute of the page's scripts and styles.
///
/// 128 random bits, fresh for every request, from a generator (ChaCha20) that the operating system
/// keys for each thread and again after every 4096 nonces.
/// [`SecurityHeadersLayer`](crate::SecurityHeadersLayer) puts it into the request's extensions
/// when its policy uses [`Source::NONCE`](crate::Source::NONCE); with the feature `axum` it is an
/// extractor too, which answers 500 where there is none.
///
/// A page with a nonce must not be cached by anyone who hands it to others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CspNonce([u8; LEN]);

impl CspNonce {
    /// `None` where the operating system gives no randomness.
    pub(crate) fn generate() -> Option<Self> {
        let mut bytes = [0; 16];
        if let Err(error) = random::fill(&mut bytes) {
            tracing::error!(%error, "no randomness for a nonce: scripts of this response are blocked");
            return None;
        }
        let mut text = [0; LEN];
        STANDARD_NO_PAD.encode_slice(bytes, &mut text).ok()?;
        Some(Self(text))
    }

    /// The value of the attribute, base64.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Base64 is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for CspNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Hides the value: whoever reads it from a log while the page is open can run a script in it.
impl fmt::Debug for CspNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CspNonce(..)")
    }
}

#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::FromRequestParts<S> for CspNonce {
    type Rejection = http::StatusCode;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        parts.extensions.get().copied().ok_or_else(|| {
            tracing::error!(
                "no CspNonce in the request: mount SecurityHeadersLayer outside of the handler, \
                 with a policy that uses Source::NONCE"
            );
            http::StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_base64_of_128_bits_and_new_each_time() {
        let (a, b) = (CspNonce::generate().unwrap(), CspNonce::generate().unwrap());
        assert_ne!(a, b);
        assert_eq!(STANDARD_NO_PAD.decode(a.as_str()).unwrap().len(), 16);
        assert!(!format!("{a:?}").contains(a.as_str()));
    }
}
