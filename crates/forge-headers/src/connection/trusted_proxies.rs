//! Whom to believe about the client's address, and what they say.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::{IpNet, Ipv4Net};

use crate::authority::{Host, Scheme};
use crate::connection::forwarded::{self, Element};
use crate::error::TrustedProxiesError;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The one header field in which the proxies write the client's address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, to which every proxy adds at the right.
    XForwardedFor,
    /// `Forwarded` (RFC 7239), which carries the scheme and the host as well.
    Forwarded,
    /// Another field with an address or a list of them, such as `CF-Connecting-IP`.
    Named(HeaderName),
}

/// The proxies in front of the service, and the header field they write.
///
/// The field is read only when the peer is one of them. It is walked from the right, past the
/// addresses of trusted proxies, to the first that is not one: the client. What cannot be read
/// ends the walk at the last trusted hop, and so do the 33rd hop and the fifth KiB. When all hops
/// are trusted the client is the peer, never the leftmost, which anyone can write.
///
/// ```
/// use forge_headers::TrustedProxies;
///
/// let proxies = TrustedProxies::parse(["10.0.0.0/8", "::1"])?;
/// let mut headers = http::HeaderMap::new();
/// headers.insert("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.1.1.1".parse()?);
///
/// let resolved = proxies.resolve("10.0.0.1".parse()?, &headers);
/// assert_eq!(resolved.client_ip.to_string(), "198.51.100.7");
///
/// let resolved = proxies.resolve("192.0.2.1".parse()?, &headers);
/// assert_eq!(resolved.client_ip.to_string(), "192.0.2.1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Security
/// Trust only networks in which nobody but your proxies can open a connection to the service.
/// The proxies must overwrite or append to every field that is read here, and must not pass the
/// client's own through. That is why `X-Forwarded-Host`, which many proxies pass through, is read
/// only on request.
#[derive(Clone, Debug)]
#[must_use]
pub struct TrustedProxies {
    networks: Arc<Networks>,
    header: ForwardedHeader,
    forwarded_proto: bool,
    forwarded_host: bool,
    unix_socket: bool,
}

/// What [`TrustedProxies::resolve`] finds out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The client's address, never IPv4-mapped.
    pub client_ip: IpAddr,
    /// The scheme a trusted proxy wrote; http where it wrote what cannot be read.
    pub scheme: Option<Scheme>,
    /// The host a trusted proxy wrote: `None` where it wrote none, `Some(None)` where it is
    /// malformed.
    pub host: Option<Option<Host>>,
}

impl TrustedProxies {
    /// No proxy: the client is the peer, and no header field is read.
    pub fn none() -> Self {
        Self::new([])
    }

    /// Proxies in these networks, which write `X-Forwarded-For` and `X-Forwarded-Proto`.
    ///
    /// A network is parsed with its prefix, as in `127.0.0.1/32`; an [`IpAddr`] becomes one by
    /// `into`. Of texts that a configuration holds [`parse`](Self::parse) makes them.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            networks: Arc::new(Networks::new(networks)),
            header: ForwardedHeader::XForwardedFor,
            forwarded_proto: true,
            forwarded_host: false,
            unix_socket: false,
        }
    }

    /// Proxies at these addresses, such as `::1`, and in these networks, such as `10.0.0.0/8`;
    /// otherwise as [`new`](Self::new). One text that holds several is read by `parse` of `str`,
    /// set apart by commas or white space; an empty one trusts nobody.
    ///
    /// ```
    /// use forge_headers::TrustedProxies;
    ///
    /// let proxies: TrustedProxies = "10.0.0.0/8, 2001:db8::/32, ::1".parse()?;
    /// assert!(proxies.trusts("10.1.2.3".parse()?));
    ///
    /// let error = TrustedProxies::parse(["10.0.0.0/8", "10.0.0.1:80"]).unwrap_err();
    /// assert!(error.to_string().starts_with("`10.0.0.1:80` is neither an address nor a network"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TrustedProxiesError`] names the first text that is neither.
    pub fn parse(
        networks: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, TrustedProxiesError> {
        let networks = networks.into_iter().map(|text| network(text.as_ref()));
        Ok(Self::new(networks.collect::<Result<Vec<_>, _>>()?))
    }

    /// The field that holds the client's address. Default: `X-Forwarded-For`.
    pub fn header(mut self, header: ForwardedHeader) -> Self {
        self.header = header;
        self
    }

    /// Whether `X-Forwarded-Proto` is read. Default: yes. [`ForwardedHeader::Forwarded`] carries
    /// its own and leaves this one aside.
    pub fn forwarded_proto(mut self, forwarded_proto: bool) -> Self {
        self.forwarded_proto = forwarded_proto;
        self
    }

    /// Whether `X-Forwarded-Host` is read. Default: no. [`ForwardedHeader::Forwarded`] carries its
    /// own and leaves this one aside.
    pub fn forwarded_host(mut self, forwarded_host: bool) -> Self {
        self.forwarded_host = forwarded_host;
        self
    }

    /// Whether who connects to a Unix socket is one of the proxies. Default: no, whatever the
    /// networks say of the address that stands for it.
    pub fn unix_socket(mut self, trusted: bool) -> Self {
        self.unix_socket = trusted;
        self
    }

    pub(crate) fn networks(&self) -> &[IpNet] {
        &self.networks.all
    }

    pub(crate) fn trusts_nobody(&self) -> bool {
        self.networks.all.is_empty() && !self.unix_socket
    }

    pub(crate) fn reads_forwarded_host(&self) -> bool {
        self.forwarded_host && !matches!(self.header, ForwardedHeader::Forwarded)
    }

    /// Whether `address` belongs to one of the networks.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.contain(address.to_canonical())
    }

    /// Who the client of a request from `peer` is, and what the proxy says about its request.
    #[must_use]
    pub fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> Resolved {
        self.resolve_peer(peer, self.trusts(peer), headers)
    }

    /// The same for who connects to a Unix socket, with `peer` in place of its address.
    #[must_use]
    pub fn resolve_unix_socket(&self, peer: IpAddr, headers: &HeaderMap) -> Resolved {
        self.resolve_peer(peer, self.unix_socket, headers)
    }

    fn resolve_peer(&self, peer: IpAddr, is_trusted: bool, headers: &HeaderMap) -> Resolved {
        let peer = peer.to_canonical();
        if !is_trusted {
            return Resolved {
                client_ip: peer,
                scheme: None,
                host: None,
            };
        }
        match &self.header {
            ForwardedHeader::Forwarded => self.resolve_forwarded(peer, headers),
            ForwardedHeader::XForwardedFor => self.resolve_list(peer, headers, &X_FORWARDED_FOR),
            ForwardedHeader::Named(name) => self.resolve_list(peer, headers, name),
        }
    }

    fn resolve_list(&self, peer: IpAddr, headers: &HeaderMap, name: &HeaderName) -> Resolved {
        let hops = forwarded::from_the_right(headers, name).map(forwarded::address);
        let (client_ip, position) = self.walk(peer, hops);
        let scheme = self
            .forwarded_proto
            .then(|| written_at(headers, &X_FORWARDED_PROTO, position))
            .flatten()
            .map(|bytes| forwarded::scheme(bytes).unwrap_or(Scheme::Http));
        let host = self
            .forwarded_host
            .then(|| written_at(headers, &X_FORWARDED_HOST, position))
            .flatten()
            .map(|bytes| Host::parse(bytes).ok());
        Resolved {
            client_ip,
            scheme,
            host,
        }
    }

    fn resolve_forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> Resolved {
        let (mut first, mut last) = (None, None);
        let hops = forwarded::from_the_right(headers, FORWARDED).map(|bytes| {
            let element = Element::parse(bytes);
            first.get_or_insert(element);
            last = Some(element);
            element?.address()
        });
        let (client_ip, position) = self.walk(peer, hops);
        // The element that a trusted proxy wrote about the client.
        let element = if position == 0 { first } else { last };
        let Some(element) = element else {
            return Resolved {
                client_ip,
                scheme: None,
                host: None,
            };
        };
        match element {
            Some(element) => Resolved {
                client_ip,
                scheme: element
                    .proto
                    .map(|bytes| forwarded::scheme(bytes).unwrap_or(Scheme::Http)),
                host: element.host(),
            },
            None => Resolved {
                client_ip,
                scheme: Some(Scheme::Http),
                host: Some(None),
            },
        }
    }

    /// The client's address, and how many hops to its left-hand side were walked: the position,
    /// from the right, of what was written about it.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> (IpAddr, usize) {
        let mut last_trusted = peer;
        for (position, hop) in hops.enumerate() {
            match hop {
                Some(hop) if self.trusts(hop) => last_trusted = hop,
                Some(client) => return (client, position),
                None => return (last_trusted, position),
            }
        }
        (peer, 0)
    }
}

impl FromStr for TrustedProxies {
    type Err = TrustedProxiesError;

    fn from_str(text: &str) -> Result<Self, TrustedProxiesError> {
        let texts = text.split(|c: char| c == ',' || c.is_whitespace());
        Self::parse(texts.filter(|text| !text.is_empty()))
    }
}

fn network(text: &str) -> Result<IpNet, TrustedProxiesError> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse())
        .map_err(|_| TrustedProxiesError::Malformed {
            entry: text.to_owned(),
        })
}

/// The element at `position` from the right, or the leftmost where the list is shorter, as when
/// one proxy overwrites what the one before it wrote.
fn written_at<'a>(headers: &'a HeaderMap, name: &HeaderName, position: usize) -> Option<&'a [u8]> {
    let read = forwarded::from_the_right(headers, name)
        .take(position + 1)
        .last();
    // Too long to be read is something else than not written.
    read.or_else(|| forwarded::is_too_long(headers, name).then_some(b"".as_slice()))
}

/// Networks as numbers: mask and what is left under it.
#[derive(Clone, Debug)]
struct Networks {
    all: Vec<IpNet>,
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let all: Vec<_> = networks.into_iter().map(canonical).collect();
        let v4 = all.iter().filter_map(|network| match network {
            IpNet::V4(v4) => Some((v4.netmask().to_bits(), v4.network().to_bits())),
            IpNet::V6(_) => None,
        });
        let v6 = all.iter().filter_map(|network| match network {
            IpNet::V6(v6) => Some((v6.netmask().to_bits(), v6.network().to_bits())),
            IpNet::V4(_) => None,
        });
        Self {
            v4: v4.collect(),
            v6: v6.collect(),
            all,
        }
    }

    fn contain(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => {
                let bits = v4.to_bits();
                self.v4
                    .iter()
                    .any(|(mask, network)| bits & mask == *network)
            }
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                self.v6
                    .iter()
                    .any(|(mask, network)| bits & mask == *network)
            }
        }
    }
}

/// An IPv4-mapped network as the IPv4 network it means.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let v4 = v6.addr().to_ipv4_mapped();
    let prefix = v6.prefix_len().checked_sub(96);
    match (v4, prefix) {
        (Some(v4), Some(prefix)) => Ipv4Net::new(v4, prefix).map_or(network, IpNet::V4),
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const PROXY: &str = "10.0.0.1";

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()))
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn reads_the_texts_of_a_configuration_and_names_the_wrong_one() {
        let proxies: TrustedProxies = " 10.0.0.0/8,::1\n192.0.2.1 , ::ffff:198.51.100.0/120"
            .parse()
            .unwrap();
        for trusted in ["10.255.0.1", "::1", "192.0.2.1", "198.51.100.9"] {
            assert!(proxies.trusts(trusted.parse().unwrap()), "{trusted}");
        }
        for other in ["11.0.0.0", "::2", "192.0.2.2", "198.51.101.1"] {
            assert!(!proxies.trusts(other.parse().unwrap()), "{other}");
        }
        assert!("".parse::<TrustedProxies>().unwrap().trusts_nobody());
        for wrong in [
            "localhost",
            "10.0.0.0/33",
            "10.0.0",
            "[::1]",
            "",
            "*",
            "1.1.1.1:80",
        ] {
            let error = TrustedProxies::parse(["::1", wrong]).unwrap_err();
            let entry = wrong.to_owned();
            assert_eq!(error, TrustedProxiesError::Malformed { entry });
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("`{wrong}` is neither"))
            );
        }
        let error = "::1, a\u{1b}[0m".parse::<TrustedProxies>().unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'));
    }

    fn client(proxies: &TrustedProxies, peer: &str, lines: &[(&str, &str)]) -> String {
        let resolved = proxies.resolve(peer.parse().unwrap(), &headers(lines));
        resolved.client_ip.to_string()
    }

    #[test]
    fn walks_x_forwarded_for_from_the_right() {
        for (peer, lines, expected) in [
            // An untrusted peer is the client, whatever it writes.
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("::ffff:192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            // A trusted one is believed, also in its IPv4-mapped form.
            (PROXY, &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (PROXY, &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            (
                PROXY,
                &["203.0.113.9,198.51.100.7, 10.1.1.1"],
                "198.51.100.7",
            ),
            (PROXY, &["2001:db8::1, fd00::2"], "2001:db8::1"),
            (PROXY, &["[2001:db8::1]:443, 10.1.1.1:80"], "2001:db8::1"),
            (PROXY, &["::ffff:198.51.100.7"], "198.51.100.7"),
            // Lines are one list.
            (PROXY, &["198.51.100.7", "10.1.1.1"], "198.51.100.7"),
            (PROXY, &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            // Garbage ends the walk at the last trusted hop.
            (PROXY, &["198.51.100.7, nonsense"], PROXY),
            (PROXY, &["198.51.100.7, nonsense, 10.1.1.1"], "10.1.1.1"),
            // Never the leftmost of a list of trusted hops.
            (PROXY, &["10.2.2.2, 10.1.1.1"], PROXY),
            (PROXY, &[], PROXY),
            (PROXY, &[""], PROXY),
        ] {
            let lines: Vec<_> = lines.iter().map(|v| ("x-forwarded-for", *v)).collect();
            assert_eq!(
                client(&proxies(), peer, &lines),
                expected,
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn reads_only_the_configured_header() {
        let lines = [
            ("x-forwarded-for", "198.51.100.1"),
            ("forwarded", "for=198.51.100.2"),
            ("cf-connecting-ip", "198.51.100.3"),
        ];
        let named = ForwardedHeader::Named(HeaderName::from_static("cf-connecting-ip"));
        for (header, expected) in [
            (ForwardedHeader::XForwardedFor, "198.51.100.1"),
            (ForwardedHeader::Forwarded, "198.51.100.2"),
            (named, "198.51.100.3"),
        ] {
            let proxies = proxies().header(header);
            assert_eq!(client(&proxies, PROXY, &lines), expected);
        }
    }

    #[test]
    fn gives_up_on_more_than_32_hops() {
        let hops = |n: usize| format!("198.51.100.7, {}", vec!["10.1.1.1"; n].join(", "));
        let client = |list: &str| client(&proxies(), PROXY, &[("x-forwarded-for", list)]);
        assert_eq!(client(&hops(31)), "198.51.100.7");
        assert_eq!(client(&hops(32)), PROXY);
    }

    #[test]
    fn takes_scheme_and_host_from_a_trusted_peer_only() {
        let lines = headers(&[
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "app.example.com"),
        ]);
        let resolved = proxies().resolve(PROXY.parse().unwrap(), &lines);
        assert_eq!(resolved.scheme, Some(Scheme::Https));
        assert_eq!(resolved.host, None, "not unless asked for");

        let proxies = proxies().forwarded_host(true);
        let resolved = proxies.resolve(PROXY.parse().unwrap(), &lines);
        assert_eq!(resolved.host, Some("app.example.com".parse().ok()));

        let resolved = proxies.resolve("192.0.2.1".parse().unwrap(), &lines);
        assert_eq!((resolved.scheme, resolved.host), (None, None));
    }

    #[test]
    fn takes_the_scheme_that_was_written_about_the_client() {
        for (list, protos, expected) in [
            ("198.51.100.7, 10.1.1.1", "https, http", Some(Scheme::Https)),
            (
                "203.0.113.9, 198.51.100.7",
                "https, http",
                Some(Scheme::Http),
            ),
            ("198.51.100.7, 10.1.1.1", "https", Some(Scheme::Https)),
            ("198.51.100.7", "wss", Some(Scheme::Https)),
            ("198.51.100.7", "gopher", Some(Scheme::Http)),
            ("198.51.100.7", "", None),
        ] {
            let lines = headers(&[("x-forwarded-for", list), ("x-forwarded-proto", protos)]);
            let resolved = proxies().resolve(PROXY.parse().unwrap(), &lines);
            assert_eq!(resolved.scheme, expected, "{list} {protos}");
        }
    }

    #[test]
    fn takes_what_one_element_of_forwarded_says() {
        let proxies = proxies().header(ForwardedHeader::Forwarded);
        let resolve = |value: &str| {
            proxies.resolve(PROXY.parse().unwrap(), &headers(&[("forwarded", value)]))
        };
        let resolved = resolve(
            r#"for=203.0.113.9;proto=http, for="198.51.100.7:99";proto=https;host=a.example, for=10.1.1.1;proto=http"#,
        );
        assert_eq!(resolved.client_ip.to_string(), "198.51.100.7");
        assert_eq!(resolved.scheme, Some(Scheme::Https));
        assert_eq!(resolved.host, Some("a.example".parse().ok()));

        // A client's open quote does not swallow what the proxy adds.
        let resolved = resolve(r#"for="203.0.113.9, for=198.51.100.7;proto=https"#);
        assert_eq!(resolved.client_ip.to_string(), "198.51.100.7");

        // All hops trusted: what stands to the left may be anyone's word.
        let resolved = resolve(
            "for=10.2.2.2;proto=https;host=evil.example, for=10.1.1.1;proto=http;host=a.example",
        );
        assert_eq!(resolved.client_ip.to_string(), PROXY);
        assert_eq!(resolved.scheme, Some(Scheme::Http));
        assert_eq!(resolved.host, Some("a.example".parse().ok()));

        // An address that a proxy hides: who it is stays unknown, over what does not.
        let resolved = resolve("for=203.0.113.9, for=unknown;proto=https");
        assert_eq!(resolved.client_ip.to_string(), PROXY);
        assert_eq!(resolved.scheme, Some(Scheme::Https));

        let resolved = resolve("for=198.51.100.7;host=\"a, for=203.0.113.9;x=y\"");
        assert_eq!(resolved.client_ip.to_string(), PROXY);
        assert_eq!(
            (resolved.scheme, resolved.host),
            (Some(Scheme::Http), Some(None))
        );
    }

    proptest::proptest! {
        #[test]
        fn a_network_is_the_same_as_numbers(networks: Vec<(IpAddr, u8)>, address: IpAddr) {
            let networks: Vec<_> = networks
                .into_iter()
                .filter_map(|(ip, prefix)| IpNet::new(ip, prefix).ok())
                .map(canonical)
                .collect();
            let address = address.to_canonical();
            let expected = networks.iter().any(|network| network.contains(&address));
            proptest::prop_assert_eq!(Networks::new(networks).contain(address), expected);
        }
    }

    #[test]
    fn networks_hold_their_edges() {
        let networks = Networks::new(["0.0.0.0/0", "fd00::/8"].map(|net| net.parse().unwrap()));
        assert!(networks.contain("255.255.255.255".parse().unwrap()));
        assert!(networks.contain("fdff:ffff::".parse().unwrap()));
        assert!(!networks.contain("fe00::".parse().unwrap()));
        let one = Networks::new(["192.0.2.1/32".parse().unwrap()]);
        assert!(one.contain("192.0.2.1".parse().unwrap()));
        assert!(!one.contain("192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn a_unix_socket_is_trusted_only_where_that_is_said() {
        let lines = headers(&[
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-proto", "https"),
        ]);
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let networks = TrustedProxies::new(["127.0.0.0/8".parse().unwrap()]);
        let resolved = networks.resolve_unix_socket(peer, &lines);
        assert_eq!((resolved.client_ip, resolved.scheme), (peer, None));

        let socket = TrustedProxies::none().unix_socket(true);
        let resolved = socket.resolve_unix_socket(peer, &lines);
        assert_eq!(resolved.client_ip.to_string(), "198.51.100.7");
        assert_eq!(resolved.scheme, Some(Scheme::Https));
        // A TCP connection from this machine is another thing.
        assert_eq!(socket.resolve(peer, &lines).client_ip, peer);
    }

    #[test]
    fn takes_a_mapped_network_for_the_ipv4_network_it_means() {
        let proxies = TrustedProxies::new(["::ffff:10.0.0.0/104".parse().unwrap()]);
        assert!(proxies.trusts("10.9.9.9".parse().unwrap()));
        assert!(!proxies.trusts("11.0.0.1".parse().unwrap()));
    }
}
