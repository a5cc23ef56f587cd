//! Which origins are meant: one, or those one label below a domain.

use std::net::Ipv4Addr;

use crate::authority::{Host, Origin};
use crate::error::{CorsError, OriginError};

/// An origin as it is written in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OriginPattern {
    /// Scheme, host and port.
    Exact(Origin),
    /// `scheme://*.domain:port`: exactly one label in the place of the star.
    Below {
        /// Scheme and port, with the domain for a host.
        parent: Origin,
    },
}

impl OriginPattern {
    /// Reads `https://app.example.com` or `https://*.example.com`.
    pub(crate) fn parse(text: String) -> Result<Self, CorsError> {
        let error = |origin: String, source| CorsError::Origin { origin, source };
        let Some((scheme, domain)) = text.split_once("://*.") else {
            return match text.parse() {
                Ok(origin) => Ok(Self::Exact(origin)),
                Err(source) => Err(error(text, source)),
            };
        };
        let parent = match format!("{scheme}://{domain}").parse::<Origin>() {
            Ok(parent) => parent,
            Err(source) => return Err(error(text, source)),
        };
        let name = parent.host();
        if name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() {
            return Err(error(text, OriginError::Malformed));
        }
        if is_public_suffix(name) {
            return Err(CorsError::PublicSuffix { origin: text });
        }
        Ok(Self::Below { parent })
    }

    pub(crate) fn matches(&self, origin: &Origin) -> bool {
        match self {
            Self::Exact(exact) => exact == origin,
            Self::Below { parent } => {
                let label = origin
                    .host()
                    .strip_suffix(parent.host())
                    .and_then(|label| label.strip_suffix('.'));
                label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
                    && origin.scheme() == parent.scheme()
                    && origin.port() == parent.port()
            }
        }
    }

    pub(crate) fn is_trustworthy(&self) -> bool {
        self.origin().is_trustworthy()
    }

    pub(crate) fn is_wildcard(&self) -> bool {
        matches!(self, Self::Below { .. })
    }

    /// The origin, or the one below which all are meant.
    pub(crate) fn origin(&self) -> &Origin {
        match self {
            Self::Exact(origin) | Self::Below { parent: origin } => origin,
        }
    }
}

impl std::fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(origin) => origin.fmt(f),
            Self::Below { parent } => {
                let text = parent.to_string();
                f.write_str(&text.replacen("://", "://*.", 1))
            }
        }
    }
}

/// Whether names directly below `name` belong to different owners (publicsuffix.org), as those
/// below `com`, `co.uk` and `github.io` do. A top-level domain that is not on the list is one too.
fn is_public_suffix(name: &str) -> bool {
    name != "localhost"
        && psl::suffix(name.as_bytes()).is_none_or(|suffix| suffix.as_bytes() == name.as_bytes())
}

/// Whether the text is an origin on this machine that names its port.
pub(crate) fn is_local_with_port(text: &str) -> bool {
    let host = text
        .split_once("://")
        .and_then(|(_, rest)| rest.parse::<Host>().ok());
    host.is_some_and(|host| host.is_loopback() && host.port().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<OriginPattern, CorsError> {
        OriginPattern::parse(text.to_owned())
    }

    #[test]
    fn a_star_stands_for_one_whole_label_at_the_left() {
        let pattern = parse("https://*.example.com:8443").unwrap();
        assert_eq!(pattern.to_string(), "https://*.example.com:8443");
        for (origin, expected) in [
            ("https://a.example.com:8443", true),
            ("https://A.EXAMPLE.com:8443", true),
            ("https://a.b.example.com:8443", false),
            ("https://example.com:8443", false),
            ("https://aexample.com:8443", false),
            ("https://a.example.com", false),
            ("http://a.example.com:8443", false),
            ("https://a.example.com.evil.example:8443", false),
            ("https://example.com.evil.example:8443", false),
        ] {
            let origin = origin.parse().unwrap();
            assert_eq!(pattern.matches(&origin), expected, "{origin}");
        }
    }

    #[test]
    fn a_star_anywhere_else_is_an_error() {
        for (text, source) in [
            ("*", OriginError::Wildcard),
            ("https://*", OriginError::Wildcard),
            ("https://*example.com", OriginError::Wildcard),
            ("https://a*.example.com", OriginError::Wildcard),
            ("https://a.*.example.com", OriginError::Wildcard),
            ("https://*.*.example.com", OriginError::Wildcard),
            ("https://example.*", OriginError::Wildcard),
            ("https://*.example.com/", OriginError::Path),
            ("*://*.example.com", OriginError::Wildcard),
            ("ftp://*.example.com", OriginError::Scheme),
            ("https://*.", OriginError::Malformed),
            ("https://*.127.0.0.1", OriginError::Malformed),
            ("https://*.[::1]", OriginError::Malformed),
        ] {
            let origin = text.to_owned();
            assert_eq!(parse(text), Err(CorsError::Origin { origin, source }));
        }
    }

    #[test]
    fn a_star_over_a_public_suffix_is_an_error() {
        for text in [
            "https://*.com",
            "https://*.co.uk",
            "https://*.github.io",
            "https://*.s3.amazonaws.com",
            "https://*.no-such-top-level-domain",
        ] {
            let origin = text.to_owned();
            assert_eq!(parse(text), Err(CorsError::PublicSuffix { origin }));
        }
        for text in [
            "https://*.example.co.uk",
            "https://*.me.github.io",
            "http://*.localhost:5173",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }
}
