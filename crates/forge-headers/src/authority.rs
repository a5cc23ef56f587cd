//! The two values everything here is compared by: a host with its port, and an origin.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::error::{HostError, OriginError};

/// The longest host name in the DNS, in bytes.
const MAX_NAME: usize = 253;

/// How a request travelled: in clear or over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host and, where it was written, its port: the value of `Host` or `:authority`
/// (RFC 9110 §7.2).
///
/// Stricter than the grammar of RFC 3986: a name is made of letters, digits, `-`, `_` and single
/// dots, an IPv6 address stands in brackets and has no zone. Percent-encoding, user information,
/// white space, an empty port and a dot at the end are refused, because those who read the same
/// host twice must read the same thing. Upper case is folded to lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    name: Box<str>,
    port: Option<u16>,
}

impl Host {
    /// Reads the bytes of a `Host` field.
    ///
    /// # Errors
    /// [`HostError::Malformed`] for everything that is not a host with an optional port.
    pub fn parse(bytes: &[u8]) -> Result<Self, HostError> {
        let text = std::str::from_utf8(bytes).map_err(|_| HostError::Malformed)?;
        let (name, port) = split_port(text).ok_or(HostError::Malformed)?;
        let port = match port {
            Some(digits) => Some(parse_port(digits).ok_or(HostError::Malformed)?),
            None => None,
        };
        let name = normalise_name(name).ok_or(HostError::Malformed)?;
        Ok(Self { name, port })
    }

    /// The name in lower case; an IPv6 address in brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, where one was written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether the name means this machine: `localhost`, `127.0.0.1` or `[::1]`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback_name(&self.name)
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// An origin: scheme, host and port (RFC 6454 §4). A default port equals an absent one.
///
/// ```
/// # use forge_headers::Origin;
/// let origin: Origin = "https://App.example.com:443".parse()?;
/// assert_eq!(origin.to_string(), "https://app.example.com");
/// # Ok::<(), forge_headers::OriginError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    name: Box<str>,
    port: u16,
}

impl Origin {
    /// The origin of a request to `host` over `scheme`.
    #[must_use]
    pub fn new(scheme: Scheme, host: &Host) -> Self {
        Self {
            scheme,
            name: host.name.clone(),
            port: host.port.unwrap_or(scheme.default_port()),
        }
    }

    /// Reads the bytes of an `Origin` field.
    ///
    /// # Errors
    /// [`OriginError`] for `null`, a wildcard, a scheme other than http and https, a path, or a
    /// malformed host.
    pub fn parse(bytes: &[u8]) -> Result<Self, OriginError> {
        match bytes {
            b"null" => return Err(OriginError::Null),
            b"" => return Err(OriginError::Malformed),
            _ => {}
        }
        let text = std::str::from_utf8(bytes).map_err(|_| OriginError::Malformed)?;
        if text.contains('*') {
            return Err(OriginError::Wildcard);
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Malformed)?;
        let scheme = if scheme.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else if scheme.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else {
            return Err(OriginError::Scheme);
        };
        if rest.contains(['/', '?', '#']) {
            return Err(OriginError::Path);
        }
        let host = Host::parse(rest.as_bytes()).map_err(|_| OriginError::Malformed)?;
        Ok(Self::new(scheme, &host))
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host's name in lower case; an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.name
    }

    /// The port; the scheme's default where none was written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback_name(&self.name)
    }

    /// Whether a browser treats the origin as trustworthy: https, or this machine
    /// (W3C Secure Contexts §3.1).
    #[must_use]
    pub fn is_trustworthy(&self) -> bool {
        self.scheme == Scheme::Https || self.is_loopback()
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.name)?;
        if self.port == self.scheme.default_port() {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// `name` and what stands behind the colon, if there is one.
pub(crate) fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let end = text.find(']')? + 1;
        let (name, rest) = text.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Some((name, Some(port))),
            None => rest.is_empty().then_some((name, None)),
        };
    }
    Some(match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    })
}

fn parse_port(digits: &str) -> Option<u16> {
    // `u16::from_str` accepts a sign.
    let well_formed = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    well_formed.then(|| digits.parse().ok()).flatten()
}

fn normalise_name(name: &str) -> Option<Box<str>> {
    if let Some(literal) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        let address: Ipv6Addr = literal.parse().ok()?;
        return Some(format!("[{address}]").into());
    }
    let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(byte);
    let valid = name.len() <= MAX_NAME && name.split('.').all(label);
    valid.then(|| name.to_ascii_lowercase().into())
}

pub(crate) fn is_loopback_name(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_hosts() {
        for (text, name, port) in [
            ("example.com", "example.com", None),
            ("EXAMPLE.com:8080", "example.com", Some(8080)),
            ("127.0.0.1:3001", "127.0.0.1", Some(3001)),
            ("[::1]:80", "[::1]", Some(80)),
            ("[2001:DB8:0:0::1]", "[2001:db8::1]", None),
            ("a_b-c", "a_b-c", None),
        ] {
            let host = Host::parse(text.as_bytes()).unwrap();
            assert_eq!((host.name(), host.port()), (name, port), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_host() {
        for text in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:080",
            "a:+80",
            "a:65536",
            "a:8o",
            "a:80:80",
            "a..b",
            ".a",
            "a.",
            "a b",
            " a",
            "a/",
            "a?",
            "a#",
            "u@a",
            "a%2e",
            "a,b",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%1]",
            "[a]",
            "a\\b",
            "a\tb",
            "bücher.example",
            "*.example.com",
        ] {
            assert!(Host::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Host::parse(b"\xff").is_err());
        assert!(Host::parse("a".repeat(64).as_bytes()).is_err());
        assert!(Host::parse(["a"; 128].join(".").as_bytes()).is_err());
    }

    #[test]
    fn compares_origins_by_scheme_host_and_port() {
        let parse = |text: &str| text.parse::<Origin>().unwrap();
        assert_eq!(parse("https://a.example"), parse("HTTPS://A.example:443"));
        assert_ne!(parse("https://a.example"), parse("http://a.example"));
        assert_ne!(parse("https://a.example"), parse("https://a.example:8443"));
        assert_ne!(parse("https://a.example"), parse("https://b.a.example"));
        assert_eq!(parse("http://[::1]:8080").to_string(), "http://[::1]:8080");
    }

    #[test]
    fn refuses_what_is_not_an_origin() {
        for (text, error) in [
            ("null", OriginError::Null),
            ("*", OriginError::Wildcard),
            ("https://*.a.example", OriginError::Wildcard),
            ("ftp://a.example", OriginError::Scheme),
            ("https://a.example/", OriginError::Path),
            ("https://a.example?x", OriginError::Path),
            ("a.example", OriginError::Malformed),
            ("https://", OriginError::Malformed),
            ("https://u@a.example", OriginError::Malformed),
            ("", OriginError::Malformed),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parsers_never_panic_and_what_they_accept_they_accept_again(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            if let Ok(host) = Host::parse(&bytes) {
                prop_assert_eq!(Host::parse(host.to_string().as_bytes()), Ok(host));
            }
            if let Ok(origin) = Origin::parse(&bytes) {
                prop_assert_eq!(Origin::parse(origin.to_string().as_bytes()), Ok(origin));
            }
        }

        #[test]
        fn well_formed_origins_survive_a_round_trip(
            text in "https?://[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\\.[a-z]{2,5}){0,3}(:[1-9][0-9]{0,3})?",
        ) {
            let origin: Origin = text.parse().unwrap();
            prop_assert_eq!(origin.to_string().parse(), Ok(origin));
        }
    }
}
