//! What holds for the client's address whatever a peer writes.

use std::net::IpAddr;

use forge_headers::{ForwardedHeader, TrustedProxies};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

const PROXY: &str = "10.0.0.1";

fn proxies() -> TrustedProxies {
    TrustedProxies::new(["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()))
}

fn any_lines() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let name = prop::sample::select(vec![
        "x-forwarded-for",
        "forwarded",
        "cf-connecting-ip",
        "x-forwarded-proto",
        "x-forwarded-host",
    ]);
    let address = any::<IpAddr>().prop_map(|ip| ip.to_string().into_bytes());
    let hops = prop::collection::vec(any::<IpAddr>(), 0..50).prop_map(|ips| {
        let ips: Vec<_> = ips.iter().map(ToString::to_string).collect();
        ips.join(", ").into_bytes()
    });
    let element = any::<IpAddr>().prop_map(|ip| format!("for=\"[{ip}]\"").into_bytes());
    let text = "(for=|\"|,|;|\\\\|proto=https|host=a|10\\.0\\.0\\.1|192\\.0\\.2\\.9){0,12}"
        .prop_map(String::into_bytes);
    let bytes = prop::collection::vec(any::<u8>(), 0..60);
    let value = prop_oneof![address, hops, element, text, bytes];
    prop::collection::vec((name, value), 0..6)
}

fn headers(lines: Vec<(&'static str, Vec<u8>)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(name, value);
        }
    }
    headers
}

fn any_header() -> impl Strategy<Value = ForwardedHeader> {
    let named = ForwardedHeader::Named(HeaderName::from_static("cf-connecting-ip"));
    prop::sample::select(vec![
        ForwardedHeader::XForwardedFor,
        ForwardedHeader::Forwarded,
        named,
    ])
}

proptest! {
    #[test]
    fn no_untrusted_peer_can_be_anyone_but_itself(
        peer: IpAddr,
        lines in any_lines(),
        header in any_header(),
    ) {
        let proxies = proxies().header(header).forwarded_host(true);
        prop_assume!(!proxies.trusts(peer));
        let resolved = proxies.resolve(peer, &headers(lines));
        prop_assert_eq!(resolved.client_ip, peer.to_canonical());
        prop_assert_eq!((resolved.scheme, resolved.host), (None, None));
    }

    #[test]
    fn nothing_a_client_writes_outweighs_what_the_proxy_adds(
        client: IpAddr,
        lines in any_lines(),
        header in any_header(),
        same_line: bool,
    ) {
        let proxies = proxies().header(header.clone());
        prop_assume!(!proxies.trusts(client));
        let mut headers = headers(lines);
        let (name, added) = match header {
            ForwardedHeader::Forwarded if client.is_ipv6() => {
                ("forwarded", format!("for=\"[{client}]:99\";proto=https"))
            }
            ForwardedHeader::Forwarded => ("forwarded", format!("for={client};proto=https")),
            ForwardedHeader::Named(_) => ("cf-connecting-ip", client.to_string()),
            _ => ("x-forwarded-for", client.to_string()),
        };
        // Proxies add a line, or to the last one.
        let last = headers.get_all(name).iter().next_back().cloned();
        match last {
            Some(last) if same_line => {
                let mut all: Vec<_> = headers.get_all(name).iter().cloned().collect();
                let joined = [last.as_bytes(), b", ", added.as_bytes()].concat();
                *all.last_mut().unwrap() = HeaderValue::from_bytes(&joined).unwrap();
                headers.remove(name);
                for value in all {
                    headers.append(name, value);
                }
            }
            _ => {
                headers.append(name, HeaderValue::from_str(&added).unwrap());
            }
        }
        let resolved = proxies.resolve(PROXY.parse().unwrap(), &headers);
        prop_assert_eq!(resolved.client_ip, client.to_canonical());
    }
}
