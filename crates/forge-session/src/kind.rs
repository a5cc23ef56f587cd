//! What sort of client a session is for.

use std::borrow::Cow;
use std::fmt;

use crate::error::InvalidName;

/// The name of a kind of session. A [`KindPolicy`](crate::KindPolicy) says how long and how many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(Cow<'static, str>);

impl Kind {
    /// A person in a browser; the session's secret travels in a cookie.
    pub const WEB: Self = Self(Cow::Borrowed("web"));
    /// A client of the Model Context Protocol; it bears access tokens.
    pub const MCP: Self = Self(Cow::Borrowed("mcp"));

    /// A kind of your own: 1 to 32 of `a-z`, `0-9`, `-` and `_`.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] for any other name.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        match &*name {
            // Those that every request copies cost nothing to copy.
            "web" => Ok(Self::WEB),
            "mcp" => Ok(Self::MCP),
            _ if (1..=32).contains(&name.len()) && name.bytes().all(allowed) => {
                Ok(Self(Cow::Owned(name)))
            }
            _ => Err(InvalidName),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_name() {
        assert_eq!(Kind::new("web").unwrap(), Kind::WEB);
    }

    #[test]
    fn refuses_names_that_need_escaping_somewhere() {
        for name in ["", "Web", "a b", "a\"", &"x".repeat(33), "é"] {
            assert!(Kind::new(name).is_err(), "{name:?}");
        }
    }
}
