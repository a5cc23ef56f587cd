//! Reads what proxies write: lists of addresses and RFC 7239 elements, from the right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use http::header::{AsHeaderName, HeaderName, HeaderValue};

use crate::authority::{Host, Scheme, split_port};

/// As many hops are followed, and as many bytes are read, before the rest is ignored.
const MAX_HOPS: usize = 32;
const MAX_BYTES: usize = 4096;

/// The elements of a list header, the last written first. Lines count as joined by a comma
/// (RFC 9110 §5.3); empty elements are skipped. Ends early at [`MAX_HOPS`] and [`MAX_BYTES`].
///
/// What a trusted proxy wrote stands to the right, so that no length of what stands to the left
/// can push it out.
pub(crate) fn from_the_right(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> impl Iterator<Item = &[u8]> {
    let mut budget = MAX_BYTES;
    headers
        .get_all(name)
        .iter()
        .rev()
        .flat_map(|line| HeaderValue::as_bytes(line).rsplit(|&b| b == b','))
        .take(MAX_HOPS)
        .take_while(move |element| {
            // The comma counts as well.
            let affordable = budget.checked_sub(element.len() + 1);
            budget = affordable.unwrap_or(0);
            affordable.is_some()
        })
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether the last line is more than is read.
pub(crate) fn is_too_long(headers: &HeaderMap, name: &HeaderName) -> bool {
    let last = headers.get_all(name).iter().next_back();
    last.is_some_and(|line| line.len() >= MAX_BYTES)
}

/// The address of one hop: IPv4 or IPv6, the latter also in brackets, with or without a port.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes).ok()?;
    // Most addresses are written like this.
    if let Ok(bare) = text.parse::<Ipv4Addr>() {
        return Some(IpAddr::V4(bare));
    }
    if let Ok(bare) = text.parse::<Ipv6Addr>() {
        return Some(IpAddr::V6(bare).to_canonical());
    }
    let (address, port) = split_port(text)?;
    if port.is_some_and(|port| !is_port(port)) {
        return None;
    }
    let address = match address.strip_prefix('[').and_then(|a| a.strip_suffix(']')) {
        Some(bracketed) => IpAddr::V6(bracketed.parse().ok()?),
        None => IpAddr::V4(address.parse::<Ipv4Addr>().ok()?),
    };
    Some(address.to_canonical())
}

/// `node-port` of RFC 7239 §6: digits, or an obfuscated port.
fn is_port(port: &str) -> bool {
    let obfuscated = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match port.strip_prefix('_') {
        Some(rest) => !rest.is_empty() && rest.bytes().all(obfuscated),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// `http` or `https`; `ws` and `wss`, as some proxies write for WebSockets, mean the same.
pub(crate) fn scheme(bytes: &[u8]) -> Option<Scheme> {
    let is = |scheme: &[u8]| bytes.eq_ignore_ascii_case(scheme);
    if is(b"https") || is(b"wss") {
        Some(Scheme::Https)
    } else if is(b"http") || is(b"ws") {
        Some(Scheme::Http)
    } else {
        None
    }
}

/// One element of `Forwarded` (RFC 7239 §4): what one proxy wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) node: Option<&'a [u8]>,
    pub(crate) proto: Option<&'a [u8]>,
    pub(crate) host: Option<&'a [u8]>,
}

impl<'a> Element<'a> {
    /// Reads `for=…;proto=…`. `None` for a parameter given twice and for whatever is not the
    /// grammar. Quoted commas, semicolons and escapes are refused too: the list is split at every
    /// comma, and a quote that a client leaves open must not swallow what a proxy adds.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut element = Self::default();
        for pair in bytes.split(|&b| b == b';') {
            let pair = pair.trim_ascii();
            if pair.is_empty() {
                continue;
            }
            let equals = pair.iter().position(|&b| b == b'=')?;
            let (name, value) = (&pair[..equals], unquote(&pair[equals + 1..])?);
            if name.is_empty() || !name.iter().all(u8::is_ascii_alphanumeric) {
                return None;
            }
            let slot = if name.eq_ignore_ascii_case(b"for") {
                &mut element.node
            } else if name.eq_ignore_ascii_case(b"proto") {
                &mut element.proto
            } else if name.eq_ignore_ascii_case(b"host") {
                &mut element.host
            } else {
                continue;
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        Some(element)
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        address(self.node?)
    }

    pub(crate) fn host(&self) -> Option<Option<Host>> {
        self.host.map(|host| Host::parse(host).ok())
    }
}

fn unquote(value: &[u8]) -> Option<&[u8]> {
    let inner = match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    };
    let plain = |&b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
    (!inner.is_empty() && inner.iter().all(plain)).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_addresses_with_and_without_ports_and_brackets() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[::ffff:192.0.2.1]:80", Some("192.0.2.1")),
            ("192.0.2.1:_hidden", Some("192.0.2.1")),
            ("", None),
            ("unknown", None),
            ("_secret", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:123456", None),
            ("192.0.2.1:8o", None),
            ("192.0.2.01", None),
            ("192.0.2", None),
            ("[192.0.2.1]", None),
            ("[2001:db8::1", None),
            ("fe80::1%eth0", None),
            ("192.0.2.1 192.0.2.2", None),
        ] {
            assert_eq!(
                address(text.as_bytes()),
                expected.map(|ip| ip.parse().unwrap()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn reads_elements_of_forwarded() {
        let element =
            Element::parse(br#"For="[2001:db8::1]:4711"; proto=https;host=a.example;by=_x"#);
        let element = element.unwrap();
        assert_eq!(element.address(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(element.proto, Some(&b"https"[..]));
        assert_eq!(element.host, Some(&b"a.example"[..]));
        for garbage in [
            "for",
            "=x",
            "for=",
            "for=\"\"",
            "for=a;for=b",
            "for=\"a",
            "for=a\"",
            "for=\"a\\\"\"",
            "for=a b",
            "f r=a",
            "for=\"a;b\"",
        ] {
            assert_eq!(Element::parse(garbage.as_bytes()), None, "{garbage:?}");
        }
    }

    #[test]
    fn goes_through_lines_and_elements_from_the_right() {
        let mut headers = HeaderMap::new();
        headers.append("x", HeaderValue::from_static("a, b"));
        headers.append("x", HeaderValue::from_static(" ,c , d"));
        let elements: Vec<_> = from_the_right(&headers, "x").collect();
        assert_eq!(elements, [b"d", b"c", b"b", b"a"]);
    }

    #[test]
    fn ends_after_32_hops_and_4_kib() {
        let mut headers = HeaderMap::new();
        let many = ["192.0.2.1"; 100].join(",");
        headers.insert("x", HeaderValue::from_str(&many).unwrap());
        assert_eq!(from_the_right(&headers, "x").count(), 32);

        let long = format!("a,{},b", "x".repeat(70_000));
        headers.insert("x", HeaderValue::from_str(&long).unwrap());
        assert_eq!(from_the_right(&headers, "x").collect::<Vec<_>>(), [b"b"]);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = address(&bytes);
            let _ = scheme(&bytes);
            let _ = Element::parse(&bytes).map(|element| (element.address(), element.host()));
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert("x", value);
                let _ = from_the_right(&headers, "x").count();
            }
        }

        #[test]
        fn reads_every_address_as_it_is_written(ip: IpAddr, port: u16) {
            let bracketed = std::net::SocketAddr::new(ip, port).to_string();
            prop_assert_eq!(address(ip.to_string().as_bytes()), Some(ip.to_canonical()));
            prop_assert_eq!(address(bracketed.as_bytes()), Some(ip.to_canonical()));
        }
    }
}
