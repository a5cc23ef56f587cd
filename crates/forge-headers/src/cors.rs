//! Which other origins may read responses (Fetch §3.3).

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use crate::authority::Origin;
use crate::cors::builder::CorsBuilder;
use crate::origin_pattern::OriginPattern;

pub(crate) mod builder;
pub(crate) mod future;
pub(crate) mod headers;
pub(crate) mod layer;
pub(crate) mod service;

/// Which origins may call, with what, and what they may read.
///
/// Origins are compared by scheme, host and port; `https://*.example.com` means those exactly one
/// label below `example.com`. Nothing is ever said to an origin that is not allowed.
///
/// ```
/// use forge_headers::Cors;
/// use std::time::Duration;
///
/// let cors = Cors::builder()
///     .origins(["https://app.example.com", "http://localhost:5173"])
///     .methods(["GET", "POST"])
///     .headers(["authorization", "content-type"])
///     .credentials(true)
///     .max_age(Duration::from_secs(3600))
///     .build()?;
///
/// let error = Cors::builder().origins(["https://app.example.com/"]).build().unwrap_err();
/// assert_eq!(error.to_string(), "`https://app.example.com/` cannot be an allowed origin");
/// # Ok::<(), forge_headers::CorsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Origins,
    methods: Vec<Method>,
    headers: Vec<HeaderName>,
    credentials: bool,
    /// The values that are the same in every response.
    values: Values,
}

#[derive(Clone, Debug)]
enum Origins {
    Any,
    List(Vec<OriginPattern>),
}

#[derive(Clone, Debug)]
struct Values {
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    max_age: HeaderValue,
}

impl Cors {
    /// Starts without an origin.
    pub fn builder() -> CorsBuilder {
        CorsBuilder::default()
    }

    /// No other origin may call: preflights are refused, and responses say nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            origins: Origins::List(Vec::new()),
            methods: Vec::new(),
            headers: Vec::new(),
            credentials: false,
            values: Values {
                methods: None,
                headers: None,
                exposed: None,
                max_age: HeaderValue::from(0),
            },
        }
    }

    /// The origins that are listed.
    pub(crate) fn listed(&self) -> &[OriginPattern] {
        match &self.origins {
            Origins::Any => &[],
            Origins::List(list) => list,
        }
    }

    pub(crate) fn is_any(&self) -> bool {
        matches!(self.origins, Origins::Any)
    }

    pub(crate) fn allows_credentials(&self) -> bool {
        self.credentials
    }

    /// Whether the response depends on the request's `Origin`, so that caches must know.
    fn varies(&self) -> bool {
        matches!(&self.origins, Origins::List(list) if !list.is_empty())
    }

    /// What `Access-Control-Allow-Origin` says to the sender of these fields, if anything. A
    /// field given twice is nobody's.
    fn allow_origin(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = request.get_all(http::header::ORIGIN).iter();
        let (value, more) = (origins.next(), origins.next());
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::List(list) => {
                let value = value.filter(|_| more.is_none())?;
                let origin = Origin::parse(value.as_bytes()).ok()?;
                // What the browser sent, byte by byte, is what it compares with.
                let is_allowed = list.iter().any(|pattern| pattern.matches(&origin));
                is_allowed.then(|| value.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_listed_origins_only() {
        let cors = Cors::builder()
            .origins(["https://app.example.com"])
            .build()
            .unwrap();
        let allows = |origins: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append("origin", HeaderValue::from_bytes(origin).unwrap());
            }
            cors.allow_origin(&headers).is_some()
        };
        assert!(allows(&[b"https://app.example.com"]));
        for origins in [
            &[][..],
            &[&b"http://app.example.com"[..]],
            &[b"https://app.example.com:8443"],
            &[b"https://app.example.com.evil.example"],
            &[b"https://evil-app.example.com"],
            &[b"null"],
            &[b"\xff"],
            &[b"https://app.example.com", b"https://app.example.com"],
        ] {
            assert!(!allows(origins), "{origins:?}");
        }
    }
}
