//! The applications that are registered, and where they may have the browser sent.

use std::fmt;

use subtle::ConstantTimeEq;
use url::{Host, Url};

/// An application registered with the stand-in.
#[derive(Clone)]
pub struct Client {
    /// The client id.
    pub id: String,
    /// The client secret.
    pub secret: String,
    /// The registered callback URL. On loopback its port does not matter.
    pub callback_url: Url,
}

impl Client {
    /// An application with its id, secret and registered callback URL.
    #[must_use]
    pub fn new(id: impl Into<String>, secret: impl Into<String>, callback_url: Url) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            callback_url,
        }
    }

    pub(crate) fn has_secret(&self, secret: &str) -> bool {
        self.secret.as_bytes().ct_eq(secret.as_bytes()).into()
    }

    /// Whether `url` may stand as a callback URL at all.
    pub(crate) fn is_web_url(url: &Url) -> bool {
        matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    }

    /// GitHub's rule ("Redirect URLs" in "Authorizing OAuth apps"): the host is the registered one
    /// or below it, the port is the same, the path is the same or below it. When the registered
    /// host is loopback, the host is exactly the same and the port is free.
    pub(crate) fn allows_redirect_to(&self, url: &Url) -> bool {
        let registered = &self.callback_url;
        if !Self::is_web_url(url) || url.scheme() != registered.scheme() {
            return false;
        }
        let (Some(host), Some(registered_host)) = (url.host(), registered.host()) else {
            return false;
        };
        let host_and_port = if is_loopback(&registered_host) {
            host == registered_host
        } else {
            is_at_or_below(&host, &registered_host)
                && url.port_or_known_default() == registered.port_or_known_default()
        };
        host_and_port && is_path_at_or_below(url.path(), registered.path())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("callback_url", &self.callback_url.as_str())
            .finish_non_exhaustive()
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

fn is_at_or_below(host: &Host<&str>, registered: &Host<&str>) -> bool {
    match (host, registered) {
        (Host::Domain(host), Host::Domain(registered)) => host
            .strip_suffix(registered)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        (host, registered) => host == registered,
    }
}

fn is_path_at_or_below(path: &str, registered: &str) -> bool {
    path.strip_prefix(registered.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(registered: &str, url: &str) -> bool {
        Client::new("id", "secret", registered.parse().unwrap())
            .allows_redirect_to(&url.parse().unwrap())
    }

    #[test]
    fn follows_the_examples_of_githubs_documentation() {
        for good in [
            "http://example.com/path",
            "http://example.com/path/subdir/other",
            "http://oauth.example.com/path",
            "http://oauth.example.com/path/subdir/other",
        ] {
            assert!(allows("http://example.com/path", good), "{good}");
        }
        for bad in [
            "http://example.com/bar",
            "http://example.com/",
            "http://example.com:8080/path",
            "http://oauth.example.com:8080/path",
            "http://example.org",
        ] {
            assert!(!allows("http://example.com/path", bad), "{bad}");
        }
    }

    #[test]
    fn leaves_the_port_free_on_loopback_only() {
        assert!(allows(
            "http://127.0.0.1/path",
            "http://127.0.0.1:1234/path"
        ));
        assert!(allows("http://127.0.0.1:99/path", "http://127.0.0.1/path"));
        assert!(allows("http://[::1]/path", "http://[::1]:1234/path"));
        assert!(allows("http://localhost/path", "http://localhost:1/path"));
        assert!(!allows(
            "http://127.0.0.1/path",
            "http://localhost:1234/path"
        ));
        assert!(!allows("http://127.0.0.1/path", "http://127.0.0.1:1234/"));
    }

    #[test]
    fn refuses_what_only_looks_like_the_registered_url() {
        for bad in [
            "https://example.com/path",
            "http://notexample.com/path",
            "http://example.com.evil.test/path",
            "http://example.com/pathology",
            "http://example.com/path/../bar",
            "http://example.com/path/%2e%2e/bar",
            "http://user@example.com/path",
            "http://example.com/path#fragment",
        ] {
            assert!(!allows("http://example.com/path", bad), "{bad}");
        }
    }

    #[test]
    fn does_not_show_the_secret() {
        let client = Client::new("id", "hush", "http://127.0.0.1/".parse().unwrap());
        assert!(!format!("{client:?}").contains("hush"));
        assert!(client.has_secret("hush"));
        assert!(!client.has_secret("hus"));
    }
}
