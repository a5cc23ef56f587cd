//! What an access token is good for (RFC 6749, section 3.3).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::error::InvalidName;

/// The most bytes of a list of scopes.
const MAX_LEN: usize = 1024;

/// A set of scopes, as in `read write`.
///
/// The order in which they are written has no meaning; they are kept sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Whether `scope` is among them.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// Whether all of these are among `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Each, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromStr for Scopes {
    type Err = InvalidName;

    /// Reads scopes separated by single spaces; no text is no scope.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let allowed = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let scope = |scope: &str| !scope.is_empty() && scope.bytes().all(allowed);
        if text.len() > MAX_LEN || !text.split(' ').all(scope) {
            return Err(InvalidName);
        }
        Ok(Self(text.split(' ').map(str::to_owned).collect()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{scope}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_knows_what_is_in_it() {
        let scopes: Scopes = "write read write".parse().unwrap();
        assert_eq!(scopes.to_string(), "read write");
        assert!(scopes.contains("read") && !scopes.contains("rea"));
        assert!("read".parse::<Scopes>().unwrap().is_subset(&scopes));
        assert!(!scopes.is_subset(&"read".parse().unwrap()));
        assert_eq!("".parse::<Scopes>().unwrap(), Scopes::default());
    }

    #[test]
    fn refuses_what_the_grammar_does_not_have() {
        for text in [
            " ",
            "a  b",
            "a ",
            " a",
            "a\"b",
            "a\\b",
            "é",
            "a\nb",
            &"x".repeat(1025),
        ] {
            assert!(text.parse::<Scopes>().is_err(), "{text:?}");
        }
    }
}
