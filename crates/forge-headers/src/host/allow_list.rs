//! The hosts that the service answers for.

use std::fmt;
use std::sync::Arc;

use crate::authority::{Host, is_loopback_name, split_port};
use crate::error::HostAllowListError;

/// Host names with their ports, exact or with a `*.` in front.
///
/// - `app.example.com` allows the name without a port and with the ports 80 and 443.
/// - `localhost:3001` allows exactly that port; `:443` and `:80` also allow the name without one.
/// - `localhost:*` allows every port.
/// - `*.example.com` allows every name below `example.com`, at any depth, but not `example.com`.
///
/// ```
/// use forge_headers::HostAllowList;
///
/// let hosts = HostAllowList::new(["app.example.com", "*.example.net", "localhost:3001"])?;
/// assert!(hosts.contains(&"app.example.com:443".parse()?));
/// assert!(hosts.contains(&"a.b.example.net".parse()?));
/// assert!(!hosts.contains(&"localhost".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct HostAllowList {
    entries: Arc<[Entry]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    name: Name,
    port: Port,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Exact(Box<str>),
    /// With the leading dot.
    Below(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Default,
    Exact(u16),
    Any,
}

impl HostAllowList {
    /// A list of these entries.
    ///
    /// # Errors
    /// [`HostAllowListError`], naming the entry, for what is not a host; for a wildcard over a
    /// whole top-level domain; and for an empty list.
    pub fn new<T: AsRef<str>>(
        entries: impl IntoIterator<Item = T>,
    ) -> Result<Self, HostAllowListError> {
        let entries: Arc<[Entry]> = entries
            .into_iter()
            .map(|entry| Entry::parse(entry.as_ref()))
            .collect::<Result<_, _>>()?;
        if entries.is_empty() {
            return Err(HostAllowListError::Empty);
        }
        Ok(Self { entries })
    }

    /// `localhost`, `127.0.0.1` and `[::1]` on any port.
    ///
    /// For a service that listens on this machine only, such as a local MCP server: a page that
    /// points a name of its own at 127.0.0.1 (DNS rebinding) is refused.
    pub fn loopback() -> Self {
        let entry = |name: &str| Entry {
            name: Name::Exact(name.into()),
            port: Port::Any,
        };
        Self {
            entries: ["localhost", "127.0.0.1", "[::1]"].map(entry).into(),
        }
    }

    /// The hosts of both lists.
    pub fn merge(&self, other: &Self) -> Self {
        let entries = self.entries.iter().chain(other.entries.iter());
        Self {
            entries: entries.cloned().collect(),
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether every entry means this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.entries.iter().all(Entry::is_loopback)
    }

    /// Whether the list allows `host`.
    #[must_use]
    pub fn contains(&self, host: &Host) -> bool {
        self.entries.iter().any(|entry| entry.matches(host))
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, HostAllowListError> {
        let malformed = || HostAllowListError::Malformed {
            entry: text.to_owned(),
        };
        let (text_without_star, any_port) = match split_port(text).ok_or_else(malformed)? {
            (name, Some("*")) => (name, true),
            _ => (text, false),
        };
        let (text_of_host, below) = match text_without_star.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text_without_star, false),
        };
        let host: Host = text_of_host.parse().map_err(|_| malformed())?;
        let name = host.name();
        if below && !name.contains('.') && name != "localhost" {
            return Err(HostAllowListError::TooWide {
                entry: text.to_owned(),
            });
        }
        Ok(Self {
            name: if below {
                Name::Below(format!(".{name}").into())
            } else {
                Name::Exact(name.into())
            },
            port: match host.port() {
                _ if any_port => Port::Any,
                Some(port) => Port::Exact(port),
                None => Port::Default,
            },
        })
    }

    pub(crate) fn is_wildcard(&self) -> bool {
        matches!(self.name, Name::Below(_))
    }

    pub(crate) fn is_any_port(&self) -> bool {
        self.port == Port::Any
    }

    pub(crate) fn is_loopback(&self) -> bool {
        let name = match &self.name {
            Name::Exact(name) => name,
            Name::Below(suffix) => &suffix[1..],
        };
        is_loopback_name(name)
    }

    fn matches(&self, host: &Host) -> bool {
        let name = match &self.name {
            Name::Exact(name) => **name == *host.name(),
            Name::Below(suffix) => host.name().ends_with(&**suffix),
        };
        name && match self.port {
            Port::Any => true,
            Port::Default => matches!(host.port(), None | Some(80 | 443)),
            // Without a port the client means the default one, whose number depends on a scheme
            // that may be unknown here.
            Port::Exact(port) => match host.port() {
                Some(requested) => requested == port,
                None => matches!(port, 80 | 443),
            },
        }
    }
}

/// As it is written in a list.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Name::Exact(name) => f.write_str(name)?,
            Name::Below(suffix) => write!(f, "*{suffix}")?,
        }
        match self.port {
            Port::Default => Ok(()),
            Port::Exact(port) => write!(f, ":{port}"),
            Port::Any => f.write_str(":*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_what_is_listed_and_nothing_else() {
        for (entry, host, allowed) in [
            ("app.example.com", "app.example.com", true),
            ("app.example.com", "APP.example.com", true),
            ("app.example.com", "app.example.com:443", true),
            ("app.example.com", "app.example.com:80", true),
            ("app.example.com", "app.example.com:8080", false),
            ("app.example.com", "x.app.example.com", false),
            ("app.example.com", "app.example.com.evil.example", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "aexample.com", false),
            ("*.example.com:8443", "a.example.com:8443", true),
            ("*.example.com:8443", "a.example.com", false),
            ("localhost:3001", "localhost:3001", true),
            ("localhost:3001", "localhost:3002", false),
            ("localhost:3001", "localhost", false),
            ("a.example:443", "a.example", true),
            ("a.example:443", "a.example:80", false),
            ("localhost:*", "localhost:1", true),
            ("[::1]:3001", "[0:0::1]:3001", true),
            ("*.localhost:*", "app.localhost:8080", true),
        ] {
            let list = HostAllowList::new([entry]).unwrap();
            assert_eq!(
                list.contains(&host.parse().unwrap()),
                allowed,
                "{entry} {host}"
            );
        }
    }

    #[test]
    fn loopback_allows_this_machine_on_any_port() {
        let list = HostAllowList::loopback();
        for host in ["localhost:3001", "127.0.0.1:80", "[::1]:9", "localhost"] {
            assert!(list.contains(&host.parse().unwrap()), "{host}");
        }
        for host in [
            "rebind.example:3001",
            "127.0.0.1.evil.example",
            "0.0.0.0:3001",
        ] {
            assert!(!list.contains(&host.parse().unwrap()), "{host}");
        }
    }

    #[test]
    fn merges_two_lists() {
        let list = HostAllowList::loopback().merge(&HostAllowList::new(["a.example"]).unwrap());
        assert!(list.contains(&"a.example".parse().unwrap()));
        assert!(list.contains(&"localhost:1".parse().unwrap()));
    }

    #[test]
    fn names_the_entry_that_is_wrong() {
        for entry in [
            "",
            "*",
            "https://a.example",
            "a.example/",
            "a..b",
            "a.*",
            "*a.example",
            "a:0",
            "a:b",
            "*.*.example",
            "*.",
            "[::1",
        ] {
            let error = HostAllowList::new(["ok.example", entry]).unwrap_err();
            let entry = entry.to_owned();
            assert_eq!(error, HostAllowListError::Malformed { entry });
        }
        let error = HostAllowList::new(["*.com"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`*.com` would allow every host of a top-level domain"
        );
        assert_eq!(
            HostAllowList::new([""; 0]).unwrap_err(),
            HostAllowListError::Empty
        );
    }
}
