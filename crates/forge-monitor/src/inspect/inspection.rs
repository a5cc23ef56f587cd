//! What was found in a request.

use super::level::{Level, Verdict};
use super::rule::{Family, Findings, Match, Place, Rule};

/// What was found in a request.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    pub(super) score: u32,
    pub(super) matches: Vec<Match>,
    pub(super) truncated: bool,
}

impl Inspection {
    /// How suspicious the request is: the score of its worst part, which is the sum over the rules
    /// that matched there. Parts are not added up, or a request with many harmless ones would be.
    #[must_use]
    pub fn score(&self) -> u32 {
        self.score
    }

    /// What the rules found, in the order of the request.
    #[must_use]
    pub fn matches(&self) -> &[Match] {
        &self.matches
    }

    /// Whether the request is longer than what is inspected.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// What follows at a level.
    #[must_use]
    pub fn verdict(&self, level: Level) -> Verdict {
        if self.score >= level.threshold() {
            Verdict::Block
        } else {
            Verdict::Pass
        }
    }

    /// The families of what was found, each once.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        let matches = self.matches.iter().enumerate();
        matches
            .filter(|(at, found)| {
                let before = self.matches.get(..*at).unwrap_or_default();
                before.iter().all(|earlier| earlier.family != found.family)
            })
            .map(|(_, found)| found.family)
    }

    /// Takes note that there was more than was read, where that is so.
    pub(super) fn truncated(&mut self, truncated: bool) {
        if truncated && !self.truncated {
            self.truncated = true;
            let mut findings = Findings::default();
            findings.add(&TOO_LONG, b"", 0);
            self.score = self.score.max(findings.score());
            self.matches
                .extend(findings.into_matches(Place::FormValue, None));
        }
    }

    /// Adds what was found elsewhere in the same request.
    pub(super) fn merge(&mut self, other: Self) {
        self.score = self.score.max(other.score);
        self.matches.extend(other.matches);
        self.truncated |= other.truncated;
    }
}

pub(super) static TOO_LONG: Rule = Rule::new(
    "protocol.longer_than_inspected",
    Family::ProtocolAttack,
    5,
    "The request is longer than what is inspected, which may be to hide something behind.",
);
