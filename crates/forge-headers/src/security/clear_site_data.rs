//! `Clear-Site-Data`: what a browser forgets when a user signs out.

use http::header::{HeaderName, HeaderValue};

/// The field that makes a browser forget the cookies and the storage of this origin: for the
/// response to a sign-out.
///
/// Browsers act on it over https and on this machine only. Cookies of the whole registrable domain
/// go, so a server that shares it with others clears theirs too.
///
/// ```
/// let (name, value) = forge_headers::clear_site_data();
/// let mut response = http::Response::new(());
/// response.headers_mut().insert(name, value);
/// assert_eq!(response.headers()["clear-site-data"], r#""cookies", "storage""#);
/// ```
#[must_use]
pub fn clear_site_data() -> (HeaderName, HeaderValue) {
    (
        HeaderName::from_static("clear-site-data"),
        HeaderValue::from_static(r#""cookies", "storage""#),
    )
}
