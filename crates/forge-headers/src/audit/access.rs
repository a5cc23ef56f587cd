//! What weakens the lists of proxies, hosts and origins.

use ipnet::IpNet;

use crate::audit::{Finding, Findings, Severity, sorted};
use crate::connection::trusted_proxies::TrustedProxies;
use crate::cors::Cors;
use crate::host::allow_list::HostAllowList;

use Severity::{High, Low, Medium};

impl TrustedProxies {
    /// What weakens this trust, the gravest first.
    #[must_use]
    pub fn audit(&self) -> Vec<Finding> {
        let mut findings = Findings::about("trusted proxies");
        for network in self.networks() {
            findings.when(
                network.prefix_len() == 0,
                High,
                format!("{network} is everyone: any client writes its own address"),
                "name the networks of the proxies",
            );
            findings.when(
                network.prefix_len() > 0 && is_wide(network),
                Medium,
                format!("{network} is wide and public: many who are not proxies are trusted"),
                "name the networks of the proxies",
            );
        }
        findings.when(
            self.reads_forwarded_host(),
            Low,
            "X-Forwarded-Host is read, which many proxies pass through from the client",
            "make sure that the proxies overwrite it",
        );
        sorted(findings.into_vec())
    }
}

/// More than 65536 public IPv4 addresses, or more than a provider's IPv6 allocation.
fn is_wide(network: &IpNet) -> bool {
    match network {
        IpNet::V4(v4) => {
            let address = v4.network();
            let is_local = address.is_private() || address.is_loopback();
            v4.prefix_len() < 16 && !is_local
        }
        // Unique local addresses are fc00::/7 (RFC 4193).
        IpNet::V6(v6) => v6.prefix_len() < 29 && (v6.network().segments()[0] & 0xfe00) != 0xfc00,
    }
}

impl HostAllowList {
    /// What weakens this list, the gravest first.
    #[must_use]
    pub fn audit(&self) -> Vec<Finding> {
        let mut findings = Findings::about("allowed hosts");
        for entry in self.entries() {
            findings.when(
                entry.is_wildcard(),
                Low,
                format!("{entry} allows names that nobody may have set up, or whose owner left"),
                "list the names",
            );
            findings.when(
                entry.is_any_port() && !entry.is_loopback(),
                Low,
                format!("{entry} allows every port"),
                "name the port",
            );
        }
        sorted(findings.into_vec())
    }
}

impl Cors {
    /// What weakens this policy, the gravest first.
    #[must_use]
    pub fn audit(&self) -> Vec<Finding> {
        let mut findings = Findings::about("cors");
        findings.when(
            self.is_any(),
            Low,
            "pages of every origin may read responses, from within a private network too",
            "list the origins, unless anyone may read what is served",
        );
        for origin in self.listed() {
            findings.when(
                origin.is_wildcard() && self.allows_credentials(),
                Medium,
                format!("{origin} may use credentials: one subdomain taken over is enough"),
                "list the origins",
            );
            findings.when(
                origin.is_wildcard() && !self.allows_credentials(),
                Low,
                format!("{origin} allows every subdomain"),
                "list the origins",
            );
            findings.when(
                !origin.is_trustworthy(),
                Medium,
                format!("{origin} is in clear: anyone on its way can speak as it"),
                "use https",
            );
            findings.when(
                origin.origin().is_loopback(),
                Low,
                format!("{origin} is whatever runs on the user's machine"),
                "allow it in development only, with `CorsBuilder::development_origins`",
            );
        }
        sorted(findings.into_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severities(findings: &[Finding]) -> Vec<Severity> {
        findings.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn finds_proxies_that_are_everyone() {
        for (network, expected) in [
            ("0.0.0.0/0", &[High][..]),
            ("::/0", &[High]),
            ("203.0.0.0/8", &[Medium]),
            ("2000::/3", &[Medium]),
            ("10.0.0.0/8", &[]),
            ("127.0.0.0/8", &[]),
            ("fd00::/8", &[]),
            ("203.0.113.0/24", &[]),
        ] {
            let proxies = TrustedProxies::new([network.parse().unwrap()]);
            assert_eq!(severities(&proxies.audit()), expected, "{network}");
        }
        let proxies = TrustedProxies::none().forwarded_host(true);
        assert_eq!(severities(&proxies.audit()), [Low]);
        assert_eq!(TrustedProxies::none().audit(), []);
    }

    #[test]
    fn finds_hosts_that_are_many() {
        for (entry, expected) in [
            ("app.example.com", &[][..]),
            ("*.example.com", &[Low]),
            ("app.example.com:*", &[Low]),
            ("localhost:*", &[]),
            ("*.example.com:*", &[Low, Low]),
        ] {
            let hosts = HostAllowList::new([entry]).unwrap();
            assert_eq!(severities(&hosts.audit()), expected, "{entry}");
        }
        let hosts = HostAllowList::new(["*.example.com:8443"]).unwrap();
        assert!(hosts.audit()[0].problem.starts_with("*.example.com:8443 "));
        assert_eq!(HostAllowList::loopback().audit(), []);
    }

    #[test]
    fn finds_origins_that_others_can_be() {
        for (origin, credentials, expected) in [
            ("https://app.example.com", true, &[][..]),
            ("https://*.example.com", true, &[Medium]),
            ("https://*.example.com", false, &[Low]),
            ("http://app.example.com", false, &[Medium]),
            ("http://localhost:5173", true, &[Low]),
        ] {
            let builder = Cors::builder().origins([origin]).credentials(credentials);
            let cors = builder.build().unwrap();
            assert_eq!(severities(&cors.audit()), expected, "{origin}");
        }
        let any = Cors::builder().any_origin().build().unwrap();
        assert_eq!(severities(&any.audit()), [Low]);
        assert_eq!(Cors::none().audit(), []);
    }
}
