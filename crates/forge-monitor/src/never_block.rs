//! Who is never blocked, whatever happens.

use std::net::IpAddr;

use ipnet::IpNet;

/// The networks and users that no decision touches, checked when deciding and when enforcing.
///
/// Holds loopback from the start. Add the trusted proxies (their address would stand for all their
/// clients), the networks administrators work from, and the health probes.
#[derive(Clone, Debug)]
pub struct NeverBlock {
    networks: Vec<IpNet>,
    users: Vec<String>,
}

impl NeverBlock {
    /// Loopback only: `127.0.0.0/8` and `::1/128`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            networks: vec![
                IpNet::V4(ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8)),
                IpNet::V6(ipnet::Ipv6Net::new_assert(
                    std::net::Ipv6Addr::LOCALHOST,
                    128,
                )),
            ],
            users: Vec::new(),
        }
    }

    /// Nobody, not even loopback: whoever reaches the service from the same host can be blocked,
    /// a reverse proxy there included. For tests, and for hosts that several parties share.
    #[must_use]
    pub fn dangerous_empty() -> Self {
        Self {
            networks: Vec::new(),
            users: Vec::new(),
        }
    }

    /// Adds a network.
    #[must_use]
    pub fn network(mut self, network: impl Into<IpNet>) -> Self {
        self.networks.push(canonical(network.into()).trunc());
        self
    }

    /// Adds a user, by id.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.users.push(user.into());
        self
    }

    /// Whether the address is on the list.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }

    /// Whether the user is on the list.
    #[must_use]
    pub fn contains_user(&self, user: &str) -> bool {
        self.users.iter().any(|listed| listed == user)
    }

    /// Whether all of the network is on the list.
    #[must_use]
    pub fn covers(&self, network: &IpNet) -> bool {
        self.networks.iter().any(|listed| listed.contains(network))
    }
}

/// A network of IPv4 addresses mapped into IPv6 as the IPv4 network it is, since that is how
/// addresses are compared.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(length) = v6.prefix_len().checked_sub(96)
    {
        return IpNet::V4(ipnet::Ipv4Net::new_assert(v4, length));
    }
    network
}

impl Default for NeverBlock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_loopback_also_where_it_is_mapped_into_ipv6() {
        let list = NeverBlock::new();
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(list.contains(address.parse().unwrap()), "{address}");
        }
        for address in ["128.0.0.1", "::2", "::ffff:128.0.0.1"] {
            assert!(!list.contains(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn covers_a_network_only_as_a_whole() {
        let list = NeverBlock::new().network("2001:db8::1/128".parse::<IpNet>().unwrap());
        assert!(!list.covers(&"2001:db8::/64".parse().unwrap()));
        assert!(list.covers(&"2001:db8::1/128".parse().unwrap()));
        assert!(list.contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_mapped_ipv4_network_is_the_ipv4_network() {
        let list = NeverBlock::new().network("::ffff:192.0.2.0/120".parse::<IpNet>().unwrap());
        assert!(list.contains("192.0.2.7".parse().unwrap()));
        assert!(list.contains("::ffff:192.0.2.7".parse().unwrap()));
        assert!(!list.contains("192.0.3.7".parse().unwrap()));
    }

    #[test]
    fn dangerous_empty_holds_nobody() {
        let list = NeverBlock::dangerous_empty();
        assert!(!list.contains("127.0.0.1".parse().unwrap()));
    }
}
