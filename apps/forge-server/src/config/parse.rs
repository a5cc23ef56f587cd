//! How values are written: quotas, durations, networks, lists.

use std::time::Duration;

use forge_ratelimit::Quota;
use ipnet::IpNet;

/// `60/min burst 10`
pub(crate) fn quota(text: &str) -> Result<Quota, String> {
    let shape = || "is not a quota: write it as `60/min burst 10`, with s, min or hour".to_owned();
    let (rate, burst) = text.split_once("burst").ok_or_else(shape)?;
    let (rate, period) = rate.split_once('/').ok_or_else(shape)?;
    let period = match period.trim() {
        "s" | "sec" | "second" => Duration::from_secs(1),
        "m" | "min" | "minute" => Duration::from_secs(60),
        "h" | "hour" => Duration::from_secs(3600),
        _ => return Err(shape()),
    };
    let number = |text: &str| -> Result<u32, String> {
        let text = text.trim();
        text.parse().map_err(|_| {
            match text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
                true => format!("is not a quota: {} is the largest number", u32::MAX),
                false => shape(),
            }
        })
    };
    let (rate, burst) = (number(rate)?, number(burst)?);
    Quota::new(rate, period, burst).map_err(|error| format!("is not a quota: {error}"))
}

/// `90s`, `15m`, `24h`, `7d`
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|_| "is not a duration: write it as `90s`, `15m`, `24h` or `7d`".to_owned())?;
    if duration.is_zero() || duration > Duration::from_secs(366 * 24 * 3600) {
        return Err("must be above zero and at most a year".to_owned());
    }
    Ok(duration)
}

/// A whole number in a range.
pub(crate) fn number(
    range: std::ops::RangeInclusive<usize>,
) -> impl Fn(&str) -> Result<usize, String> {
    move |text| {
        let number = text
            .replace('_', "")
            .parse()
            .ok()
            .filter(|n| range.contains(n));
        number.ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
    }
}

/// Items set apart by commas.
pub(crate) fn list<T>(
    item: impl Fn(&str) -> Result<T, String>,
) -> impl Fn(&str) -> Result<Vec<T>, String> {
    move |text| {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty());
        items.map(&item).collect()
    }
}

/// `10.0.0.0/8`, or one address
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let network = text
        .parse()
        .or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()));
    network.map_err(|_| "holds something that is no network: write `10.0.0.0/8`".to_owned())
}

/// An origin: scheme and authority without a path.
pub(crate) fn origin(text: &str) -> Result<url::Url, String> {
    let shape = "must be https://host[:port] without a path";
    let url = url::Url::parse(text).map_err(|_| shape.to_owned())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() || url.host().is_none() {
        return Err(shape.to_owned());
    }
    https_unless_loopback(url)
}

/// An address to call, with or without a path.
pub(crate) fn endpoint(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|_| "is not a URL".to_owned())?;
    if url.host().is_none() || url.query().is_some() || !url.username().is_empty() {
        return Err("must be https://host[:port][/path]".to_owned());
    }
    https_unless_loopback(url)
}

fn https_unless_loopback(url: url::Url) -> Result<url::Url, String> {
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("must be https: plain http is for loopback only".to_owned()),
        _ => Err("must be an https URL".to_owned()),
    }
}

/// Whether the URL's host is this machine.
pub(crate) fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quotas() {
        assert_eq!(quota("60/min burst 10"), Ok(Quota::WEB));
        assert_eq!(quota(" 30 / hour  burst 5 "), Ok(Quota::ADMIN));
        for bad in [
            "",
            "60",
            "60/min",
            "60/day burst 1",
            "x/min burst 1",
            "0/min burst 1",
            "1/s burst -1",
        ] {
            assert!(quota(bad).is_err(), "{bad}");
        }
        // What is out of bounds is told with the bound.
        for (bad, bound) in [
            ("4294967296/min burst 1", "4294967295 is the largest"),
            ("1/min burst 99999999999", "4294967295 is the largest"),
            ("0/min burst 1", "at least one unit a period"),
            ("1/min burst 0", "at least one unit at once"),
            ("1/hour burst 9000", "longer than a year"),
        ] {
            let told = quota(bad).unwrap_err();
            assert!(told.contains(bound), "{bad}: {told}");
        }
    }

    #[test]
    fn reads_durations_within_bounds() {
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "0s", "10", "-1s", "2y"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_https_or_loopback_and_nothing_more() {
        for good in [
            "https://forge.example",
            "https://forge.example:8443/",
            "http://127.0.0.1:3001",
            "http://localhost:1",
            "http://[::1]:1",
        ] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "forge.example",
            "http://forge.example",
            "https://forge.example/app",
            "https://u:p@forge.example",
            "https://a?x",
            "ftp://a",
            "javascript:alert(1)",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_lists_and_single_addresses() {
        assert_eq!(list(network)("10.0.0.0/8, ::1").unwrap().len(), 2);
        assert_eq!(list(network)("").unwrap(), []);
        assert!(list(network)("10.0.0.0/33").is_err());
    }
}
