//! What may stand in a directive of a content security policy.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::authority::Origin;
use crate::error::CspError;

/// One source of a directive (CSP Level 3 §2.3.1).
///
/// A keyword, the request's nonce, a hash, an [`Origin`], or text: a host (`cdn.example`,
/// `*.example.com`), an origin or a URL prefix, a scheme (`data:`), a keyword in single quotes.
/// Text is checked when the policy is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Nonce,
    Text(Cow<'static, str>),
}

const KEYWORDS: [&str; 11] = [
    "none",
    "self",
    "strict-dynamic",
    "unsafe-inline",
    "unsafe-eval",
    "unsafe-hashes",
    "wasm-unsafe-eval",
    "report-sample",
    "inline-speculation-rules",
    "trusted-types-eval",
    "report-sha256",
];

impl Source {
    /// `'none'`: nothing. Stands alone.
    pub const NONE: Self = Self::keyword("'none'");
    /// `'self'`: the page's own origin.
    pub const SELF: Self = Self::keyword("'self'");
    /// `'nonce-…'` with the request's [`CspNonce`](crate::CspNonce).
    pub const NONCE: Self = Self(Kind::Nonce);
    /// `'strict-dynamic'`: what a script with a nonce or hash loads.
    pub const STRICT_DYNAMIC: Self = Self::keyword("'strict-dynamic'");
    /// `'unsafe-inline'`: scripts or styles within the page. Gives up most of the protection.
    pub const UNSAFE_INLINE: Self = Self::keyword("'unsafe-inline'");
    /// `'unsafe-eval'`: text run as script. Gives up much of the protection.
    pub const UNSAFE_EVAL: Self = Self::keyword("'unsafe-eval'");
    /// `'wasm-unsafe-eval'`: WebAssembly.
    pub const WASM_UNSAFE_EVAL: Self = Self::keyword("'wasm-unsafe-eval'");
    /// `'report-sample'`: the start of what was blocked goes into reports.
    pub const REPORT_SAMPLE: Self = Self::keyword("'report-sample'");

    /// `'sha256-…'`: the script or style whose text has this SHA-256 digest.
    #[must_use]
    pub fn sha256(digest: [u8; 32]) -> Self {
        Self(Kind::Text(
            format!("'sha256-{}'", STANDARD.encode(digest)).into(),
        ))
    }

    /// `'sha384-…'`: the script or style whose text has this SHA-384 digest.
    #[must_use]
    pub fn sha384(digest: [u8; 48]) -> Self {
        Self(Kind::Text(
            format!("'sha384-{}'", STANDARD.encode(digest)).into(),
        ))
    }

    /// `'sha512-…'`: the script or style whose text has this SHA-512 digest.
    #[must_use]
    pub fn sha512(digest: [u8; 64]) -> Self {
        Self(Kind::Text(
            format!("'sha512-{}'", STANDARD.encode(digest)).into(),
        ))
    }

    const fn keyword(keyword: &'static str) -> Self {
        Self(Kind::Text(Cow::Borrowed(keyword)))
    }

    /// The text to write; `None` for the nonce.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.0 {
            Kind::Nonce => None,
            Kind::Text(text) => Some(text),
        }
    }

    /// Whether the source is text in single quotes: a keyword or a hash.
    pub(crate) fn is_quoted(&self) -> bool {
        self.text().is_some_and(|text| text.starts_with('\''))
    }

    pub(crate) fn is_hash(&self) -> bool {
        self.is_quoted() && is_hash(self.text().unwrap_or_default().trim_matches('\''))
    }

    /// Whether the source says something about code: keywords other than `'self'` and `'none'`,
    /// the nonce and hashes.
    pub(crate) fn is_about_code(&self) -> bool {
        let is_quoted = |text: &str| text.starts_with('\'');
        self.text().is_none_or(is_quoted) && *self != Self::SELF && *self != Self::NONE
    }

    /// Refuses what a browser would not read as it was meant.
    pub(crate) fn check(&self, directive: &'static str) -> Result<(), CspError> {
        let Some(text) = self.text() else {
            return Ok(());
        };
        let value = || text.to_owned();
        if text.is_empty() {
            let value = value();
            return Err(CspError::Malformed { directive, value });
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b';' | b','))
        {
            let value = value();
            return Err(CspError::Character { directive, value });
        }
        if let Some(quoted) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
            if starts_with(quoted, "nonce-") {
                return Err(CspError::FixedNonce { directive });
            }
            let known = KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(quoted)) || is_hash(quoted);
            let value = value();
            return known
                .then_some(())
                .ok_or(CspError::UnknownKeyword { directive, value });
        }
        let bare = text.trim_matches('\'');
        let is_keyword = KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(bare));
        if is_keyword || starts_with(bare, "nonce-") || is_hash(bare) {
            let value = value();
            return Err(CspError::UnquotedKeyword { directive, value });
        }
        let value = value();
        is_scheme_or_host(text)
            .then_some(())
            .ok_or(CspError::Malformed { directive, value })
    }
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Self(Kind::Text(text.to_owned().into()))
    }
}

impl From<String> for Source {
    fn from(text: String) -> Self {
        Self(Kind::Text(text.into()))
    }
}

impl From<Origin> for Source {
    fn from(origin: Origin) -> Self {
        Self(Kind::Text(origin.to_string().into()))
    }
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// `hash-algorithm-base64` with as many bytes as the algorithm gives.
fn is_hash(text: &str) -> bool {
    [("sha256-", 32), ("sha384-", 48), ("sha512-", 64)]
        .into_iter()
        .any(|(prefix, len)| {
            starts_with(text, prefix) && {
                let digest = &text[prefix.len()..];
                let decoded = STANDARD.decode(digest).or_else(|_| URL_SAFE.decode(digest));
                decoded.is_ok_and(|digest| digest.len() == len)
            }
        })
}

/// `scheme-source` or `host-source`. An IPv6 address is neither (CSP Level 3 §2.3.1).
fn is_scheme_or_host(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    };
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        Some(_) => return false,
        None => match text.strip_suffix(':') {
            Some(scheme) => return is_scheme(scheme),
            None => text,
        },
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_port = |port: &str| port == "*" || port.parse::<u16>().is_ok() && !port.starts_with('+');
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_host = host == "*"
        || host
            .strip_prefix("*.")
            .unwrap_or(host)
            .split('.')
            .all(label);
    is_host && port.is_none_or(is_port) && !path.contains(['?', '#', '\'', '"', '*'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_a_browser_reads_as_meant() {
        for text in [
            "'self'",
            "'NONE'",
            "'strict-dynamic'",
            "*",
            "data:",
            "https:",
            "wss:",
            "cdn.example",
            "*.example.com",
            "https://github.com",
            "http://127.0.0.1:3002",
            "https://a.example:*",
            "https://cdn.example/lib/v1/",
            "localhost:3001",
            "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
        ] {
            assert_eq!(Source::from(text).check("script-src"), Ok(()), "{text}");
        }
        assert_eq!(Source::sha256([1; 32]).check("script-src"), Ok(()));
        assert_eq!(Source::sha384([1; 48]).check("script-src"), Ok(()));
        assert_eq!(Source::sha512([1; 64]).check("script-src"), Ok(()));
    }

    #[test]
    fn refuses_the_rest_and_says_why() {
        let directive = "script-src";
        let check = |text: &str| Source::from(text).check(directive).unwrap_err();
        for text in [
            "https://a.example; script-src *",
            "a.example,b.example",
            "a.example/;script-src",
            "a.example/,b",
            "a.example\r\nx: y",
            "a b",
            "a\tb",
            "bücher.example",
            "\0nonce2",
        ] {
            let value = text.to_owned();
            assert_eq!(check(text), CspError::Character { directive, value });
        }
        for text in [
            "self",
            "NONE",
            "unsafe-inline",
            "strict-dynamic",
            "nonce-abc",
            "'self",
            "self'",
            "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ] {
            let value = text.to_owned();
            assert_eq!(check(text), CspError::UnquotedKeyword { directive, value });
        }
        for text in ["'slef'", "'https://a.example'", "'sha256-short'", "''"] {
            let value = text.to_owned();
            assert_eq!(check(text), CspError::UnknownKeyword { directive, value });
        }
        assert_eq!(check("'nonce-abc'"), CspError::FixedNonce { directive });
        for text in [
            "",
            "https://",
            "://a.example",
            "a..b",
            "http://[::1]:3001",
            "a.example:99999",
            "a:b:c",
            "https://a.example/?q",
            "*a.example",
            "a.*.example",
            "u@a.example",
            "\"self\"",
        ] {
            let value = text.to_owned();
            assert_eq!(
                check(text),
                CspError::Malformed { directive, value },
                "{text}"
            );
        }
    }
}
