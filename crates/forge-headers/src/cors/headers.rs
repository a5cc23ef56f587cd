//! What a policy says: to a preflight, and with every response.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, Entry, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::cors::Cors;

/// Every field by which a response speaks to a browser about other origins.
const ACCESS_CONTROL: [HeaderName; 7] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    HeaderName::from_static("access-control-allow-private-network"),
];

const VARY_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// Whether the request is a browser's question, not the call itself (Fetch §3.3.2).
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Cors {
    /// The fields of the 204, or `None` where the answer is no.
    pub(crate) fn answer(&self, request: &Parts) -> Option<HeaderMap> {
        let origin = self.allow_origin(&request.headers)?;
        if !(self.allows_method(&request.headers) && self.allows_headers(&request.headers)) {
            return None;
        }
        let mut headers = HeaderMap::new();
        self.allow(&mut headers, origin);
        let optional = [
            (ACCESS_CONTROL_ALLOW_METHODS, &self.values.methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, &self.values.headers),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.values.max_age.clone());
        Some(headers)
    }

    /// Marks the response to a preflight as depending on what was asked.
    pub(crate) fn vary_preflight(&self, headers: &mut HeaderMap) {
        if self.varies() {
            headers.insert(VARY, VARY_PREFLIGHT);
        }
    }

    /// What the response to a call is to say, decided before the call.
    pub(crate) fn verdict(&self, request: &HeaderMap) -> Option<HeaderValue> {
        self.allow_origin(request)
    }

    /// Writes the verdict into the response. What the handler said itself is taken out: there is
    /// one policy.
    pub(crate) fn apply(&self, headers: &mut HeaderMap, verdict: Option<HeaderValue>) {
        // Seldom there, and looking for each of them by its hash takes longer than this.
        let is_ours = |name: &HeaderName| name.as_str().starts_with("access-control-");
        if headers.keys().any(is_ours) {
            for name in &ACCESS_CONTROL {
                headers.remove(name);
            }
        }
        if let Some(origin) = verdict {
            self.allow(headers, origin);
            if let Some(exposed) = &self.values.exposed {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
            }
        }
        if self.varies() {
            vary_by_origin(headers);
        }
    }

    fn allow(&self, headers: &mut HeaderMap, origin: HeaderValue) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            let value = HeaderValue::from_static("true");
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, value);
        }
    }

    fn allows_method(&self, request: &HeaderMap) -> bool {
        let mut methods = request.get_all(ACCESS_CONTROL_REQUEST_METHOD).iter();
        let (method, more) = (methods.next(), methods.next());
        // Methods are case-sensitive (RFC 9110 §9.1).
        let is_allowed = |method: &HeaderValue| {
            let method = method.as_bytes();
            self.methods.iter().any(|m| m.as_str().as_bytes() == method)
        };
        method.is_some_and(is_allowed) && more.is_none()
    }

    fn allows_headers(&self, request: &HeaderMap) -> bool {
        let is_allowed = |name: &[u8]| {
            let name = name.trim_ascii();
            let matches = |n: &HeaderName| n.as_str().as_bytes().eq_ignore_ascii_case(name);
            name.is_empty() || self.headers.iter().any(matches)
        };
        request
            .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
            .iter()
            .flat_map(|line| line.as_bytes().split(|&b| b == b','))
            .all(is_allowed)
    }
}

/// Merges `Origin` into one `Vary`, unless it or `*` is there already.
fn vary_by_origin(headers: &mut HeaderMap) {
    if let Entry::Vacant(vacant) = headers.entry(VARY) {
        vacant.insert(VARY_ORIGIN);
        return;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(VARY)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let is_covered = lines
        .iter()
        .flat_map(|line| line.split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"));
    if is_covered {
        return;
    }
    let mut merged = lines.join(&b", "[..]);
    if !merged.is_empty() {
        merged.extend_from_slice(b", ");
    }
    merged.extend_from_slice(b"Origin");
    if let Ok(value) = HeaderValue::from_bytes(&merged) {
        headers.insert(VARY, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vary(lines: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, HeaderValue::from_static(line));
        }
        vary_by_origin(&mut headers);
        let values = headers.get_all(VARY).iter();
        values.map(|v| v.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn merges_vary_into_one() {
        assert_eq!(vary(&[]), ["Origin"]);
        assert_eq!(vary(&["Accept"]), ["Accept, Origin"]);
        assert_eq!(vary(&["Accept", "Cookie"]), ["Accept, Cookie, Origin"]);
        assert_eq!(vary(&["accept, ORIGIN"]), ["accept, ORIGIN"]);
        assert_eq!(vary(&["*"]), ["*"]);
    }

    #[test]
    fn a_preflight_is_options_with_origin_and_requested_method() {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static("https://a.example"));
        assert!(!is_preflight(&Method::OPTIONS, &headers));
        headers.insert(
            ACCESS_CONTROL_REQUEST_METHOD,
            HeaderValue::from_static("PUT"),
        );
        assert!(is_preflight(&Method::OPTIONS, &headers));
        assert!(!is_preflight(&Method::GET, &headers));
        headers.remove(ORIGIN);
        assert!(!is_preflight(&Method::OPTIONS, &headers));
    }

    #[test]
    fn a_preflight_is_allowed_when_origin_method_and_headers_all_are() {
        let cors = Cors::builder()
            .origins(["https://app.example.com"])
            .methods(["GET", "PUT"])
            .headers(["authorization", "x-a"])
            .build()
            .unwrap();
        for (origin, method, headers, allowed) in [
            (
                "https://app.example.com",
                "PUT",
                Some("Authorization, X-A"),
                true,
            ),
            ("https://app.example.com", "PUT", Some(""), true),
            ("https://app.example.com", "PUT", None, true),
            ("https://app.example.com", "put", None, false),
            ("https://app.example.com", "DELETE", None, false),
            ("https://app.example.com", "PUT", Some("x-b"), false),
            ("https://app.example.com", "PUT", Some("x-a, x-b"), false),
            ("https://evil.example", "PUT", None, false),
            ("null", "PUT", None, false),
        ] {
            let mut request = http::Request::options("/")
                .header(ORIGIN, origin)
                .header(ACCESS_CONTROL_REQUEST_METHOD, method);
            if let Some(headers) = headers {
                request = request.header(ACCESS_CONTROL_REQUEST_HEADERS, headers);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            let answer = cors.answer(&parts);
            assert_eq!(answer.is_some(), allowed, "{origin} {method} {headers:?}");
        }
    }

    #[test]
    fn any_origin_is_a_star_without_vary_and_credentials() {
        let cors = Cors::builder().any_origin().build().unwrap();
        let mut headers = HeaderMap::new();
        let verdict = cors.verdict(&HeaderMap::new());
        cors.apply(&mut headers, verdict);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!headers.contains_key(VARY));
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn no_origin_means_no_word_not_even_vary() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        Cors::none().apply(&mut headers, None);
        assert!(headers.is_empty());
    }
}
