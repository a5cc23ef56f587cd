//! What the hot path allocates.

use forge_headers::{ForwardedHeader, TrustedProxies};
use http::{HeaderMap, HeaderName, HeaderValue};
use test_alloc::Watching;

#[global_allocator]
static ALLOCATOR: Watching = Watching;

fn proxies() -> TrustedProxies {
    let networks = [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fd00::/8",
        "203.0.113.0/24",
    ];
    TrustedProxies::new(networks.map(|network| network.parse().unwrap()))
}

#[test]
fn resolving_an_address_allocates_nothing() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-forwarded-for", "198.51.100.7, 203.0.113.5, 10.1.1.1"),
        ("x-forwarded-proto", "https, http, http"),
        (
            "forwarded",
            "for=198.51.100.7;proto=https, for=203.0.113.5, for=10.1.1.1",
        ),
        ("cf-connecting-ip", "198.51.100.7"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The count counts.
    assert_ne!(test_alloc::count(|| headers.clone()).0, 0);
    let peer = "10.0.0.1".parse().unwrap();
    for header in [
        ForwardedHeader::XForwardedFor,
        ForwardedHeader::Forwarded,
        ForwardedHeader::Named(HeaderName::from_static("cf-connecting-ip")),
    ] {
        let proxies = proxies().header(header);
        let resolved = proxies.resolve(peer, &headers);
        assert_eq!(resolved.client_ip.to_string(), "198.51.100.7");
        assert_eq!(test_alloc::count(|| proxies.resolve(peer, &headers)).0, 0);
        let stranger = "198.51.100.1".parse().unwrap();
        assert_eq!(
            test_alloc::count(|| proxies.resolve(stranger, &headers)).0,
            0
        );
    }
}
