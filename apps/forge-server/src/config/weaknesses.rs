//! What weakens a configuration that is allowed all the same, in the words of its keys.

use forge_headers::{
    Cors, Finding, HostAllowList, SecurityHeaders, Severity, Stack, TrustedProxies,
};

/// What one finding says, and the key that it is about.
pub(super) struct Weakness {
    /// The key that changes it.
    pub key: &'static str,
    /// What is weak.
    pub what: String,
    /// What to write instead.
    pub fix: &'static str,
}

/// The weaknesses of what the configuration says about who calls, the gravest first. On this
/// machine alone, origins of it are no weakness.
pub(super) fn find(
    (hosts, proxies, cors): (&HostAllowList, &TrustedProxies, &Cors),
    (is_https, is_loopback): (bool, bool),
) -> Vec<Weakness> {
    // Around headers that have no weakness, so that what is found is the configuration's.
    Stack::new(hosts.clone(), SecurityHeaders::strict())
        .trusted_proxies(proxies.clone())
        .cors(cors.clone())
        .enforce_https(is_https)
        .audit()
        .iter()
        .filter(|finding| !(is_loopback && finding.subject == "cors"))
        .map(weakness)
        .collect()
}

fn weakness(finding: &Finding) -> Weakness {
    let (key, fix) = match finding.subject {
        "trusted proxies" => ("proxies.trusted", finding.fix),
        "allowed hosts" => ("hosts", finding.fix),
        "cors" => (
            "cors.origins",
            "take it out where people use this server, and list origins of your own",
        ),
        // What else there is to say is that people come in clear.
        _ => (
            "public_url",
            "give it an address with https, or take the other hosts out",
        ),
    };
    let how = match finding.severity {
        Severity::Low => "could be stricter",
        _ => "weakens the server",
    };
    Weakness {
        key,
        what: format!("{how}: {}", finding.problem),
        fix,
    }
}
