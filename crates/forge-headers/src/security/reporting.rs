//! Where browsers report to: `Reporting-Endpoints` (W3C Reporting API §3.2).

use std::fmt;

use crate::authority::Origin;
use crate::error::ReportingEndpointError;

/// A named address that browsers send reports to.
///
/// The same value goes where violations are reported from and into the list of endpoints, so that
/// a policy cannot name one that does not exist.
///
/// ```
/// use forge_headers::{Csp, ReportingEndpoint, SecurityHeaders, Source};
///
/// let endpoint = ReportingEndpoint::new("csp", "/.well-known/csp-report")?;
/// let csp = Csp::builder()
///     .default_src([Source::SELF])
///     .report_to(&endpoint)
///     .build()?;
/// let headers = SecurityHeaders::web_app()
///     .content_security_policy(csp)
///     .report_to(endpoint);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportingEndpoint {
    name: Box<str>,
    url: Box<str>,
}

impl ReportingEndpoint {
    /// An endpoint of this name at a path of the own origin, or at another's over https.
    ///
    /// # Errors
    /// [`ReportingEndpointError`] for a name that is not a key of RFC 8941 §3.1.2, or an address
    /// that no browser would report to or that would end the field.
    pub fn new(
        name: impl Into<String>,
        url: impl Into<String>,
    ) -> Result<Self, ReportingEndpointError> {
        let (name, url) = (name.into(), url.into());
        let key =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
        if !(name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(key)) {
            return Err(ReportingEndpointError::Name);
        }
        if !is_url(&url) {
            return Err(ReportingEndpointError::Url);
        }
        Ok(Self {
            name: name.into(),
            url: url.into(),
        })
    }

    /// The name that policies refer to.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for ReportingEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"{}="{}""#, self.name, self.url)
    }
}

/// A path, or an https address; nothing that ends a string, a directive or a policy.
fn is_url(url: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b';' | b',' | b'\'');
    if !url.bytes().all(plain) {
        return false;
    }
    match url.strip_prefix("https://") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            Origin::parse(format!("https://{}", &rest[..end]).as_bytes()).is_ok()
        }
        None => url.starts_with('/') && !url.starts_with("//"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_key_and_a_path_or_an_https_address() {
        for url in [
            "/csp",
            "/",
            "https://reports.example/a?b=c",
            "https://a.example:8443",
        ] {
            let endpoint = ReportingEndpoint::new("csp-1.x_y", url).unwrap();
            assert_eq!(endpoint.to_string(), format!("csp-1.x_y=\"{url}\""));
        }
        for name in ["", "Csp", "1a", "a b", "a=b", "a\"", "ä"] {
            let error = ReportingEndpoint::new(name, "/csp");
            assert_eq!(error, Err(ReportingEndpointError::Name), "{name:?}");
        }
        for url in [
            "",
            "csp",
            "//evil.example/csp",
            "http://a.example/",
            "https://",
            "https:///csp",
            "/a\"b",
            "/a b",
            "/a;b",
            "/a,b",
            "/a\r\nb",
            "/ä",
            "https://u@a.example/",
        ] {
            let error = ReportingEndpoint::new("csp", url);
            assert_eq!(error, Err(ReportingEndpointError::Url), "{url:?}");
        }
    }
}
