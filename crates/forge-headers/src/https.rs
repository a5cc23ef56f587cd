//! Requests in clear are redirected to https, or refused.

use http::uri::PathAndQuery;

use crate::authority::Host;

pub(crate) mod layer;
pub(crate) mod service;

/// Where certificate authorities look for the answer to a challenge, over plain http
/// (RFC 8555 §8.3).
pub(crate) const ACME_CHALLENGE: &str = "/.well-known/acme-challenge/";

/// The same resource over https.
pub(crate) fn location(host: &Host, port: Option<u16>, target: Option<&PathAndQuery>) -> String {
    let target = target.map_or("/", PathAndQuery::as_str);
    match port {
        Some(port) => format!("https://{}:{port}{target}", host.name()),
        None => format!("https://{}{target}", host.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_host_the_path_and_the_query() {
        let target = PathAndQuery::from_static("//evil.example/a?b=c");
        for (host, port, expected) in [
            ("a.example", None, "https://a.example//evil.example/a?b=c"),
            (
                "a.example:80",
                None,
                "https://a.example//evil.example/a?b=c",
            ),
            (
                "a.example:80",
                Some(8443),
                "https://a.example:8443//evil.example/a?b=c",
            ),
            ("[::1]:80", None, "https://[::1]//evil.example/a?b=c"),
        ] {
            assert_eq!(
                location(&host.parse().unwrap(), port, Some(&target)),
                expected
            );
        }
        assert_eq!(
            location(&"a.example".parse().unwrap(), None, None),
            "https://a.example/"
        );
    }
}
