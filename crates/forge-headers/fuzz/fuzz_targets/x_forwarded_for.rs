//! `X-Forwarded-For` and its companions, in lines: the field is chosen by the first byte.
#![no_main]

use forge_headers::TrustedProxies;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let networks = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a network"));
    let proxies = TrustedProxies::new(networks).forwarded_host(true);
    let (proxy, stranger) = ([10, 0, 0, 1].into(), [192, 0, 2, 1].into());
    let mut headers = HeaderMap::new();
    for line in data.split(|&b| b == b'\n') {
        let (name, line) = match line {
            [b'P', rest @ ..] => ("x-forwarded-proto", rest),
            [b'H', rest @ ..] => ("x-forwarded-host", rest),
            _ => ("x-forwarded-for", line),
        };
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    let _ = proxies.resolve(proxy, &headers);
    let resolved = proxies.resolve(stranger, &headers);
    assert_eq!(resolved.client_ip, stranger);
    assert_eq!((resolved.scheme, resolved.host), (None, None));

    headers.append("x-forwarded-for", HeaderValue::from_static("198.51.100.7"));
    let resolved = proxies.resolve(proxy, &headers);
    assert_eq!(resolved.client_ip.to_string(), "198.51.100.7");
});
