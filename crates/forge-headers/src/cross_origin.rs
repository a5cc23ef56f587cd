//! Requests that a page of another origin makes with the user's cookies.

use http::header::{HeaderName, ORIGIN, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use crate::authority::Origin;
use crate::origin_pattern::OriginPattern;

pub(crate) mod layer;
pub(crate) mod service;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request to `target` may pass.
///
/// `target` is `None` where scheme or host of the request are unknown; then no `Origin` equals it.
pub(crate) fn is_allowed(
    parts: &Parts,
    target: impl FnOnce() -> Option<Origin>,
    allowed: &[OriginPattern],
) -> bool {
    if is_safe(parts) {
        return true;
    }
    let (Ok(site), Ok(origin)) = (
        single(&parts.headers, &SEC_FETCH_SITE),
        single(&parts.headers, &ORIGIN),
    ) else {
        return false;
    };
    let origin = origin.map(|value| Origin::parse(value.as_bytes()));
    let is_listed = |origin: &Origin| allowed.iter().any(|pattern| pattern.matches(origin));
    if matches!(&origin, Some(Ok(origin)) if is_listed(origin)) {
        return true;
    }
    match (site.map(HeaderValue::as_bytes), origin) {
        (Some(b"same-origin" | b"none"), _) => true,
        (Some(_), _) => false,
        (None, Some(Ok(origin))) => target() == Some(origin),
        (None, Some(Err(_))) => false,
        // Every browser of the last years sends one of both with such a request.
        (None, None) => true,
    }
}

/// GET, HEAD and OPTIONS, which change nothing, unless they open a WebSocket. Over HTTP/2 a
/// WebSocket is opened by CONNECT (RFC 8441), which is not among them.
fn is_safe(parts: &Parts) -> bool {
    let is_websocket = |value: &HeaderValue| {
        value
            .as_bytes()
            .split(|&b| b == b',')
            .any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    };
    matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS)
        && !parts.headers.get_all(UPGRADE).iter().any(is_websocket)
}

/// The only value of a field, if there is one; `Err` for several.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn allowed(method: &str, fields: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let target = || "https://app.example.com".parse().ok();
        let listed = [OriginPattern::Exact(
            "https://partner.example".parse().unwrap(),
        )];
        is_allowed(&parts, target, &listed)
    }

    #[test]
    fn goes_by_sec_fetch_site_and_else_by_origin() {
        const SITE: &str = "sec-fetch-site";
        for (method, fields, expected) in [
            ("GET", &[(SITE, "cross-site")][..], true),
            ("HEAD", &[("origin", "https://evil.example")], true),
            ("OPTIONS", &[("origin", "https://evil.example")], true),
            ("POST", &[(SITE, "same-origin")], true),
            ("POST", &[(SITE, "none")], true),
            ("POST", &[(SITE, "same-site")], false),
            ("POST", &[(SITE, "cross-site")], false),
            ("POST", &[(SITE, "")], false),
            ("POST", &[(SITE, "Same-Origin")], false),
            ("PUT", &[(SITE, "cross-site")], false),
            ("DELETE", &[(SITE, "cross-site")], false),
            ("PURGE", &[(SITE, "cross-site")], false),
            // What the browser says outweighs an origin that a proxy made differ.
            (
                "POST",
                &[(SITE, "same-origin"), ("origin", "http://app.example.com")],
                true,
            ),
            ("POST", &[("origin", "https://app.example.com")], true),
            ("POST", &[("origin", "https://APP.example.com:443")], true),
            ("POST", &[("origin", "http://app.example.com")], false),
            ("POST", &[("origin", "https://app.example.com:8443")], false),
            ("POST", &[("origin", "https://evil.example")], false),
            ("POST", &[("origin", "null")], false),
            ("POST", &[("origin", "")], false),
            ("POST", &[("origin", "chrome-extension://abc")], false),
            // The list.
            ("POST", &[("origin", "https://partner.example")], true),
            (
                "POST",
                &[(SITE, "cross-site"), ("origin", "https://partner.example")],
                true,
            ),
            (
                "POST",
                &[(SITE, "cross-site"), ("origin", "http://partner.example")],
                false,
            ),
            // Not a browser.
            ("POST", &[], true),
            // Twice is never what a browser sends.
            (
                "POST",
                &[(SITE, "same-origin"), (SITE, "same-origin")],
                false,
            ),
            (
                "POST",
                &[
                    ("origin", "https://app.example.com"),
                    ("origin", "https://app.example.com"),
                ],
                false,
            ),
        ] {
            assert_eq!(allowed(method, fields), expected, "{method} {fields:?}");
        }
    }

    #[test]
    fn a_websocket_is_not_safe_although_it_is_a_get() {
        for upgrade in ["websocket", "WebSocket", "h2c, websocket"] {
            let fields = [("upgrade", upgrade), ("origin", "https://evil.example")];
            assert!(!allowed("GET", &fields), "{upgrade}");
            let fields = [("upgrade", upgrade), ("origin", "https://app.example.com")];
            assert!(allowed("GET", &fields), "{upgrade}");
        }
        assert!(!allowed("CONNECT", &[("origin", "https://evil.example")]));
        assert!(allowed(
            "GET",
            &[("upgrade", "h2c"), ("origin", "https://evil.example")]
        ));
    }

    #[test]
    fn no_origin_equals_an_unknown_target() {
        let request = Request::post("/").header("origin", "https://app.example.com");
        let parts = request.body(()).unwrap().into_parts().0;
        assert!(!is_allowed(&parts, || None, &[]));
    }

    #[test]
    fn refuses_an_origin_that_is_not_text() {
        let value = HeaderValue::from_bytes(b"https://app.example.com\xff").unwrap();
        let request = Request::post("/").header("origin", value);
        let parts = request.body(()).unwrap().into_parts().0;
        let target = || "https://app.example.com".parse().ok();
        assert!(!is_allowed(&parts, target, &[]));
    }
}
