//! `Forwarded`, in lines: what an untrusted peer writes changes nothing, and what a proxy adds at
//! the right outweighs all that stands to the left.
#![no_main]

use forge_headers::{ForwardedHeader, TrustedProxies};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let network = "10.0.0.0/8".parse().expect("a network");
    let proxies = TrustedProxies::new([network]).header(ForwardedHeader::Forwarded);
    let (proxy, stranger) = ([10, 0, 0, 1].into(), [192, 0, 2, 1].into());
    let mut headers = HeaderMap::new();
    for line in data.split(|&b| b == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("forwarded", value);
        }
    }
    let _ = proxies.resolve(proxy, &headers);
    let resolved = proxies.resolve(stranger, &headers);
    assert_eq!(resolved.client_ip, stranger);
    assert_eq!((resolved.scheme, resolved.host), (None, None));

    let added = HeaderValue::from_static("for=\"198.51.100.7:99\";proto=https");
    headers.append("forwarded", added);
    let resolved = proxies.resolve(proxy, &headers);
    assert_eq!(resolved.client_ip.to_string(), "198.51.100.7");
    assert_eq!(resolved.scheme, Some(forge_headers::Scheme::Https));
});
