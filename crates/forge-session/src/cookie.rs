//! The cookie that bears a session's secret (RFC 6265bis).

use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::error::Rejection;

/// The most bytes of `Cookie` fields that are looked at, all together.
const MAX_LEN: usize = 16 * 1024;

/// The name and attributes of the session cookie.
///
/// `HttpOnly`, `SameSite=Lax`, `Path=/`, no `Domain`; and `Secure` with the prefix `__Host-`,
/// with which browsers refuse a cookie that another host, or plain http, tries to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    name: &'static str,
    attributes: &'static str,
}

impl SessionCookie {
    /// `__Host-forge`, for https.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            name: "__Host-forge",
            attributes: "; Path=/; Secure; HttpOnly; SameSite=Lax",
        }
    }

    /// `forge-dev`, without `Secure`, for plain http on a loopback address during development.
    ///
    /// Whoever can read or write the network can read and set it.
    #[must_use]
    pub const fn insecure_for_loopback() -> Self {
        Self {
            name: "forge-dev",
            attributes: "; Path=/; HttpOnly; SameSite=Lax",
        }
    }

    /// The cookie's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// A `Set-Cookie` that gives the browser `secret` for `max_age`; see
    /// [`Created::max_age`](crate::Created::max_age).
    ///
    /// The value is marked sensitive, so that it is not shown by `Debug`.
    #[must_use]
    pub fn set_cookie(&self, secret: &SecretString, max_age: Duration) -> HeaderValue {
        self.header(secret.expose_secret(), max_age)
    }

    /// A `Set-Cookie` that makes the browser forget the secret.
    #[must_use]
    pub fn clear_cookie(&self) -> HeaderValue {
        self.header("", Duration::ZERO)
    }

    fn header(&self, value: &str, max_age: Duration) -> HeaderValue {
        let Self { name, attributes } = self;
        let text = format!("{name}={value}{attributes}; Max-Age={}", max_age.as_secs());
        // A secret of this crate is base64url. Any other text that does not fit in a header field
        // clears the cookie instead.
        let mut header = HeaderValue::try_from(text)
            .ok()
            .filter(|_| !value.contains([';', ',', ' ', '"', '\\']))
            .unwrap_or_else(|| self.clear_cookie());
        header.set_sensitive(true);
        header
    }

    /// The cookie's value in a request.
    ///
    /// # Errors
    ///
    /// [`Rejection::Ambiguous`] when the request has several cookies of the name: one of them was
    /// not set by this service. [`Rejection::Malformed`] when the fields are longer than 16 KiB.
    pub fn read<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, Rejection> {
        let fields = headers.get_all(COOKIE);
        if fields.iter().map(HeaderValue::len).sum::<usize>() > MAX_LEN {
            return Err(Rejection::Malformed);
        }
        let mut found = None;
        for pair in fields
            .iter()
            .flat_map(|f| f.as_bytes().split(|b| *b == b';'))
        {
            let pair = pair.trim_ascii();
            let value = pair
                .strip_prefix(self.name.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"="));
            let Some(value) = value else { continue };
            let value = std::str::from_utf8(value).map_err(|_| Rejection::Malformed)?;
            if found.replace(value).is_some() {
                return Err(Rejection::Ambiguous);
            }
        }
        Ok(found)
    }

    /// Whether a `Set-Cookie` field sets, or clears, this cookie.
    pub(crate) fn is_set_by(&self, field: &HeaderValue) -> bool {
        let rest = field.as_bytes().strip_prefix(self.name.as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b"="))
    }
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE_OF_HOST: SessionCookie = SessionCookie::new();

    fn read(fields: &[&str]) -> Result<Option<String>, Rejection> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        COOKIE_OF_HOST
            .read(&headers)
            .map(|value| value.map(str::to_owned))
    }

    #[test]
    fn sets_every_attribute_that_protects_the_secret() {
        let header = COOKIE_OF_HOST.set_cookie(&"abc".into(), Duration::from_secs(60));
        assert_eq!(
            header,
            "__Host-forge=abc; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60"
        );
        assert!(header.is_sensitive());
        let dev = SessionCookie::insecure_for_loopback().clear_cookie();
        assert_eq!(dev, "forge-dev=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    }

    #[test]
    fn sets_no_attribute_from_a_value() {
        let header = COOKIE_OF_HOST.set_cookie(&"a; Domain=evil".into(), Duration::from_secs(60));
        assert_eq!(header, COOKIE_OF_HOST.clear_cookie());
    }

    #[test]
    fn finds_the_cookie_among_others_and_in_any_field() {
        assert_eq!(read(&["a=b; __Host-forge=x; c=d"]), Ok(Some("x".into())));
        assert_eq!(read(&["a=b", "__Host-forge=x"]), Ok(Some("x".into())));
        assert_eq!(read(&["__Host-forge=x;"]), Ok(Some("x".into())));
    }

    #[test]
    fn is_not_confused_by_names_that_are_alike() {
        let others = ["__Host-forge2=x; a__Host-forge=y; __host-forge=z; __Host-forge; =x"];
        assert_eq!(read(&others), Ok(None));
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn refuses_two_of_the_name() {
        let ambiguous = Err(Rejection::Ambiguous);
        assert_eq!(read(&["__Host-forge=x; __Host-forge=x"]), ambiguous);
        assert_eq!(read(&["__Host-forge=x", "__Host-forge=y"]), ambiguous);
    }

    #[test]
    fn refuses_what_is_no_text_and_what_is_too_long() {
        let mut headers = HeaderMap::new();
        headers.append(
            COOKIE,
            HeaderValue::from_bytes(b"__Host-forge=\xff").unwrap(),
        );
        assert_eq!(COOKIE_OF_HOST.read(&headers), Err(Rejection::Malformed));
        let long = format!("__Host-forge=x; a={}", "b".repeat(MAX_LEN));
        assert_eq!(read(&[&long]), Err(Rejection::Malformed));
    }
}
