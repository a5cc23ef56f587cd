//! Which addresses an alert may be sent to.
//!
//! Whoever can change where a webhook goes, or what its name resolves to, must not reach what only
//! this machine can: the cloud's metadata service, a database, an admin page.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of the public Internet.
    Public,
    /// Those of private networks and of this machine too, never link-local ones, where clouds have
    /// their metadata services.
    Private,
}

impl Reach {
    pub(super) fn allows(self, address: IpAddr) -> bool {
        let address = embedded(address);
        if is_never_meant(address) {
            return false;
        }
        self == Self::Private || is_public(address)
    }
}

/// Not every address that a name resolves to may be connected to.
#[derive(Debug)]
pub(super) struct Unreachable;

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address is not one alerts may be sent to")
    }
}

impl Error for Unreachable {}

/// Resolves names to addresses that may be connected to. What it answers is what is connected to,
/// so no second look-up can answer something else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver(pub(super) Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            // One that is forbidden among others is a trick.
            if found.is_empty() || !found.iter().all(|address| reach.allows(address.ip())) {
                return Err(Box::new(Unreachable) as Box<dyn Error + Send + Sync>);
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The IPv4 address that an IPv6 address stands for.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    let segments = v6.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).into();
    match segments {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        // IPv4-compatible (RFC 4291, deprecated), but for `::` and `::1`.
        [0, 0, 0, 0, 0, 0, high, low] if (high, low) != (0, 0) && (high, low) != (0, 1) => {
            of(high, low)
        }
        _ => address,
    }
}

/// Link-local addresses, and what is no address of one machine.
fn is_never_meant(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast()
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
                // The metadata service of one of the clouds.
                || v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
        }
    }
}

/// Whether the address is globally reachable, by the IANA's special-purpose registries.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            // Global unicast alone, without Teredo, benchmarking, ORCHID and documentation.
            let is_global = (0x2000..0x4000).contains(&a);
            let is_special =
                (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || (a == 0x3fff && b < 0x1000);
            is_global && !is_special
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_reached_by_default() {
        for public in [
            "1.1.1.1",
            "93.184.216.34",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            assert!(Reach::Public.allows(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "3fff::1",
        ] {
            assert!(!Reach::Public.allows(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn a_metadata_service_is_never_reached() {
        for allowed in ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "1.1.1.1"] {
            assert!(Reach::Private.allows(allowed.parse().unwrap()), "{allowed}");
        }
        for never in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "224.0.0.1",
        ] {
            assert!(!Reach::Private.allows(never.parse().unwrap()), "{never}");
        }
    }

    #[tokio::test]
    async fn a_name_is_resolved_to_what_is_allowed_or_not_at_all() {
        let local: Name = "localhost".parse().unwrap();
        assert!(Resolver(Reach::Private).resolve(local).await.is_ok());
        let local: Name = "localhost".parse().unwrap();
        assert!(Resolver(Reach::Public).resolve(local).await.is_err());
    }
}
