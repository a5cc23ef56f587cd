//! How sensitive a verdict is, and what follows from it.

use std::str::FromStr;

/// How sensitive a verdict is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// Refuses what is an attack beyond doubt, from a score of 10. The default.
    #[default]
    Low,
    /// Refuses what looks like one, from a score of 5. Texts about SQL, shells and HTML do too.
    High,
}

impl Level {
    /// From the least to the most sensitive.
    pub const ALL: [Self; 2] = [Self::Low, Self::High];

    /// The score from which a request is refused.
    #[must_use]
    pub const fn threshold(self) -> u32 {
        match self {
            Self::Low => 10,
            Self::High => 5,
        }
    }

    /// The name in configuration and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
        }
    }
}

/// Not the name of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be low or high")]
pub struct ParseLevelError;

impl FromStr for Level {
    type Err = ParseLevelError;

    fn from_str(name: &str) -> Result<Self, ParseLevelError> {
        let known = Self::ALL.into_iter().find(|level| level.as_str() == name);
        known.ok_or(ParseLevelError)
    }
}

/// What follows from a score at a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing is to be done.
    Pass,
    /// Where blocking is on, the request is refused.
    Block,
}

impl Verdict {
    /// The name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Block => "block",
        }
    }
}
