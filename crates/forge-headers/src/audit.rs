//! What weakens a configuration that is allowed all the same.

use std::borrow::Cow;
use std::fmt;

mod access;
mod security;

/// How much a [`Finding`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing; often meant.
    Low,
    /// Weaker than it could be: should have a reason.
    Medium,
    /// A protection is missing or void.
    High,
}

impl Severity {
    /// `low`, `medium` or `high`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that weakens a configuration, and what to do about it.
///
/// Made by the `audit` methods of [`SecurityHeaders`](crate::SecurityHeaders),
/// [`Cors`](crate::Cors), [`HostAllowList`](crate::HostAllowList),
/// [`TrustedProxies`](crate::TrustedProxies) and [`Stack`](crate::Stack), to be logged when a
/// server starts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The header field or the part that it is about.
    pub subject: &'static str,
    /// What is weak.
    pub problem: Cow<'static, str>,
    /// What makes it strong.
    pub fix: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            subject,
            problem,
            fix,
        } = self;
        write!(f, "{severity}: {subject}: {problem}; {fix}")
    }
}

/// Findings about one subject as they are collected.
pub(crate) struct Findings {
    subject: &'static str,
    found: Vec<Finding>,
}

impl Findings {
    pub(crate) fn about(subject: &'static str) -> Self {
        Self {
            subject,
            found: Vec::new(),
        }
    }

    /// Adds one where `holds`.
    pub(crate) fn when(
        &mut self,
        holds: bool,
        severity: Severity,
        problem: impl Into<Cow<'static, str>>,
        fix: &'static str,
    ) {
        if holds {
            self.found.push(Finding {
                severity,
                subject: self.subject,
                problem: problem.into(),
                fix,
            });
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Finding> {
        self.found
    }
}

/// The gravest first.
pub(crate) fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}
