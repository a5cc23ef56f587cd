//! Requests that no policy counts.

use std::net::IpAddr;

use http::request::Parts;
use ipnet::IpNet;

use crate::policy::Condition;

/// Holds for requests from these networks; `address` reads the client's address, which behind a
/// proxy is the one your trusted-proxy layer resolved. An IPv4-mapped address counts as IPv4; a
/// request without an address is in no network.
///
/// ```
/// use forge_ratelimit::{MemoryStore, RateLimiter, in_networks};
/// use http::request::Parts;
///
/// let address = |parts: &Parts| parts.extensions.get::<std::net::IpAddr>().copied();
/// let inside = in_networks(address, ["10.0.0.0/8".parse().unwrap()]);
/// let limiter = RateLimiter::builder(MemoryStore::new(1000)).exempt(inside);
/// ```
pub fn in_networks(
    address: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    networks: impl IntoIterator<Item = IpNet>,
) -> impl Condition {
    let networks: Vec<IpNet> = networks.into_iter().collect();
    move |parts: &Parts| {
        address(parts).is_some_and(|address| {
            let address = address.to_canonical();
            networks.iter().any(|network| network.contains(&address))
        })
    }
}

/// Holds for requests whose path is one of these, exactly: what a prefix would let through is
/// seldom what was meant.
pub fn on_paths<P: Into<String>>(paths: impl IntoIterator<Item = P>) -> impl Condition {
    let paths: Vec<String> = paths.into_iter().map(Into::into).collect();
    move |parts: &Parts| paths.iter().any(|path| path == parts.uri.path())
}

/// A CORS preflight, as the Fetch standard sends it.
pub(crate) fn is_preflight(parts: &Parts) -> bool {
    parts.method == http::Method::OPTIONS
        && parts.headers.contains_key(http::header::ORIGIN)
        && parts
            .headers
            .contains_key(http::header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn a_network_holds_its_mapped_addresses_and_nobody_without_one() {
        let networks = [
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ];
        let address = |parts: &Parts| parts.extensions.get::<IpAddr>().copied();
        let inside = in_networks(address, networks);
        for (address, expected) in [
            (Some("10.1.2.3"), true),
            (Some("::ffff:10.1.2.3"), true),
            (Some("2001:db8:1::1"), true),
            (Some("11.0.0.1"), false),
            (None, false),
        ] {
            let mut request = Request::new(());
            if let Some(address) = address {
                let address: IpAddr = address.parse().unwrap();
                request.extensions_mut().insert(address);
            }
            assert_eq!(
                inside.applies(&request.into_parts().0),
                expected,
                "{address:?}"
            );
        }
    }

    #[test]
    fn a_path_is_meant_exactly() {
        let probes = on_paths(["/livez"]);
        for (path, expected) in [("/livez", true), ("/livez?x", true), ("/livez/x", false)] {
            let parts = Request::get(path).body(()).unwrap().into_parts().0;
            assert_eq!(probes.applies(&parts), expected, "{path}");
        }
    }
}
